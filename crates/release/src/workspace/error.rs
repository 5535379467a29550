//! Errors of a workspace's files.

use camino::Utf8PathBuf;

use super::FileKind;
use crate::Kind;

/// A file of the workspace is missing or not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be rendered.
    #[error("{0}")]
    Configuration(environment::Problems),
    /// The environment changes values that its cluster keeps permanently.
    #[error("{0}")]
    WriteOnce(environment::Problems),
    /// The observed facts of a release are not valid.
    #[error("`{path}` cannot be used")]
    Observations {
        /// Path of the file, relative to the workspace.
        path: Utf8PathBuf,
        /// What is not valid.
        source: mke::ObservationsError,
    },
    /// A release has no lock.
    #[error("release {release} is not locked: `{path}` does not exist")]
    NotLocked {
        /// Release without a lock, such as `v4.1.5`.
        release: String,
        /// Expected path of the lock, relative to the workspace.
        path: Utf8PathBuf,
        /// A similar release, if the operator probably mistyped this one.
        nearest: Option<String>,
    },
    /// The stored defaults of a release differ from the locked ones.
    #[error("`{path}` differs from the lock of {release}")]
    Defaults {
        /// Path of the defaults.
        path: Utf8PathBuf,
        /// The release, such as `v4.1.5`.
        release: String,
    },
    /// The lock names defaults of a release, but their file is missing.
    #[error("`{path}` is missing: the lock of {release} names it, but it was not committed")]
    NoDefaults {
        /// Expected path of the defaults.
        path: Utf8PathBuf,
        /// The release, such as `v4.1.5`.
        release: String,
    },
    /// The hosts of a configuration are not valid.
    #[error("cannot read the hosts of the configuration")]
    Hosts {
        /// Error of the YAML parser or serialiser.
        source: serde_yaml::Error,
    },
    /// The output path on the command line is not a regular file.
    #[error("`{path}` is {found}, not a regular file")]
    NotRegular {
        /// Path as typed.
        path: Utf8PathBuf,
        /// Kind of the existing file, with an article: "a device".
        found: &'static str,
        /// Kind of the file to write.
        kind: FileKind,
    },
    /// The output path on the command line is a file of a different kind.
    #[error("`{path}` exists and is not {kind}")]
    DifferentKind {
        /// Path as typed.
        path: Utf8PathBuf,
        /// Kind of the file to write.
        kind: FileKind,
    },
    /// The folder of the output path on the command line does not exist.
    #[error("the folder `{folder}` does not exist")]
    NoFolder {
        /// Path of the folder.
        folder: Utf8PathBuf,
    },
    /// The output path on the command line is for a secret, but git may commit it.
    #[error("`{path}` is in the repository, and {why}: the {what} would be committed")]
    Committed {
        /// Path as typed.
        path: Utf8PathBuf,
        /// Why git may commit the file.
        why: String,
        /// The secret in the file, for messages.
        what: &'static str,
        /// A path that the shipped .gitignore lists, relative to the workspace.
        instead: String,
    },
    /// The output path on the command line is that of a file which other commands read.
    #[error("`{path}` is reserved for a file of the workspace")]
    Reserved {
        /// Path as typed.
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
