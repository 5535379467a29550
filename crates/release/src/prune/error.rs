//! Why a removal cannot be planned or done.

use camino::Utf8PathBuf;

use crate::shared_state::Conflict;
use crate::{Kind, RegistryError};

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
    /// The lock of a release that the registry records for an environment was not found, so what it
    /// needs is unknown.
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
    /// This checkout lacks a deploy that the registry records, so what its cluster needs is
    /// unknown.
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
    #[error("the plan `{path}` is outdated: {}", moved.iter().map(Moved::to_string).collect::<Vec<_>>().join("; "))]
    Refused {
        /// The environment that it is for.
        environment: String,
        /// The file.
        path: Utf8PathBuf,
        /// What has moved since.
        moved: Vec<Moved>,
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
        failed: Vec<(String, Left)>,
    },
}

/// Why a plan of a removal does not hold any more.
#[derive(Debug, thiserror::Error)]
pub enum Moved {
    /// A different version of Airlock wrote it.
    #[error("it is of version {0}, which this version of Airlock does not support")]
    Version(u32),
    /// The first is the registry in the plan, the second that of the environment now.
    #[error("it is for the registry {0}, and the environment has {1}")]
    Registry(String, String),
    /// A tag that the plan does not list would go with its manifest, of this digest.
    #[error("{0} points at {1} now, too")]
    Tag(String, String),
    /// A child of an index would be missed.
    #[error("{0} is needed by something else")]
    Child(String),
    /// An artifact stays, for a reason that a new plan would have.
    #[error("{0} stays: {1}")]
    Stays(String, String),
    /// An artifact is not one that Airlock pushed, or is needed.
    #[error("no receipt records {0}, or a lock that is kept names it")]
    Needed(String),
    /// What the registry records of deploys changed while the plan was confirmed.
    #[error("a deploy to this registry began or ended meanwhile")]
    Deploy,
}

/// Why a manifest was not removed.
#[derive(Debug, thiserror::Error)]
pub enum Left {
    /// A tag points at this digest now.
    #[error("{0} points at {1} now")]
    Moved(String, String),
    /// The registry failed.
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
