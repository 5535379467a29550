//! Errors of writing and reading a medium.

use std::io;

use camino::Utf8PathBuf;

use crate::Manifest;

/// A medium cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// The operation: `read`, `write`, `create` or `remove`.
        action: &'static str,
        /// Path of the file.
        path: Utf8PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Reading or writing the stream failed, or the stream ended early.
    #[error("cannot {action} the stream")]
    Stream {
        /// `read` or `write`.
        action: &'static str,
        /// Error of the operating system or of the tar reader.
        source: io::Error,
    },
    /// The stream is not a tar archive, or does not begin with a manifest.
    #[error("the stream is not a medium: it does not begin with a manifest")]
    NoMedium,
    /// The manifest is not YAML, or has unknown keys.
    #[error("the manifest of the medium is not valid")]
    Manifest {
        /// Error of the parser.
        source: serde_yaml::Error,
    },
    /// The manifest has a different format.
    #[error(
        "the manifest of the medium has format {found}; this version of Airlock supports {}",
        Manifest::FORMAT
    )]
    Format {
        /// The format in the manifest.
        found: u32,
    },
    /// The manifest contradicts itself.
    #[error("the manifest of the medium is not valid: {0}")]
    Contradiction(Contradiction),
    /// A folder has no part of a medium.
    #[error("`{path}` contains no medium")]
    NotFound {
        /// Path of the folder.
        path: Utf8PathBuf,
    },
    /// A folder that the operator named does not exist.
    #[error("`{path}` does not exist")]
    NoFolder {
        /// Path of the folder.
        path: Utf8PathBuf,
    },
    /// The operator named a file, but a medium is a folder.
    #[error("`{path}` is a file, not the folder of a medium")]
    File {
        /// Path of the file.
        path: Utf8PathBuf,
    },
    /// The folders contain volumes of different packs.
    #[error("`{path}` belongs to a different pack than `{first}`")]
    OtherPack {
        /// A folder of the second pack.
        path: Utf8PathBuf,
        /// A folder of the first pack.
        first: Utf8PathBuf,
    },
    /// No copy of the manifest has the hash that the volumes name.
    #[error("every copy of the manifest is damaged or missing, the first in `{path}`")]
    NoManifest {
        /// Path of the first folder.
        path: Utf8PathBuf,
    },
    /// The output folder has a complete medium of a different pack.
    #[error("`{path}` already contains a different medium")]
    Occupied {
        /// Path of the folder.
        path: Utf8PathBuf,
    },
    /// The output folder has a file with a medium's name that `pack` did not write.
    #[error("`{path}` has a file `{name}` that is not of a medium")]
    Foreign {
        /// Path of the folder.
        path: Utf8PathBuf,
        /// Name of the file.
        name: &'static str,
    },
    /// The content of a source has a different hash than before.
    #[error("`{path}` is not what was expected: its content has SHA-256 {found}")]
    Changed {
        /// Path of the source.
        path: Utf8PathBuf,
        /// SHA-256 of its content now.
        found: String,
    },
    /// A piece is missing, cut off or damaged.
    #[error("piece {sha256} of volume {volume} is {fault}")]
    Piece {
        /// SHA-256 of the piece.
        sha256: String,
        /// Number of its volume.
        volume: u32,
        /// The kind of damage.
        fault: crate::Fault,
    },
    /// The largest piece does not fit into a volume.
    #[error("a volume of {} is too small: {} are required", iec(*limit), iec(*needed))]
    SmallVolume {
        /// Given size of a volume in bytes.
        limit: u64,
        /// Smallest usable size in bytes.
        needed: u64,
    },
    /// The signature is not accepted.
    #[error(transparent)]
    Signature(#[from] crate::SignatureError),
    /// The operator stopped the run.
    #[error("stopped")]
    Stopped,
}

/// Formats a size in IEC units, as the operator types the size of a volume.
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

    /// Returns whether a full disk or a quota caused the error.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } | Self::Stream { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// How a manifest contradicts itself. Pieces and contents are named by their SHA-256.
#[derive(Debug, thiserror::Error)]
pub enum Contradiction {
    /// The manifest is not UTF-8 text.
    #[error("it is not UTF-8 text")]
    Text,
    /// A hash is not a SHA-256.
    #[error("`{0}` is not a SHA-256")]
    Hash(String),
    /// A file beside the manifest has a name other than `START.txt` and `airlock`.
    #[error("`{0}` does not belong beside it")]
    File(String),
    /// The pieces of a content add up to a different size.
    #[error("the pieces of `{0}` have a different size")]
    Size(String),
    /// The only piece of a content has a different hash than the content.
    #[error("the piece of `{0}` has a different SHA-256")]
    OnlyPiece(String),
    /// The pieces of a content together have a different hash.
    #[error("the pieces of `{0}` make up something else")]
    Content(String),
    /// A piece is larger than 1 GiB.
    #[error("the piece `{0}` is larger than 1 GiB")]
    LargePiece(String),
    /// A piece is listed twice, with different sizes or volumes.
    #[error("the piece `{0}` is listed differently")]
    Piece(String),
    /// The volume of a piece does not exist.
    #[error("the piece `{0}` is in no volume")]
    NoVolume(String),
    /// The number or size of a volume's pieces differs from its entry.
    #[error("volume {0} does not have what is listed")]
    Volume(u32),
}
