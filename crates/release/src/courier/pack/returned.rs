//! Collects what a site returns to the other side, so the next medium for the site has only the
//! missing artifacts: commits, receipts, snapshots of registry and store, and the last logs. All of
//! it is text and is searched for secrets.

use std::collections::BTreeSet;

use camino::Utf8Path;
use environment::Environment;
use medium::{Assumed, Served, Source, What};
use programs::{Absent, Git, Receiver};

use super::{Draft, Error, Options, Pack, Scratch, read, start};
use crate::event::Event;
use crate::plan::snapshot::{self, Snapshot};
use crate::report::support;
use crate::transfer::fetch::open_store;
use crate::transfer::present;
use crate::transfer::program::StoredProgram;
use crate::workspace::{Output, read_if_exists};
use crate::{Context, chain, receipt};

/// Collects the return of these environments' site, and signs its manifest. If `environments` is
/// empty, it covers all environments that were deployed here.
///
/// # Errors
/// Nothing is new, a content has a secret, or the manifest cannot be signed.
pub async fn prepare(
    context: &Context<'_>,
    environments: &[Environment],
    options: &Options,
) -> Result<Pack, crate::Error> {
    let workspace = context.workspace;
    super::check_named(options)?;
    let scratch = Scratch::new(workspace, options.dry_run)?;
    let repository = Repository::of(context)?;
    let deployed = match environments.is_empty() {
        true => deployed(context, repository.as_ref())?,
        false => environments.to_vec(),
    };
    let mut parts = Parts {
        variables: &context.tool.variables,
        folder: &scratch.folder,
        sources: Vec::new(),
    };
    remember_secrets(context, &deployed)?;
    for environment in &deployed {
        let name = || environment.name.clone();
        let output = Output::below(&workspace.environment(&environment.name));
        match snapshot_of(context, environment, repository.as_ref()).await {
            Ok(snapshot) => {
                let what = What::Snapshot {
                    environment: name(),
                };
                parts.add(what, &snapshot.text(&output.snapshot)?)?;
            }
            Err(error) => context.reporter.report(Event::Warning(format!(
                "what the site of {} has is not returned: {}",
                environment.name,
                chain(&error)
            ))),
        }
        if let Some(text) = read_if_exists(&output.receipt)? {
            let what = What::Receipt {
                environment: name(),
            };
            parts.add(what, &text)?;
        }
        for (file, text) in support::last_logs_without_password(context, &output.logs) {
            let what = What::Log {
                environment: name(),
                file,
            };
            parts.add(what, &redaction::yaml::free_text(&text))?;
        }
    }
    let mut assumes = Assumed::default();
    if let Some(repository) = &repository {
        repository.warn(context);
        if let Some(outside) = &repository.outside {
            repository.add_commits(context, &mut parts, outside)?;
            assumes.commits.push(outside.clone());
        }
    }
    let sources = parts.sources;
    if sources.is_empty() {
        return Err(Error::NothingToReturn.into());
    }
    let names: Vec<String> = deployed.into_iter().map(|one| one.name).collect();
    let draft = Draft {
        start: start::of_return(&names, options),
        scratch,
        serves: Served {
            environments: names,
            locks: Vec::new(),
        },
        assumes,
        program: context.tool.executable.clone(),
        glibc: None,
        sources,
    };
    draft.seal(context, options)
}

/// The contents that are returned.
struct Parts<'a> {
    variables: &'a programs::Variables,
    folder: &'a Utf8Path,
    sources: Vec<Source>,
}

impl Parts<'_> {
    /// Adds a text, unless it has a secret.
    fn add(&mut self, what: What, text: &str) -> Result<(), crate::Error> {
        let part = match &what {
            What::Receipt { environment } => format!("the receipt of {environment}"),
            What::Snapshot { environment } => format!("the snapshot of {environment}"),
            What::Log { environment, file } => format!("the log {file} of {environment}"),
            _ => String::new(),
        };
        refuse_secrets(self.variables, text, || part.clone())?;
        let path = self.folder.join(self.sources.len().to_string());
        std::fs::write(&path, text).map_err(|source| crate::Error::io("write", &path, source))?;
        self.sources.push(read(what, &path, medium::LARGEST_PIECE)?);
        Ok(())
    }
}

fn refuse_secrets(
    variables: &programs::Variables,
    text: &str,
    part: impl FnOnce() -> String,
) -> Result<(), Error> {
    let secrets = redaction::run();
    match secrets.is_in(text) {
        true => Err(Error::Secret {
            part: secrets.mask(&part()).into_owned(),
            variable: variable_in(variables, text),
        }),
        false => Ok(()),
    }
}

