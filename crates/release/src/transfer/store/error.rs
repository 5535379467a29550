//! Why nothing is removed from the store.

use crate::Kind;

/// Why nothing is removed from the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Locks are missing by mistake, so what they name is needed.
    #[error(
        "{} committed, but missing from the working tree",
        match locks.as_slice() {
            [lock] => format!("{lock} is"),
            locks => format!("{} are", locks.join(", ")),
        }
    )]
    LocksMissing {
        /// The locks, relative to the workspace.
        locks: Vec<String>,
    },
    /// A repository is here, and git does not say whether a lock is missing.
    #[error("cannot see whether committed locks are missing from the working tree")]
    GitRefused {
        /// Why.
        source: programs::Absent,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::LocksMissing { .. } | Self::GitRefused { .. } => Kind::NotAllowed,
        }
    }
}
