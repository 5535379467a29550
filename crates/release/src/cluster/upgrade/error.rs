//! Why an upgrade cannot be planned.

use crate::Kind;

/// Why an upgrade cannot be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An upgrade without internet requires the vendor's release matrix, but the bundle has none.
    #[error("the upgrade requires a release matrix, but the bundle of {release} has none")]
    NoReleaseMatrix {
        /// The release to come to.
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
