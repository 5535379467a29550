//! Why a release is not promoted.

use crate::Kind;

/// Why a release is not promoted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A promotion that makes no sense.
    #[error("cannot promote {from} to {to}")]
    Refused {
        /// The environment with the release.
        from: String,
        /// The environment that was to get it.
        to: String,
        /// Why not.
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
