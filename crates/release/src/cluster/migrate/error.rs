//! Errors of planning an upgrade from MKE 3.

use camino::Utf8PathBuf;

use crate::Kind;

/// A failure to plan an upgrade from MKE 3.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment has no `mke3` section.
    #[error("{environment} has no `mke3` section in environment.yaml")]
    NoMke3 {
        /// The environment's name.
        environment: String,
    },
    /// The kubeconfig of an earlier attempt exists, so the upgrade would fail.
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
