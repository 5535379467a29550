//! The temporary files of a pack.

use camino::Utf8PathBuf;

use super::Error;
use crate::disk;

/// A folder of temporary files in `bundles/`, which git ignores. Dropping it removes the folder.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) folder: Utf8PathBuf,
    /// Locked while the folder is in use; `None` in a read-only checkout.
    _lock: Option<std::fs::File>,
}

impl Scratch {
    /// Name of the locked file.
    const LOCK: &str = "lock";

    /// Creates the folder. A dry run in a read-only checkout uses the system's temporary folder.
    pub(super) fn new(workspace: &crate::Workspace, dry_run: bool) -> Result<Self, crate::Error> {
        match Self::within(workspace) {
            Err(error @ crate::Error::Disk(disk::Error::Io { .. })) if dry_run => {
                let temporary = tempfile::tempdir().map(tempfile::TempDir::keep);
                let folder = temporary.map(Utf8PathBuf::from_path_buf);
                let Ok(Ok(folder)) = folder else {
                    return Err(error);
                };
                Ok(Self {
                    folder,
                    _lock: None,
                })
            }
            made => made,
        }
    }

    fn within(workspace: &crate::Workspace) -> Result<Self, crate::Error> {
        let folder = workspace.bundles().join("pack");
        crate::links::refuse_one(workspace, &folder)?;
        let shown = workspace.shown(&folder).to_owned();
        let make = |source| crate::Error::io("make", &shown, source);
        std::fs::create_dir_all(&folder).map_err(make)?;
        let lock = folder.join(Self::LOCK);
        crate::links::refuse_one(workspace, &lock)?;
        let lock = std::fs::File::create(lock).map_err(make)?;
        if matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
            return Err(Error::InUse { folder: shown }.into());
        }
        // Removes the files of a killed run.
        for entry in folder.read_dir_utf8().map_err(make)?.flatten() {
            let _ = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => std::fs::remove_dir_all(entry.path()),
                false if entry.file_name() != Self::LOCK => std::fs::remove_file(entry.path()),
                false => Ok(()),
            };
        }
        Ok(Self {
            folder,
            _lock: Some(lock),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After an error, the next run tries again.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
