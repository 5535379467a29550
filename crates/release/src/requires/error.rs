//! Errors of a requirement that is not met.

use super::Unmet;
use crate::Kind;

/// A deploy that is not allowed yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The requirement on a different environment is not met.
    #[error("{environment} requires {}: {unmet}", unmet.environment)]
    Unmet {
        /// The environment's name.
        environment: String,
        /// The requirement.
        unmet: Unmet,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unmet { .. } => Kind::NotAllowed,
        }
    }
}
