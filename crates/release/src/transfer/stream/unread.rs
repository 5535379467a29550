//! The bundles of which the store lacks something: that of the release, and those of sets. Each is
//! read in a thread of its own, while it is downloaded, and each blob is announced to the pushes.

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
use crate::transfer::announce::{Abandonable, Announcer, AnnouncingStore};
use crate::transfer::fetch::{self, Place, Source};
use crate::transfer::{local, set};
use crate::{Context, Error, demo, disk};

/// A bundle of which the store lacks something.
pub(super) struct Unread<'a> {
    lock: Cow<'a, bundle::Lock>,
    source: Source,
}

/// The same, with what it takes to read it.
pub(super) struct Readable<'a> {
    lock: Cow<'a, bundle::Lock>,
    path: Utf8PathBuf,
    /// Where it is downloaded from, if it is not here.
    from: Option<Place>,
}

/// Returns the bundles that a lock names and that must be read, in the order in which they are.
///
/// # Errors
/// The store cannot be looked at, or a bundle's file has a different size than in the lock.
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

    /// Prepares to read it. `whole` is the lock that names it.
    ///
    /// # Errors
    /// It must be downloaded, and the run is offline or the server's CA or credentials cannot be
    /// used.
    pub(super) fn prepare(
        self,
        context: &Context<'_>,
        whole: &bundle::Lock,
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
                    Cow::Owned(_) => set::pull::place(context, whole, url)?,
                };
                (path, Some(from))
            }
        };
        let lock = self.lock;
        Ok(Readable { lock, path, from })
    }
}

impl Readable<'_> {
    /// Reports that it is about to be read.
    pub(super) fn report_start(&self, context: &Context<'_>) {
        if let Some(from) = &self.from {
            fetch::report_start(context, &from.url, Some(self.lock.bundle.size));
        }
        local::report_start(context, &self.lock, &self.path);
    }

    /// Reads it into the store, and compares it with its lock. It ends early once it is not wanted.
    ///
    /// # Errors
    /// It is not available, or is not what its lock says.
    pub(super) fn read(
        &self,
        context: &Context<'_>,
        store: &bundle::Store,
        announcer: &Announcer,
        unwanted: impl Future<Output = ()> + Clone,
    ) -> Result<(), Error> {
        let sink = || AnnouncingStore {
            store: store.clone(),
            announcer: announcer.clone(),
        };
        let observer = BundleObserver::new(context, Step::Verify);
        if let Some(from) = &self.from {
            let (feed, following) = bundle::following();
            let download = fetch::download_locked(context, &self.lock, from, &self.path, feed);
            let input = (following, sink());
            match self.read_beside(context, input, &observer, download, unwanted.clone()) {
                // The server has another file than the one that was begun with. This one is whole,
                // and is here.
                Err(Error::Disk(disk::Error::BundleUnread { source, .. }))
                    if source.followed() == Some(bundle::FollowError::StartedOver) => {}
                read => return read,
            }
        }
        let path = &self.path;
        let file = files::open(path).map_err(|source| Error::io("open", path, source))?;
        let input = (file, sink());
        self.read_beside(context, input, &observer, ready(Ok(())), unwanted)
    }

    /// Reads it in a thread of its own, while `beside` runs here.
    fn read_beside(
        &self,
        context: &Context<'_>,
        (input, sink): (impl Read + Send, AnnouncingStore),
        observer: &BundleObserver<'_>,
        beside: impl Future<Output = Result<(), Error>>,
        unwanted: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (lock, path) = (&self.lock, &self.path);
        let abandoned = Arc::new(AtomicBool::new(false));
        let input = Abandonable {
            input,
            abandoned: Arc::clone(&abandoned),
        };
        let (told, telling) = oneshot::channel();
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // The receiver may be gone.
                    let _ = told.send(local::read(context, lock, path, input, sink, observer));
                });
                let both = async {
                    let (besides, read) = future::join(beside, telling).await;
                    // Where the download failed, that is why nothing could be read.
                    besides?;
                    read.unwrap_or_else(|_| unreachable!("a reader that panics is seen below"))
                };
                let (both, unwanted) = (pin!(both), pin!(unwanted));
                let done = Handle::current().block_on(future::select(both, unwanted));
                abandoned.store(true, Ordering::Relaxed);
                match done {
                    Either::Left((read, _)) => read,
                    // It is not reported.
                    Either::Right(_) => Err(Error::read(path, io::Error::other("unwanted"))),
                }
            })
        })?;
        local::report_end(context, lock);
        Ok(())
    }
}
