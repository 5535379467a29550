//! Reads, downloads and stores bundles: the archives in which the vendor ships a release.
//!
//! A bundle is a gzip'd tar. It holds one OCI archive (an uncompressed tar of an OCI image layout)
//! for each image and each Helm chart of a release. The parts of this crate:
//!
//! - [`name`] derives repository and tag from the file name of an archive.
//! - [`Lock`] is the committed record of a bundle's content, or of the artifacts that a [`set`]
//!   names in registries.
//! - [`download()`] and [`checksum()`] fetch a bundle and resume after interruptions.
//! - [`read()`] takes a bundle apart in a single pass. It fills a [`Store`], or only looks if the
//!   sink is [`Inspection`].
//! - [`make`] writes bundles in the vendor's format, for the demonstration release, tests and
//!   benchmarks.
//!
//! ```text
//!  bundle.tar.gz ─▶ gzip ─▶ outer tar ─▶ one archive at a time ─▶ every blob hashed ─▶ Sink (Store)
//!        │                                        │
//!        └─▶ size, sha256                         └─▶ Contents ─▶ Lock
//! ```
//!
//! [`download_feeding`] and [`following`] read a bundle while it is downloaded. The bytes pass
//! through the unfinished file.
//!
//! Four threads read, inflate, hash and write, with a few buffers between them. The disk is
//! therefore the limit.
//!
//! No path in a bundle is used as a path on disk. Memory grows with the number of artifacts only,
//! and not with their sizes.
//!
//! This crate must not know registries, environments, the meaning of `mke4.yaml`, or the terminal.
//! It neither reads environment variables nor the clock. Only [`download()`] and [`checksum()`] use
//! the network.

pub mod name;

mod digest;
mod lock;
pub mod set;

mod event;
mod sink;
mod store;

mod ahead;
mod archive;
mod chart;
mod contents;
mod describe;
mod document;
mod foreign;
mod gzip;
mod helm;
mod pipeline;
mod program;
mod read;
mod rules;
mod signature;
mod strict;
mod survey;
mod tarball;
mod wrap;

mod checksum;
mod download;
mod http;

pub mod make;

#[cfg(test)]
mod testing;

pub use archive::ArchiveError;
pub use chart::{ChartValues, ImagePlace, chart_values};
pub use checksum::{Checksum, ChecksumError, checksum, checksum_in_file};
pub use contents::Contents;
pub use describe::{
    Child, Content, DescribeError, Described, LARGEST_MANIFEST, describe, platform_of_config,
    reduce, referrers_index,
};
pub use digest::{DigestError, LARGEST_BLOB, hash_file, sha256_digest, size_fault};
pub use download::{
    Download, DownloadError, Downloaded, Expected, Feed, FollowError, Following, download,
    download_feeding, following,
};
pub use event::{Event, Observer, Silent};
pub use helm::{HelmError, HelmIndex, Indexed, LARGEST_CHART_FILE, WrappedChart, wrap_chart};
pub use http::{
    HttpClient, RequestError, Retry, Server, UrlFault, check_url, has_credentials, local_path,
    shown_url, stored_url,
};
pub use lock::{
    Artifact, Blob, Contradiction, Kind, Lock, LockError, LockedBundle, LockedFile, LockedMkectl,
    Manifest, SetBundle, SkippedArchive, Source,
};
pub use program::{ProgramError, check_archive, check_program, unpack_program};
pub use read::{Place, ReadError, read, read_observed};
pub use rules::{Rule, Rules};
pub use signature::{LARGEST_SIGNATURE, PublicKey, Signature, SignatureError};
pub use sink::{BlobSink, Inspection, Sink};
pub use store::{BlobWriter, Exclusive, Listed, MissingBlob, PartialBlob, Store, StoreError};
pub use survey::{Survey, SurveyedArchive, SurveyedRoot, survey};
pub use tarball::count_members;
pub use wrap::{Wrapped, wrap_file};
