//! Checks before a push that the files after it can be written. A push may take hours, so a full
//! disk or a read-only file should be found first.

use std::io;

use bytesize::ByteSize;
use camino::{Utf8Path, Utf8PathBuf};

use crate::transfer::fetch::{self, Source};
use crate::{Context, Error, Kind, Workspace};

/// Reasons for which a deploy would fail after its push.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// A file cannot be written.
    #[error("cannot write `{path}`, which the deploy needs after the push")]
    Unwritable {
        /// Path of the file, relative to the workspace.
        path: Utf8PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The disk is too small.
    #[error("{} are free in `{folder}`, but {} must still be written", ByteSize(*free).display().si(), ByteSize(*needed).display().si())]
    NoRoom {
        /// Path of the folder, relative to the workspace.
        folder: Utf8PathBuf,
        /// Number of free bytes.
        free: u64,
        /// Number of bytes to write.
        needed: u64,
    },
}

impl NotReady {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unwritable { .. } | Self::NoRoom { .. } => Kind::Machine,
        }
    }
}

/// Checks that files and their folders can be written.
///
/// # Errors
/// [`NotReady::Unwritable`] if one of them cannot.
pub(crate) fn files(context: &Context<'_>, files: &[Utf8PathBuf]) -> Result<(), Error> {
    for path in files {
        try_to_write(path).map_err(|source| {
            Error::NotReady(NotReady::Unwritable {
                path: context.workspace.shown(path).to_owned(),
                source,
            })
        })?;
    }
    Ok(())
}

/// Creates a temporary file beside `path`, as an atomic write does, and removes it.
fn try_to_write(path: &Utf8Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    std::fs::create_dir_all(files::folder_of(path))?;
    files::temporary_beside(path).map(drop)
}

/// Returns the number of bytes that will be written to `bundles/` until the store has everything
/// that the lock names.
pub(crate) fn to_write(workspace: &Workspace, lock: &bundle::Lock) -> u64 {
    let of_bundle = |lock: &bundle::Lock| match fetch::source(workspace, lock) {
        Ok(Source::Made(path) | Source::Download(path)) => {
            let part = std::fs::metadata(format!("{path}.part"));
            let there = part.map_or(0, |part| part.len());
            lock.bundle.size.saturating_sub(there)
        }
        Ok(Source::Store | Source::File(_)) | Err(_) => 0,
    };
    let missing = fetch::open_store(workspace).map_or(0, |store| {
        let missing = store.missing(lock);
        missing.iter().map(|blob| blob.size).sum()
    });
    let of_sets: u64 = lock.set_bundles().map(|part| of_bundle(&part)).sum();
    of_bundle(lock) + of_sets + missing
}

/// Returns the number of free bytes in a folder, or in its nearest existing ancestor.
///
/// # Errors
/// The file system does not report it.
pub(crate) fn free(folder: &Utf8Path) -> io::Result<u64> {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    let room = rustix::fs::statvfs(there.unwrap_or(folder).as_std_path())?;
    // Some FUSE file systems report neither size nor free space.
    if room.f_blocks == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// Checks that the disk has room for everything that the lock names. The check passes if the file
/// system does not report free space.
///
/// # Errors
/// [`NotReady::NoRoom`] if it does not.
pub(crate) fn room(workspace: &Workspace, lock: &bundle::Lock) -> Result<(), Error> {
    let folder = workspace.bundles();
    let Ok(free) = free(&folder) else {
        return Ok(());
    };
    enough(workspace.shown(&folder), free, to_write(workspace, lock))
}

fn enough(folder: &Utf8Path, free: u64, needed: u64) -> Result<(), Error> {
    match free < needed {
        true => Err(Error::NotReady(NotReady::NoRoom {
            folder: folder.to_owned(),
            free,
            needed,
        })),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_the_place_of_a_file_is_found_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        try_to_write(&folder.join("receipt.yaml")).unwrap();
        assert_eq!(folder.read_dir_utf8().unwrap().count(), 0);
        std::fs::create_dir(folder.join("receipt.yaml")).unwrap();
        assert!(try_to_write(&folder.join("receipt.yaml")).is_err());
        std::fs::write(folder.join("logs"), "").unwrap();
        assert!(try_to_write(&folder.join("logs/under-way.yaml")).is_err());
    }

    #[test]
    fn a_disk_that_is_too_small_is_named_with_what_is_missing() {
        let folder = Utf8Path::new("bundles");
        assert!(enough(folder, 5, 5).is_ok());
        let error = enough(folder, 1_000_000, 2_000_000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "1.0 MB are free in `bundles`, but 2.0 MB must still be written"
        );
        assert!(free(Utf8Path::new(".")).unwrap() > 0);
    }
}
