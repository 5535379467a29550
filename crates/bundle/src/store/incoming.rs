//! Who is at work in a store: whoever writes holds a lock in common with the other writers, and whoever removes holds it alone.

use std::fs::{self, File, TryLockError};

use camino::Utf8Path;

use super::StoreError;
use super::error::io_error;

/// Removes the files of processes that are no more, and returns what tells other processes that this one is there.
///
/// Whoever writes holds the lock in common with the other writers. So whoever gets it alone knows that no file in the
/// folder belongs to anybody.
pub(super) fn take_over(incoming: &Utf8Path) -> Result<File, StoreError> {
    let path = incoming.join("lock");
    if let Some(lock) = lock_alone(incoming)? {
        sweep(incoming)?;
        drop(lock);
    }
    let lock = open_lock(&path)?;
    lock.lock_shared()
        .map_err(|source| io_error("lock", &path, source))?;
    Ok(lock)
}

/// Returns the lock if nobody else holds it.
pub(super) fn lock_alone(incoming: &Utf8Path) -> Result<Option<File>, StoreError> {
    let path = incoming.join("lock");
    let lock = open_lock(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(io_error("lock", &path, source)),
    }
}

/// Removes every file in `incoming` but the lock, which the caller holds alone.
pub(super) fn sweep(incoming: &Utf8Path) -> Result<(), StoreError> {
    let files = incoming
        .read_dir_utf8()
        .map_err(|source| io_error("read", incoming, source))?;
    for file in files.flatten().filter(|file| file.file_name() != "lock") {
        fs::remove_file(file.path()).map_err(|source| io_error("remove", file.path(), source))?;
    }
    Ok(())
}

fn open_lock(path: &Utf8Path) -> Result<File, StoreError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|source| io_error("create", path, source))
}
