//! Errors of files on this machine, bundles and the store.

use camino::{Utf8Path, Utf8PathBuf};

use super::DiskFull;
use crate::{Kind, Workspace};

/// A failure of a file on this machine, a bundle or the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that the operator wrote, committed or named cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// An operation on a file or folder failed.
    #[error("cannot {doing} `{path}`")]
    Io {
        /// The operation as a verb, such as `write`.
        doing: &'static str,
        /// The file or folder.
        path: Utf8PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A file system is full.
    #[error(transparent)]
    Full(DiskFull),
    /// The bundle's file does not have the size in the lock.
    #[error("`{path}` has {found} bytes, but its lock records {expected}")]
    BundleSize {
        /// Path of the bundle's file.
        path: Utf8PathBuf,
        /// Bytes of the file.
        found: u64,
        /// Bytes in the lock.
        expected: u64,
    },
    /// The bundle is damaged, or does not match its lock.
    #[error("`{path}` is refused")]
    Bundle {
        /// Path of the bundle's file.
        path: Utf8PathBuf,
        /// The fault.
        source: bundle::ReadError,
        /// The release that the bundle was to be locked as; `None` except in `lock`.
        release: Option<String>,
    },
    /// The bundle could not be read to its end or put into the store, because of this machine and
    /// not because of the bundle.
    #[error("cannot read all of `{path}`")]
    BundleUnread {
        /// Path of the bundle's file.
        path: Utf8PathBuf,
        /// The failure.
        source: bundle::ReadError,
    },
    /// The store of blobs failed.
    #[error("the store at `{path}` failed")]
    Store {
        /// Folder of the store.
        path: Utf8PathBuf,
        /// The failure.
        source: bundle::StoreError,
    },
    /// A blob that the store had before is missing.
    #[error("the store at `{path}` lost blob {digest} while it was used")]
    StoreLost {
        /// Folder of the store.
        path: Utf8PathBuf,
        /// Digest of the blob, `sha256:<hex>`.
        digest: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Workspace,
            Self::Store {
                source: bundle::StoreError::Corrupt { .. } | bundle::StoreError::Size { .. },
                ..
            } => Kind::Content,
            Self::Store {
                source: bundle::StoreError::InUse { .. },
                ..
            } => Kind::NotAllowed,
            Self::Io { .. } | Self::Full(_) | Self::BundleUnread { .. } | Self::Store { .. } => {
                Kind::Machine
            }
            Self::BundleSize { .. } | Self::Bundle { .. } | Self::StoreLost { .. } => Kind::Content,
        }
    }

    /// Returns the error of reading a bundle. A fault of this machine, such as a full disk, is not
    /// blamed on the bundle: the operator might delete it.
    pub(crate) fn bundle(
        workspace: &Workspace,
        path: &Utf8Path,
        source: bundle::ReadError,
    ) -> Self {
        use bundle::ReadError::{Input, Sink, Thread};
        let path = workspace.shown(path).to_owned();
        match source {
            Sink { source, .. } if source.is_full() => Self::store(workspace, source),
            Input { .. } | Sink { .. } | Thread { .. } => Self::BundleUnread { path, source },
            source => Self::Bundle {
                path,
                source,
                release: None,
            },
        }
    }

    pub(crate) fn store(workspace: &Workspace, source: bundle::StoreError) -> Self {
        let path = workspace.store();
        let shown = workspace.shown(&path).to_owned();
        let is_full = source.is_full();
        match source {
            bundle::StoreError::Full { source, .. } | bundle::StoreError::Io { source, .. }
                if is_full =>
            {
                Self::Full(DiskFull::new(&path, &shown, source))
            }
            source => Self::Store {
                path: shown,
                source: source.relative_to(workspace.root()),
            },
        }
    }

    pub(crate) fn read(path: &Utf8Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, source }
    }

    pub(crate) fn io(doing: &'static str, path: &Utf8Path, source: std::io::Error) -> Self {
        if DiskFull::is_meant_by(&source) {
            return Self::Full(DiskFull::new(path, path, source));
        }
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use bundle::{Place, ReadError, StoreError};

    use super::*;

    #[test]
    fn a_full_disk_is_not_blamed_on_the_bundle() {
        let full = ReadError::Sink {
            place: Place::Start,
            source: StoreError::Full {
                path: "bundles/store".into(),
                size: 1,
                source: std::io::ErrorKind::StorageFull.into(),
            },
        };
        let workspace = crate::Workspace::new("/proc");
        let path = Utf8Path::new("/proc/bundles/bundle.tar.gz");
        assert_eq!(
            Error::bundle(&workspace, path, full).to_string(),
            "no space left on the file system `/proc`, which contains `bundles/store`"
        );
        assert!(matches!(
            Error::bundle(&workspace, path, ReadError::NotGzip),
            Error::Bundle { path, .. } if path == "bundles/bundle.tar.gz"
        ));
        let quota = std::io::ErrorKind::QuotaExceeded.into();
        assert!(matches!(Error::io("write", path, quota), Error::Full(_)));
    }
}
