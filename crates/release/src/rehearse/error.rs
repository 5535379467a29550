//! Why a rehearsal cannot begin.

use crate::Kind;

/// Why a rehearsal cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The embedded registry cannot be started.
    #[error("the embedded registry cannot be started at {address}")]
    Registry {
        /// Where it was to listen.
        address: String,
        /// Why.
        source: registry::embedded::EmbeddedError,
    },
    /// A rehearsal's registry requires an IP address to listen on.
    #[error("a rehearsal's registry.address must be an IP address with a port, not {address}")]
    Address {
        /// What was given.
        address: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Registry { .. } => Kind::Registry,
            Self::Address { .. } => Kind::Workspace,
        }
    }
}
