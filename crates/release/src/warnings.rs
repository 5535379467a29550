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
