//! Errors of the comparison with the existing cluster.

use crate::Kind;

/// A failure of the comparison with the existing cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The receipt records a different cluster or release than the cluster reports.
    #[error(
        "the receipt of {environment} records {receipt}, but the cluster that mkectl reaches {cluster}"
    )]
    Contradiction {
        /// The environment's name.
        environment: String,
        /// Release and registry in the receipt: `v4.1.5 from registry.example/mke`.
        receipt: String,
        /// Release and registry according to `mkectl config get`, with a verb: `runs ...`.
        cluster: String,
        /// Whether this may be the environment's cluster: both have a machine or the address in
        /// common.
        is_meant: bool,
    },
    /// The cluster does not return its configuration before an upgrade.
    #[error(
        "the cluster of {environment} does not return its configuration, which an upgrade saves first"
    )]
    Silent {
        /// The environment's name.
        environment: String,
        /// The failure of mkectl.
        source: programs::Error,
    },
    /// The registry records a release that the receipt does not, and the cluster does not answer.
    #[error(
        "the registry records a deploy of {recorded} to {environment}, and the cluster does not return its configuration"
    )]
    Unconfirmed {
        /// The environment's name.
        environment: String,
        /// The release that the registry records, `v4.2.0`.
        recorded: String,
        /// The failure to ask the cluster.
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
