//! Why a file of this machine, a bundle or the store cannot be used.

use camino::{Utf8Path, Utf8PathBuf};

use super::DiskFull;
use crate::{Kind, Workspace};

/// Why a file of this machine, a bundle or the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that the operator wrote, committed or named cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file or folder failed.
    #[error("cannot {doing} `{path}`")]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// With which file or folder.
        path: Utf8PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A disk is full.
    #[error(transparent)]
    Full(DiskFull),
    /// The bundle's file does not have the size in the lock.
    #[error("`{path}` has {found} bytes, but its lock records {expected}")]
    BundleSize {
        /// The bundle.
        path: Utf8PathBuf,
        /// Its size.
        found: u64,
        /// The lock's.
        expected: u64,
    },
    /// The bundle cannot be read, or is not what its lock says.
    #[error("`{path}` is refused")]
    Bundle {
        /// The bundle.
        path: Utf8PathBuf,
        /// Why.
        source: bundle::ReadError,
        /// The release that it was to be locked as.
        release: Option<String>,
    },
    /// The bundle could not be read to its end, or not be kept. It need not be to blame.
    #[error("cannot read all of `{path}`")]
    BundleUnread {
        /// The bundle.
        path: Utf8PathBuf,
        /// Why not.
        source: bundle::ReadError,
    },
    /// The store of blobs failed.
    #[error("the store at `{path}` failed")]
    Store {
        /// The store.
        path: Utf8PathBuf,
        /// Why.
        source: bundle::StoreError,
    },
    /// The store lacks something that was checked to be there.
    #[error("the store at `{path}` lost blob {digest} while it was used")]
    StoreLost {
        /// The store.
        path: Utf8PathBuf,
        /// What no longer exists.
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

    /// Distinguishes faults of a bundle from faults of the machine that reads it: no bundle should
    /// be deleted because the disk is full.
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
        match source {
            bundle::StoreError::Full { source, .. } => {
                Self::Full(DiskFull::new(&path, &shown, source))
            }
            bundle::StoreError::Io { source, .. } if DiskFull::is_meant_by(&source) => {
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

    // case 6.4
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
