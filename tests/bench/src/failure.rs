//! What can go wrong while a push is measured.

use camino::{Utf8Path, Utf8PathBuf};

/// A measurement that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot {doing} {path}")]
    Io {
        doing: &'static str,
        path: Utf8PathBuf,
        source: std::io::Error,
    },
    #[error("a different benchmark is running here; cannot lock {path}")]
    Busy {
        path: Utf8PathBuf,
        source: std::io::Error,
    },
    #[error("{program} is not installed; on Debian and Ubuntu: `apt-get install {program}`")]
    NotInstalled { program: &'static str },
    #[error("{what} failed with {status}; its last lines:\n{last_lines}")]
    Measured {
        what: String,
        status: String,
        last_lines: String,
    },
    #[error(transparent)]
    Release(#[from] release::Error),
    #[error("cannot write a bundle to {path}")]
    Make {
        path: Utf8PathBuf,
        source: ::bundle::make::MakeError,
    },
    #[error("cannot open the store")]
    Store(#[source] release::StoreError),
    #[error(transparent)]
    Output(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    pub(crate) fn io(doing: &'static str, path: &Utf8Path, source: std::io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}
