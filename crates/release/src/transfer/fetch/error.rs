//! Why what a lock names is not on this machine.

use camino::Utf8PathBuf;

use crate::Kind;

/// A digest that is nowhere within reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingDigest {
    /// An artifact that needs it, `repository:tag`.
    pub artifact: String,
    /// The digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Why what a lock names is not on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would have to be downloaded, and the run is offline.
    #[error("{what} is not fetched, and an offline run does not ask {url}")]
    Offline {
        /// What is missing: a path relative to the workspace, or a description.
        what: Utf8PathBuf,
        /// Where it would come from.
        url: String,
    },
    /// Neither the store nor the registry has something that the lock names.
    #[error("{} {} neither in bundles/store nor in {registry}: {}", environment::count(lacking.len(), "blob"), if lacking.len() == 1 { "is" } else { "are" }, names(lacking))]
    Nowhere {
        /// The environment.
        environment: String,
        /// The registry and project.
        registry: String,
        /// What is nowhere.
        lacking: Vec<MissingDigest>,
    },
    /// The store lacks the release matrix, which no registry has.
    #[error("{} ({}) is not in bundles/store, and an upgrade needs it", matrix.artifact, matrix.digest)]
    NoMatrix {
        /// The environment.
        environment: String,
        /// The matrix.
        matrix: MissingDigest,
    },
    /// The bundle that is to be checked does not exist.
    #[error("`{path}` does not exist")]
    NoBundle {
        /// The bundle.
        path: Utf8PathBuf,
    },
    /// The lock has no mkectl for a platform.
    #[error("the lock of {release} has no mkectl{}", if known.is_empty() { String::new() } else { format!(" for {platform}, only for {}", known.join(", ")) })]
    NoPlatform {
        /// The release.
        release: String,
        /// The platform that was asked for.
        platform: String,
        /// The platforms that the lock has.
        known: Vec<String>,
    },
    /// The download failed.
    #[error("cannot download {url}")]
    Download {
        /// What was to be downloaded.
        url: String,
        /// The file that it was to become, relative to the workspace.
        path: Utf8PathBuf,
        /// Why.
        source: bundle::DownloadError,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Offline { .. }
            | Self::NoBundle { .. }
            | Self::Nowhere { .. }
            | Self::NoMatrix { .. } => Kind::Machine,
            Self::NoPlatform { .. } => Kind::Workspace,
            Self::Download { source, .. } => download_kind(source),
        }
    }
}

fn names(lacking: &[MissingDigest]) -> String {
    const NAMES: usize = 5;
    let names = lacking.iter().take(NAMES);
    let names: Vec<String> = names
        .map(|one| format!("{} of {}", one.digest, one.artifact))
        .collect();
    let more = match lacking.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

fn download_kind(error: &bundle::DownloadError) -> Kind {
    use bundle::DownloadError::{Busy, Full, Html, Io, NotGzip, Request, Sha256, Size};
    match error {
        Request(_) | Busy { .. } | Full { .. } | Io { .. } => Kind::Machine,
        Html { .. } | NotGzip { .. } | Size { .. } | Sha256 { .. } => Kind::Content,
    }
}
