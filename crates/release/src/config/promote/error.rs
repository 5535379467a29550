//! Errors of promoting a release.

use crate::Kind;

/// A release cannot be promoted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The promotion is refused.
    #[error("cannot promote {from} to {to}")]
    Refused {
        /// Environment with the release.
        from: String,
        /// Environment that the release would be written to.
        to: String,
        /// The reason.
        source: Box<super::Refusal>,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { .. } => Kind::Workspace,
        }
    }
}
