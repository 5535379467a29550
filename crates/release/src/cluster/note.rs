//! The note beside a backup: which mkectl wrote it, since only that build restores it, and what the
//! cluster ran then.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::workspace::{read_if_there, write_whole};
use crate::{Error, cluster, receipt};

/// What the note says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Note {
    /// The version of this file's format.
    pub version: u32,
    /// The environment whose cluster it is of.
    pub environment: String,
    /// The size of the archive in bytes.
    pub size: u64,
    /// The SHA-256 of the archive.
    pub sha256: String,
    /// The mkectl that wrote it.
    pub mkectl: receipt::RecordedProgram,
    /// When, in UTC.
    pub when: String,
    /// The version of Airlock.
    pub airlock: String,
    /// What the cluster ran then, by the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<receipt::Applied>,
}

impl Note {
    /// The format that this version writes and reads.
    pub const VERSION: u32 = 1;

    /// Returns where the note of an archive is.
    pub fn path(archive: &Utf8Path) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{archive}.yaml"))
    }

    /// Reads the note of an archive.
    ///
    /// # Errors
    /// There is none, or it is not one that this version knows.
    pub fn read(archive: &Utf8Path) -> Result<Self, Error> {
        let path = Self::path(archive);
        let Some(text) = read_if_there(&path)? else {
            return Err(cluster::Error::NoNote { path }.into());
        };
        let note: Self = match redaction::yaml::read(&text) {
            Ok(note) => note,
            Err(source) => return Err(cluster::Error::Note { path, source }.into()),
        };
        match note.version {
            Self::VERSION => Ok(note),
            version => Err(cluster::Error::NoteVersion { path, version }.into()),
        }
    }

    /// Writes the note of an archive.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, archive: &Utf8Path) -> Result<(), Error> {
        let path = Self::path(archive);
        let yaml = redaction::yaml::write(self, &[]).map_err(|source| cluster::Error::Note {
            path: path.clone(),
            source,
        })?;
        let text = format!(
            "# Written by `cluster backup`: keep it beside the archive, which only this mkectl restores.\n{yaml}"
        );
        write_whole(&path, &text)
    }
}
