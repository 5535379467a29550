//! What an operator should know about a plan before deploying it.

/// What the operator should know before continuing.
#[derive(Debug, Default)]
pub struct Warnings {
    /// Warnings that follow from the inputs of the plan.
    pub of_plan: Vec<String>,
    /// Warnings about this machine or this moment. They are not saved, so the same plan has the same bytes everywhere.
    pub of_here: Vec<String>,
}

impl Warnings {
    /// Returns all of them.
    pub fn all(&self) -> Vec<String> {
        self.of_plan.iter().chain(&self.of_here).cloned().collect()
    }
}

/// Returns a warning of the layers that nodes download from elsewhere, if there are any.
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
