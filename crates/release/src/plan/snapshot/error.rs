//! Errors of reading a registry snapshot.

use camino::Utf8PathBuf;

use crate::Kind;

/// A failure to use a registry snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that was given as a registry snapshot is not one.
    #[error("`{path}` is not a registry snapshot")]
    File {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The failure to parse or write it.
        source: serde_yaml::Error,
    },
    /// A registry snapshot has a format version that this version of Airlock does not support.
    #[error(
        "`{path}` is a registry snapshot of version {version}, which this version of Airlock does not support"
    )]
    Version {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The format version in the file.
        version: u32,
    },
    /// A registry snapshot is of a different registry.
    #[error("the snapshot is of {found}, but the environment's registry is {wanted}")]
    OtherRegistry {
        /// The environment's name.
        environment: String,
        /// Registry and project of the snapshot.
        found: String,
        /// Registry and project of the environment.
        wanted: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Version { .. } | Self::OtherRegistry { .. } => {
                Kind::Workspace
            }
        }
    }
}
