//! Imports what a site returned: its commits, receipts, registry snapshots and logs.

use camino::{Utf8Path, Utf8PathBuf};
use medium::{Content, Medium};
use programs::Receiver;

use super::repository::{HistoryUpdate, short, take};
use super::{Error, copied, temporary};
use crate::event::Event;
use crate::plan::snapshot::Snapshot;
use crate::receipt::Receipt;
use crate::workspace::{Output, write_whole};
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

/// Writes an uncommitted receipt, unless the workspace has a later one. Returns its path if it is
/// new.
///
/// # Errors
/// A piece is damaged, the content is not a receipt, or it cannot be written.
pub(super) fn receipt(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    environment: &str,
) -> Result<Option<Utf8PathBuf>, crate::Error> {
    let Some(output) = output(context, environment)? else {
        return Ok(None);
    };
    let file = copied(context, medium, content, &temporary(context.workspace))?;
    let (path, text) = text(&file)?;
    let last = |receipt: Option<Receipt>| {
        let ended = receipt.into_iter().flat_map(|one| {
            let applied = one.applied.map(|one| one.ended);
            applied.into_iter().chain(one.failed.map(|one| one.ended))
        });
        ended.max()
    };
    if last(Receipt::read(&path)?) <= last(Receipt::read(&output.receipt)?) {
        return Ok(None);
    }
    write(context, &output.receipt, &text).map(Some)
}

/// Writes a registry snapshot, unless the workspace has a later one. Returns its path if it is new.
///
/// # Errors
/// A piece is damaged, the content is not a snapshot, or it cannot be written.
pub(super) fn snapshot(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    environment: &str,
) -> Result<Option<Utf8PathBuf>, crate::Error> {
    let Some(output) = output(context, environment)? else {
        return Ok(None);
    };
    let file = copied(context, medium, content, &temporary(context.workspace))?;
    let (path, text) = text(&file)?;
    let new = Snapshot::read(&path)?.snapshot;
    if output.snapshot.exists() {
        let known = Snapshot::read(&output.snapshot)?.snapshot;
        // Times are in seconds. Of two returns in one second, the one unpacked last counts.
        if new.taken < known.taken || new == known {
            return Ok(None);
        }
    }
    write(context, &output.snapshot, &text).map(Some)
}

/// Writes a log of the site beside the local ones. Returns its path if it is new.
///
/// # Errors
/// A piece is damaged, or the log cannot be written.
pub(super) fn log(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    environment: &str,
    name: &str,
) -> Result<Option<Utf8PathBuf>, crate::Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let is_name = !name.starts_with('.') && name.ends_with(".log") && name.bytes().all(is_plain);
    let Some(output) = output(context, environment)?.filter(|_| is_name) else {
        return Ok(None);
    };
    let path = output.logs.join(name);
    if path.exists() {
        return Ok(None);
    }
    let file = copied(context, medium, content, &temporary(context.workspace))?;
    write(context, &path, &text(&file)?.1).map(Some)
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

fn text(file: &tempfile::NamedTempFile) -> Result<(Utf8PathBuf, String), crate::Error> {
    let path = Utf8Path::from_path(file.path()).unwrap_or(Utf8Path::new("."));
    let text = files::read_text(path).map_err(|source| crate::Error::read(path, source))?;
    Ok((path.to_owned(), text))
}

fn write(context: &Context<'_>, path: &Utf8Path, text: &str) -> Result<Utf8PathBuf, crate::Error> {
    write_whole(path, text)?;
    Ok(context.workspace.shown(path).to_owned())
}
