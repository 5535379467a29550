//! Why a secret must not be seen.

use super::Refused;
use crate::Kind;

/// Why a secret must not be seen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A secret would be visible to others, and the operator did not allow it.
    #[error("{} would be visible in the process list: {why}", flags.join(" and "))]
    VisibleSecrets {
        /// The flags that have secrets.
        flags: Vec<String>,
        /// Why it is not allowed.
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
