//! Why an upgrade from MKE 3 is refused.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why an upgrade from MKE 3 is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment describes no MKE 3 cluster.
    #[error("{environment} has no `mke3` section in environment.yaml")]
    NoMke3 {
        /// The environment.
        environment: String,
    },
    /// An earlier try has left its kubeconfig, which would make the next one fail.
    #[error(
        "`{path}` is left from a different cluster or an earlier attempt; an upgrade from MKE 3 fails while it exists"
    )]
    StaleKubeconfig {
        /// The kubeconfig.
        path: Utf8PathBuf,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoMke3 { .. } | Self::StaleKubeconfig { .. } => Kind::Workspace,
        }
    }
}
