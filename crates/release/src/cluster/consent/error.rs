//! Errors of asking for consent.

use super::Refused;
use crate::Kind;

/// A refusal to make a secret visible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A secret would be visible to others, and the operator did not allow it.
    #[error("{} would be visible in the process list: {why}", flags.join(" and "))]
    VisibleSecrets {
        /// The flags that have secrets.
        flags: Vec<String>,
        /// Why the operator did not allow it.
        why: Refused,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::VisibleSecrets { .. } => Kind::NotAllowed,
        }
    }
}
