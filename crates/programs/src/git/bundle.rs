//! Writes the history of a workspace to a git bundle: one file that git clones and fetches from.

use std::time::Duration;

use camino::Utf8Path;

use super::{Absent, Git};
use crate::Error;

/// How long writing a bundle may take: a history of several gigabytes on a slow disk.
const LIMIT: Duration = Duration::from_secs(1800);

impl Git {
    /// Returns the branch that is checked out; none if a commit is.
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

    /// Returns whether a commit is the other one or among its ancestors. A commit that the
    /// repository lacks is not.
    pub fn is_ancestor(&self, older: &str, newer: &str) -> bool {
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let arguments = ["merge-base", "--is-ancestor", older, newer];
        is_name(older) && is_name(newer) && self.ask(&arguments, &[]).is_ok()
    }

    /// Returns the files that differ between a commit and what is checked out, relative to the
    /// repository's root.
    ///
    /// # Errors
    /// Git has no answer.
    pub fn differing(&self, commit: &str) -> Result<Vec<String>, Absent> {
        let arguments = [
            "diff-tree",
            "-r",
            "--no-renames",
            "--name-only",
            "-z",
            commit,
            "HEAD",
        ];
        let names = self.ask(&arguments, &[])?;
        let names = String::from_utf8_lossy(&names);
        Ok(names.split_terminator('\0').map(str::to_owned).collect())
    }

    /// Writes the history that is checked out to a bundle, without what `without` and its ancestors
    /// contain. The same repository gives the same bytes.
    ///
    /// # Errors
    /// Git cannot write it, or nothing is left to write.
    pub fn write_bundle(
        &self,
        to: &Utf8Path,
        branch: Option<&str>,
        without: &[String],
    ) -> Result<(), Absent> {
        let branch = branch.map(|branch| format!("refs/heads/{branch}"));
        let without: Vec<String> = without.iter().map(|commit| format!("^{commit}")).collect();
        let mut arguments = vec![
            // Several threads distribute the work differently each time.
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
        self.ask_within(LIMIT, &arguments, &[]).map(drop)
    }
}
