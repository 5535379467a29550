//! The note that mkectl is running: written before it starts, removed when the receipt records how
//! it ended.
//!
//! A note that is found means that the program was killed while mkectl ran, or could not write the
//! receipt: the cluster may be anywhere between two states.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::workspace::{Output, read_if_there, write_whole};
use crate::{Error, Kind, receipt};

/// What the note says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UnderWay {
    /// The command of mkectl, `apply`.
    #[serde(default = "apply")]
    pub command: String,
    /// The release whose mkectl it is, `v4.1.5`.
    pub release: String,
    /// The log of that run, relative to the workspace.
    pub log: Utf8PathBuf,
    /// When it began, in UTC.
    pub began: String,
    /// The process id of mkectl, once it had started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

/// A note that is not valid: whether mkectl is running, or how it ended, is unknown. Airlock
/// replaces the file by a rename, so it did not write it so.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is not a valid note, so it is unknown how the last run of mkectl ended")]
pub struct InvalidNote {
    /// The note.
    pub path: Utf8PathBuf,
    /// Why not.
    source: serde_yaml::Error,
}

impl InvalidNote {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        Kind::Workspace
    }
}

impl UnderWay {
    /// Reads the note, if one exists.
    ///
    /// # Errors
    /// The file cannot be read, or is not a note.
    pub fn read(output: &Output) -> Result<Option<Self>, Error> {
        let path = path(output);
        let text = read_if_there(&path)?;
        let note = text.map(|text| redaction::yaml::read(&text)).transpose();
        note.map_err(|source| Error::UnderWay(InvalidNote { path, source }))
    }

    /// Returns whether that mkectl is still at work.
    pub fn is_running(&self) -> bool {
        self.process.is_some_and(programs::is_running)
    }

    /// Returns the message about it.
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
        write_whole(&path, &text)
    }
}

/// Removes the note of the run with this log, because the receipt records the rest. The note of an
/// earlier run with an unknown end stays.
pub(crate) fn remove(output: &Output, log: &Utf8Path) -> Result<(), Error> {
    if UnderWay::read(output)?.is_some_and(|note| note.log != log) {
        return Ok(());
    }
    let path = path(output);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", &path, source))
        }
        _ => Ok(()),
    }
}

/// Returns where the note is: beside the logs, which are not committed either.
pub(crate) fn path(output: &Output) -> Utf8PathBuf {
    Utf8Path::join(&output.logs, "under-way.yaml")
}

/// The command of notes that do not name it.
fn apply() -> String {
    "apply".to_owned()
}
