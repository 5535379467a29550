//! What is wrong with a file, and the secrets in it that no message may repeat.

use crate::mask::Secrets;
use crate::nearest::nearest;
use crate::problem::{Problem, quote};
use crate::yaml::Node;

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

    /// Notes what is wrong with a value, if something is.
    pub(crate) fn note<Value>(&mut self, result: Result<Value, Problem>) {
        if let Err(problem) = result {
            self.add(problem);
        }
    }
}

/// Returns the problem of a key that is not one of `known`. `help` stands where no known key resembles it.
pub(crate) fn unknown_key(key: &Node, known: &[&str], parent: &str, help: &str) -> Problem {
    let name = key.text().unwrap_or_default();
    let problem = Problem::at(key, format!("unknown key {} in `{parent}`", quote(name)));
    match nearest(name, known.iter().copied()) {
        Some(nearest) => problem.with_help(format!("did you mean `{nearest}`?")),
        None => problem.with_help(help),
    }
}
