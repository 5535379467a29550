//! Why an inventory cannot be used.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why an inventory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that was given as an inventory is none.
    #[error("{path} is no inventory")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: serde_yaml::Error,
    },
    /// An inventory is of a format that this version does not know.
    #[error(
        "{path} is an inventory of version {version}, which this version of Airlock does not know"
    )]
    Version {
        /// The file.
        path: Utf8PathBuf,
        /// Its format's version.
        version: u32,
    },
    /// An inventory is of another registry.
    #[error("the inventory is of {found}, and the environment's registry is {wanted}")]
    OtherRegistry {
        /// The inventory's registry.
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
