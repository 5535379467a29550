//! Warnings about a plan, for the operator to read before deploying it.

use crate::locked::Locked;
use crate::{Context, sha256};

/// Warnings about a plan.
#[derive(Debug, Default)]
pub struct Warnings {
    /// Warnings that follow from the plan's inputs.
    pub of_plan: Vec<String>,
    /// Warnings about this machine or this moment. They are not saved: a saved plan has the same
    /// bytes on every machine.
    pub of_run: Vec<String>,
}

impl Warnings {
    /// Returns all of them.
    pub fn all(&self) -> Vec<String> {
        self.of_plan.iter().chain(&self.of_run).cloned().collect()
    }
}

/// Returns a warning if locks differ from the committed ones, which were reviewed. Returns `None`
/// without git.
pub(crate) fn uncommitted_locks(context: &Context<'_>, locked: &Locked) -> Option<String> {
    let workspace = context.workspace;
    let git = programs::Git::of(workspace.root(), &context.tool.variables).ok()?;
    let sets = locked.sets.iter();
    let sets = sets.map(|(name, digest)| (workspace.set_lock(name), digest));
    let mut uncommitted = Vec::new();
    for (path, digest) in std::iter::once((locked.path.clone(), &locked.digest)).chain(sets) {
        let shown = workspace.shown(&path);
        let committed = git.at("HEAD", shown).ok()?;
        if committed.is_none_or(|text| sha256(text.as_bytes()) != *digest) {
            uncommitted.push(shown.to_string());
        }
    }
    (!uncommitted.is_empty()).then(|| {
        format!(
            "not committed as it is now: {}; a review covers what is committed",
            uncommitted.join(", ")
        )
    })
}

/// Returns a warning if nodes download layers from elsewhere.
pub(crate) fn external_layers(lock: &bundle::Lock) -> Option<String> {
    const NAMES: usize = 5;
    let artifacts = lock.artifacts.iter();
    let with: Vec<String> = artifacts
        .map(|artifact| (artifact.reference(), artifact.external().len()))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    let more = match with.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = with[..with.len().min(NAMES)].join(", ");
    (!with.is_empty()).then(|| {
        format!(
            "external layers are not pushed, and nodes download them from the URLs in the manifests: {names}{more}"
        )
    })
}
