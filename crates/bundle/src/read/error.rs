//! Errors of reading a bundle, and the place where reading stopped.

use std::fmt;
use std::io;

use oci_spec::image::Digest;

use crate::archive::ArchiveError;
use crate::download::FollowError;
use crate::name::NameError;
use crate::store::StoreError;

/// Reason why a bundle cannot be used. The caller adds the bundle's path.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bundle is empty.
    #[error("the bundle is empty")]
    Empty,
    /// The bundle is an HTML page: the response of a proxy or portal, saved under the bundle's
    /// name.
    #[error("the bundle is an HTML page, not a gzip file")]
    Html,
    /// The bundle was decompressed.
    #[error("the bundle is an uncompressed tar; expected the compressed file")]
    UncompressedTar,
    /// The bundle has a different format.
    #[error("the bundle is not a gzip file")]
    NotGzip,
    /// The bundle ends early.
    #[error("the bundle ends early, {place}")]
    Truncated {
        /// Place where reading stopped.
        place: Place,
    },
    /// Data follows the end of the gzip stream.
    #[error("the bundle's gzip stream ends at byte {offset}, but more data follows")]
    TrailingGarbage {
        /// End of the gzip stream, in bytes from the beginning.
        offset: u64,
    },
    /// The gzip stream is corrupt.
    #[error("the bundle is corrupt, {place}")]
    Corrupt {
        /// Place where reading stopped.
        place: Place,
        /// The error of the decoder.
        source: io::Error,
    },
    /// The bundle cannot be read from disk.
    #[error("the bundle cannot be read, {place}")]
    Input {
        /// Place where reading stopped.
        place: Place,
        /// The cause.
        source: io::Error,
    },
    /// The operating system refuses to start a thread.
    #[error("cannot start a thread to read the bundle with")]
    Thread {
        /// The cause.
        source: io::Error,
    },
    /// The tar in the bundle is broken.
    #[error("the tar in the bundle is broken, {place}")]
    Tar {
        /// Place where reading stopped.
        place: Place,
        /// The fault.
        source: io::Error,
    },
    /// The bundle contains no archive.
    #[error("the bundle contains no archive: none of its {files} files ends in `.tar`")]
    NoArchives {
        /// Number of its files.
        files: u64,
    },
    /// The bundle contains archives, but each is skipped.
    #[error("none of its {files} files can be used; the first archive, `{archive}`: {reason}")]
    NothingUsed {
        /// Number of its files.
        files: u64,
        /// Path of the first archive.
        archive: String,
        /// Reason for skipping it.
        reason: String,
    },
    /// The path of an archive has control characters, or is not UTF-8.
    #[error("the path of an archive is not printable: `{path}`")]
    Path {
        /// Path, escaped.
        path: String,
    },
    /// The name of an archive gives no repository and tag.
    #[error("the name of the archive `{archive}` does not give a repository and a tag")]
    Name {
        /// Path in the bundle.
        archive: String,
        /// The cause.
        source: NameError,
    },
    /// A member named like an archive is a link or a device.
    #[error("`{archive}` is named like an archive, but is not a regular file")]
    NotRegular {
        /// Path in the bundle.
        archive: String,
    },
    /// A file is named like a compressed archive. It would be ignored silently.
    #[error(
        "`{file}` looks like a compressed archive; only uncompressed archives ending in `.tar` are supported"
    )]
    CompressedName {
        /// Path in the bundle.
        file: String,
    },
    /// Two archives have the same repository and tag.
    #[error("the archives `{first}` and `{second}` are both `{reference}`")]
    Twice {
        /// Reference, `repository:tag`.
        reference: String,
        /// Path of the first archive.
        first: String,
        /// Path of the second archive.
        second: String,
    },
    /// An archive does not contain a complete artifact.
    #[error("the archive `{archive}` cannot be used")]
    Archive {
        /// Path in the bundle.
        archive: String,
        /// The cause.
        source: ArchiveError,
    },
    /// The release matrix is larger than 4 MiB.
    #[error("the release matrix `{path}` has {size} bytes, more than 4 MiB")]
    MatrixSize {
        /// Path in the bundle.
        path: String,
        /// Size in bytes.
        size: u64,
    },
    /// The sink failed, usually the store.
    #[error("cannot store what was read, {place}")]
    Sink {
        /// Place where reading stopped.
        place: Place,
        /// The cause.
        source: StoreError,
    },
    /// The bundle contains an archive that the lock does not list.
    #[error("the bundle contains `{archive}`, which the lock does not list")]
    Unexpected {
        /// Path in the bundle.
        archive: String,
    },
    /// The bundle lacks an archive that the lock lists.
    #[error("the bundle lacks `{archive}`, which the lock lists")]
    Missing {
        /// Path in the bundle.
        archive: String,
    },
    /// The artifact in an archive differs from the lock.
    #[error("`{archive}` contains `{found}`, but the lock records `{locked}`")]
    Differs {
        /// Path in the bundle.
        archive: String,
        /// Digest in the lock.
        locked: Digest,
        /// Digest in the bundle.
        found: Digest,
    },
    /// The digest of an artifact equals that in the lock, but the lock describes it differently:
    /// the lock was edited.
    #[error("`{archive}` has the digest in the lock, but the lock describes it wrongly")]
    DescribedWrongly {
        /// Path in the bundle.
        archive: String,
    },
    /// The release matrix differs from that of the lock, or only one of the two has a matrix.
    #[error("the bundle's release matrix differs from the lock's")]
    Matrix,
    /// The size of the bundle differs from the lock.
    #[error("the bundle has {found} bytes, but the lock records {locked}")]
    Size {
        /// Size in the lock, in bytes.
        locked: u64,
        /// Size of the bundle, in bytes.
        found: u64,
    },
    /// The SHA-256 of the bundle differs from the lock, although each archive is correct.
    #[error("the bundle has SHA-256 {found}, but the lock records {locked}")]
    Sha256 {
        /// SHA-256 in the lock.
        locked: String,
        /// SHA-256 of the bundle.
        found: String,
    },
}

impl ReadError {
    /// Returns the failure of the download, if the bundle was read from a [`crate::Following`] and
    /// its download failed.
    pub fn followed(&self) -> Option<FollowError> {
        match self {
            Self::Input { source, .. } => FollowError::of(source),
            _ => None,
        }
    }
}

/// The place where reading a bundle stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the first archive.
    Start,
    /// In the middle of this archive.
    In(String),
    /// After this archive.
    After(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => formatter.write_str("before the first archive"),
            Self::In(archive) => write!(formatter, "in the archive `{archive}`"),
            Self::After(archive) => write!(formatter, "after the archive `{archive}`"),
        }
    }
}
