//! Places contents in the workspace: the program, mkectl, the sources.

use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use medium::{Content, Medium};

use super::{Error, copied, temporary};
use crate::event::Event;
use crate::transfer::program::StoredProgram;
use crate::{Context, Workspace, links};

/// Path of the program, relative to the workspace.
pub(super) const PROGRAM: &str = "airlock";

/// Folder of the sources, relative to the workspace.
const SOURCES: &str = "bundles/sources";

/// Checks that the folder is a workspace, or can become one: it is empty, or has only files of an
/// interrupted run.
///
/// # Errors
/// [`Error::NotEmpty`].
pub(super) fn check(workspace: &Workspace) -> Result<(), crate::Error> {
    let root = workspace.root();
    if root.join("environments").is_dir() || root.join(".git").exists() {
        return Ok(());
    }
    let entries = match root.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(crate::Error::read(root, source)),
    };
    // `lost+found` is at the root of a file system.
    let ours = ["bundles", "lost+found"];
    let mut entries = entries.flatten();
    match entries.all(|entry| ours.contains(&entry.file_name())) {
        true => Ok(()),
        false => Err(Error::NotEmpty {
            folder: root.to_owned(),
        }
        .into()),
    }
}

/// Checks that the workspace is not on the medium, which may be full, slow, or without links and
/// modes.
///
/// # Errors
/// [`Error::Inside`].
pub(super) fn outside_of(
    workspace: &Workspace,
    folders: &[Utf8PathBuf],
) -> Result<(), crate::Error> {
    let root = workspace.root();
    let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
    let root = root.ancestors().find_map(real).unwrap_or_default();
    match folders
        .iter()
        .filter_map(|folder| real(folder))
        .any(|folder| root.starts_with(folder))
    {
        true => Err(Error::Inside {
            folder: workspace.root().to_owned(),
        }
        .into()),
        false => Ok(()),
    }
}

/// Places the program in the workspace, unless the medium is older than the program.
///
/// # Errors
/// A piece is damaged, or the file cannot be written.
pub(super) fn program(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
) -> Result<Utf8PathBuf, crate::Error> {
    let workspace = context.workspace;
    let path = workspace.root().join(PROGRAM);
    links::refuse_one(workspace, &path)?;
    let shown = workspace.shown(&path).to_owned();
    if has_content(&path, content) {
        return Ok(shown);
    }
    if path.exists() && super::repository::is_older(context, medium)? {
        context.reporter.report(Event::Warning(format!(
            "{PROGRAM} stays as it is: the medium is older than the one that brought it"
        )));
        return Ok(shown);
    }
    let file = copied(context, medium, content, &temporary(workspace))?;
    files::persist(file, &path, files::Access::Program)
        .map_err(|source| crate::Error::io("write", &path, source))?;
    Ok(shown)
}

/// Returns whether a file is executable and has a content already.
fn has_content(path: &Utf8Path, content: &Content) -> bool {
    let is_executable = |found: std::fs::Metadata| {
        found.len() == content.size && found.permissions().mode() & 0o111 == 0o111
    };
    path.metadata().is_ok_and(is_executable)
        && medium::hash_of(path).is_ok_and(|found| found == content.sha256)
}

/// Places a download of mkectl in the folder of `fetch`, if a lock has its hash. Returns the path
/// of the program.
///
/// # Errors
/// A piece is damaged, or a file cannot be written.
pub(super) fn mkectl(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    release: &str,
    platform: &str,
) -> Result<Option<Utf8PathBuf>, crate::Error> {
    let workspace = context.workspace;
    for path in workspace.locks()? {
        let lock = bundle::Lock::read(&path)?;
        let mut programs = lock.mkectl.iter();
        let is_locked = |locked: &&bundle::LockedMkectl| {
            locked.platform == platform && locked.sha256 == content.sha256
        };
        let Some(locked) = programs.find(is_locked).filter(|_| lock.release == release) else {
            continue;
        };
        let kept = StoredProgram::of(workspace, &lock, locked);
        files::remove_abandoned(&kept.folder);
        if bundle::check_program(&kept.archive, &locked.sha256, &kept.program).is_err() {
            let file = copied(context, medium, content, &kept.folder)?;
            files::persist(file, &kept.archive, files::Access::All)
                .map_err(|source| crate::Error::io("write", &kept.archive, source))?;
            bundle::unpack_program(&kept.archive, &locked.sha256, &kept.program).map_err(
                |source| match source.full() {
                    Ok(source) => kept.full(workspace, source),
                    Err(source) => Error::Mkectl {
                        release: lock.release.clone(),
                        source,
                    }
                    .into(),
                },
            )?;
        }
        return Ok(Some(workspace.shown(&kept.program).to_owned()));
    }
    let release = redaction::line(release, 40);
    context.reporter.report(Event::Warning(format!(
        "mkectl {release} on the medium is not in a lock; it is not used"
    )));
    Ok(None)
}

/// Unpacks the sources of all dependencies. Returns their folder.
///
/// # Errors
/// A piece is damaged, or a file cannot be written.
pub(super) fn sources(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
) -> Result<Utf8PathBuf, crate::Error> {
    let workspace = context.workspace;
    let folder = workspace.root().join(SOURCES);
    let mark = folder.join(".unpacked");
    if files::read_text(&mark).is_ok_and(|known| known == content.sha256) {
        return Ok(SOURCES.into());
    }
    let mut file = copied(context, medium, content, &temporary(workspace))?;
    let new = temporary(workspace).join("sources");
    let failed = |source| crate::Error::io("write", &new, source);
    remove(&new)?;
    std::io::Seek::rewind(&mut file).map_err(failed)?;
    std::fs::create_dir_all(&new).map_err(failed)?;
    // `unpack` skips paths that lead out of the folder.
    tar::Archive::new(file).unpack(&new).map_err(failed)?;
    std::fs::write(new.join(".unpacked"), &content.sha256).map_err(failed)?;
    remove(&folder)?;
    std::fs::rename(&new, &folder).map_err(failed)?;
    Ok(SOURCES.into())
}

pub(super) fn remove(folder: &Utf8Path) -> Result<(), crate::Error> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::Error::io("remove", folder, source))
        }
        _ => Ok(()),
    }
}
