//! Errors of computing, reading and executing a plan.

use camino::Utf8PathBuf;

use crate::Kind;

/// A failure to compute, read or execute a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files changed while a plan was executed.
    #[error(transparent)]
    Outdated(super::Outdated),
    /// The environment names a different release than its cluster runs, and cannot upgrade to it.
    #[error(
        "the cluster of {environment} runs {applied}, but its environment now requires {wanted}"
    )]
    ReleaseChanged {
        /// The environment's name.
        environment: String,
        /// The release that the cluster runs, `v4.1.2`.
        applied: String,
        /// The release that the environment names.
        wanted: String,
        /// Why the vendor does not support the upgrade; `None` if the command never upgrades.
        #[source]
        refusal: Option<Box<mke::UpgradeError>>,
    },
    /// A file is not a plan.
    #[error("`{path}` is not a plan")]
    File {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The failure to parse or write it.
        source: serde_yaml::Error,
    },
    /// A plan has a format version that this version of Airlock does not support.
    #[error(
        "`{path}` is a plan of version {version}, which this version of Airlock does not support"
    )]
    Version {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The format version in the file.
        version: u32,
    },
    /// The plan is of a different environment.
    #[error("`{path}` is a plan for {planned}, not for {environment}")]
    OtherEnvironment {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The environment that it is for.
        planned: String,
        /// The environment that was named.
        environment: String,
    },
    /// Two environments that share a registry require different content under one tag.
    #[error("{one} and {other} require different content under {reference}")]
    Contradicting {
        /// The first environment.
        one: String,
        /// The second environment.
        other: String,
        /// The tag, with registry and project.
        reference: String,
    },
    /// The plan was executed before.
    #[error("`{path}` was already applied, at {ended}")]
    Applied {
        /// The environment's name.
        environment: String,
        /// Path of the file.
        path: Utf8PathBuf,
        /// End of that deploy, in UTC.
        ended: String,
    },
    /// Something changed since the plan was made.
    #[error("`{path}` is outdated: a deploy would now do something different")]
    Moved {
        /// The environment's name.
        environment: String,
        /// Path of the plan's file.
        path: Utf8PathBuf,
        /// Everything that changed.
        moved: Vec<super::PlanChange>,
    },
    /// A plan cannot be saved or executed as saved, because its steps for the cluster are unknown.
    #[error("cannot plan for {environment}")]
    Incomplete {
        /// The environment's name.
        environment: String,
        /// The problem of these steps, such as a missing mkectl.
        source: Box<crate::Error>,
    },
    /// Another environment of the workspace deployed this cluster.
    #[error("{environment} and {other} name one cluster, at {address}, and {other} deployed it")]
    OneCluster {
        /// The environment that deployed nothing.
        environment: String,
        /// The environment with the receipt.
        other: String,
        /// The address for the cluster's clients.
        address: String,
    },
    /// The cluster already runs MKE 4.
    #[error("the cluster of {environment} already runs {applied}, according to its receipt")]
    AlreadyMigrated {
        /// The environment's name.
        environment: String,
        /// The release in the receipt.
        applied: String,
    },
    /// An installation would overwrite an MKE 3 cluster.
    #[error(
        "the machines of {environment} are an MKE {version} cluster, which `mkectl apply` is not for"
    )]
    StillMke3 {
        /// The environment's name.
        environment: String,
        /// The version of MKE 3.
        version: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Outdated(_) | Self::Moved { .. } | Self::Applied { .. } => Kind::Outdated,
            Self::OtherEnvironment { .. } => Kind::Usage,
            Self::ReleaseChanged { .. }
            | Self::File { .. }
            | Self::Version { .. }
            | Self::Contradicting { .. }
            | Self::OneCluster { .. }
            | Self::AlreadyMigrated { .. }
            | Self::StillMke3 { .. } => Kind::Workspace,
            Self::Incomplete { source, .. } => source.kind(),
        }
    }
}
