//! Errors of planning an upgrade.

use crate::Kind;

/// A failure to plan an upgrade.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An upgrade without internet requires the vendor's release matrix, but the bundle has none.
    #[error("the upgrade requires a release matrix, but the bundle of {release} has none")]
    NoReleaseMatrix {
        /// The release that is upgraded to, `v4.1.5`.
        release: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoReleaseMatrix { .. } => Kind::Workspace,
        }
    }
}
