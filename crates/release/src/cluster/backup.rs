//! Writes a backup of the cluster with the mkectl of the release that it runs, and a note that
//! identifies this mkectl.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Cluster, Note};
use crate::config::check::{BACKUPS, committed_secret, refuse_committed};
use crate::event::Event;
use crate::{Context, Error, Kind, cluster, receipt, shared_state};

/// Why a backup that can be restored is missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// This mkectl has no command that writes an archive to a local file.
    #[error("mkectl {release} cannot write a backup archive to a local file")]
    Unsupported {
        /// The release of this mkectl, `v4.1.0`.
        release: String,
    },
    /// mkectl reported success, but the archive does not exist.
    #[error("mkectl reported success, but the backup `{path}` does not exist")]
    Missing {
        /// Path of the archive.
        path: Utf8PathBuf,
    },
    /// The archive is not a regular file, such as a folder or a link.
    #[error("the backup `{path}` is not a regular file")]
    NotAFile {
        /// Path of the archive.
        path: Utf8PathBuf,
    },
    /// The archive has no content.
    #[error("the backup `{path}` is empty")]
    Empty {
        /// Path of the archive.
        path: Utf8PathBuf,
    },
    /// The archive cannot be read to its end as a tar.
    #[error("the backup `{path}` is not a complete tar archive")]
    Damaged {
        /// Path of the archive.
        path: Utf8PathBuf,
        /// The failure to read it.
        source: std::io::Error,
    },
}

impl BackupError {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unsupported { .. } => Kind::Mkectl,
            Self::Missing { .. }
            | Self::NotAFile { .. }
            | Self::Empty { .. }
            | Self::Damaged { .. } => Kind::MkectlFailed,
        }
    }
}

/// A backup that failed, and its purpose.
#[derive(Debug)]
pub struct BackupFailure {
    /// The environment's name.
    pub environment: String,
    /// Whether the backup is a step of an upgrade.
    pub is_before_upgrade: bool,
    /// Why it failed.
    pub problem: BackupError,
}

impl std::fmt::Display for BackupFailure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(formatter)
    }
}

impl std::error::Error for BackupFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

/// A backup that was written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backup {
    /// The environment's name.
    pub environment: String,
    /// The archive, relative to the workspace.
    pub archive: Utf8PathBuf,
    /// Size of the archive in bytes.
    pub size: u64,
    /// The version of the mkectl that wrote it, `v4.1.5`.
    pub mkectl: String,
    /// The log of mkectl's output, relative to the workspace.
    pub log: Utf8PathBuf,
}

/// Writes a backup to `archive`, or to a file in the environment's folder of backups. That file has
/// time and release in its name.
///
/// mkectl runs in the folder of the archive and gets a bare file name, because the vendor's pages
/// show nothing else. `typed` are additional arguments for mkectl.
///
/// # Errors
/// - The archive exists, or git would commit it.
/// - A suitable mkectl is missing, or it failed.
/// - [`BackupError`] if the archive cannot be restored.
/// - Unless `take_over`: a command from elsewhere is changing the cluster, or has changed it and
///   this checkout lacks its receipt.
pub async fn backup(
    context: &Context<'_>,
    environment: Environment,
    archive: Option<&Utf8Path>,
    take_over: bool,
    typed: &[String],
) -> Result<Backup, Error> {
    let cluster = Cluster::real(context, environment)?;
    let archive = match archive {
        Some(archive) => {
            let secret = (BACKUPS, "backups/");
            refuse_committed(context, &cluster.environment, archive, secret)?;
            archive.to_owned()
        }
        None => {
            let variables = &context.tool.variables;
            committed_secret(context.workspace, &cluster.environment, variables)?;
            let stamp = (context.tool.now)().strftime("%Y-%m-%dT%H-%M-%SZ");
            let name = format!("{stamp}-{}.tar", cluster.release());
            cluster.backups().join(name)
        }
    };
    let shown = context.workspace.shown(&archive).to_owned();
    for taken in [&archive, &Note::path(&archive)] {
        if taken.exists() {
            return Err(cluster::Error::BackupExists {
                path: context.workspace.shown(taken).to_owned(),
            }
            .into());
        }
    }
    let (Some(folder), Some(name)) = (archive.parent(), archive.file_name()) else {
        return Err(cluster.without_backup(BackupError::NotAFile { path: shown }));
    };
    // A different folder belongs to the operator and is not made: it may be a share that is not
    // mounted.
    let exists = if folder == cluster.backups() {
        std::fs::create_dir_all(folder)
    } else {
        std::fs::metadata(folder).map(drop)
    };
    exists.map_err(|source| Error::io("write to", folder, source))?;
    let (receipt, output) = (cluster.receipt.as_ref(), &cluster.output);
    let standing = shared_state::read(context, &cluster.environment, output, receipt).await;
    // The warning with a state says that an interrupted deploy is taken over. A backup does not.
    if let (Some(warning), None) = (&standing.warning, standing.state()) {
        context.reporter.report(Event::Warning(warning.clone()));
    }
    standing.allow(take_over)?;
    let root = cluster.help(&[])?;
    let archives = cluster.archives()?;
    // Recorded before the run: the file may be replaced meanwhile.
    let mkectl = cluster.program.record();
    let ran = cluster.run(context, "backup", false, |config| {
        let command = cluster.mkectl().backup(config, name, archives, &root);
        command.in_directory(folder).typed(typed)
    });
    let ran = ran.inspect_err(|_| set_aside(context, &archive))?;
    let applied = (cluster.receipt.as_ref()).and_then(|receipt| receipt.applied.clone());
    check_archive(context, &archive).map_err(|problem| cluster.without_backup(problem))?;
    let note = write_note(context, &cluster.environment, &archive, mkectl, applied)?;
    Ok(Backup {
        environment: note.environment,
        archive: shown,
        size: note.size,
        mkectl: note.mkectl.version,
        log: ran.log,
    })
}

