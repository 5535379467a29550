//! Why a registry cannot be used.

use crate::Kind;

/// Why a registry, or the credentials for it or for a cluster, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry cannot be used.
    #[error("registry {address} cannot be used")]
    Registry {
        /// Its address.
        address: String,
        /// Why.
        source: registry::Error,
    },
    /// Nodes would not get what push credentials can read.
    #[error("registry {address} {}", refused(repository, source))]
    PullRefused {
        /// The registry.
        address: String,
        /// The first repository that was refused.
        repository: String,
        /// What the registry answered.
        source: registry::Error,
    },
    /// Credentials for the registry are not available.
    #[error("no credentials for registry {address}")]
    Credentials {
        /// The registry.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The credentials of MKE 3's administrator are not available.
    #[error("no credentials for the MKE 3 cluster of {environment}")]
    Mke3Credentials {
        /// The environment.
        environment: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Registry { .. } | Self::PullRefused { .. } => Kind::Registry,
            Self::Credentials { .. } | Self::Mke3Credentials { .. } => Kind::Workspace,
        }
    }
}

/// Returns what a registry refuses to nodes: their login, or a repository.
fn refused(repository: &str, source: &registry::Error) -> String {
    match source.place().is_some_and(|place| place.user.is_some()) {
        true if source.refuses_login() => "refuses the login of nodes".to_owned(),
        true => format!("does not serve {repository} with the credentials of nodes"),
        false => format!("does not serve {repository} without credentials"),
    }
}
