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
            Self::Failed { failed, total, .. } if failed.len() < *total => Kind::Partial,
            Self::Failed { failed, .. } => {
                let mut errors = failed.iter().map(|(_, error)| &**error);
                match errors.any(|error| matches!(error, registry::Error::Withheld)) {
                    true => Kind::Content,
                    false => Kind::Registry,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn damage_in_the_store_is_not_the_registrys_fault() {
        let failed = |error: fn() -> registry::Error, total| Error::Failed {
            address: "registry.example.com".to_owned(),
            total,
            sent: Default::default(),
            failed: vec![("pause:3.10".to_owned(), Arc::new(error()))],
        };
        let withheld = || registry::Error::Withheld;
        assert_eq!(failed(withheld, 1).kind(), Kind::Content);
        assert_eq!(failed(withheld, 2).kind(), Kind::Partial);
        let ended = || registry::Error::SourceEnded;
        assert_eq!(failed(ended, 1).kind(), Kind::Registry);
    }
}
