//! Errors of planning and executing a removal.

use camino::Utf8PathBuf;

use crate::shared_state::Conflict;
use crate::{Kind, RegistryError};

/// A failure to plan or execute a removal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The lock of a release or set that an environment needs was not found, so its artifacts are
    /// unknown.
    #[error(
        "{environment} needs {release}, and its lock was not found: `{path}` is not in the workspace or in git's history"
    )]
    LockUnknown {
        /// The environment's name.
        environment: String,
        /// The release, `v4.1.5`, or the name of the set.
        release: String,
        /// The expected path of its lock.
        path: Utf8PathBuf,
    },
    /// The lock of a release in the registry's shared state was not found, so its artifacts are
    /// unknown.
    #[error(
        "{reference} records {release}, and its lock was not found: `{path}` with SHA-256 {lock} is not in the workspace or in git's history"
    )]
    RecordedLockUnknown {
        /// The repository and tag of the shared state.
        reference: String,
        /// The release, `v4.1.5`.
        release: String,
        /// The expected path of its lock.
        path: Utf8PathBuf,
        /// SHA-256 of its lock.
        lock: String,
    },
    /// This checkout lacks the receipt of a deploy in the shared state, so it is unknown what that
    /// cluster needs.
    #[error(transparent)]
    SharedState(#[from] Conflict),
    /// The file is not a prune plan.
    #[error("`{path}` is not a prune plan")]
    File {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The failure to parse or write it.
        source: serde_yaml::Error,
    },
    /// The prune plan is for a different environment.
    #[error("`{path}` is a prune plan for {planned}, not for {environment}")]
    OtherEnvironment {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The environment that it is for.
        planned: String,
        /// The environment that was named.
        environment: String,
    },
    /// The prune plan is outdated. Nothing was removed.
    #[error("the plan `{path}` is outdated: {}", moved.iter().map(OutdatedReason::to_string).collect::<Vec<_>>().join("; "))]
    Refused {
        /// The environment that it is for.
        environment: String,
        /// Path of the file.
        path: Utf8PathBuf,
        /// The changes since the plan was computed.
        moved: Vec<OutdatedReason>,
    },
    /// The registry does not support the removal of manifests, or it is disabled.
    #[error("registry {address} does not remove manifests: {} removed", environment::count(*removed, "tag"))]
    RemovesNothing {
        /// Address of the registry, with its port if it has one.
        address: String,
        /// Number of tags that were removed before.
        removed: usize,
    },
    /// Some manifests were not removed.
    #[error("{removed} of {} removed from {address}", environment::count(*total, "tag"))]
    NotRemoved {
        /// Address of the registry, with its port if it has one.
        address: String,
        /// Number of tags that were removed.
        removed: usize,
        /// Number of tags in the plan.
        total: usize,
        /// The remaining manifests, each with the reason.
        failed: Vec<(String, NotRemoved)>,
    },
}

/// Why a prune plan is outdated.
#[derive(Debug, thiserror::Error)]
pub enum OutdatedReason {
    /// The plan has a format version that this version of Airlock does not support.
    #[error("it is of version {0}, which this version of Airlock does not support")]
    Version(u32),
    /// The registry changed, from the first (in the plan) to the second (in the environment).
    #[error("it is for the registry {0}, and the environment has {1}")]
    Registry(String, String),
    /// A tag that the plan does not list, and the digest of its manifest, which would be removed.
    #[error("{0} points at {1} now, too")]
    Tag(String, String),
    /// A child in the plan that is now needed: `repository@digest`.
    #[error("{0} is needed by something else")]
    Child(String),
    /// An artifact that stays, and the reason.
    #[error("{0} stays: {1}")]
    Stays(String, String),
    /// An artifact that Airlock did not push, or that is needed.
    #[error("no receipt records {0}, or a lock that is kept names it")]
    Needed(String),
    /// The shared states in the registry changed while the plan was confirmed.
    #[error("a deploy to this registry began or ended meanwhile")]
    Deploy,
}

/// Why a manifest was not removed.
#[derive(Debug, thiserror::Error)]
pub enum NotRemoved {
    /// The tag, and the different digest that it now points at.
    #[error("{0} points at {1} now")]
    TagMoved(String, String),
    /// The request to the registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
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
