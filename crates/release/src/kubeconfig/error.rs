//! Errors of using a kubeconfig.

use super::Kubeconfig;
use crate::Kind;

/// A kubeconfig that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It leads to a cluster that is not the environment's.
    #[error(
        "`mkectl config get` reached the cluster at {address} by {}, which is not this environment's: the cluster {cluster}, but {environment} is {expected}",
        kubeconfig.path
    )]
    OtherCluster {
        /// The environment's name.
        environment: String,
        /// The address for clients of the cluster that answered.
        address: String,
        /// The kubeconfig that was used.
        kubeconfig: Kubeconfig,
        /// The release and the registry of that cluster, beginning with a verb: `runs ...`.
        cluster: String,
        /// Address and registry of the environment's own cluster.
        expected: String,
    },
    /// The environment's cluster exists, but the named file does not, or is a folder.
    #[error("{} {}, but {} names it as the kubeconfig of {environment}", kubeconfig.path, fault(kubeconfig), kubeconfig.named_by)]
    Missing {
        /// The environment's name.
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
