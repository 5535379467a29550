//! Why a file was not downloaded.

use std::io;

use camino::Utf8PathBuf;

use crate::http::RequestError;

/// Why a file was not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The request failed, permanently or too many times.
    #[error(transparent)]
    Request(RequestError),
    /// An HTML page came instead of the file.
    #[error("{url} is an HTML page; expected a gzip file")]
    Html {
        /// The URL.
        url: String,
    },
    /// Something else came instead of the file.
    #[error("{url} is not a gzip file")]
    NotGzip {
        /// The URL.
        url: String,
    },
    /// The file has a different size than it should.
    #[error("{url} has {found} bytes; expected {expected}")]
    Size {
        /// The URL.
        url: String,
        /// The size that was expected, in bytes.
        expected: u64,
        /// The size of the file, in bytes.
        found: u64,
    },
    /// The file has another sha256 than it should.
    #[error("{url} has SHA-256 {found}; expected {expected}")]
    Sha256 {
        /// The URL.
        url: String,
        /// The sha256 that was expected.
        expected: String,
        /// The sha256 of the file.
        found: String,
    },
    /// Another process downloads the same file.
    #[error("`{path}` is being downloaded by another process")]
    Busy {
        /// The unfinished file.
        path: Utf8PathBuf,
    },
    /// The disk, or the quota, is full.
    #[error("no space left for `{path}`{}", still_wanted(.wanted))]
    Full {
        /// The unfinished file. It is kept and resumed next time.
        path: Utf8PathBuf,
        /// How many bytes are still to come, if that is known.
        wanted: Option<u64>,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system refuses something.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was to be done: `read`, `write`, `create`, `lock`, `rename`.
        action: &'static str,
        /// With which file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn still_wanted(wanted: &Option<u64>) -> String {
    match wanted {
        Some(bytes) => format!(": {bytes} more bytes are needed"),
        None => String::new(),
    }
}
