//! Errors of making the demo's bundle.

use camino::Utf8PathBuf;

use crate::Kind;

/// A failure to make the demo's bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bundle cannot be made.
    #[error("cannot make `{path}`")]
    Make {
        /// Path of the bundle's file.
        path: Utf8PathBuf,
        /// The failure to make it.
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
