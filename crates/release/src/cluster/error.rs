//! Errors of the commands for a running cluster.

use camino::Utf8PathBuf;

use crate::Kind;

/// A failure or refusal of a command for a running cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A backup would overwrite a file.
    #[error("`{path}` already exists; backups are never overwritten")]
    BackupExists {
        /// Path of the file.
        path: Utf8PathBuf,
    },
    /// The backup that was written cannot be restored, or none could be written.
    #[error(transparent)]
    Backup(super::BackupFailure),
    /// A backup to be restored is missing.
    #[error("`{archive}` does not exist")]
    NoArchive {
        /// Path of the archive.
        archive: Utf8PathBuf,
        /// The environment's name.
        environment: String,
        /// The folder of its backups.
        folder: Utf8PathBuf,
    },
    /// A backup has no note, so the mkectl that restores it is unknown.
    #[error(
        "`{path}` does not exist; a backup is restored only with the note that was written beside it"
    )]
    NoNote {
        /// The expected path of the note.
        path: Utf8PathBuf,
    },
    /// A backup's note cannot be read or written.
    #[error("`{path}` is not a valid note of a backup")]
    Note {
        /// Path of the note.
        path: Utf8PathBuf,
        /// The failure to parse or write it.
        source: serde_yaml::Error,
    },
    /// A backup's note has a format version that this version of Airlock does not support.
    #[error("`{path}` is of version {version}, which this version of Airlock does not support")]
    NoteVersion {
        /// Path of the note.
        path: Utf8PathBuf,
        /// The format version in the note.
        version: u32,
    },
    /// A backup's note names a program without a valid version.
    #[error("`{archive}` was written by mkectl {version}, which is not a valid version")]
    NoteProgram {
        /// Path of the archive.
        archive: Utf8PathBuf,
        /// The version in the note.
        version: String,
    },
    /// A backup is of a different environment.
    #[error("`{archive}` is a backup of {found}, not of {environment}")]
    BackupOfAnother {
        /// Path of the archive.
        archive: Utf8PathBuf,
        /// The environment that its note names.
        found: String,
        /// The environment that was named on the command line.
        environment: String,
    },
    /// A backup has a different size or digest than its note.
    #[error("`{archive}` does not match its note: it was changed")]
    BackupChanged {
        /// Path of the archive.
        archive: Utf8PathBuf,
    },
    /// The path of a backup to be restored has no file name.
    #[error("`{archive}` is not a file")]
    BackupNotAFile {
        /// Path of the archive.
        archive: Utf8PathBuf,
    },
    /// The mkectl that wrote a backup was not found.
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
    /// The configuration has no controller, with which a restore begins.
    #[error("{environment} has no controller")]
    NoController {
        /// The environment's name.
        environment: String,
    },
    /// mkectl succeeded but printed no kubeconfig.
    #[error("mkectl prints no kubeconfig; what it printed beside it is in {log}")]
    NoKubeconfig {
        /// The log of mkectl's output, relative to the workspace.
        log: Utf8PathBuf,
    },
    /// mkectl has no check that Airlock runs.
    #[error("mkectl {mkectl} has no `check` command; nothing was checked")]
    NoChecks {
        /// The environment's name.
        environment: String,
        /// The version of mkectl.
        mkectl: String,
    },
    /// The rendered configuration differs from the one that was applied last.
    #[error(
        "the files of {environment} were changed since mkectl ran{}",
        listed(paths)
    )]
    Unapplied {
        /// The environment's name.
        environment: String,
        /// Paths of the values that differ; empty if the applied configuration was not found.
        paths: Vec<String>,
        /// The commit that was applied, if its files are known to be the applied ones.
        revision: Option<String>,
    },
    /// A protected cluster cannot be reset.
    #[error("{environment} is protected, and cannot be reset")]
    Protected {
        /// The environment's name.
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

/// Returns the first paths as the end of a message: `: a, b and 3 more`.
fn listed(paths: &[String]) -> String {
    const NAMED: usize = 6;
    match paths.len() {
        0 => String::new(),
        count if count <= NAMED => format!(": {}", paths.join(", ")),
        count => format!(": {} and {} more", paths[..NAMED].join(", "), count - NAMED),
    }
}
