//! What is wrong with a file, and the secrets in it that no message may repeat.

use crate::mask::Secrets;
use crate::problem::Problem;

/// What is wrong with files, and which secrets must not be shown with it.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    pub(crate) secrets: Secrets,
}

impl Findings {
    pub(crate) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}
