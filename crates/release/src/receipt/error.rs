//! Errors of reading and writing a receipt.

use camino::Utf8PathBuf;

use crate::Kind;

/// A failure to read or write a receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The receipt cannot be read or written.
    #[error("`{path}` is not a receipt")]
    File {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The failure to parse or write it.
        source: serde_yaml::Error,
    },
    /// The receipt has the markers of an unresolved merge conflict.
    #[error("a merge conflict in `{path}` is not resolved")]
    Conflict {
        /// Path of the file.
        path: Utf8PathBuf,
    },
    /// The receipt has a format version that this version of Airlock does not support.
    #[error(
        "`{path}` is a receipt of version {version}, which this version of Airlock does not support"
    )]
    Version {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The format version in the file.
        version: u32,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Conflict { .. } | Self::Version { .. } => Kind::Workspace,
        }
    }
}
