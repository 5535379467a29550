//! Progress that this crate reports to its caller.

use std::time::Duration;

use camino::Utf8Path;

use crate::lock::Artifact;

/// A step of reading a bundle or of downloading a file.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// More bytes of the compressed bundle were read. Sent about every MiB.
    BundleRead {
        /// Number of bytes from the beginning of the bundle.
        bytes: u64,
    },
    /// Reading of an archive begins.
    ArchiveStarted {
        /// Path in the bundle.
        archive: &'a str,
        /// Size in bytes.
        size: u64,
    },
    /// An archive was read and is complete.
    ArchiveFinished {
        /// Artifact in the archive.
        artifact: &'a Artifact,
    },
    /// A request for a file is sent next.
    DownloadStarted {
        /// URL without credentials.
        url: &'a str,
        /// Number of bytes on disk from earlier attempts.
        offset: u64,
    },
    /// More bytes of a file were received.
    Downloaded {
        /// Number of bytes received, those of earlier attempts included.
        bytes: u64,
        /// Size of the file in bytes, if the server or the lock gives it.
        total: Option<u64>,
    },
    /// An unfinished file of unknown origin had the name of the download, and was renamed.
    UnknownFileRenamed {
        /// New path of that file.
        path: &'a Utf8Path,
    },
    /// An attempt failed and will be repeated.
    Retrying {
        /// URL without credentials.
        url: &'a str,
        /// Number of consecutive failures, from 1.
        failures: u32,
        /// Time until the next attempt.
        wait: Duration,
        /// Cause of the failure.
        reason: &'a str,
    },
}

/// Receives events. It is called from the thread that reads or downloads, and must not block.
pub trait Observer: Send + Sync {
    /// Receives one event.
    fn event(&self, event: Event<'_>);
}

/// An observer that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}
