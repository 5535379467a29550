//! The lock of a store: writers share it, and a removal holds it exclusively.

use std::fs::{self, File, TryLockError};
use std::io;

use camino::Utf8Path;

use super::StoreError;
use super::error::io_error;

/// Takes the shared lock of a writer. Removes the files of killed processes before, if no other
/// process holds the lock: then no file in the folder is in use.
///
/// On a file system without locks nothing is removed, because other processes may be writing.
pub(super) fn lock_shared(incoming: &Utf8Path) -> Result<File, StoreError> {
    let path = incoming.join("lock");
    let lock = open_lock(&path)?;
    match lock.try_lock() {
        Ok(()) => {
            sweep(incoming)?;
            // Opened again, because not every file system can turn an exclusive lock into a shared
            // one.
            drop(lock);
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(lock),
        Err(TryLockError::Error(source)) => return Err(io_error("lock", &path, source)),
    }
    let lock = open_lock(&path)?;
    lock.lock_shared()
        .map_err(|source| io_error("lock", &path, source))?;
    Ok(lock)
}

/// Returns whether an error of locking means that the file system does not support locks.
pub(crate) fn has_no_locks(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(libc::ENOLCK)
}

/// Takes the exclusive lock. Returns `None` if another process holds the lock. A file system
/// without locks counts as locked.
pub(super) fn lock_exclusive(incoming: &Utf8Path) -> Result<Option<File>, StoreError> {
    let path = incoming.join("lock");
    let lock = open_lock(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(Some(lock)),
        Err(TryLockError::Error(source)) => Err(io_error("lock", &path, source)),
    }
}

/// Removes every file in `incoming` except for the lock, which the caller must hold exclusively.
pub(super) fn sweep(incoming: &Utf8Path) -> Result<(), StoreError> {
    let files = incoming
        .read_dir_utf8()
        .map_err(|source| io_error("read", incoming, source))?;
    for file in files.flatten().filter(|file| file.file_name() != "lock") {
        fs::remove_file(file.path()).map_err(|source| io_error("remove", file.path(), source))?;
    }
    Ok(())
}

/// Opens the lock for reading and writing. NFS refuses a shared lock on a file open only for
/// writing, and an exclusive one on a file open only for reading.
fn open_lock(path: &Utf8Path) -> Result<File, StoreError> {
    File::options()
        .create(true)
        .read(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|source| io_error("create", path, source))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_lock_is_open_for_reading_and_for_writing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        for mut lock in [
            lock_shared(folder).unwrap(),
            open_lock(&folder.join("lock")).unwrap(),
        ] {
            assert_eq!(lock.read(&mut [0]).unwrap(), 0);
            lock.set_len(0).unwrap();
        }
    }

    #[test]
    fn file_systems_without_locks_are_distinguished_from_failures() {
        for (errno, without) in [
            (libc::ENOLCK, true),
            (libc::EOPNOTSUPP, true),
            (libc::ENOSYS, true),
            (libc::EIO, false),
            (libc::EBADF, false),
            (libc::EACCES, false),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(has_no_locks(&error), without, "{error}");
        }
    }
}
