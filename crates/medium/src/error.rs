//! What can be wrong with a medium.

use std::io;

use camino::Utf8PathBuf;

use crate::Manifest;

/// Why a medium cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refuses something.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was to be done: `read`, `write`, `create`, `remove`.
        action: &'static str,
        /// With which file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The stream ends early or cannot be read or written.
    #[error("cannot {action} the stream")]
    Stream {
        /// `read` or `write`.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The stream is not a tar, or does not begin with a manifest.
    #[error("the stream is not a medium: it does not begin with a manifest")]
    NoMedium,
    /// The manifest is not YAML, or has unknown keys.
    #[error("the manifest of the medium is not valid")]
    Manifest {
        /// Why not.
        source: serde_yaml::Error,
    },
    /// The manifest has a different format.
    #[error(
        "the manifest of the medium has format {found}; this version of Airlock supports {}",
        Manifest::FORMAT
    )]
    Format {
        /// The format that it has.
        found: u32,
    },
    /// The manifest contradicts itself.
    #[error("the manifest of the medium is not valid: {what}")]
    Contradiction {
        /// How.
        what: String,
    },
    /// A folder contains no medium.
    #[error("`{path}` contains no medium")]
    NotFound {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// What was named does not exist.
    #[error("`{path}` does not exist")]
    NoFolder {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// What was named is a file, and a medium is a folder.
    #[error("`{path}` is a file, not the folder of a medium")]
    File {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The folders contain volumes of different packs.
    #[error("`{path}` belongs to a different pack than `{first}`")]
    OtherPack {
        /// The folder.
        path: Utf8PathBuf,
        /// The first folder.
        first: Utf8PathBuf,
    },
    /// No copy of the manifest is what the volumes name.
    #[error("every copy of the manifest is damaged or missing, the first in `{path}`")]
    NoManifest {
        /// The first folder.
        path: Utf8PathBuf,
    },
    /// The folder that is written has a complete medium of a different pack.
    #[error("`{path}` already contains a different medium")]
    Occupied {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// The folder that is written has files under the names of a medium's that no pack wrote.
    #[error("`{path}` has a file `{name}` that is not of a medium")]
    Foreign {
        /// The folder.
        path: Utf8PathBuf,
        /// The file.
        name: &'static str,
    },
    /// A source no longer has the content that it had, or that its name promises.
    #[error("`{path}` is not what was expected: its content has SHA-256 {found}")]
    Changed {
        /// The source.
        path: Utf8PathBuf,
        /// What it has.
        found: String,
    },
    /// A piece is missing, cut off or damaged.
    #[error("piece {sha256} of volume {volume} is {fault}")]
    Piece {
        /// Its name.
        sha256: String,
        /// Its volume.
        volume: u32,
        /// What is wrong.
        fault: crate::Fault,
    },
    /// The largest piece does not fit into a volume.
    #[error("a volume of {} is too small: {} are required", iec(*limit), iec(*needed))]
    SmallVolume {
        /// The limit in bytes.
        limit: u64,
        /// What is needed in bytes.
        needed: u64,
    },
    /// The signature does not permit use.
    #[error(transparent)]
    Signature(#[from] crate::SignatureError),
    /// The run was stopped.
    #[error("stopped")]
    Stopped,
}

/// Returns a size in the units that the size of a volume is written in.
fn iec(bytes: u64) -> bytesize::Display {
    bytesize::ByteSize(bytes).display().iec()
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: &camino::Utf8Path,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Returns whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } | Self::Stream { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
