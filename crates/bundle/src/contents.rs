//! The result of reading a bundle: the content that a lock records, and findings that are only
//! shown.

use std::collections::BTreeMap;

use crate::http;
use crate::lock::{Artifact, Lock, LockedBundle, LockedFile, LockedMkectl, SkippedArchive};

/// Content of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Size of the compressed bundle in bytes.
    pub size: u64,
    /// SHA-256 of the compressed bundle, 64 hexadecimal digits.
    pub sha256: String,
    /// Artifacts, in the order of their archives in the bundle.
    pub artifacts: Vec<Artifact>,
    /// Archives left out by a rule, in the order of the bundle.
    pub skipped: Vec<SkippedArchive>,
    /// The vendor's release matrix, if the bundle has one.
    pub release_matrix: Option<LockedFile>,
    /// Number of other files. They are not read.
    pub ignored_files: u64,
    /// Ignored files that may be meant as archives: paths, escaped, the first
    /// [`Contents::MOST_LISTED`]. A folder ends with a slash.
    pub suspicious_files: Vec<String>,
    /// Paths of further release matrices, the first [`Contents::MOST_LISTED`].
    pub other_matrices: Vec<String>,
    /// Number of blobs that no manifest of their archive names, by archive.
    pub unnamed_blobs: BTreeMap<String, u64>,
}

impl Contents {
    /// Limit for the lists of files that are only shown.
    pub const MOST_LISTED: usize = 100;
}

impl Lock {
    /// Returns the lock of a bundle that has been read.
    ///
    /// `file` and `url` are the bundle's name and source; the query of `url` is removed. `mkectl`
    /// are the downloads for the release.
    pub fn from_contents(
        release: &semver::Version,
        arch: &str,
        file: &str,
        url: &str,
        mkectl: Vec<LockedMkectl>,
        contents: Contents,
    ) -> Self {
        let mut lock = Self {
            release: format!("v{release}"),
            arch: arch.to_owned(),
            bundle: LockedBundle {
                file: file.to_owned(),
                url: http::stored_url(url),
                size: contents.size,
                sha256: contents.sha256,
            },
            release_matrix: contents.release_matrix,
            mkectl,
            skipped: contents.skipped,
            ..Self::of_artifacts(contents.artifacts)
        };
        lock.sort();
        lock
    }
}
