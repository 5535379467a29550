//! What can be wrong with a bundle, and where.

use std::fmt;
use std::io;

use oci_spec::image::Digest;

use crate::archive::ArchiveError;
use crate::download::FollowError;
use crate::name::NameError;
use crate::store::StoreError;

/// Why a bundle cannot be used. The caller knows the bundle's path; these know the archive.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bundle is empty.
    #[error("the bundle is empty")]
    Empty,
    /// The bundle is an HTML page: a proxy's or a portal's answer that was saved under the bundle's
    /// name.
    #[error("the bundle is an HTML page, not a gzip file")]
    Html,
    /// The bundle is a tar that was unpacked.
    #[error("the bundle is an uncompressed tar; expected the compressed file")]
    UncompressedTar,
    /// The bundle is something else.
    #[error("the bundle is not a gzip file")]
    NotGzip,
    /// The bundle ends before its end.
    #[error("the bundle ends early, {place}")]
    Truncated {
        /// How far reading came.
        place: Place,
    },
    /// Data follows the end of the bundle.
    #[error("the bundle's gzip stream ends at byte {offset}, but more data follows")]
    TrailingGarbage {
        /// Where, in bytes from the beginning.
        offset: u64,
    },
    /// The compressed stream is corrupt.
    #[error("the bundle is corrupt, {place}")]
    Corrupt {
        /// How far reading came.
        place: Place,
        /// What is wrong.
        source: io::Error,
    },
    /// The operating system cannot read the bundle.
    #[error("the bundle cannot be read, {place}")]
    Input {
        /// How far reading came.
        place: Place,
        /// Why not.
        source: io::Error,
    },
    /// The operating system gives no thread to read with.
    #[error("cannot start a thread to read the bundle with")]
    Thread {
        /// Why not.
        source: io::Error,
    },
    /// The tar in the bundle is broken.
    #[error("the tar in the bundle is broken, {place}")]
    Tar {
        /// How far reading came.
        place: Place,
        /// What is wrong.
        source: io::Error,
    },
    /// The bundle holds no archive at all.
    #[error("the bundle contains no archive: none of its {files} files ends in `.tar`")]
    NoArchives {
        /// How many files it holds.
        files: u64,
    },
    /// The bundle holds archives, and all of them are left out.
    #[error("none of its {files} files can be used; the first archive, `{archive}`: {reason}")]
    NothingUsed {
        /// How many files it holds.
        files: u64,
        /// The first archive.
        archive: String,
        /// Why it is left out.
        reason: String,
    },
    /// The path of an archive has bytes that no name has.
    #[error("the path of an archive is not printable: `{path}`")]
    Path {
        /// The path, escaped.
        path: String,
    },
    /// An archive has a name that does not say where it belongs.
    #[error("the name of the archive `{archive}` does not give a repository and a tag")]
    Name {
        /// The path in the bundle.
        archive: String,
        /// Why not.
        source: NameError,
    },
    /// Something is named as an archive and is a link or a device.
    #[error("`{archive}` is named like an archive, but is not a regular file")]
    NotRegular {
        /// The path in the bundle.
        archive: String,
    },
    /// Something is named as an archive with a compression, and would be left out silently.
    #[error(
        "`{file}` looks like a compressed archive; only uncompressed archives ending in `.tar` are supported"
    )]
    CompressedName {
        /// The path in the bundle.
        file: String,
    },
    /// Two archives are named for the same repository and tag.
    #[error("the archives `{first}` and `{second}` are both `{reference}`")]
    Twice {
        /// The repository and tag.
        reference: String,
        /// The path of the first.
        first: String,
        /// The path of the second.
        second: String,
    },
    /// An archive does not hold a whole artifact.
    #[error("the archive `{archive}` cannot be used")]
    Archive {
        /// The path in the bundle.
        archive: String,
        /// Why not.
        source: ArchiveError,
    },
    /// The release matrix is larger than 4 MiB.
    #[error("the release matrix `{path}` has {size} bytes, more than 4 MiB")]
    MatrixSize {
        /// The path in the bundle.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// What was read cannot be kept.
    #[error("cannot store what was read, {place}")]
    Sink {
        /// How far reading came.
        place: Place,
        /// Why not.
        source: StoreError,
    },
    /// The bundle holds an archive that the lock does not list.
    #[error("the bundle contains `{archive}`, which the lock does not list")]
    Unexpected {
        /// The path in the bundle.
        archive: String,
    },
    /// The bundle lacks an archive that the lock lists.
    #[error("the bundle lacks `{archive}`, which the lock lists")]
    Missing {
        /// The path in the bundle.
        archive: String,
    },
    /// An archive holds something else than the lock says.
    #[error("`{archive}` contains `{found}`, but the lock records `{locked}`")]
    Differs {
        /// The path in the bundle.
        archive: String,
        /// The digest in the lock.
        locked: Digest,
        /// The digest in the bundle.
        found: Digest,
    },
    /// An archive holds what the lock says, and the lock describes it otherwise: it was edited.
    #[error("`{archive}` has the digest in the lock, but the lock describes it wrongly")]
    DescribedWrongly {
        /// The path in the bundle.
        archive: String,
    },
    /// The release matrix is not the lock's, or one of the two has none.
    #[error("the bundle's release matrix differs from the lock's")]
    Matrix,
    /// The bundle has a different size than the lock says.
    #[error("the bundle has {found} bytes, but the lock records {locked}")]
    Size {
        /// The size in the lock, in bytes.
        locked: u64,
        /// The size of the bundle, in bytes.
        found: u64,
    },
    /// The bundle has another sha256 than the lock says, though every archive in it is right.
    #[error("the bundle has SHA-256 {found}, but the lock records {locked}")]
    Sha256 {
        /// The sha256 in the lock.
        locked: String,
        /// The sha256 of the bundle.
        found: String,
    },
}

impl ReadError {
    /// Returns why the download of the bundle broke off, if the bundle was read from a
    /// [`crate::Following`] and that is what went wrong.
    pub fn followed(&self) -> Option<FollowError> {
        match self {
            Self::Input { source, .. } => FollowError::of(source),
            _ => None,
        }
    }
}

/// How far the reading of a bundle came.
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
