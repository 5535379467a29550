//! Brings what a lock names to this machine, and does nothing where it is here already.

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;

use crate::disk::DiskFull;
use crate::event::{Event, Step};
use crate::observe::BundleObserver;
use crate::{Context, Error, Kind, Workspace, demo, sha256, workspace};

/// Why what a lock names is not on this machine.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It would have to be downloaded, and the run is offline.
    #[error("{what} is not on this machine, and an offline run does not download it from {url}")]
    Offline {
        /// What is missing: a path relative to the workspace, or a description.
        what: Utf8PathBuf,
        /// Where it would come from.
        url: String,
    },
    /// The bundle that is to be checked does not exist.
    #[error("{path} does not exist")]
    NoBundle {
        /// The bundle.
        path: Utf8PathBuf,
    },
    /// The lock has no mkectl for a platform.
    #[error("the lock of {release} has no mkectl for {platform}, only for: {}", known.join(", "))]
    NoPlatform {
        /// The release.
        release: String,
        /// The platform that was asked for.
        platform: String,
        /// The platforms that the lock has.
        known: Vec<String>,
    },
}

impl FetchError {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Offline { .. } | Self::NoBundle { .. } => Kind::Machine,
            Self::NoPlatform { .. } => Kind::Workspace,
        }
    }
}

/// Whether a file of the lock is on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is, with the lock's hash.
    Verified,
    /// It does not exist.
    Missing,
}

/// A committed lock and where it lies.
#[derive(Debug)]
pub struct Locked {
    /// Its file.
    pub path: Utf8PathBuf,
    /// SHA-256 of the file.
    pub digest: String,
    /// What it says.
    pub lock: bundle::Lock,
}

/// Reads the lock of a release.
///
/// # Errors
/// The release is not locked, or the lock cannot be read.
pub fn locked(workspace: &Workspace, release: &Version) -> Result<Locked, Error> {
    let release = format!("v{release}");
    let path = workspace.lock(&release, crate::workspace::DEFAULT_ARCH);
    let text =
        crate::workspace::read_if_there(&path)?.ok_or_else(|| workspace::Error::NotLocked {
            path: workspace.shown(&path).to_owned(),
            release,
        })?;
    let lock = bundle::Lock::parse(&text, workspace.shown(&path)).map_err(Error::InvalidLock)?;
    Ok(Locked {
        digest: sha256(text.as_bytes()),
        lock,
        path,
    })
}

/// Where the bytes of a bundle come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The store has every blob.
    Store,
    /// The bundle's file is here.
    File(Utf8PathBuf),
    /// It is the demo's, which is made in code.
    Made(Utf8PathBuf),
    /// It has to be downloaded to this file.
    Download(Utf8PathBuf),
}

impl Source {
    /// Returns what has to be done, in a word.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Store => "nothing",
            Self::File(_) => "read",
            Self::Made(_) => "make",
            Self::Download(_) => "download",
        }
    }
}

