//! What this crate reports while it works. Its callers draw it.

use std::time::Duration;

use camino::Utf8Path;

use crate::lock::Artifact;

/// Something that happened while a bundle was read or a file was downloaded.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// So many bytes of the compressed bundle have been read in all. Comes about every MiB.
    BundleRead {
        /// Bytes from the beginning of the bundle.
        bytes: u64,
    },
    /// An archive was come upon.
    ArchiveStarted {
        /// Its path in the bundle.
        archive: &'a str,
        /// Its size in bytes.
        size: u64,
    },
    /// An archive was read to its end and is whole.
    ArchiveFinished {
        /// What it holds.
        artifact: &'a Artifact,
    },
    /// A request for a file is about to go out.
    DownloadStarted {
        /// The URL, without credentials.
        url: &'a str,
        /// How many bytes are on disk from an earlier attempt.
        offset: u64,
    },
    /// So many bytes of a file are on disk.
    Downloaded {
        /// Bytes on disk, those of earlier attempts included.
        bytes: u64,
        /// The size of the file in bytes, if the server or the lock says so.
        total: Option<u64>,
    },
    /// An unfinished file of unknown origin was in the way, and was renamed.
    KeptAside {
        /// Its new path.
        path: &'a Utf8Path,
    },
    /// An attempt failed, and there will be another one.
    Retrying {
        /// The URL, without credentials.
        url: &'a str,
        /// The number of failures in a row, from 1.
        failures: u32,
        /// How long the next attempt waits.
        wait: Duration,
        /// What went wrong.
        reason: &'a str,
    },
}

/// Takes events as they come. Called from the thread that reads or downloads: an observer that
/// waits makes it wait.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);
}

/// An observer that is not interested.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}
