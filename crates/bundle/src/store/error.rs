//! Errors of a store.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::Digest;

/// Reason why an operation on a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder contains something else, or a layout of a different version.
    #[error("`{path}` is not an OCI image layout of version 1.0.0, and not empty")]
    NotAStore {
        /// Folder of the store.
        path: Utf8PathBuf,
    },
    /// The operating system refuses an operation.
    #[error("cannot {action} `{path}`")]
    Io {
        /// The operation: `read`, `write`, `create`, `lock`, `remove`.
        action: &'static str,
        /// File or folder.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The disk or the quota is full.
    #[error("no space left in `{path}` for a blob of {size} bytes")]
    Full {
        /// Folder of the store.
        path: Utf8PathBuf,
        /// Size of the blob in bytes.
        size: u64,
        /// The cause.
        source: io::Error,
    },
    /// The store does not have a blob.
    #[error("`{digest}` is not in the store `{path}`")]
    Missing {
        /// Digest of the blob.
        digest: Digest,
        /// Folder of the store.
        path: Utf8PathBuf,
    },
    /// The content of a blob has a different digest than its name.
    #[error("`{path}` is corrupt: its content has digest `{found}`")]
    Corrupt {
        /// Path of the blob.
        path: Utf8PathBuf,
        /// Digest of the content.
        found: Digest,
    },
    /// A blob has a different size than expected.
    #[error("`{path}` has {found} bytes; expected {size}")]
    Size {
        /// Path of the blob.
        path: Utf8PathBuf,
        /// Expected size in bytes.
        size: u64,
        /// Actual size in bytes.
        found: u64,
    },
    /// A blob is too large to be read into memory.
    #[error("`{path}` has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Path of the blob.
        path: Utf8PathBuf,
        /// Size in bytes.
        size: u64,
        /// Limit in bytes.
        limit: u64,
    },
    /// Another process, or another part of this one, is writing to the store.
    #[error("another process is writing to `{path}`")]
    InUse {
        /// Folder of the store.
        path: Utf8PathBuf,
    },
}

impl StoreError {
    /// Makes the path in the error relative to `folder`, if it is below it.
    pub fn relative_to(mut self, folder: &Utf8Path) -> Self {
        let (Self::NotAStore { path }
        | Self::Io { path, .. }
        | Self::Full { path, .. }
        | Self::Missing { path, .. }
        | Self::Corrupt { path, .. }
        | Self::Size { path, .. }
        | Self::TooLarge { path, .. }
        | Self::InUse { path }) = &mut self;
        if let Ok(below) = path.strip_prefix(folder) {
            *path = below.to_owned();
        }
        self
    }

    /// Returns whether the disk is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}

pub(super) fn io_error(action: &'static str, path: &Utf8Path, source: io::Error) -> StoreError {
    StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
