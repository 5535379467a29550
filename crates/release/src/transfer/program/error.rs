//! Errors of finding a suitable mkectl.

use camino::Utf8PathBuf;

use crate::Kind;

/// Errors of finding a suitable mkectl, or a cluster that it could query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// mkectl is of a different release.
    #[error("{program} is mkectl {found}, but release {wanted} requires its own")]
    Version {
        /// Path of the program.
        program: Utf8PathBuf,
        /// Release that it reports.
        found: String,
        /// Required release.
        wanted: String,
    },
    /// Neither the workspace nor PATH has a mkectl.
    #[error("no `mkectl` in any folder of PATH ({searched} searched), and {}", match is_locked {
        true => format!("`{}/mkectl` does not exist", super::folder(release)),
        false => format!("the lock of {release} lists none for {}", super::platform()),
    })]
    Missing {
        /// Number of searched folders.
        searched: usize,
        /// Required release, such as `v4.1.5`.
        release: String,
        /// Whether the lock has one for this machine. Otherwise the workspace is not searched.
        is_locked: bool,
    },
    /// The fetched mkectl differs from the locked one.
    #[error("the mkectl in `{folder}` is refused")]
    Refused {
        /// Folder of the program and its archive, relative to the workspace.
        folder: Utf8PathBuf,
        /// Cause.
        source: bundle::ProgramError,
    },
    /// The backup before an upgrade requires the mkectl of the installed release.
    #[error("the backup before the upgrade requires mkectl {release}, which was not found")]
    NoOldMkectl {
        /// Installed release.
        release: String,
    },
    /// This mkectl lacks a required flag or command.
    #[error("{program} does not list {what}, which is required")]
    Lacks {
        /// Path of the program.
        program: Utf8PathBuf,
        /// The flag or command.
        what: String,
    },
    /// This mkectl has no flags for the pull credentials of nodes.
    #[error("{program} lists no {flags}: nodes get no pull credentials from it")]
    NoPullFlags {
        /// Path of the program.
        program: Utf8PathBuf,
        /// Missing flags, joined for a sentence.
        flags: String,
    },
    /// The command requires a cluster, and a rehearsal has none.
    #[error("{environment} is a rehearsal and has no cluster")]
    NoCluster {
        /// Name of the environment.
        environment: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Version { .. }
            | Self::Missing { .. }
            | Self::Refused { .. }
            | Self::NoOldMkectl { .. }
            | Self::Lacks { .. }
            | Self::NoPullFlags { .. } => Kind::Mkectl,
            Self::NoCluster { .. } => Kind::Workspace,
        }
    }
}
