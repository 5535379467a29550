//! Errors of a push.

use crate::Kind;

/// Errors of a push.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Some artifacts could not be pushed, or none. The others were pushed.
    #[error("{} of {} could not be pushed to {address}", failed.len(), environment::count(*total, "artifact"))]
    Failed {
        /// Address of the registry.
        address: String,
        /// Number of artifacts to push.
        total: usize,
        /// Counts of the content that was sent.
        sent: super::Sent,
        /// Failed artifacts with their causes. Several may share one cause.
        failed: Vec<(String, std::sync::Arc<registry::Error>)>,
    },
    /// The push stopped on request. The next run resumes uploads.
    #[error("stopped with {left} of {} still to be pushed to {address}", environment::count(*total, "artifact"))]
    Stopped {
        /// Address of the registry.
        address: String,
        /// Number of artifacts to push.
        total: usize,
        /// Number of artifacts that were not pushed.
        left: usize,
        /// Counts of complete content. The next run does not send it again.
        sent: super::Sent,
        /// Artifacts that had failed before the stop, with their causes.
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
