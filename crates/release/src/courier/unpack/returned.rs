//! Imports what a site returned: its commits, receipts, registry snapshots and logs.

use camino::{Utf8Path, Utf8PathBuf};
use medium::{Content, Medium, What};
use programs::Receiver;

use super::repository::{HistoryUpdate, short, take};
use super::{Error, copied, temporary};
use crate::event::Event;
use crate::plan::snapshot::Snapshot;
use crate::receipt::Receipt;
use crate::workspace::{Output, write_atomically};
use crate::{Context, links};

/// Merges the commits of a site into the checked-out branch.
///
/// # Errors
/// A piece is damaged, git fails, or a file was changed on both sides.
pub(super) fn commits(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    branch: &str,
    commit: &str,
) -> Result<HistoryUpdate, crate::Error> {
    let variables = &context.tool.variables;
    let git = Receiver::of(context.workspace.root(), variables)?;
    let git = Receiver::of(&git.top_level()?, variables)?;
    let head = git.head()?;
    let moved = |to: Option<String>, commits| HistoryUpdate {
        branch: head.branch.clone().unwrap_or_else(|| "HEAD".to_owned()),
        from: head.commit.clone(),
        to: to.unwrap_or_default(),
        commits,
    };
    let from = head.commit.clone().unwrap_or_default();
    if git.commit(commit)?.is_some() && git.is_ancestor(commit, &from)? {
        return Ok(moved(head.commit.clone(), 0));
    }
    let copied = copied(context, medium, content, &temporary(context.workspace))?;
    take(&git, medium, &copied, branch, commit)?;
    let files = git.overwritten(commit)?;
    if !files.is_empty() {
        return Err(Error::LocalChanges { files }.into());
    }
    let commits = git.count(Some(&from), commit)?;
    let environments = medium.manifest().serves.environments.join(", ");
    let message = match environments.as_str() {
        "" => "Merge the commits of a site".to_owned(),
        environments => format!("Merge what {environments} returned"),
    };
    if let Err(files) = git.merge(commit, &message)? {
        return Err(Error::Conflict {
            commit: short(commit),
            files,
        }
        .into());
    }
    Ok(moved(git.head()?.commit, commits))
}

/// Writes the receipt, registry snapshot or log of an environment, unless the workspace has it or a
/// later one. Returns its path if it is new.
///
/// # Errors
/// A piece is damaged, the content is not of its kind, or it cannot be written.
pub(super) fn file(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    environment: &str,
) -> Result<Option<Utf8PathBuf>, crate::Error> {
    let Some(output) = output(context, environment)? else {
        return Ok(None);
    };
    let to = match &content.what {
        What::Receipt { .. } => output.receipt,
        What::Snapshot { .. } => output.snapshot,
        What::Log { file, .. } if is_log(file) && !output.logs.join(file).exists() => {
            output.logs.join(file)
        }
        _ => return Ok(None),
    };
    let file = copied(context, medium, content, &temporary(context.workspace))?;
    let path = Utf8Path::from_path(file.path()).unwrap_or(Utf8Path::new("."));
    let text = files::read_text(path).map_err(|source| crate::Error::read(path, source))?;
    let is_new = match content.what {
        What::Receipt { .. } => last(Receipt::read(path)?) > last(Receipt::read(&to)?),
        What::Snapshot { .. } => is_new_snapshot(&Snapshot::read(path)?.snapshot, &to)?,
        _ => true,
    };
    if !is_new {
        return Ok(None);
    }
    write_atomically(&to, &text)?;
    Ok(Some(context.workspace.shown(&to).to_owned()))
}

/// Returns whether a name is that of a log. Other names could leave the folder.
fn is_log(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !name.starts_with('.') && name.ends_with(".log") && name.bytes().all(is_plain)
}

/// Returns the time of the last deploy in a receipt.
fn last(receipt: Option<Receipt>) -> Option<String> {
    let receipt = receipt?;
    let applied = receipt.applied.map(|one| one.ended);
    applied.max(receipt.failed.map(|one| one.ended))
}

fn is_new_snapshot(new: &Snapshot, path: &Utf8Path) -> Result<bool, crate::Error> {
    if !path.exists() {
        return Ok(true);
    }
    let known = Snapshot::read(path)?.snapshot;
    // Times are in seconds. Of two returns in one second, the one unpacked last counts.
    Ok(new.taken >= known.taken && *new != known)
}

/// Returns the paths of an environment's results, or `None` with a warning if the workspace lacks
/// it.
fn output(context: &Context<'_>, environment: &str) -> Result<Option<Output>, crate::Error> {
    let workspace = context.workspace;
    let known = environment::names(workspace.root()).map_err(crate::Error::Environment)?;
    if known.iter().any(|known| known == environment) {
        links::refuse(workspace, &[environment])?;
        return Ok(Some(Output::below(&workspace.environment(environment))));
    }
    let environment = redaction::line(environment, 40);
    let warning =
        format!("environment {environment} is not in this workspace; its files are not used");
    context.reporter.report(Event::Warning(warning));
    Ok(None)
}
