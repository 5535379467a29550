//! The vendor's bundle: what is in it, getting it, and taking it apart.
//!
//! A bundle is a gzip'd tar that holds one OCI archive (an uncompressed tar of an OCI image layout)
//! for each image and each Helm chart of a release. This crate knows four things about it:
//!
//! - [`name`]: how an archive's file name says repository and tag;
//! - [`Lock`]: the committed record of everything that a bundle holds, or that a [`set`] names in
//!   registries;
//! - [`download()`] and [`checksum()`]: how to get one, across interruptions;
//! - [`read()`]: how to take one apart in a single pass, into a [`Store`] or, just to look, an
//!   [`Inspection`].
//!
//! [`make`] writes bundles in the vendor's format, for the demonstration release, tests and
//! benchmarks.
//!
//! ```text
//!  bundle.tar.gz ─▶ gzip ─▶ outer tar ─▶ one archive at a time ─▶ every blob hashed ─▶ Sink (Store)
//!        │                                        │
//!        └─▶ size, sha256                         └─▶ Contents ─▶ Lock
//! ```
//!
//! [`download_feeding`] and [`following`] let a bundle be read while it is being downloaded: the
//! bytes go through the unfinished file.
//!
//! Reading, taking apart, hashing and keeping are four threads with a few buffers between them;
//! therefore the disk is the limit.
//!
//! Nothing is extracted: no path in a bundle is ever used as a path on disk, and memory does not
//! depend on the size of anything in it but the number of artifacts.
//!
//! This crate must not know registries, environments, the meaning of `mke4.yaml`, or the terminal.
//! It neither reads the environment's variables nor asks the clock, and only [`download()`] and
//! [`checksum()`] use the network.

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
