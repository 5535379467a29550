//! Errors of verifications and repairs.

use camino::Utf8PathBuf;

use crate::Kind;

/// Errors of verifications and repairs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry does not serve locked content.
    #[error("registry {address} does not serve what the lock names")]
    NotConfirmed {
        /// Name of the environment.
        environment: String,
        /// Registry and project.
        address: String,
        /// Each difference once.
        findings: Vec<super::Finding>,
    },
    /// Everything was restored, but the registry still serves different content.
    #[error("registry {address} does not serve what the lock names, even after the repair")]
    NotRepaired {
        /// Name of the environment.
        environment: String,
        /// Registry and project.
        address: String,
        /// Each remaining difference once.
        findings: Vec<super::Finding>,
    },
    /// An `mke4.yaml` does not specify the registries that nodes pull from.
    #[error("`{path}` does not specify where nodes pull from: {}", wrong.join("; "))]
    NoPulls {
        /// Path of `mke4.yaml`, relative to the workspace.
        path: Utf8PathBuf,
        /// Problems of the file.
        wrong: Vec<String>,
    },
    /// Nodes pull from a different registry than the environment's, so a push would not reach them.
    #[error(
        "`{path}` makes nodes pull from {url}, but the registry of {environment} is {registry}"
    )]
    PullsElsewhere {
        /// Path of `mke4.yaml`, relative to the workspace.
        path: Utf8PathBuf,
        /// Name of the environment.
        environment: String,
        /// Registry and project in the file.
        url: String,
        /// Registry and project of the environment.
        registry: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotConfirmed { .. } | Self::NotRepaired { .. } => Kind::Registry,
            Self::NoPulls { .. } | Self::PullsElsewhere { .. } => Kind::Workspace,
        }
    }
}
