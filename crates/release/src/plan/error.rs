//! Why a plan cannot be computed, read or executed.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why a plan cannot be computed, read or executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files changed while a plan was carried out.
    #[error(transparent)]
    Outdated(super::Outdated),
    /// The environment names another release than its cluster runs.
    #[error(
        "the cluster of {environment} runs {applied}, but its environment now requires {wanted}"
    )]
    ReleaseChanged {
        /// The environment.
        environment: String,
        /// What the receipt says.
        applied: String,
        /// What the files say.
        wanted: String,
        /// Why the vendor supports no upgrade from the one to the other, where it does not.
        #[source]
        refusal: Option<Box<mke::UpgradeError>>,
    },
    /// A file is not a plan.
    #[error("`{path}` is not a plan")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: serde_yaml::Error,
    },
    /// A plan is of a format that this version does not know.
    #[error(
        "`{path}` is a plan of version {version}, which this version of Airlock does not support"
    )]
    Version {
        /// The file.
        path: Utf8PathBuf,
        /// Its format's version.
        version: u32,
    },
    /// The plan is of a different environment.
    #[error("`{path}` is a plan for {planned}, not for {environment}")]
    OtherEnvironment {
        /// The file.
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
        /// The environment.
        environment: String,
        /// The file.
        path: Utf8PathBuf,
        /// When, in UTC.
        ended: String,
    },
    /// Something changed since the plan was made.
    #[error("`{path}` is outdated: a deploy would now do something different")]
    Moved {
        /// The environment.
        environment: String,
        /// The plan.
        path: Utf8PathBuf,
        /// Everything that has moved.
        moved: Vec<super::PlanChange>,
    },
    /// A plan cannot be saved or executed as saved, because it is unknown what mkectl would run
    /// for.
    #[error("cannot plan for {environment}")]
    Incomplete {
        /// The environment.
        environment: String,
        /// What is missing for the cluster's part.
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
        /// The environment.
        environment: String,
        /// What it runs.
        applied: String,
    },
    /// An installation would overwrite an MKE 3 cluster.
    #[error(
        "the machines of {environment} are an MKE {version} cluster, which `mkectl apply` is not for"
    )]
    StillMke3 {
        /// The environment.
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
