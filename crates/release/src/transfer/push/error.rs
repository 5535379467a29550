//! Why a push is not complete.

use crate::Kind;

/// Why a push is not complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Some artifacts could not be pushed. The others were.
    #[error("{} of {} could not be pushed to {address}", failed.len(), environment::count(*total, "artifact"))]
    Failed {
        /// The registry.
        address: String,
        /// How many were to be pushed.
        total: usize,
        /// What was sent nevertheless.
        sent: super::Sent,
        /// Which ones failed, and why. One reason may have stopped several of them.
        failed: Vec<(String, std::sync::Arc<registry::Error>)>,
    },
    /// A push was asked to stop, and did. Nothing of what was begun is lost.
    #[error("stopped with {left} of {} still to be pushed to {address}", environment::count(*total, "artifact"))]
    Stopped {
        /// The registry.
        address: String,
        /// How many artifacts were to be pushed.
        total: usize,
        /// How many of them were not.
        left: usize,
        /// What was sent and is complete. The next run does not send it again.
        sent: super::Sent,
        /// Those among them that had failed before, and why.
        failed: Vec<(String, std::sync::Arc<registry::Error>)>,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Stopped { .. } => Kind::Partial,
            Self::Failed { failed, total, .. } => match failed.len() < *total {
                true => Kind::Partial,
                false => Kind::Registry,
            },
        }
    }
}
