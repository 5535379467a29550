//! Errors of downloads.

use std::io;

use camino::Utf8PathBuf;

use crate::http::RequestError;

/// Reason why a file was not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The request failed permanently, or too many times.
    #[error(transparent)]
    Request(RequestError),
    /// The server returned an HTML page.
    #[error("{url} is an HTML page; expected a gzip file")]
    Html {
        /// URL of the request.
        url: String,
    },
    /// The server returned something other than gzip.
    #[error("{url} is not a gzip file")]
    NotGzip {
        /// URL of the request.
        url: String,
    },
    /// The file has a different size than expected.
    #[error("{url} has {found} bytes; expected {expected}")]
    Size {
        /// URL of the request.
        url: String,
        /// Expected size in bytes.
        expected: u64,
        /// Actual size in bytes.
        found: u64,
    },
    /// The file has a different SHA-256 than expected.
    #[error("{url} has SHA-256 {found}; expected {expected}")]
    Sha256 {
        /// URL of the request.
        url: String,
        /// Expected SHA-256.
        expected: String,
        /// Actual SHA-256.
        found: String,
    },
    /// Another process downloads the same file.
    #[error("`{path}` is being downloaded by another process")]
    Busy {
        /// Path of the unfinished file.
        path: Utf8PathBuf,
    },
    /// The disk or the quota is full.
    #[error("no space left for `{path}`{}", missing_bytes(.missing))]
    Full {
        /// Path of the unfinished file. It is kept and resumed by the next run.
        path: Utf8PathBuf,
        /// Number of missing bytes, if it is known.
        missing: Option<u64>,
        /// The cause.
        source: io::Error,
    },
    /// The operating system refuses an operation.
    #[error("cannot {action} `{path}`")]
    Io {
        /// The operation: `read`, `write`, `create`, `lock`, `rename`, `remove`.
        action: &'static str,
        /// File or folder.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn missing_bytes(missing: &Option<u64>) -> String {
    match missing {
        Some(bytes) => format!(": {bytes} more bytes are needed"),
        None => String::new(),
    }
}
