//! The bundles that must be read because the store lacks some of their blobs: that of the release,
//! and those of sets. A bundle is read in a thread of its own while it is downloaded, and the
//! pushes are notified of each blob.

use std::borrow::Cow;
use std::future::{Future, ready};
use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8PathBuf;
use futures_util::future::{self, Either};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::event::Step;
use crate::observe::BundleObserver;
use crate::transfer::fetch::{self, DownloadSource, Source};
use crate::transfer::notify::{CancellableReader, Notifier, NotifyingStore};
use crate::transfer::{local, set};
use crate::{Context, Error, demo, disk};

/// A bundle that must be read.
pub(super) struct Unread<'a> {
    lock: Cow<'a, bundle::Lock>,
    source: Source,
}

/// A bundle whose file, or download, is ready to be read.
pub(super) struct Readable<'a> {
    lock: Cow<'a, bundle::Lock>,
    path: Utf8PathBuf,
    /// Source of the download; `None` if the file is complete.
    from: Option<DownloadSource>,
}

/// Returns the bundles of a lock that must be read, those of sets first.
///
/// # Errors
/// The store cannot be read, or a bundle's file has a different size than in the lock.
pub(super) fn all<'a>(
    context: &Context<'_>,
    lock: &'a bundle::Lock,
) -> Result<Vec<Unread<'a>>, Error> {
    let of_sets = lock.set_bundles().map(Cow::Owned);
    let mut unread = Vec::new();
    for lock in of_sets.chain([Cow::Borrowed(lock)]) {
        let source = fetch::source(context.workspace, &lock)?;
        if source != Source::Store {
            unread.push(Unread { lock, source });
        }
    }
    Ok(unread)
}

impl<'a> Unread<'a> {
    /// Returns whether it must be downloaded.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.source, Source::Download(_))
    }

    /// Prepares reading. `parent` is the lock that lists this bundle.
    ///
    /// # Errors
    /// The bundle must be downloaded, but the run is offline, or the CA or credentials of the
    /// server cannot be used.
    pub(super) fn prepare(
        self,
        context: &Context<'_>,
        parent: &bundle::Lock,
    ) -> Result<Readable<'a>, Error> {
        let (path, from) = match self.source {
            Source::Store => unreachable!("what the store has is not read"),
            Source::File(path) => (path, None),
            Source::Made(path) => {
                demo::make(&path, &demo::release())?;
                (path, None)
            }
            Source::Download(path) => {
                let url = self.lock.bundle.url.as_str();
                fetch::refuse_offline(context, url, context.workspace.shown(&path))?;
                let from = match self.lock {
                    Cow::Borrowed(_) => url.into(),
                    Cow::Owned(_) => set::pull::place(context, parent, url)?,
                };
                (path, Some(from))
            }
        };
        let lock = self.lock;
        Ok(Readable { lock, path, from })
    }
}

impl Readable<'_> {
    /// Reports the start of the download and of the verification.
    pub(super) fn report_start(&self, context: &Context<'_>) {
        if let Some(from) = &self.from {
            fetch::report_start(context, &from.url, Some(self.lock.bundle.size));
        }
        local::report_start(context, &self.lock, &self.path);
    }

    /// Reads the bundle into the store and compares it with its lock. Ends early once `stop`
    /// resolves.
    ///
    /// # Errors
    /// The bundle cannot be downloaded, or differs from its lock.
    pub(super) fn read(
        &self,
        context: &Context<'_>,
        store: &bundle::Store,
        notifier: &Notifier,
        stop: impl Future<Output = ()> + Clone,
    ) -> Result<(), Error> {
        let sink = || NotifyingStore {
            store: store.clone(),
            notifier: notifier.clone(),
        };
        let observer = BundleObserver::new(context, Step::Verify);
        if let Some(from) = &self.from {
            let (feed, following) = bundle::following();
            let download = fetch::download_locked(context, &self.lock, from, &self.path, feed);
            let input = (following, sink());
            match self.read_beside(context, input, &observer, download, stop.clone()) {
                // The server's file changed after part of it was read. The complete file is here
                // now, so it is read from its start.
                Err(Error::Disk(disk::Error::BundleUnread { source, .. }))
                    if source.followed() == Some(bundle::FollowError::StartedOver) => {}
                read => return read,
            }
        }
        let path = &self.path;
        let file = files::open(path).map_err(|source| Error::io("open", path, source))?;
        let input = (file, sink());
        self.read_beside(context, input, &observer, ready(Ok(())), stop)
    }

    /// Reads `input` in a thread of its own, while `beside` runs here.
    fn read_beside(
        &self,
        context: &Context<'_>,
        (input, sink): (impl Read + Send, NotifyingStore),
        observer: &BundleObserver<'_>,
        beside: impl Future<Output = Result<(), Error>>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (lock, path) = (&self.lock, &self.path);
        let cancelled = Arc::new(AtomicBool::new(false));
        let input = CancellableReader {
            input,
            cancelled: Arc::clone(&cancelled),
        };
        let (sender, receiver) = oneshot::channel();
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // The receiver may be gone.
                    let _ = sender.send(local::read(context, lock, path, input, sink, observer));
                });
                let both = async {
                    let (beside, read) = future::join(beside, receiver).await;
                    // A failed download is the cause of a failed read.
                    beside?;
                    read.unwrap_or_else(|_| unreachable!("the scope passes on a panic"))
                };
                let (both, stop) = (pin!(both), pin!(stop));
                let done = Handle::current().block_on(future::select(both, stop));
                cancelled.store(true, Ordering::Relaxed);
                match done {
                    Either::Left((read, _)) => read,
                    // The caller discards this error.
                    Either::Right(_) => Err(Error::read(path, io::Error::other("stopped"))),
                }
            })
        })?;
        local::report_end(context, lock);
        Ok(())
    }
}
