//! What can be wrong with a store.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::Digest;

/// Why the store cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder holds something else, or a layout of a different version.
    #[error("`{path}` is not an OCI image layout of version 1.0.0, and not empty")]
    NotAStore {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// The operating system refuses something.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was to be done: `read`, `write`, `create`, `lock`, `remove`.
        action: &'static str,
        /// With which file.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The disk, or the quota, is full.
    #[error("no space left in `{path}` for a blob of {size} bytes")]
    Full {
        /// The folder of the store.
        path: Utf8PathBuf,
        /// The size of the blob in bytes.
        size: u64,
        /// What the operating system says.
        source: io::Error,
    },
    /// A blob is not in the store.
    #[error("`{digest}` is not in the store `{path}`")]
    Missing {
        /// The blob.
        digest: Digest,
        /// The folder of the store.
        path: Utf8PathBuf,
    },
    /// A blob in the store has not the content of its name.
    #[error("`{path}` is corrupt: its content has digest `{found}`")]
    Corrupt {
        /// The file.
        path: Utf8PathBuf,
        /// The digest of its content.
        found: Digest,
    },
    /// A blob in the store has a different size than it should.
    #[error("`{path}` has {found} bytes; expected {size}")]
    Size {
        /// The file.
        path: Utf8PathBuf,
        /// The size that was expected, in bytes.
        size: u64,
        /// The size of the file, in bytes.
        found: u64,
    },
    /// A blob that was to be read into memory is too large for that.
    #[error("`{path}` has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The file.
        path: Utf8PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Another process, or another part of this one, is writing to the store.
    #[error("another process is writing to `{path}`")]
    InUse {
        /// The folder of the store.
        path: Utf8PathBuf,
    },
    /// `index.json` or `oci-layout` cannot be parsed.
    #[error("cannot parse `{path}`")]
    Json {
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
}

impl StoreError {
    /// Names its file relative to a folder that it is in.
    pub fn relative_to(mut self, folder: &Utf8Path) -> Self {
        let (Self::NotAStore { path }
        | Self::Io { path, .. }
        | Self::Full { path, .. }
        | Self::Missing { path, .. }
        | Self::Corrupt { path, .. }
        | Self::Size { path, .. }
        | Self::TooLarge { path, .. }
        | Self::InUse { path }
        | Self::Json { path, .. }) = &mut self;
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
