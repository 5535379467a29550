//! Reports a full disk by its file system: that is where an operator frees space.

use std::io;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};

mod error;

pub use error::Error;

/// A file system has no space left, or a quota is used up.
#[derive(Debug, thiserror::Error)]
#[error("no space left on the file system `{mount}`, which contains `{path}`")]
pub struct DiskFull {
    /// What was to be written.
    pub path: Utf8PathBuf,
    /// Where the file system is mounted.
    pub mount: Utf8PathBuf,
    /// The system's error.
    pub source: io::Error,
}

impl DiskFull {
    /// Returns whether an error means a full disk.
    pub(crate) fn is_meant_by(error: &io::Error) -> bool {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Returns the error for `path`. `shown` is what messages call it.
    pub(crate) fn new(path: &Utf8Path, shown: &Utf8Path, source: io::Error) -> Self {
        Self {
            path: shown.to_owned(),
            mount: mount_of(path),
            source,
        }
    }
}

/// Returns where the file system of `path` is mounted. The path itself may not exist.
fn mount_of(path: &Utf8Path) -> Utf8PathBuf {
    let absolute = path
        .ancestors()
        .map(|folder| {
            if folder == "" {
                Utf8Path::new(".")
            } else {
                folder
            }
        })
        .find_map(|folder| folder.canonicalize_utf8().ok());
    let Some(mut mount) = absolute else {
        return path.to_owned();
    };
    let device = |path: &Utf8Path| path.metadata().map(|found| found.dev()).ok();
    while let Some(parent) = mount.parent()
        && device(parent) == device(&mount)
    {
        mount = parent.to_owned();
    }
    mount
}

#[cfg(test)]
mod tests {
    use super::*;

    // case 6.4
    #[test]
    fn a_full_disk_is_named_by_its_mount_point() {
        let full = DiskFull::new(
            Utf8Path::new("/proc/self/not/there"),
            Utf8Path::new("bundles/store"),
            io::ErrorKind::StorageFull.into(),
        );
        assert_eq!(
            full.to_string(),
            "no space left on the file system `/proc`, which contains `bundles/store`"
        );
        assert_eq!(mount_of(Utf8Path::new("/")), "/");
    }
}
