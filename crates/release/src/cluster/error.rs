//! Why a command for a running cluster failed or is refused.

use camino::Utf8PathBuf;

use crate::Kind;

/// Why a command for a running cluster failed or is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A backup would overwrite a file.
    #[error("`{path}` already exists; backups are never overwritten")]
    BackupExists {
        /// The file.
        path: Utf8PathBuf,
    },
    /// There is no backup that could be restored.
    #[error(transparent)]
    Backup(super::BackupFailure),
    /// A backup to be restored is missing.
    #[error("`{archive}` does not exist")]
    NoArchive {
        /// The archive.
        archive: Utf8PathBuf,
        /// The environment.
        environment: String,
        /// Where its backups are written.
        folder: Utf8PathBuf,
    },
    /// A backup has no note, so no program is known that restores it.
    #[error(
        "`{path}` does not exist; a backup is restored only with the note that was written beside it"
    )]
    NoNote {
        /// Where the note would be.
        path: Utf8PathBuf,
    },
    /// A backup's note cannot be read or written.
    #[error("`{path}` is not a valid note of a backup")]
    Note {
        /// The note.
        path: Utf8PathBuf,
        /// Why not.
        source: serde_yaml::Error,
    },
    /// A backup's note has a format that this version does not know.
    #[error("`{path}` is of version {version}, which this version of Airlock does not support")]
    NoteVersion {
        /// The note.
        path: Utf8PathBuf,
        /// Its format's version.
        version: u32,
    },
    /// A backup's note names a program without a valid version.
    #[error("`{archive}` was written by mkectl {version}, which is not a valid version")]
    NoteProgram {
        /// The archive.
        archive: Utf8PathBuf,
        /// What the note records.
        version: String,
    },
    /// A backup is of a different environment.
    #[error("`{archive}` is a backup of {found}, not of {environment}")]
    BackupOfAnother {
        /// The archive.
        archive: Utf8PathBuf,
        /// The environment that its note names.
        found: String,
        /// The environment that was to be restored.
        environment: String,
    },
    /// A backup has a different size or digest than its note.
    #[error("`{archive}` does not match its note: it was changed")]
    BackupChanged {
        /// The archive.
        archive: Utf8PathBuf,
    },
    /// A backup to be restored is not a file.
    #[error("`{archive}` is not a file")]
    BackupNotAFile {
        /// The archive.
        archive: Utf8PathBuf,
    },
    /// The mkectl that wrote a backup is not here.
    #[error(
        "`{archive}` was written by mkectl {version} with SHA-256 {sha256}, which was not found"
    )]
    NoMatchingMkectl {
        /// The backup.
        archive: Utf8PathBuf,
        /// The version of that mkectl.
        version: String,
        /// The SHA-256 of its file.
        sha256: String,
    },
    /// There is no first host.
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
    /// mkectl has none of the checks.
    #[error("mkectl {mkectl} has no `check` command; nothing was checked")]
    NoChecks {
        /// The environment.
        environment: String,
        /// The version of mkectl.
        mkectl: String,
    },
    /// The files say something else than what was applied last.
    #[error(
        "the files of {environment} were changed since mkectl ran{}",
        listed(paths)
    )]
    Unapplied {
        /// The environment.
        environment: String,
        /// What differs; empty if what was applied was not found.
        paths: Vec<String>,
    },
    /// A protected cluster is not taken down.
    #[error("{environment} is protected, and cannot be reset")]
    Protected {
        /// The environment.
        environment: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::BackupExists { .. }
            | Self::NoArchive { .. }
            | Self::NoNote { .. }
            | Self::Note { .. }
            | Self::NoteVersion { .. }
            | Self::NoteProgram { .. }
            | Self::BackupOfAnother { .. }
            | Self::BackupChanged { .. }
            | Self::BackupNotAFile { .. }
            | Self::NoController { .. } => Kind::Workspace,
            Self::NoMatchingMkectl { .. } | Self::NoChecks { .. } => Kind::Mkectl,
            Self::NoKubeconfig { .. } => Kind::MkectlFailed,
            Self::Unapplied { .. } | Self::Protected { .. } => Kind::NotAllowed,
            Self::Backup(failure) => failure.problem.kind(),
        }
    }
}

/// Returns the first few paths, to be appended to a message.
fn listed(paths: &[String]) -> String {
    const NAMED: usize = 6;
    match paths.len() {
        0 => String::new(),
        count if count <= NAMED => format!(": {}", paths.join(", ")),
        count => format!(": {} and {} more", paths[..NAMED].join(", "), count - NAMED),
    }
}
