//! Writes the workspace's history to a git bundle, one file that git can clone and fetch from.

use std::time::Duration;

use camino::Utf8Path;

use super::{Absent, Git, names};
use crate::Error;
use crate::ask::Question;

/// Time limit of writing a bundle: a history of several gigabytes on a slow disk.
const LIMIT: Duration = Duration::from_secs(1800);

impl Git {
    /// Returns the checked-out branch, or `None` for a detached `HEAD`.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn branch(&self) -> Result<Option<String>, Absent> {
        match self.ask(&["symbolic-ref", "--quiet", "--short", "HEAD"], &[]) {
            Ok(answer) => Ok(Some(String::from_utf8_lossy(&answer).trim().to_owned())),
            Err(Absent::Refused {
                source: Error::Failed { output, .. },
            }) if output.is_empty() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether `older` equals `newer` or is its ancestor. Returns false if the repository
    /// lacks one of them.
    pub fn is_ancestor(&self, older: &str, newer: &str) -> bool {
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let arguments = ["merge-base", "--is-ancestor", older, newer];
        is_name(older) && is_name(newer) && self.ask(&arguments, &[]).is_ok()
    }

    /// Returns the files that differ between a commit and `HEAD`, relative to the repository's
    /// root.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn differing(&self, commit: &str) -> Result<Vec<String>, Absent> {
        self.changed_between(commit, "HEAD")
    }

    pub(super) fn changed_between(&self, old: &str, new: &str) -> Result<Vec<String>, Absent> {
        let arguments = [
            "diff-tree",
            "-r",
            "--no-renames",
            "--name-only",
            "-z",
            old,
            new,
        ];
        Ok(names(&self.ask(&arguments, &[])?))
    }

    /// Writes the history of `HEAD` to a bundle, without the commits in `without` and their
    /// ancestors. The same repository yields the same bytes.
    ///
    /// # Errors
    /// Git fails, or no commit remains.
    pub fn write_bundle(
        &self,
        to: &Utf8Path,
        branch: Option<&str>,
        without: &[String],
    ) -> Result<(), Absent> {
        let branch = branch.map(|branch| format!("refs/heads/{branch}"));
        let without: Vec<String> = without.iter().map(|commit| format!("^{commit}")).collect();
        let mut arguments = vec![
            // Several threads would yield different bytes each time.
            "-c",
            "pack.threads=1",
            "bundle",
            "create",
            "--quiet",
            to.as_str(),
            "HEAD",
        ];
        arguments.extend(branch.as_deref());
        arguments.extend(without.iter().map(String::as_str));
        let question = Question {
            with_errors: false,
            limit: LIMIT,
            ..Question::new(&arguments)
        };
        self.question(question).map(drop)
    }
}
