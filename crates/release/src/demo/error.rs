//! Why the demo's bundle cannot be made.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why the demo's bundle cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The demo's bundle cannot be made.
    #[error("cannot make `{path}`")]
    Make {
        /// The bundle.
        path: Utf8PathBuf,
        /// Why not.
        source: bundle::make::MakeError,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Make { .. } => Kind::Machine,
        }
    }
}
