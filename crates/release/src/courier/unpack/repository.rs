//! Imports the history: creates the repository, or moves its branch forward.

use camino::Utf8Path;
use medium::{Content, Medium, What};
use programs::Receiver;
use serde::Serialize;

use super::{Error, copied, temporary};
use crate::Context;

/// The update of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryUpdate {
    /// Name of the branch.
    pub branch: String,
    /// Commit before; `None` if the workspace was created.
    pub from: Option<String>,
    /// Commit of the workspace now.
    pub to: String,
    /// Number of received commits.
    pub commits: usize,
}

impl From<programs::Absent> for crate::Error {
    fn from(source: programs::Absent) -> Self {
        Error::Git { source }.into()
    }
}

/// Imports a history. The branch and the working tree move only if no commit and no local change is
/// lost.
///
/// # Errors
/// Git is missing, a piece is damaged, or the history does not continue that of the workspace.
pub(super) fn receive(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    branch: &str,
    commit: &str,
) -> Result<HistoryUpdate, crate::Error> {
    let root = context.workspace.root();
    let variables = &context.tool.variables;
    // Fails before anything is written if git is missing.
    let mut git = Receiver::of(root, variables)?;
    let is_new = !root.join("environments").is_dir();
    if !is_new {
        git = Receiver::of(&git.top_level()?, variables)?;
        // If the history is not needed, its pieces may be missing.
        if let Some(moved) = present_update(&git, branch, commit)? {
            return Ok(moved);
        }
    }
    let copied = copied(context, medium, content, &temporary(context.workspace))?;
    // A killed run may have created a part of a repository. `init` keeps what it has.
    if is_new || git.head()?.commit.is_none() {
        git.init(if branch == DETACHED { "main" } else { branch })?;
    }
    let head = git.head()?;
    if branch != DETACHED && head.branch.as_deref() != Some(branch) {
        return Err(Error::Branch {
            exists: git.commit(&format!("refs/heads/{branch}"))?.is_some(),
            branch: branch.to_owned(),
            found: head.branch.map_or_else(
                || "a commit".to_owned(),
                |found| format!("branch `{found}`"),
            ),
        }
        .into());
    }
    // Files of an interrupted run are those of the commit, or incomplete.
    let has_begun = head.commit.is_none() && git.has_begun()?;
    take(&git, medium, &copied, branch, commit)?;
    if let Some(earlier) = git.outside()?
        && !git.is_ancestor(&earlier, commit)?
    {
        return Err(Error::Rewritten {
            commit: short(commit),
            earlier: short(&earlier),
        }
        .into());
    }
    let from = head.commit.as_deref();
    if let Some(from) = from
        && !git.is_ancestor(from, commit)?
    {
        return Err(Error::Diverged {
            commit: short(commit),
            head: short(from),
        }
        .into());
    }
    if !has_begun {
        let files = git.local_changes(from, commit)?;
        if !files.is_empty() {
            return Err(Error::LocalChanges { files }.into());
        }
    }
    let commits = git.count(from, commit)?;
    git.advance(from, commit)?;
    Ok(HistoryUpdate {
        branch: branch.to_owned(),
        from: head.commit,
        to: commit.to_owned(),
        commits,
    })
}

/// Returns the empty update for a history that the branch has already.
fn present_update(
    git: &Receiver,
    branch: &str,
    commit: &str,
) -> Result<Option<HistoryUpdate>, crate::Error> {
    let head = git.head()?;
    let is_same = branch == DETACHED || head.branch.as_deref() == Some(branch);
    let Some(from) = head.commit.filter(|_| is_same) else {
        return Ok(None);
    };
    if git.commit(commit)?.is_none() || !git.is_ancestor(commit, &from)? {
        return Ok(None);
    }
    if git.outside()?.is_none() {
        git.set_outside(commit)?;
    }
    Ok(Some(HistoryUpdate {
        branch: branch.to_owned(),
        from: Some(from.clone()),
        to: from,
        commits: 0,
    }))
}

/// Returns whether an earlier medium brought a later commit than this one. This one may then have
/// an older program, too.
///
/// # Errors
/// Git has no answer.
pub(super) fn is_older(context: &Context<'_>, medium: &Medium) -> Result<bool, crate::Error> {
    let manifest = medium.manifest();
    let brought = manifest.contents.iter().find_map(|one| match &one.what {
        What::Repository { commit, .. } => Some(commit),
        _ => None,
    });
    // A medium without history was packed for a site that has the commit.
    let commits: Vec<&String> = match brought {
        Some(commit) => vec![commit],
        None => manifest.assumes.commits.iter().collect(),
    };
    let git = Receiver::of(context.workspace.root(), &context.tool.variables)?;
    let Some(outside) = git.outside()?.filter(|_| !commits.is_empty()) else {
        return Ok(false);
    };
    for commit in commits {
        if *commit == outside
            || git.commit(commit)?.is_none()
            || !git.is_ancestor(commit, &outside)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fetches a commit from a git bundle and checks its id.
///
/// # Errors
/// [`Error::Lacks`] or [`Error::OtherCommit`], or git fails.
pub(super) fn take(
    git: &Receiver,
    medium: &Medium,
    bundle: &tempfile::NamedTempFile,
    branch: &str,
    commit: &str,
) -> Result<(), crate::Error> {
    for assumed in &medium.manifest().assumes.commits {
        if git.commit(assumed)?.is_none() {
            return Err(Error::Lacks {
                commit: short(assumed),
            }
            .into());
        }
    }
    let bundle = Utf8Path::from_path(bundle.path()).unwrap_or(Utf8Path::new("."));
    let reference = match branch {
        DETACHED => DETACHED.to_owned(),
        branch => format!("refs/heads/{branch}"),
    };
    let found = git.fetch(bundle, &reference)?;
    match found == commit {
        true => Ok(()),
        false => Err(Error::OtherCommit {
            commit: short(commit),
            found: short(&found),
        }
        .into()),
    }
}

/// Branch in the manifest of a medium that was packed from a detached `HEAD`.
const DETACHED: &str = "HEAD";

/// Returns an abbreviated commit id.
pub(super) fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}
