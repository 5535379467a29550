//! Reasons for which locked content is not on this machine.

use camino::Utf8PathBuf;

use crate::Kind;

/// A digest that neither the store nor a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingDigest {
    /// An artifact that needs the digest, `repository:tag`.
    pub artifact: String,
    /// Digest, `sha256:<hex>`.
    pub digest: String,
    /// Size in bytes.
    pub size: u64,
}

/// Reasons for which locked content is not on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file must be downloaded, but the run is offline.
    #[error("{what} is not fetched, and an offline run does not ask {url}")]
    Offline {
        /// Path of the file, relative to the workspace, or a description.
        what: Utf8PathBuf,
        /// URL of the download.
        url: String,
    },
    /// Neither the store nor the registry has some locked digests.
    #[error("{} {} neither in bundles/store nor in {registry}: {}", environment::count(lacking.len(), "blob"), if lacking.len() == 1 { "is" } else { "are" }, names(lacking))]
    Nowhere {
        /// Name of the environment.
        environment: String,
        /// Registry and project.
        registry: String,
        /// The missing digests.
        lacking: Vec<MissingDigest>,
    },
    /// The store lacks the release matrix. No registry has it.
    #[error("{} ({}) is not in bundles/store, and an upgrade needs it", matrix.artifact, matrix.digest)]
    NoMatrix {
        /// Name of the environment.
        environment: String,
        /// Path, digest and size of the matrix.
        matrix: MissingDigest,
    },
    /// The bundle to check does not exist.
    #[error("`{path}` does not exist")]
    NoBundle {
        /// Path of the bundle, relative to the workspace.
        path: Utf8PathBuf,
    },
    /// The lock has no mkectl for the requested platform.
    #[error("the lock of {release} has no mkectl{}", if known.is_empty() { String::new() } else { format!(" for {platform}, only for {}", known.join(", ")) })]
    NoPlatform {
        /// Release, such as `v4.1.5`.
        release: String,
        /// Requested platform.
        platform: String,
        /// Platforms in the lock.
        known: Vec<String>,
    },
    /// The download failed.
    #[error("cannot download {url}")]
    Download {
        /// URL of the download.
        url: String,
        /// Destination, relative to the workspace.
        path: Utf8PathBuf,
        /// Cause.
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
