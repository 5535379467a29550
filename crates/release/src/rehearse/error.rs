//! Errors of starting a rehearsal.

use crate::Kind;

/// A failure to start a rehearsal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The embedded registry cannot be started.
    #[error("the embedded registry cannot be started at {address}")]
    Registry {
        /// The address to listen on.
        address: String,
        /// The failure to start it.
        source: registry::embedded::EmbeddedError,
    },
    /// The registry's address in a rehearsal is not an IP address with a port.
    #[error("a rehearsal's registry.address must be an IP address with a port, not {address}")]
    Address {
        /// The address in the environment.
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
