//! Imports a medium into a workspace: history, program, mkectl and blobs.
//!
//! - Nothing is used before the signature and its hash are verified. Each content is hashed while
//!   it is copied, and gets its final name afterwards. A killed run can be repeated, and then does
//!   only the rest.
//! - The history is imported first, because it has the locks. If no workspace exists, it is created
//!   from the history.
//! - Unreadable contents are reported at the end. All others are imported.

use std::fs::File;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use medium::{Damage, Medium, What};
use serde::Serialize;

use crate::event::{Event, Step};
use crate::{Context, Workspace, links};

mod trust;
mod stream;
mod repository;
mod place;
mod returned;
mod blobs;
mod damaged;
mod kept;
mod replacement;
mod lacking;

mod error;

pub use damaged::Damaged;
pub use error::Error;
pub use repository::HistoryUpdate;
pub use trust::Trust;

/// The source of a medium.
pub enum From<'a> {
    /// Folders: media, or single volumes.
    Folders(&'a [Utf8PathBuf]),
    /// A tar stream.
    Stream(&'a mut dyn Read),
}

/// The result of importing a medium.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unpacked {
    /// Path of the workspace.
    pub workspace: Utf8PathBuf,
    /// Name of the pack: the SHA-256 of its manifest.
    pub pack: String,
    /// Fingerprint of the key that signed the manifest.
    pub signer: Option<String>,
    /// Line that permits this key, if the workspace has no list of keys yet.
    pub signer_line: Option<String>,
    /// Update of the history.
    pub repository: Option<HistoryUpdate>,
    /// Path of the program, relative to the workspace.
    pub program: Option<Utf8PathBuf>,
    /// Paths of each mkectl, relative to the workspace.
    pub mkectl: Vec<Utf8PathBuf>,
    /// Folder of the sources, relative to the workspace.
    pub sources: Option<Utf8PathBuf>,
    /// Number of blobs added to the store.
    pub blobs: usize,
    /// Bytes of the added blobs.
    pub bytes: u64,
    /// Number of blobs that the store already had.
    pub kept: usize,
    /// Number of blobs that are assumed to be at the site and are not in the store.
    pub assumed: usize,
    /// What the workspace still lacks after a replacement, one phrase each.
    pub lacking: Vec<String>,
    /// Whether a site returned this medium.
    pub is_return: bool,
    /// Paths of files that a site returned, relative to the workspace.
    pub returned: Vec<Utf8PathBuf>,
    /// Environments that the medium was packed for.
    pub environments: Vec<String>,
}

/// Imports a medium into the workspace, which is created if it does not exist.
///
/// # Errors
/// The medium is not trusted, or its history does not continue that of the workspace.
/// [`Error::Damaged`] if contents are damaged; all others are imported then.
pub fn unpack(
    context: &Context<'_>,
    from: From<'_>,
    trust: &Trust<'_>,
) -> Result<Unpacked, crate::Error> {
    import(context, from, trust).map_err(|error| super::shown(context.workspace, error))
}

fn import(
    context: &Context<'_>,
    from: From<'_>,
    trust: &Trust<'_>,
) -> Result<Unpacked, crate::Error> {
    let workspace = context.workspace;
    place::check(workspace)?;
    let mut unpacked = Unpacked::default();
    let mut lock = None;
    let (medium, line) = match from {
        From::Folders(folders) => {
            place::outside_of(workspace, folders)?;
            let (medium, line) = replacement::together(workspace, folders, trust)?;
            blobs::check_room(workspace, &medium)?;
            lock = Some(WorkspaceLock::acquire(workspace)?);
            report_start(context, &medium);
            // Pieces of volumes that were unpacked before.
            (medium.with_folder(&temporary(workspace)), line)
        }
        From::Stream(read) => stream::receive(context, read, trust, &mut unpacked, &mut lock)?,
    };
    unpacked = Unpacked {
        workspace: workspace.root().to_owned(),
        pack: medium.pack().to_owned(),
        signer: medium.signer().map(medium::Signer::fingerprint),
        signer_line: line,
        environments: medium.manifest().serves.environments.clone(),
        is_return: is_return(medium.manifest()),
        ..unpacked
    };
    for damage in medium.examine_files() {
        if let Damage::File { name, fault } = damage {
            let warning = format!("{name} on the medium is {fault}; it is not used");
            context.reporter.report(Event::Warning(warning));
        }
    }
    import_contents(context, &medium, &mut unpacked)?;
    if workspace.root().join(super::SIGNERS).exists() {
        unpacked.signer_line = None;
    }
    stream::clean_up(workspace)?;
    // Held until the last change of the workspace.
    drop(lock);
    Ok(unpacked)
}

