//! Why nodes would not get what a lock names.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why nodes would not get what a lock names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry does not serve what the lock names.
    #[error("registry {address} does not serve what the lock names")]
    NotConfirmed {
        /// The environment.
        environment: String,
        /// The registry.
        address: String,
        /// What is wrong, each thing once.
        findings: Vec<super::Finding>,
    },
    /// Everything that was missing was put back, and the registry still serves something else.
    #[error("registry {address} does not serve what the lock names, even after the repair")]
    NotRepaired {
        /// The environment.
        environment: String,
        /// The registry.
        address: String,
        /// What is wrong still, each thing once.
        findings: Vec<super::Finding>,
    },
    /// An `mke4.yaml` does not say where nodes pull from.
    #[error("`{path}` does not specify where nodes pull from: {}", wrong.join("; "))]
    NoPulls {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        wrong: Vec<String>,
    },
    /// Nodes pull from a registry that is not the environment's, so nothing can be sent there.
    #[error(
        "`{path}` makes nodes pull from {url}, but the registry of {environment} is {registry}"
    )]
    PullsElsewhere {
        /// The file.
        path: Utf8PathBuf,
        /// The environment.
        environment: String,
        /// What the file has.
        url: String,
        /// What the environment has.
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