/// Finds out where the bytes of a locked bundle would come from.
///
/// # Errors
/// The store cannot be looked at, or the bundle's file is there with another size than the lock's.
pub fn source(workspace: &Workspace, lock: &bundle::Lock) -> Result<Source, Error> {
    let store = open_store(workspace)?;
    if store.missing(lock).is_empty() {
        return Ok(Source::Store);
    }
    let path = workspace.bundle(&lock.bundle.file);
    match std::fs::metadata(&path) {
        Ok(found) if found.len() == lock.bundle.size => Ok(Source::File(path)),
        Ok(found) => Err(Error::BundleSize {
            path: workspace.shown(&path).to_owned(),
            found: found.len(),
            expected: lock.bundle.size,
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if lock.bundle.url == demo::URL {
                Ok(Source::Made(path))
            } else {
                Ok(Source::Download(path))
            }
        }
        Err(source) => Err(Error::io("look at", &path, source)),
    }
}

/// Says that a download is about to begin.
pub(crate) fn report_start(context: &Context<'_>, url: &str, size: Option<u64>) {
    context.reporter.report(Event::Started {
        step: Step::Fetch,
        what: bundle::shown_url(url),
        bytes: size,
    });
}

/// Downloads a locked bundle, and lets a reader follow it.
pub(crate) async fn download_locked(
    context: &Context<'_>,
    lock: &bundle::Lock,
    path: &camino::Utf8Path,
    feed: bundle::Feed,
) -> Result<(), Error> {
    let expected = bundle::Expected {
        size: Some(lock.bundle.size),
        sha256: lock.bundle.sha256.clone(),
    };
    let retry = bundle::Retry::default();
    download_feeding(
        context,
        &lock.bundle.url,
        path,
        Some(expected),
        Some(feed),
        retry,
    )
    .await
    .map(drop)
}

/// Downloads `url` to `path`, and reports how it goes.
pub(crate) async fn download(
    context: &Context<'_>,
    url: &str,
    path: &camino::Utf8Path,
) -> Result<bundle::Downloaded, Error> {
    refuse_offline(context, url, context.workspace.shown(path))?;
    report_start(context, url, None);
    download_feeding(context, url, path, None, None, bundle::Retry::default()).await
}

/// Downloads `url`, which is to have this SHA-256, to `path`, and reports how it goes.
pub(crate) async fn download_file(
    context: &Context<'_>,
    url: &str,
    path: &camino::Utf8Path,
    sha256: &str,
    retry: bundle::Retry,
) -> Result<(), Error> {
    refuse_offline(context, url, context.workspace.shown(path))?;
    report_start(context, url, None);
    let expected = bundle::Expected {
        size: None,
        sha256: sha256.to_owned(),
    };
    download_feeding(context, url, path, Some(expected), None, retry)
        .await
        .map(drop)
}

/// Returns the client for downloads, the only one of this crate: an offline run gets none. `what` is what would be downloaded.
///
/// # Errors
/// The run is offline. The inner error: the client cannot be made.
pub(crate) fn client(
    context: &Context<'_>,
    url: &str,
    what: &Utf8Path,
) -> Result<Result<bundle::HttpClient, bundle::RequestError>, Error> {
    refuse_offline(context, url, what)?;
    Ok(bundle::HttpClient::new(context.proxies()))
}

/// Refuses a download in an offline run.
///
/// # Errors
/// The run is offline.
pub(crate) fn refuse_offline(
    context: &Context<'_>,
    url: &str,
    what: &Utf8Path,
) -> Result<(), Error> {
    match context.offline {
        true => Err(Error::Fetch(FetchError::Offline {
            what: what.to_owned(),
            url: bundle::shown_url(url),
        })),
        false => Ok(()),
    }
}

async fn download_feeding(
    context: &Context<'_>,
    url: &str,
    path: &camino::Utf8Path,
    expected: Option<bundle::Expected>,
    feed: Option<bundle::Feed>,
    retry: bundle::Retry,
) -> Result<bundle::Downloaded, Error> {
    let shown = context.workspace.shown(path);
    let failed = |source| match source {
        bundle::DownloadError::Full {
            path: part, source, ..
        } => Error::Full(DiskFull::new(&part, context.workspace.shown(&part), source)),
        source => Error::Download {
            url: bundle::shown_url(url),
            path: shown.to_owned(),
            source,
        },
    };
    let client = client(context, url, shown)?
        .map_err(|source| failed(bundle::DownloadError::Request(source)))?;
    let request = bundle::Download {
        url: url.to_owned(),
        destination: path.to_owned(),
        expected,
        retry,
    };
    let observer = BundleObserver::new(context.reporter, Step::Fetch);
    let downloaded = match feed {
        Some(feed) => bundle::download_feeding(&request, &client, &observer, feed).await,
        None => bundle::download(&request, &client, &observer).await,
    };
    let downloaded = downloaded.map_err(failed)?;
    context.reporter.report(Event::Finished {
        step: Step::Fetch,
        what: format!("downloaded {}", context.workspace.shown(path)),
    });
    Ok(downloaded)
}

/// Opens the store of this workspace.
pub(crate) fn open_store(workspace: &Workspace) -> Result<bundle::Store, Error> {
    bundle::Store::open(&workspace.store()).map_err(|source| Error::store(workspace, source))
}
