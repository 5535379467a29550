//! The temporary files of a pack.

use camino::Utf8PathBuf;

use super::Error;
use crate::courier::{LOCK, lock_folder};
use crate::disk;

/// A folder of temporary files in `bundles/`, which git ignores. Dropping it removes the folder.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) folder: Utf8PathBuf,
    /// Locked while the folder is in use; `None` in a read-only checkout.
    _lock: Option<std::fs::File>,
}

impl Scratch {
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
        let shown = workspace.shown(&folder).to_owned();
        let make = |source| crate::Error::io("make", &shown, source);
        let lock = lock_folder(workspace, &folder, |folder| Error::InUse { folder }.into())?;
        // Removes the files of a killed run.
        for entry in folder.read_dir_utf8().map_err(make)?.flatten() {
            let _ = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => std::fs::remove_dir_all(entry.path()),
                false if entry.file_name() != LOCK => std::fs::remove_file(entry.path()),
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
