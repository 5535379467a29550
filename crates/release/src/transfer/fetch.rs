//! Finds the files that a lock names on this machine, and downloads the others.

use std::borrow::Cow;
use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::disk::DiskFull;
use crate::event::{Event, Step};
use crate::observe::BundleObserver;
use crate::{Context, Workspace, demo, disk};

mod error;

pub use error::{Error, MissingDigest};

/// State of a locked file on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It exists and has the locked hash.
    Verified,
    /// It does not exist.
    Missing,
}

/// Returns whether a download failed because its server was not reached, or because the run is
/// offline.
pub(crate) fn is_unreachable(error: &crate::Error) -> bool {
    let crate::Error::Fetch(error) = error else {
        return false;
    };
    matches!(
        error,
        Error::Offline { .. }
            | Error::Download {
                source: bundle::DownloadError::Request(_),
                ..
            }
    )
}

/// Where a bundle is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The store has every blob.
    Store,
    /// The bundle's file exists.
    File(Utf8PathBuf),
    /// It is the bundle of the demo, which is generated in this file.
    Made(Utf8PathBuf),
    /// It must be downloaded to this file.
    Download(Utf8PathBuf),
}

impl Source {
    /// Returns the required action, as JSON has it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Store => "nothing",
            Self::File(_) => "read",
            Self::Made(_) => "make",
            Self::Download(_) => "download",
        }
    }
}

/// Returns where a locked bundle is read from. Content that the lock has from registries is not
/// considered.
///
/// # Errors
/// The store cannot be read, or [`disk::Error::BundleSize`] if the bundle's file has a different
/// size than in the lock.
pub fn source(workspace: &Workspace, lock: &bundle::Lock) -> Result<Source, crate::Error> {
    let store = open_store(workspace)?;
    if store.missing(&lock.of_bundle()).is_empty() {
        return Ok(Source::Store);
    }
    let path = workspace.bundle(&lock.bundle.file);
    match std::fs::metadata(&path) {
        Ok(found) if found.len() == lock.bundle.size => Ok(Source::File(path)),
        Ok(found) => Err(disk::Error::BundleSize {
            path: workspace.shown(&path).to_owned(),
            found: found.len(),
            expected: lock.bundle.size,
        }
        .into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if lock.bundle.url == demo::URL {
                Ok(Source::Made(path))
            } else {
                Ok(Source::Download(path))
            }
        }
        Err(source) => Err(crate::Error::io("look at", &path, source)),
    }
}

/// Returns a lock of its own for each bundle of a lock: those of sets, then that of the release.
pub(crate) fn parts(lock: &bundle::Lock) -> impl Iterator<Item = Cow<'_, bundle::Lock>> {
    let of_sets = lock.set_bundles().map(Cow::Owned);
    of_sets.chain([lock.of_bundle()])
}

/// Returns the digests that the store lacks and that local bundles have.
///
/// # Errors
/// As for [`source`].
pub(crate) fn on_disk(
    workspace: &Workspace,
    lock: &bundle::Lock,
) -> Result<BTreeSet<String>, crate::Error> {
    let store = open_store(workspace)?;
    let mut digests = BTreeSet::new();
    for part in parts(lock) {
        if let Source::File(_) | Source::Made(_) = source(workspace, &part)? {
            let missing = store.missing(&part).into_iter();
            digests.extend(missing.map(|blob| blob.digest.to_string()));
        }
    }
    Ok(digests)
}

/// Source of a download.
#[derive(Debug, Clone)]
pub(crate) struct DownloadSource {
    pub(crate) url: String,
    /// CA and credentials of the server.
    pub(crate) server: bundle::Server,
}

impl From<&str> for DownloadSource {
    fn from(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            server: bundle::Server::default(),
        }
    }
}

/// Reports the start of a download.
pub(crate) fn report_start(context: &Context<'_>, url: &str, size: Option<u64>) {
    context.reporter.report(Event::Started {
        step: Step::Fetch,
        what: bundle::shown_url(url),
        bytes: size,
    });
}

