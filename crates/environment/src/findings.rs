//! The problems that a check of files found, and the secrets in those files.

use crate::mask::Secrets;
use crate::problem::Problem;

/// Problems with files, and the secrets to mask when they are shown.
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
