//! The note beside a backup. It records the mkectl that wrote the backup, since only that build can
//! restore it, and the release that the cluster ran.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::workspace::{read_if_exists, write_atomically};
use crate::{Error, cluster, receipt};

/// The contents of the note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Note {
    /// Version of the file format.
    pub version: u32,
    /// The environment of the cluster.
    pub environment: String,
    /// Size of the archive in bytes.
    pub size: u64,
    /// SHA-256 of the archive.
    pub sha256: String,
    /// The mkectl that wrote the archive.
    pub mkectl: receipt::RecordedProgram,
    /// Time of the backup, in UTC.
    pub when: String,
    /// The version of Airlock.
    pub airlock: String,
    /// The last successful deploy in the receipt at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<receipt::Applied>,
}

impl Note {
    /// The format that this version writes and reads.
    pub const VERSION: u32 = 1;

    /// Returns the path of an archive's note: the archive's path with `.yaml` appended.
    pub fn path(archive: &Utf8Path) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{archive}.yaml"))
    }

    /// Reads the note of an archive.
    ///
    /// # Errors
    /// [`cluster::Error::NoNote`] if it does not exist, and [`cluster::Error::Note`] or
    /// [`cluster::Error::NoteVersion`] if it is not a note of this format.
    pub fn read(archive: &Utf8Path) -> Result<Self, Error> {
        let path = Self::path(archive);
        let Some(text) = read_if_exists(&path)? else {
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
    pub(crate) fn write(&self, archive: &Utf8Path) -> Result<(), Error> {
        let path = Self::path(archive);
        let yaml = redaction::yaml::write(self, &[]).map_err(|source| cluster::Error::Note {
            path: path.clone(),
            source,
        })?;
        let text = format!(
            "# Written by `cluster backup`: keep it beside the archive, which only this mkectl restores.\n{yaml}"
        );
        write_atomically(&path, &text)
    }
}
