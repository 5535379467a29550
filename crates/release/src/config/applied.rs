//! Finds the configuration that was applied last, in the workspace or in git's history.

use crate::workspace::Output;
use crate::{Context, sha256};

/// Returns the configuration with this digest from the texts in `here` or from git's history.
/// Receipts record only the digest.
///
/// Its version is replaced by `release`, which the cluster runs: an upgrade changes the version and
/// nothing else of the configuration.
pub(crate) fn text(
    context: &Context<'_>,
    here: &[Option<&str>],
    output: &Output,
    digest: &str,
    release: &str,
) -> Option<String> {
    let is_applied = |text: &&str| sha256(text.as_bytes()) == digest;
    if let Some(text) = here.iter().flatten().copied().find(is_applied) {
        return Some(text.to_owned());
    }
    if digest.is_empty() {
        return None;
    }
    let git = programs::Git::of(context.workspace.root(), &context.tool.variables).ok()?;
    let history = git.history(context.workspace.shown(&output.config)).ok()?;
    let mut past = history.into_iter().map(|past| past.text);
    let text = past.find(|text| is_applied(&text.as_str()))?;
    let version = text.lines().find(|line| line.starts_with("  version: "));
    let line = version.map(|version| format!("\n{version}\n"));
    let now = format!("\n  version: {release}\n");
    Some(line.map_or(text.clone(), |line| text.replacen(&line, &now, 1)))
}
