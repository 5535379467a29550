//! Why no mkectl fits.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why there is no fitting mkectl, or no cluster that it could ask.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// mkectl is not the release's own.
    #[error("{program} is mkectl {found}, but release {wanted} requires its own")]
    Version {
        /// The program.
        program: Utf8PathBuf,
        /// What it says it is.
        found: String,
        /// What is needed.
        wanted: String,
    },
    /// Neither the workspace nor PATH has one.
    #[error("no `mkectl` in any folder of PATH ({searched} searched), and {}", match is_locked {
        true => format!("`{}/mkectl` does not exist", super::folder(release)),
        false => format!("the lock of {release} lists none for {}", super::platform()),
    })]
    Missing {
        /// How many folders were searched.
        searched: usize,
        /// The release, `v4.1.5`.
        release: String,
        /// Whether the lock lists one for this machine. Otherwise the workspace is not searched.
        is_locked: bool,
    },
    /// The mkectl that was fetched is not the one that was locked.
    #[error("the mkectl in `{folder}` is refused")]
    Refused {
        /// The folder of the program and its download.
        folder: Utf8PathBuf,
        /// What is wrong with it.
        source: bundle::ProgramError,
    },
    /// The mkectl of the installed release is needed, for the backup before an upgrade.
    #[error("the backup before the upgrade requires mkectl {release}, which was not found")]
    NoOldMkectl {
        /// The installed release.
        release: String,
    },
    /// This mkectl cannot do what it is wanted for.
    #[error("{program} does not list {what}, which is required")]
    Lacks {
        /// The program.
        program: Utf8PathBuf,
        /// The flag.
        what: String,
    },
    /// This mkectl takes no credentials that nodes are to pull with.
    #[error("{program} lists no {flags}: nodes get no pull credentials from it")]
    NoPullFlags {
        /// The program.
        program: Utf8PathBuf,
        /// The flags, joined for a sentence.
        flags: String,
    },
    /// A rehearsal was asked for what only a cluster knows.
    #[error("{environment} is a rehearsal and has no cluster")]
    NoCluster {
        /// The environment.
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
