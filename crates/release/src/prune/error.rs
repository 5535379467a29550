//! Why a removal cannot be planned or done.

use crate::Kind;
use crate::shared_state::Conflict;
use camino::Utf8PathBuf;

/// Why nothing is removed, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The lock of a release that a cluster runs was not found, so what it needs is unknown.
    #[error(
        "{environment} needs {release}, and its lock was not found: `{path}` is not in the workspace or in git's history"
    )]
    LockUnknown {
        /// The environment.
        environment: String,
        /// The release.
        release: String,
        /// Where its lock would be.
        path: Utf8PathBuf,
    },
    /// The lock of a release that the registry records for an environment was not found, so what it needs is unknown.
    #[error(
        "{reference} records {release}, and its lock was not found: `{path}` with SHA-256 {lock} is not in the workspace or in git's history"
    )]
    RecordedLockUnknown {
        /// The repository and tag of the shared state.
        reference: String,
        /// The release.
        release: String,
        /// Where its lock would be.
        path: Utf8PathBuf,
        /// SHA-256 of its lock.
        lock: String,
    },
    /// This checkout lacks a deploy that the registry records, so what its cluster needs is unknown.
    #[error(transparent)]
    SharedState(#[from] Conflict),
    /// The plan of a removal cannot be read or written.
    #[error("`{path}` is not a prune plan")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: serde_yaml::Error,
    },
    /// The plan of a removal is of a different environment.
    #[error("`{path}` is a prune plan for {planned}, not for {environment}")]
    OtherEnvironment {
        /// The file.
        path: Utf8PathBuf,
        /// The environment that it is for.
        planned: String,
        /// The environment that was named.
        environment: String,
    },
    /// The plan of a removal does not hold any more. Nothing was removed.
    #[error("the plan `{path}` is outdated: {}", moved.join("; "))]
    Refused {
        /// The environment that it is for.
        environment: String,
        /// The file.
        path: Utf8PathBuf,
        /// What has moved since.
        moved: Vec<String>,
    },
    /// The registry removes no manifests, or is set up so.
    #[error("registry {address} does not remove manifests: {} removed", environment::count(*removed, "tag"))]
    RemovesNothing {
        /// The registry.
        address: String,
        /// How many tags are gone.
        removed: usize,
    },
    /// Some of what was to be removed is still there.
    #[error("{removed} of {} removed from {address}", environment::count(*total, "tag"))]
    NotRemoved {
        /// The registry.
        address: String,
        /// How many tags are gone.
        removed: usize,
        /// How many were to be removed.
        total: usize,
        /// What is still there, and why.
        failed: Vec<(String, String)>,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::LockUnknown { .. } | Self::RecordedLockUnknown { .. } | Self::File { .. } => {
                Kind::Workspace
            }
            Self::Refused { .. } => Kind::Outdated,
            Self::SharedState(conflict) => conflict.kind(),
            Self::OtherEnvironment { .. } => Kind::Usage,
            Self::RemovesNothing { .. } | Self::NotRemoved { .. } => Kind::Registry,
        }
    }
}
