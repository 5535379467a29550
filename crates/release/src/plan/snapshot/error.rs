//! Why a registry snapshot cannot be used.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why a registry snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that was given as a registry snapshot is not one.
    #[error("`{path}` is not a registry snapshot")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: serde_yaml::Error,
    },
    /// A registry snapshot is of a format that this version does not know.
    #[error(
        "`{path}` is a registry snapshot of version {version}, which this version of Airlock does not support"
    )]
    Version {
        /// The file.
        path: Utf8PathBuf,
        /// Its format's version.
        version: u32,
    },
    /// A registry snapshot is of a different registry.
    #[error("the snapshot is of {found}, but the environment's registry is {wanted}")]
    OtherRegistry {
        /// The environment.
        environment: String,
        /// The registry of the snapshot.
        found: String,
        /// The environment's.
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
