//! What an operator should know about a plan before deploying it.

/// What the operator should know before continuing.
#[derive(Debug, Default)]
pub struct Warnings {
    /// What follows from everything that the plan names.
    pub of_plan: Vec<String>,
    /// What only this machine knows, or only for now. It is in no file, so the same plan has the same bytes everywhere.
    pub of_here: Vec<String>,
}

impl Warnings {
    /// Returns all of them.
    pub fn all(&self) -> Vec<String> {
        self.of_plan.iter().chain(&self.of_here).cloned().collect()
    }
}
