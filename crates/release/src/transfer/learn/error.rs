//! Why a release cannot be learned.

use camino::Utf8PathBuf;
use semver::Version;

use crate::Kind;

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is neither a bundle nor a mkectl.
    #[error("no bundle and no mkectl of {release} found: looked for {bundle} and for mkectl")]
    Nothing {
        /// The release.
        release: String,
        /// Where the bundle would be, relative to the workspace.
        bundle: Utf8PathBuf,
    },
    /// The file holds no archive.
    #[error("{bundle} contains no archive, so it is not a bundle")]
    NoArchives {
        /// The file, relative to the workspace.
        bundle: Utf8PathBuf,
    },
    /// The bundle is of a different release.
    #[error("this bundle is not {release} for {arch}: {}", contradictions.join("; "))]
    OtherBundle {
        /// The release that is learnt.
        release: String,
        /// The architecture.
        arch: String,
        /// What in the bundle says otherwise.
        contradictions: Vec<String>,
    },
    /// The mkectl that was named is of a different release.
    #[error("{program} is mkectl {found}, not {expected}")]
    OtherMkectl {
        /// The program.
        program: Utf8PathBuf,
        /// Its version.
        found: Version,
        /// The release that is learnt.
        expected: Version,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Nothing { .. } | Self::OtherMkectl { .. } => Kind::Workspace,
            Self::NoArchives { .. } | Self::OtherBundle { .. } => Kind::Content,
        }
    }
}