/// Downloads a locked bundle. The reader of `feed` follows the unfinished file.
pub(crate) async fn download_locked(
    context: &Context<'_>,
    lock: &bundle::Lock,
    from: &DownloadSource,
    path: &Utf8Path,
    feed: bundle::Feed,
) -> Result<(), crate::Error> {
    let expected = bundle::Expected {
        size: Some(lock.bundle.size),
        sha256: lock.bundle.sha256.clone(),
    };
    let retry = bundle::Retry::default();
    download_feeding(context, from, path, Some(expected), Some(feed), retry)
        .await
        .map(drop)
}

/// Downloads a file to `path`, and reports progress. If it is known, the file must have this
/// SHA-256.
pub(crate) async fn download(
    context: &Context<'_>,
    from: impl Into<DownloadSource>,
    path: &Utf8Path,
    sha256: Option<&str>,
    retry: bundle::Retry,
) -> Result<bundle::Downloaded, crate::Error> {
    let from = from.into();
    refuse_offline(context, &from.url, context.workspace.shown(path))?;
    report_start(context, &from.url, None);
    let expected = sha256.map(|sha256| bundle::Expected {
        size: None,
        sha256: sha256.to_owned(),
    });
    download_feeding(context, &from, path, expected, None, retry).await
}

/// Returns the error for a locked bundle that an offline run lacks.
pub(crate) fn offline(workspace: &Workspace, lock: &bundle::Lock) -> crate::Error {
    let path = workspace.bundle(&lock.bundle.file);
    crate::Error::Fetch(Error::Offline {
        what: workspace.shown(&path).to_owned(),
        url: bundle::shown_url(&lock.bundle.url),
    })
}

/// Creates a client for downloads. Every download of this crate uses it, so an offline run
/// downloads nothing. `what` names the file for the error.
///
/// # Errors
/// [`Error::Offline`] in an offline run. The inner error: the client cannot be created.
pub(crate) fn client(
    context: &Context<'_>,
    from: &DownloadSource,
    what: &Utf8Path,
) -> Result<Result<bundle::HttpClient, bundle::RequestError>, crate::Error> {
    refuse_offline(context, &from.url, what)?;
    Ok(bundle::HttpClient::new(context.proxies(), &from.server))
}

/// Refuses a download in an offline run.
///
/// # Errors
/// [`Error::Offline`] in an offline run.
pub(crate) fn refuse_offline(
    context: &Context<'_>,
    url: &str,
    what: &Utf8Path,
) -> Result<(), crate::Error> {
    match context.offline {
        true => Err(Error::Offline {
            what: what.to_owned(),
            url: bundle::shown_url(url),
        }
        .into()),
        false => Ok(()),
    }
}

async fn download_feeding(
    context: &Context<'_>,
    from: &DownloadSource,
    path: &Utf8Path,
    expected: Option<bundle::Expected>,
    feed: Option<bundle::Feed>,
    retry: bundle::Retry,
) -> Result<bundle::Downloaded, crate::Error> {
    let shown = context.workspace.shown(path);
    let failed = |source| match source {
        bundle::DownloadError::Full {
            path: part, source, ..
        } => crate::Error::Disk(disk::Error::Full(DiskFull::new(
            &part,
            context.workspace.shown(&part),
            source,
        ))),
        source => crate::Error::Fetch(Error::Download {
            url: bundle::shown_url(&from.url),
            path: shown.to_owned(),
            source,
        }),
    };
    let client = client(context, from, shown)?
        .map_err(|source| failed(bundle::DownloadError::Request(source)))?;
    let request = bundle::Download {
        url: from.url.clone(),
        destination: path.to_owned(),
        expected,
        retry,
    };
    let observer = BundleObserver::new(context, Step::Fetch);
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
pub(crate) fn open_store(workspace: &Workspace) -> Result<bundle::Store, crate::Error> {
    bundle::Store::open(&workspace.store()).map_err(|source| crate::Error::store(workspace, source))
}
