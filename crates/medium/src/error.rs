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
    #[error("the manifest of the medium is not valid: {0}")]
    Contradiction(Contradiction),
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

/// How a manifest contradicts itself. Pieces and contents are named by their SHA-256.
#[derive(Debug, thiserror::Error)]
pub enum Contradiction {
    /// It is not text.
    #[error("it is not UTF-8 text")]
    Text,
    /// A hash is not one.
    #[error("`{0}` is not a SHA-256")]
    Hash(String),
    /// A file beside the manifest has a name that it cannot have.
    #[error("`{0}` does not belong beside it")]
    File(String),
    /// The pieces of a content add up to a different size.
    #[error("the pieces of `{0}` have a different size")]
    Size(String),
    /// The only piece of a content is not that content.
    #[error("the piece of `{0}` has a different SHA-256")]
    OnlyPiece(String),
    /// The pieces of a content together are not that content.
    #[error("the pieces of `{0}` make up something else")]
    Content(String),
    /// A piece is too large.
    #[error("the piece `{0}` is larger than 1 GiB")]
    LargePiece(String),
    /// A piece is listed twice, and not in the same way.
    #[error("the piece `{0}` is listed differently")]
    Piece(String),
    /// A piece is in no volume.
    #[error("the piece `{0}` is in no volume")]
    NoVolume(String),
    /// A volume has other pieces than it records.
    #[error("volume {0} does not have what is listed")]
    Volume(u32),
}
