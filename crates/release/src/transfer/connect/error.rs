//! Reasons for which a registry cannot be used.

use crate::Kind;

/// Reasons for which a registry, or credentials for it or a cluster, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request to the registry failed.
    #[error("registry {address} cannot be used")]
    Registry {
        /// Address of the registry.
        address: String,
        /// Cause.
        source: registry::Error,
    },
    /// The registry refuses nodes.
    #[error("registry {address} {}", refused(repository, source))]
    PullRefused {
        /// Address of the registry.
        address: String,
        /// A repository that was refused.
        repository: String,
        /// Response of the registry.
        source: registry::Error,
    },
    /// Credentials for the registry are not available.
    #[error("no credentials for registry {address}")]
    Credentials {
        /// Address of the registry.
        address: String,
        /// Cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The credentials of MKE 3's administrator are not available.
    #[error("no credentials for the MKE 3 cluster of {environment}")]
    Mke3Credentials {
        /// Name of the environment.
        environment: String,
        /// Cause.
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

/// Returns the predicate of the message: the registry refuses the login of nodes, or a repository.
fn refused(repository: &str, source: &registry::Error) -> String {
    match source.place().is_some_and(|place| place.user.is_some()) {
        true if source.refuses_login() => "refuses the login of nodes".to_owned(),
        true => format!("does not serve {repository} with the credentials of nodes"),
        false => format!("does not serve {repository} without credentials"),
    }
}