fn import_contents(
    context: &Context<'_>,
    medium: &Medium,
    unpacked: &mut Unpacked,
) -> Result<(), crate::Error> {
    let workspace = context.workspace;
    let mut damaged = Damaged::default();
    let contents = &medium.manifest().contents;
    for content in contents {
        let moved = match &content.what {
            What::Repository { branch, commit } => {
                repository::receive(context, medium, content, branch, commit)
            }
            What::Commits { branch, commit } => {
                returned::commits(context, medium, content, branch, commit)
            }
            _ => continue,
        };
        unpacked.repository = damaged.unless_piece(context, medium, content, moved)?;
    }
    if unpacked.repository.is_none() && !workspace.root().join("environments").is_dir() {
        // All pieces to replace are reported together.
        if damaged.is_empty() {
            return Err(Error::NoRepository {
                folder: workspace.root().to_owned(),
            }
            .into());
        }
        damaged.examine(medium);
        return Err(damaged.error(workspace, medium, true));
    }
    // The imported history may contain links.
    links::refuse(workspace, &[])?;
    for content in contents {
        match &content.what {
            What::Program { platform } if *platform == crate::transfer::program::platform() => {
                let placed = place::program(context, medium, content);
                unpacked.program = damaged.unless_piece(context, medium, content, placed)?;
            }
            What::Mkectl {
                release, platform, ..
            } => {
                let placed = place::mkectl(context, medium, content, release, platform);
                unpacked.mkectl.extend(
                    damaged
                        .unless_piece(context, medium, content, placed)?
                        .flatten(),
                );
            }
            What::Sources { .. } => {
                let placed = place::sources(context, medium, content);
                unpacked.sources = damaged.unless_piece(context, medium, content, placed)?;
            }
            What::Receipt { environment }
            | What::Snapshot { environment }
            | What::Log { environment, .. } => {
                let written = returned::file(context, medium, content, environment);
                let written = damaged.unless_piece(context, medium, content, written)?;
                unpacked.returned.extend(written.flatten());
            }
            What::Repository { .. }
            | What::Commits { .. }
            | What::Program { .. }
            | What::Blob {} => {}
        }
    }
    blobs::fill(context, medium, unpacked, &mut damaged)?;
    if !damaged.is_empty() {
        return Err(damaged.error(workspace, medium, false));
    }
    if !unpacked.is_return {
        unpacked.lacking = lacking::lacking(context, medium)?;
    }
    context.reporter.report(Event::Finished {
        step: Step::Unpack,
        what: format!(
            "every used piece of pack {} is verified",
            &medium.pack()[..12]
        ),
    });
    Ok(())
}

/// Returns whether a site returned a medium.
fn is_return(manifest: &medium::Manifest) -> bool {
    let mut contents = manifest.contents.iter();
    contents.any(|content| match content.what {
        What::Commits { .. } | What::Receipt { .. } | What::Snapshot { .. } | What::Log { .. } => {
            true
        }
        What::Repository { .. }
        | What::Program { .. }
        | What::Mkectl { .. }
        | What::Sources { .. }
        | What::Blob {} => false,
    })
}

fn report_start(context: &Context<'_>, medium: &Medium) {
    let contents = medium.manifest().contents.iter();
    context.reporter.report(Event::Started {
        step: Step::Unpack,
        what: format!("pack {}", &medium.pack()[..12]),
        bytes: Some(contents.map(|content| content.size).sum()),
    });
}

/// The lock of a workspace that a medium is unpacked into. Until a medium is trusted, nothing is
/// written, so it is acquired afterwards.
#[derive(Debug)]
struct WorkspaceLock {
    folder: Utf8PathBuf,
    /// Number of folders that were created for the lock: `folder` and those above it.
    created: usize,
    _file: File,
}

impl WorkspaceLock {
    /// # Errors
    /// [`Error::InUse`] if a different process unpacks into the workspace.
    fn acquire(workspace: &Workspace) -> Result<Self, crate::Error> {
        let folder = temporary(workspace);
        let in_use = |folder| Error::InUse { folder }.into();
        let missing = folder.ancestors().take_while(|folder| !folder.exists());
        Ok(Self {
            created: missing.count(),
            _file: super::lock_folder(workspace, &folder, in_use)?,
            folder,
        })
    }
}

impl Drop for WorkspaceLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join(super::LOCK));
        for folder in self.folder.ancestors().take(self.created) {
            // A folder with other files stays.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Returns the folder of incomplete files.
fn temporary(workspace: &Workspace) -> Utf8PathBuf {
    workspace.bundles().join("unpack")
}

/// Reports bytes that were read. Never stops the run.
fn advanced(context: &Context<'_>, bytes: u64) -> bool {
    context.reporter.report(Event::Advanced {
        step: Step::Unpack,
        bytes,
    });
    true
}

/// Copies a content to a temporary file, which is removed when the result is dropped.
fn copied(
    context: &Context<'_>,
    medium: &Medium,
    content: &medium::Content,
    folder: &Utf8Path,
) -> Result<tempfile::NamedTempFile, crate::Error> {
    std::fs::create_dir_all(folder).map_err(|source| crate::Error::io("make", folder, source))?;
    let mut file =
        files::temporary_in(folder).map_err(|source| crate::Error::io("write", folder, source))?;
    medium
        .copy(content, &mut file, &|bytes| advanced(context, bytes))
        .map_err(|error| match error {
            medium::Error::Stream { source, .. } => crate::Error::io("write", folder, source),
            error => error.into(),
        })?;
    Ok(file)
}
