//! Why a command for a running cluster failed or is refused.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why a command for a running cluster failed or is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A backup would be written over something that is there.
    #[error("{path} exists already, and backups are never written over")]
    BackupExists {
        /// What is there.
        path: Utf8PathBuf,
    },
    /// There is no backup that could be restored.
    #[error(transparent)]
    Backup(super::BackupError),
    /// A backup's note is missing, or it does not fit.
    #[error("{path} {problem}")]
    BackupNote {
        /// The note, or the archive.
        path: Utf8PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The mkectl that wrote a backup is not here.
    #[error("{archive} was written by mkectl {version} of SHA-256 {sha256}, which is not here")]
    NoMatchingMkectl {
        /// The backup.
        archive: Utf8PathBuf,
        /// The version of that mkectl.
        version: String,
        /// The SHA-256 of its file.
        sha256: String,
    },
    /// There is no host to begin with.
    #[error("{environment} has no controller")]
    NoController {
        /// The environment.
        environment: String,
    },
    /// mkectl printed no kubeconfig.
    #[error("mkectl prints no kubeconfig; what it printed beside it is in {log}")]
    NoKubeconfig {
        /// The log.
        log: Utf8PathBuf,
    },
    /// A protected cluster is not taken down.
    #[error("{environment} is protected, and a protected cluster is not reset")]
    Protected {
        /// The environment.
        environment: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::BackupExists { .. } | Self::BackupNote { .. } | Self::NoController { .. } => {
                Kind::Workspace
            }
            Self::NoMatchingMkectl { .. } => Kind::Mkectl,
            Self::NoKubeconfig { .. } => Kind::MkectlFailed,
            Self::Protected { .. } => Kind::NotAllowed,
            Self::Backup(error) => error.kind(),
        }
    }
}
