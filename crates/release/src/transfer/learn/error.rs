//! Errors of learning a release.

use camino::Utf8PathBuf;
use semver::Version;

use crate::Kind;

/// Errors of learning a release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a bundle nor a mkectl was found.
    #[error("no bundle and no mkectl of {release} found: looked for {bundle} and for mkectl")]
    Nothing {
        /// Release, such as `v4.1.5`.
        release: String,
        /// Expected path of the bundle, relative to the workspace.
        bundle: Utf8PathBuf,
    },
    /// The file contains no archive.
    #[error("{bundle} contains no archive, so it is not a bundle")]
    NoArchives {
        /// Path of the file, relative to the workspace.
        bundle: Utf8PathBuf,
    },
    /// The bundle is of a different release.
    #[error("this bundle is not {release} for {arch}: {}", contradictions.join("; "))]
    OtherBundle {
        /// Release to learn, such as `v4.1.5`.
        release: String,
        /// Architecture to learn.
        arch: String,
        /// Each contradiction in the bundle.
        contradictions: Vec<String>,
    },
    /// The named mkectl is of a different release.
    #[error("{program} is mkectl {found}, not {expected}")]
    OtherMkectl {
        /// Path of the program.
        program: Utf8PathBuf,
        /// Version of the program.
        found: Version,
        /// Release to learn.
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
