//! Why a cluster is not changed.

use crate::Kind;

/// Why a cluster is not changed as it was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The receipt records a different cluster or release than the cluster reports.
    #[error(
        "the receipt of {environment} records {receipt}, but the cluster that mkectl reaches {cluster}"
    )]
    Contradiction {
        /// The environment.
        environment: String,
        /// What the receipt says.
        receipt: String,
        /// What `mkectl config get` says.
        cluster: String,
        /// Whether that may be the environment's cluster at all: it has a machine or the address in
        /// common.
        is_meant: bool,
    },
    /// The cluster has to be asked before an upgrade, and does not answer.
    #[error(
        "the cluster of {environment} does not return its configuration, which an upgrade saves first"
    )]
    Silent {
        /// The environment.
        environment: String,
        /// Why not.
        source: programs::Error,
    },
    /// The cluster may run a different release, and does not answer.
    #[error(
        "the registry records a deploy of {recorded} to {environment}, and the cluster does not return its configuration"
    )]
    Unconfirmed {
        /// The environment.
        environment: String,
        /// The release that the registry records, `v4.2.0`.
        recorded: String,
        /// Why not.
        source: Box<crate::Error>,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Contradiction { .. } => Kind::Workspace,
            Self::Silent { .. } | Self::Unconfirmed { .. } => Kind::Mkectl,
        }
    }
}
