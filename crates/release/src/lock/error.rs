//! Why a bundle is not locked as a release.

use camino::Utf8PathBuf;

use super::Changes;
use crate::Kind;

/// Why a lock is not written.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The bundle's URL is not valid.
    #[error(transparent)]
    Url(bundle::RequestError),
    /// The bundle is of a different release or architecture.
    #[error("this bundle is not {release} for {arch}: {}", contradictions.join("; "))]
    WrongRelease {
        /// The release that was to be locked.
        release: String,
        /// The architecture.
        arch: String,
        /// What contradicts.
        contradictions: Vec<String>,
    },
    /// A different lock is committed.
    #[error("{path} {}", if *is_same_bundle {
        "locks the same bundle, but differs in other keys"
    } else {
        "locks a different bundle"
    })]
    Differs {
        /// The committed lock.
        path: Utf8PathBuf,
        /// Whether only something beside the bundle differs, such as what mkectl prints.
        is_same_bundle: bool,
        /// What differs, if the committed lock is valid.
        changes: Changes,
        /// All lines that differ, as a unified diff, if it was requested.
        diff: Option<String>,
    },
}

impl Refusal {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Url(_) => Kind::Usage,
            Self::WrongRelease { .. } => Kind::Content,
            Self::Differs { is_same_bundle, .. } => match is_same_bundle {
                true => Kind::Workspace,
                false => Kind::Content,
            },
        }
    }
}
