//! Reports a full disk with the mount point of its file system: that is where the operator frees
//! space.

use std::io;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};

mod error;

pub use error::Error;

/// A file system without space left, or with a used-up quota.
#[derive(Debug, thiserror::Error)]
#[error("no space left on the file system `{mount}`, which contains `{path}`")]
pub struct DiskFull {
    /// The file or folder that could not be written.
    pub path: Utf8PathBuf,
    /// Mount point of the file system.
    pub mount: Utf8PathBuf,
    /// The error of the system.
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

    /// Returns the error for `path`. Messages name it by `shown`, such as its relative path.
    pub(crate) fn new(path: &Utf8Path, shown: &Utf8Path, source: io::Error) -> Self {
        Self {
            path: shown.to_owned(),
            mount: mount_of(path),
            source,
        }
    }
}

/// Returns the mount point of the file system of `path`. The path itself need not exist.
fn mount_of(path: &Utf8Path) -> Utf8PathBuf {
    let absolute = path
        .ancestors()
        .map(|folder| match folder.as_str() {
            "" => Utf8Path::new("."),
            _ => folder,
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
