//! Why a kubeconfig is not used.

use super::Kubeconfig;
use crate::Kind;

/// Why a kubeconfig is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It leads to a cluster that is not the environment's.
    #[error(
        "`mkectl config get` reached the cluster at {address} by {}, which is not this environment's: the cluster {cluster}, but {environment} is {expected}",
        kubeconfig.path
    )]
    OtherCluster {
        /// The environment.
        environment: String,
        /// Where clients reach the cluster.
        address: String,
        /// What led there.
        kubeconfig: Kubeconfig,
        /// What the cluster reports, beginning with a verb.
        cluster: String,
        /// Where the environment's own cluster is to be.
        expected: String,
    },
    /// The cluster of the environment exists, but the file that was named does not, or it is a
    /// folder.
    #[error("{} {}, but {} names it as the kubeconfig of {environment}", kubeconfig.path, fault(kubeconfig), kubeconfig.named_by)]
    Missing {
        /// The environment.
        environment: String,
        /// The file.
        kubeconfig: Kubeconfig,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::OtherCluster { .. } | Self::Missing { .. } => Kind::Workspace,
        }
    }
}

fn fault(kubeconfig: &Kubeconfig) -> &'static str {
    match kubeconfig.path.exists() {
        true => "is not a file",
        false => "does not exist",
    }
}
