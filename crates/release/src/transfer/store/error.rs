//! Reasons for which a garbage collection is refused.

use crate::Kind;

/// Reasons for which a garbage collection is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Committed locks are missing from the working tree, probably by mistake. Their blobs would be
    /// removed.
    #[error(
        "{} committed, but missing from the working tree",
        match locks.as_slice() {
            [lock] => format!("{lock} is"),
            locks => format!("{} are", locks.join(", ")),
        }
    )]
    LocksMissing {
        /// Paths of the locks, relative to the workspace.
        locks: Vec<String>,
    },
    /// The workspace is in a git repository, but git cannot list missing locks.
    #[error("cannot see whether committed locks are missing from the working tree")]
    GitRefused {
        /// Cause.
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
