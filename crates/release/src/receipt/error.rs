//! Why a receipt cannot be used.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why a receipt cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The receipt cannot be read or written.
    #[error("`{path}` is not a receipt")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: serde_yaml::Error,
    },
    /// The receipt is of a format that this version does not know.
    #[error(
        "`{path}` is a receipt of version {version}, which this version of Airlock does not support"
    )]
    Version {
        /// The file.
        path: Utf8PathBuf,
        /// Its format's version.
        version: u32,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Version { .. } => Kind::Workspace,
        }
    }
}