/// Returns the name of the variable whose value is a secret and is in the text. `None` if the
/// secret is in no variable.
fn variable_in(variables: &programs::Variables, text: &str) -> Option<String> {
    let is_in = |value: &str| {
        let one = redaction::Secrets::default();
        one.add(value);
        one.is_in(text)
    };
    variables.iter().find_map(|(name, value)| {
        let value = value.to_str()?;
        let is_secret = redaction::run().mask(value) == "***";
        (is_secret && is_in(value)).then(|| name.to_string_lossy().into_owned())
    })
}

/// Returns file and line of the first secret in a commit, as [`added`] returns its text. `None` if
/// it is in the message, or extends over several lines.
fn place(commit: &str, is_secret: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut file = None;
    let mut number = None;
    for line in commit.lines() {
        if line.starts_with("diff --") {
            (file, number) = (None, None);
        } else if line.starts_with("@@") {
            let added = line.split(' ').find_map(|range| range.strip_prefix('+'));
            number = added.and_then(|range| range.split(',').next()?.parse::<u64>().ok());
        } else if number.is_none()
            && let Some(path) = line.strip_prefix("+++ ")
        {
            let path = path.trim_matches('"');
            file = Some(path.strip_prefix("b/").unwrap_or(path));
        } else if is_secret(line) {
            return Some(format!("{}, line {}", file?, number?));
        } else {
            number = number.map(|number| number + 1);
        }
    }
    None
}

/// Adds the secrets of environments to the masker, so they are found in the contents.
///
/// # Errors
/// A file exists but cannot be read.
pub(super) fn remember_secrets(
    context: &Context<'_>,
    environments: &[Environment],
) -> Result<(), crate::Error> {
    for environment in environments {
        let output = Output::below(&context.workspace.environment(&environment.name));
        support::remember_secrets(context, environment, &output)?;
    }
    Ok(())
}

/// Checks that no commit adds a secret, except for the commits in `known`.
///
/// # Errors
/// [`Error::Secret`], or git has no answer.
pub(super) fn refuse_in_commits(context: &Context<'_>, known: &[String]) -> Result<(), Error> {
    let changes = Receiver::of(context.workspace.root(), &context.tool.variables)
        .and_then(|receiver| receiver.changes(known));
    let changes = changes.map_err(|source| Error::Git { source })?;
    for (commit, text) in added(&changes) {
        refuse_secrets(&context.tool.variables, &text, || {
            let place = place(&text, &|line| redaction::run().is_in(line));
            let place = place.map_or_else(String::new, |place| format!(" ({place})"));
            format!("commit {}{place}", &commit[..12])
        })?;
    }
    Ok(())
}

/// The repository of the site.
struct Repository {
    git: Git,
    /// Full id of the commit of `HEAD`.
    head: Option<String>,
    /// Last commit received on a medium.
    outside: Option<String>,
    /// Uncommitted files.
    changed: Vec<String>,
}

impl Repository {
    /// Returns `None` if the workspace is not in a repository.
    fn of(context: &Context<'_>) -> Result<Option<Self>, Error> {
        let root = context.workspace.root();
        let variables = &context.tool.variables;
        let found = || {
            let git = Git::of(root, variables)?;
            let state = git.state(&[])?;
            Ok(Self {
                outside: Receiver::of(root, variables)?.outside()?,
                head: state.revision,
                changed: state.changed,
                git,
            })
        };
        match found() {
            Ok(found) => Ok(Some(found)),
            Err(Absent::NotInstalled | Absent::NoRepository { .. }) => Ok(None),
            Err(source) => Err(Error::Git { source }),
        }
    }

    /// Warns about uncommitted files, which are not returned.
    fn warn(&self, context: &Context<'_>) {
        // These are returned without a commit, or can be created again.
        let ours = ["receipt.yaml", "registry.snapshot.yaml", "mke4.yaml"];
        let stays = |file: &&String| {
            let name = Utf8Path::new(file).file_name().unwrap_or_default();
            file.contains("environments/") && !ours.contains(&name)
        };
        let files: Vec<&str> = self
            .changed
            .iter()
            .filter(stays)
            .map(String::as_str)
            .collect();
        if !files.is_empty() {
            context.reporter.report(Event::Warning(format!(
                "{} not committed, and not returned: {}",
                environment::count_with_verb(files.len(), "file"),
                files.join(", ")
            )));
        }
    }

    /// Adds the commits that no medium brought.
    fn add_commits(
        &self,
        context: &Context<'_>,
        parts: &mut Parts<'_>,
        outside: &str,
    ) -> Result<(), crate::Error> {
        let wrong = |source| Error::Git { source };
        let Some(head) = self
            .head
            .as_deref()
            .filter(|head| !self.git.is_ancestor(head, outside))
        else {
            return Ok(());
        };
        refuse_in_commits(context, &[outside.to_owned()])?;
        let branch = self.git.branch().map_err(wrong)?;
        let file = parts.folder.join("commits.bundle");
        self.git
            .write_bundle(&file, branch.as_deref(), &[outside.to_owned()])
            .map_err(wrong)?;
        let what = What::Commits {
            branch: branch.unwrap_or_else(|| "HEAD".to_owned()),
            commit: head.to_owned(),
        };
        parts
            .sources
            .push(read(what, &file, medium::LARGEST_PIECE)?);
        Ok(())
    }
}

