//! Why an environment must not be deployed to yet.

use crate::Kind;

/// Why an environment must not be deployed to yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the environment requires of another one has not happened.
    #[error("{environment} requires {requires}: {missing}")]
    Unmet {
        /// The environment.
        environment: String,
        /// The environment that it requires.
        requires: String,
        /// What is missing.
        missing: String,
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
