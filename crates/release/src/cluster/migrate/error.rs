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
    /// The vendor supports no way from the MKE 3 cluster to the release.
    #[error("the MKE 3 cluster cannot be upgraded")]
    Unsupported {
        /// Why not.
        source: mke::MigrationError,
    },
    /// An earlier try has left its kubeconfig, which would make the next one fail.
    #[error(
        "`{path}` is left from a different cluster or an earlier attempt; an upgrade from MKE 3 fails while it exists"
    )]
    StaleKubeconfig {
        /// The kubeconfig.
        path: Utf8PathBuf,
    },
    /// The settings of the MKE 3 cluster keep it from an upgrade.
    #[error(transparent)]
    Unfit(mke::Mke3Unsupported),
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoMke3 { .. }
            | Self::Unsupported { .. }
            | Self::StaleKubeconfig { .. }
            | Self::Unfit(_) => Kind::Workspace,
        }
    }
}
