//! Why an environment must not be deployed to yet.

use super::Unmet;
use crate::Kind;

/// Why an environment must not be deployed to yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the environment requires of another one has not happened.
    #[error("{environment} requires {}: {unmet}", unmet.environment)]
    Unmet {
        /// The environment.
        environment: String,
        /// What it requires, and what is missing.
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