/// Writes the note of a checked archive. Also restricts the archive to its owner, because it
/// contains the cluster's secrets.
///
/// # Errors
/// The archive cannot be read or protected, or the note cannot be written.
pub(crate) fn write_note(
    context: &Context<'_>,
    environment: &Environment,
    archive: &Utf8Path,
    mkectl: receipt::RecordedProgram,
    applied: Option<receipt::Applied>,
) -> Result<Note, Error> {
    std::fs::set_permissions(archive, std::fs::Permissions::from_mode(0o600))
        .map_err(|source| Error::io("protect", archive, source))?;
    let (size, sha256) = measure(archive).map_err(|source| Error::read(archive, source))?;
    let note = Note {
        version: Note::VERSION,
        environment: environment.name.clone(),
        size,
        sha256,
        mkectl,
        when: receipt::now(context),
        airlock: context.tool.version.clone(),
        applied,
    };
    note.write(archive)?;
    Ok(note)
}

/// Renames the archive of a failed backup to `*.failed`, so it is not taken for one that can be
/// restored. Removes it if it is a link. Warns in both cases.
pub(crate) fn set_aside(context: &Context<'_>, archive: &Utf8Path) {
    if !archive.is_file() && !archive.is_symlink() {
        return;
    }
    let failed = Utf8PathBuf::from(format!("{archive}.failed"));
    let shown = context.workspace.shown(archive);
    // Not renamed: a link in the folder of backups would make later commands fail.
    let outcome = match archive.is_symlink() {
        true => std::fs::remove_file(archive).map(|()| "the link was removed".to_owned()),
        false => std::fs::rename(archive, &failed)
            .map(|()| format!("renamed to {}", context.workspace.shown(&failed))),
    };
    let outcome = outcome.unwrap_or_else(|error| format!("and cannot be renamed: {error}"));
    context.reporter.report(Event::Warning(format!(
        "the backup {shown} is not complete and cannot be restored: {outcome}"
    )));
}

/// Reads a new archive to its end, and sets it aside if it cannot be restored.
///
/// # Errors
/// [`BackupError`] if it is missing, empty or not a complete tar archive.
pub(crate) fn check_archive(context: &Context<'_>, archive: &Utf8Path) -> Result<(), BackupError> {
    examine(context, archive).inspect_err(|_| set_aside(context, archive))
}

fn examine(context: &Context<'_>, archive: &Utf8Path) -> Result<(), BackupError> {
    let path = context.workspace.shown(archive).to_owned();
    let damaged = |source| BackupError::Damaged {
        path: path.clone(),
        source,
    };
    let metadata = match std::fs::symlink_metadata(archive) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BackupError::Missing { path });
        }
        metadata => metadata.map_err(damaged)?,
    };
    if !metadata.is_file() {
        return Err(BackupError::NotAFile { path });
    }
    if metadata.len() == 0 {
        return Err(BackupError::Empty { path });
    }
    let members = files::open(archive)
        .and_then(|mut file| bundle::count_members(&mut file))
        .map_err(damaged)?;
    match members {
        0 => Err(BackupError::Empty { path }),
        _ => Ok(()),
    }
}

/// Returns the size in bytes and the SHA-256 of a file.
pub(super) fn measure(path: &Utf8Path) -> std::io::Result<(u64, String)> {
    let mut file = files::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hex::encode(hasher.finalize()))),
            length => {
                hasher.update(&buffer[..length]);
                size += length as u64;
            }
        }
    }
}
