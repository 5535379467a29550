//! The note that mkectl is running. It is written before mkectl starts, and removed when the
//! receipt records the result.
//!
//! A note that a later run finds means that mkectl is still running, or that its result is unknown:
//! Airlock was killed, or could not write the receipt. The cluster may have only a part of the
//! change.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::workspace::{Output, read_if_exists, remove_if_exists, write_atomically};
use crate::{Error, Kind, receipt};

/// The contents of the note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    expecting = "the keys release, log and began",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub struct RunNote {
    /// The command of mkectl, such as `apply`.
    #[serde(default = "apply")]
    pub command: String,
    /// The release of that mkectl, `v4.1.5`.
    pub release: String,
    /// The log of that run, relative to the workspace.
    pub log: Utf8PathBuf,
    /// Start of the run, in UTC.
    pub began: String,
    /// Process id of mkectl; `None` until it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

/// A note that is not valid, so it is unknown whether mkectl is running, or how it ended. Airlock
/// writes notes atomically, so something else damaged the file.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is not a valid note, so it is unknown how the last run of mkectl ended")]
pub struct InvalidNote {
    /// Path of the note.
    pub path: Utf8PathBuf,
    source: serde_yaml::Error,
}

impl InvalidNote {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        Kind::Workspace
    }
}

impl RunNote {
    /// Reads the note, if one exists.
    ///
    /// # Errors
    /// The file cannot be read, or [`InvalidNote`] if it is not a note.
    pub fn read(output: &Output) -> Result<Option<Self>, Error> {
        let path = path(output);
        let text = read_if_exists(&path)?;
        let note = text.map(|text| redaction::yaml::read(&text)).transpose();
        note.map_err(|source| Error::RunNote(InvalidNote { path, source }))
    }

    /// Returns whether that mkectl is still running.
    pub fn is_running(&self) -> bool {
        self.process.is_some_and(programs::is_running)
    }

    /// Returns a sentence for the operator about the running or interrupted mkectl.
    pub fn message(&self) -> String {
        let Self {
            command,
            release,
            log,
            began,
            ..
        } = self;
        if self.is_running() {
            return format!(
                "`mkectl {command}` for {release} is still running, since {began}; its log is {log}"
            );
        }
        format!(
            "`mkectl {command}` for {release} began at {began}, and Airlock ended before it recorded the result; its log \
             is {log}"
        )
    }

    pub(crate) fn write(&self, output: &Output) -> Result<(), Error> {
        let path = path(output);
        let text = serde_yaml::to_string(self).map_err(|source| receipt::Error::File {
            path: path.clone(),
            source,
        })?;
        write_atomically(&path, &text)
    }
}

/// Removes the note of the run with this log. The note of an earlier run, whose result is unknown,
/// stays.
pub(crate) fn remove(output: &Output, log: &Utf8Path) -> Result<(), Error> {
    if RunNote::read(output)?.is_some_and(|note| note.log != log) {
        return Ok(());
    }
    remove_if_exists(&path(output))
}

/// Returns the path of the note: beside the logs, which are not committed either.
pub(crate) fn path(output: &Output) -> Utf8PathBuf {
    Utf8Path::join(&output.logs, "under-way.yaml")
}

/// The command of notes by earlier versions, which do not name it.
fn apply() -> String {
    "apply".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_note_names_the_expected_keys() {
        let damaged = redaction::yaml::read::<RunNote>("garbage").unwrap_err();
        assert_eq!(
            damaged.to_string(),
            "invalid type: string, expected the keys release, log and began"
        );
    }
}