/// Returns the id of each commit in a log, with its message and its added lines.
fn added(log: &str) -> Vec<(&str, String)> {
    let mut commits: Vec<(&str, String)> = Vec::new();
    for line in log.lines() {
        // Only commit lines begin in the first column with this word: messages are indented.
        if let Some(name) = line.strip_prefix("commit ").and_then(|rest| rest.get(..40)) {
            commits.push((name, String::new()));
        }
        // Removed lines are in an earlier commit. In merges, each parent has a column.
        let is_removed = line.starts_with('-') || line.starts_with(" -");
        if let Some((_, text)) = commits.last_mut().filter(|_| !is_removed) {
            text.push_str(line);
            text.push('\n');
        }
    }
    commits
}

/// Returns the environments that were deployed in this workspace. They have logs, which git
/// ignores, or a receipt that no medium brought.
fn deployed(
    context: &Context<'_>,
    repository: Option<&Repository>,
) -> Result<Vec<Environment>, crate::Error> {
    let workspace = context.workspace;
    let mut changed = BTreeSet::new();
    if let Some(repository) = repository {
        changed.extend(repository.changed.iter().cloned());
        if let Some(outside) = &repository.outside {
            let since = repository.git.differing(outside);
            changed.extend(since.map_err(|source| Error::Git { source })?);
        }
    }
    let names = environment::names(workspace.root()).map_err(crate::Error::Environment)?;
    let is_deployed = |name: &String| {
        let output = Output::below(&workspace.environment(name));
        let receipt = workspace.shown(&output.receipt).as_str().to_owned();
        let is_new = changed.iter().any(|file| file.ends_with(&receipt));
        (is_new && output.receipt.exists()) || !support::last_logs(&output.logs).is_empty()
    };
    let deployed = names.into_iter().filter(is_deployed);
    deployed.map(|name| workspace.load(&name)).collect()
}

/// Returns the state of an environment's registry and of the store.
async fn snapshot_of(
    context: &Context<'_>,
    environment: &Environment,
    repository: Option<&Repository>,
) -> Result<Snapshot, crate::Error> {
    let workspace = context.workspace;
    let _registry = crate::rehearse::serve_for_reading(workspace, environment).await?;
    let mut snapshot = snapshot::take(context, environment).await?;
    snapshot.taken = Some(receipt::now(context));
    snapshot.commit = repository.and_then(|one| one.head.clone());
    let paths = workspace.locks()?;
    let locks = paths.iter().map(|path| bundle::Lock::read(path));
    let locks: Vec<bundle::Lock> = locks.collect::<Result<_, _>>()?;
    let nowhere = present::nowhere(context, environment, &locks).await?;
    let store = open_store(workspace)?;
    let mut contents = BTreeSet::new();
    for lock in &locks {
        let blobs = lock.blobs().into_keys();
        contents.extend(blobs.map(|digest| digest.trim_start_matches("sha256:").to_owned()));
        if let Some(matrix) = &lock.release_matrix
            && present::missing_matrix(lock, &store).is_none()
        {
            contents.insert(matrix.sha256.clone());
        }
        for locked in &lock.mkectl {
            let kept = StoredProgram::of(workspace, lock, locked);
            if bundle::check_program(&kept.archive, &locked.sha256, &kept.program).is_ok() {
                contents.insert(locked.sha256.clone());
            }
        }
    }
    contents.retain(|sha256| !nowhere.contains(sha256));
    let tagged = snapshot.tagged_blobs(workspace)?;
    snapshot.blobs = contents.difference(&tagged).cloned().collect();
    snapshot.lost = tagged.intersection(&nowhere).cloned().collect();
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_a_commit_is_named_by_file_and_line() {
        let log = "commit 0123456789012345678901234567890123456789\n\n    subject\n\n\
            diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-old\n+one\n@@ -7,0 +8,2 @@ text\n+two\n+secret\n\
            diff --cc b\n--- a/b\n+++ b/b\n@@@ -0,0 -0,0 +3,2 @@@\n++three\n +four\n";
        let commits = added(log);
        let place = |secret: &str| place(&commits[0].1, &|line| line.contains(secret));
        assert_eq!(place("secret").unwrap(), "a, line 9");
        assert_eq!(place("four").unwrap(), "b, line 4");
        assert_eq!(place("subject"), None);
        assert_eq!(place("none"), None);
    }
}
