//! What a reading found: everything that a lock says of a bundle, and what it does not say but is
//! worth showing.

use std::collections::BTreeMap;

use crate::http;
use crate::lock::{
    Artifact, Lock, LockedBundle, LockedFile, LockedMkectl, SkippedArchive, VERSION,
};

/// What is in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The size of the compressed bundle in bytes.
    pub size: u64,
    /// The sha256 of the compressed bundle, 64 hexadecimal digits.
    pub sha256: String,
    /// The artifacts, in the order of their archives in the bundle.
    pub artifacts: Vec<Artifact>,
    /// The archives that were left out because their rules say so, in the order of the bundle.
    pub skipped: Vec<SkippedArchive>,
    /// The release matrix, if there is one.
    pub release_matrix: Option<LockedFile>,
    /// How many other files the bundle holds. They are not read.
    pub ignored_files: u64,
    /// Those of them that may be meant as archives, by path, escaped; the first
    /// [`Contents::MOST_ODD`]. A folder ends with a slash.
    pub odd_files: Vec<String>,
    /// The release matrices beside the one that is used, by path; the first [`Contents::MOST_ODD`].
    pub other_matrices: Vec<String>,
    /// Blobs that are in an archive though no manifest of it names them, by archive: how many.
    pub unnamed_blobs: BTreeMap<String, u64>,
}

impl Contents {
    /// How many odd files are listed.
    pub const MOST_ODD: usize = 100;
}

impl Lock {
    /// Returns the lock of a bundle that has been read.
    ///
    /// `file` and `url` are the bundle's name and source, of which a query is left out; `mkectl`
    /// are the downloads that belong to the release.
    pub fn from_contents(
        release: &semver::Version,
        arch: &str,
        file: &str,
        url: &str,
        mkectl: Vec<LockedMkectl>,
        contents: Contents,
    ) -> Self {
        let mut lock = Self {
            version: VERSION,
            set: None,
            release: format!("v{release}"),
            arch: arch.to_owned(),
            from: None,
            bundle: LockedBundle {
                file: file.to_owned(),
                url: http::stored_url(url),
                size: contents.size,
                sha256: contents.sha256,
            },
            forced_release: Vec::new(),
            release_matrix: contents.release_matrix,
            mkectl,
            init: None,
            bundles: Vec::new(),
            skipped: contents.skipped,
            artifacts: contents.artifacts,
        };
        lock.sort();
        lock
    }
}
