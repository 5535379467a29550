//! What is wrong with the files of a workspace.

use camino::Utf8PathBuf;

use super::FileKind;
use crate::Kind;

/// What is wrong with the files of a workspace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be rendered.
    #[error("{0}")]
    Configuration(environment::Problems),
    /// The environment would change what its cluster keeps permanently.
    #[error("{0}")]
    WriteOnce(environment::Problems),
    /// What was observed of a release cannot be used.
    #[error("`{path}` cannot be used")]
    Observations {
        /// The file, relative to the workspace.
        path: Utf8PathBuf,
        /// Why not.
        source: mke::ObservationsError,
    },
    /// No lock is committed for a release.
    #[error("release {release} is not locked: `{path}` does not exist")]
    NotLocked {
        /// The release.
        release: String,
        /// Where its lock would be, relative to the workspace.
        path: Utf8PathBuf,
        /// The release that was probably meant, if this one is only a slip away from it.
        nearest: Option<String>,
    },
    /// What a release's mkectl would configure is not what was locked.
    #[error("`{path}` differs from the lock of {release}")]
    Defaults {
        /// The file.
        path: Utf8PathBuf,
        /// The release.
        release: String,
    },
    /// The file with what a release's mkectl would configure does not exist, and the lock names it.
    #[error("`{path}` is missing: the lock of {release} names it, but it was not committed")]
    NoDefaults {
        /// The file.
        path: Utf8PathBuf,
        /// The release.
        release: String,
    },
    /// The machines in a configuration cannot be read, or not be written in another form.
    #[error("cannot read the hosts of the configuration")]
    Hosts {
        /// Why not.
        source: serde_yaml::Error,
    },
    /// The command line names something that is not a regular file for a result.
    #[error("`{path}` is {found}, not a regular file")]
    NotRegular {
        /// What is named.
        path: Utf8PathBuf,
        /// What it is.
        found: &'static str,
        /// What would be written.
        kind: FileKind,
    },
    /// The command line names an existing file of a different kind for a result.
    #[error("`{path}` exists and is not {kind}")]
    DifferentKind {
        /// The file.
        path: Utf8PathBuf,
        /// What would be written.
        kind: FileKind,
    },
    /// The command line names a file in a folder that does not exist, for a result.
    #[error("the folder `{folder}` does not exist")]
    NoFolder {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// The command line names a file that git may commit, for a secret.
    #[error("`{path}` is in the repository, and {why}: the {what} would be committed")]
    Committed {
        /// The file.
        path: Utf8PathBuf,
        /// Why git may commit it.
        why: String,
        /// What the file gives away.
        what: &'static str,
        /// A place that the shipped .gitignore lists, relative to the workspace.
        instead: String,
    },
    /// The command line names a file that other commands read, for a result.
    #[error("`{path}` is reserved for a file of the workspace")]
    Reserved {
        /// The file.
        path: Utf8PathBuf,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Configuration(_)
            | Self::WriteOnce(_)
            | Self::Observations { .. }
            | Self::NotLocked { .. }
            | Self::Defaults { .. }
            | Self::NoDefaults { .. }
            | Self::Hosts { .. }
            | Self::NotRegular { .. }
            | Self::DifferentKind { .. }
            | Self::NoFolder { .. }
            | Self::Committed { .. }
            | Self::Reserved { .. } => Kind::Workspace,
        }
    }
}

impl From<environment::Problem> for crate::Error {
    fn from(problem: environment::Problem) -> Self {
        Error::Configuration(environment::Problems(vec![problem])).into()
    }
}
