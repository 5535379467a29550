//! Downloads, verifies and pushes what a lock names as one stream. It takes about as long as its
//! slowest part, not as all of them together.
//!
//! ```text
//!                                upstream registries: read, hash ─┐
//! download ─▶ unfinished file ─▶ read: inflate, hash, compare ────┴─▶ store ─▶ push to each registry ─┐
//!                                  └─────────────── everything matches the lock ──────────────────────┴─▶ tags
//! ```

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;

use futures_util::FutureExt as _;
use futures_util::future::{self, Either};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::event::Event;
use crate::transfer::fetch;
use crate::transfer::notify::Notifier;
use crate::transfer::present::{self, AllPresent, Reads, RegistryContent};
use crate::transfer::push::{self, Delivery, Sent};
use crate::transfer::{before_push, local, look, set};
use crate::{Context, Error};

mod unread;

use unread::{Readable, Unread};

/// Result of the push to each registry, in the order of the deliveries.
pub type Outcomes = Vec<Result<Sent, Error>>;

/// Fetches everything that a lock names into the store of the workspace.
///
/// # Errors
/// A bundle is not available or differs from its lock, or a registry does not serve a digest.
pub async fn fetch(context: &Context<'_>, lock: &bundle::Lock) -> Result<AllPresent, Error> {
    fetch_into(context, lock, &fetch::open_store(context.workspace)?).await
}

/// Fetches like [`fetch()`], into a store that the caller opened. That store remembers which blobs
/// were hashed, so a reader need not hash them again.
///
/// # Errors
/// As for [`fetch()`].
pub(crate) async fn fetch_into(
    context: &Context<'_>,
    lock: &bundle::Lock,
    store: &bundle::Store,
) -> Result<AllPresent, Error> {
    let streamed = stream(context, lock, store, &[], (&[], Reads::Nothing)).await?;
    Ok(streamed
        .proof
        .unwrap_or_else(|| unreachable!("only a failed push ends reading early")))
}

/// Pushes to each registry what it lacks of a lock. Bundles are downloaded if needed.
///
/// Each byte is downloaded and read once, for any number of registries. A registry that fails does
/// not stop the pushes to the others. A registry that lacks nothing gets no request.
///
/// # Errors
/// A bundle is not available or differs from its lock, or an upstream registry does not serve a
/// digest. In these cases no tag was set.
pub async fn transfer(
    context: &Context<'_>,
    lock: &bundle::Lock,
    deliveries: &[Delivery<'_>],
) -> Result<Outcomes, Error> {
    let mut outcomes: Outcomes = Vec::new();
    let (mut indices, mut pending) = (Vec::new(), Vec::new());
    for (index, delivery) in deliveries.iter().enumerate() {
        let pushes = !delivery.artifacts.is_empty();
        // Nothing is sent to a repository that nodes cannot pull from.
        let open = match pushes {
            true => look::require_open(context, delivery.environment, delivery.pull_refusal).await,
            false => Ok(()),
        };
        if open.is_ok() && pushes {
            indices.push(index);
            pending.push(delivery.clone());
        }
        outcomes.push(open.map(|()| Sent::default()));
    }
    if !pending.is_empty() {
        let pushed = push_all(context, lock, &pending, deliveries).await?;
        for (index, outcome) in indices.into_iter().zip(pushed) {
            outcomes[index] = outcome;
        }
    }
    Ok(outcomes)
}

/// Pushes all deliveries. Repeats once those that failed because a blob in the store was damaged,
/// or because the registry did not mount a blob that the store lacks.
async fn push_all(
    context: &Context<'_>,
    lock: &bundle::Lock,
    deliveries: &[Delivery<'_>],
    sources: &[Delivery<'_>],
) -> Result<Outcomes, Error> {
    let store = fetch::open_store(context.workspace)?;
    report_damaged(
        context,
        &local::discard_damaged_manifests(context, deliveries, &store)?,
    );
    let streamed = stream(context, lock, &store, deliveries, (sources, Reads::Needed)).await?;
    let mut outcomes = streamed.outcomes;
    let mut damaged = BTreeSet::new();
    let mut repeated = Vec::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        let Err(error) = outcome else { continue };
        let discarded = local::discard_damaged(context, lock, error)?;
        // A push that failed by the same blob finds it discarded already.
        let is_by_damage =
            !discarded.is_empty() || local::is_by_damage(error) && !damaged.is_empty();
        if is_by_damage || local::is_by_lack(error) {
            repeated.push(index);
        }
        damaged.extend(discarded);
    }
    if repeated.is_empty() {
        return Ok(outcomes);
    }
    report_damaged(context, &damaged);
    // Only once: a disk that damages blobs again immediately cannot be trusted.
    let failed: Vec<_> = (repeated.iter())
        .map(|index| deliveries[*index].clone())
        .collect();
    // A newly opened store remembers no hashed blobs, so everything is hashed again.
    let store = fetch::open_store(context.workspace)?;
    let again = stream(
        context,
        lock,
        &store,
        &failed,
        (sources, Reads::Unmountable),
    )
    .await?;
    for (index, mut outcome) in repeated.into_iter().zip(again.outcomes) {
        if let (Ok(sent), Err(Error::Push(push::Error::Failed { sent: before, .. }))) =
            (&mut outcome, &outcomes[index])
        {
            sent.add(before);
        }
        outcomes[index] = outcome;
    }
    Ok(outcomes)
}

fn report_damaged(context: &Context<'_>, digests: &BTreeSet<String>) {
    for digest in digests {
        context.reporter.report(Event::Warning(format!(
            "{digest} was damaged in the store and is read again"
        )));
    }
}

/// Result of one pass of the stream.
struct Streamed {
    /// None if all pushes failed before everything was read, or if registries have some of it.
    proof: Option<AllPresent>,
    outcomes: Outcomes,
}

/// Reads everything that a lock names into the store, and pushes it meanwhile.
///
/// A store with gaps is enough if registries have the rest. `sources` are more registries that may
/// be read from.
async fn stream(
    context: &Context<'_>,
    lock: &bundle::Lock,
    store: &bundle::Store,
    deliveries: &[Delivery<'_>],
    (sources, reads): (&[Delivery<'_>], Reads),
) -> Result<Streamed, Error> {
    let asks_upstream = set::need::is_needed(lock, store);
    let unread = unread::all(context, lock)?;
    if (asks_upstream || unread.iter().any(Unread::is_away))
        && let Some(streamed) = without_download(context, lock, deliveries, sources, reads).await?
    {
        return Ok(streamed);
    }
    if !deliveries.is_empty() {
        before_push::room(context.workspace, lock)?;
    }
    let unread = unread.into_iter().map(|one| one.prepare(context, lock));
    let unread: Vec<Readable<'_>> = unread.collect::<Result<_, _>>()?;
    let (notifier, arrivals) = Notifier::new(lock, deliveries);
    notifier.stored_blobs_ready(lock, store);
    let mut reported = unread.first().filter(|_| !asks_upstream);
    if let Some(first) = reported {
        first.report_start(context);
    }
    push::report_start(context, deliveries);
    // Dropping the sender stops reading.
    let (keep_reading, stop) = oneshot::channel::<()>();
    let stop = stop.map(drop).shared();
    // The pushes end once all notifiers are dropped. If reading fails, they must not end before the
    // reason is known.
    let last_notifier = notifier.clone();
    let stop_read = stop.clone();
    let unread = &unread;
    let fetching = async move {
        set::pull::pull(context, lock, store, &|digest| notifier.blob_ready(digest)).await?;
        for one in unread {
            if reported.take().is_none() {
                one.report_start(context);
            }
            one.read(context, store, &notifier, stop_read.clone())?;
        }
        let proof = local::stored(context, lock, store)?;
        notifier.all_present(&proof)?;
        Ok::<_, Error>(proof)
    };
    let pushing = push::push(context, deliveries, store, arrivals, &[]);
    let (sender, receiver) = oneshot::channel();
    // Reading and hashing block, so they get a thread outside of the runtime.
    let (fetched, outcomes) = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let runtime = Handle::current();
            scope.spawn(move || {
                let fetching = pin!(fetching);
                let done = runtime.block_on(future::select(fetching, stop));
                if let Either::Left((fetched, _)) = done {
                    // The receiver may be gone.
                    let _ = sender.send(fetched);
                }
            });
            let fetched = async {
                let fetched = receiver.await;
                drop(last_notifier);
                fetched.unwrap_or_else(|_| unreachable!("the scope passes on a panic"))
            };
            let done = Handle::current().block_on(together(deliveries, fetched, pushing));
            drop(keep_reading);
            done
        })
    });
    // After a stop request, the pushes report it.
    let stopped = !deliveries.is_empty() && context.tool.signals.stop().is_requested();
    let fetched = fetched.filter(|fetched| fetched.is_ok() || !stopped);
    Ok(Streamed {
        proof: fetched.transpose()?,
        outcomes,
    })
}

/// Waits for fetching and pushing. If all pushes fail first, it does not wait for fetching.
async fn together(
    deliveries: &[Delivery<'_>],
    fetching: impl Future<Output = Result<AllPresent, Error>>,
    pushing: impl Future<Output = Outcomes>,
) -> (Option<Result<AllPresent, Error>>, Outcomes) {
    let failed =
        |outcomes: &Outcomes| !deliveries.is_empty() && outcomes.iter().all(Result::is_err);
    match future::select(pin!(fetching), pin!(pushing)).await {
        Either::Left((fetched, pushing)) => (Some(fetched), pushing.await),
        // Tags require everything, so a push that ends before has failed.
        Either::Right((outcomes, _)) if failed(&outcomes) => (None, outcomes),
        Either::Right((outcomes, fetching)) => (Some(fetching.await), outcomes),
    }
}

/// Pushes from a store with gaps, which registries fill. Returns `None` if a download is needed.
///
/// An offline run downloads nothing: a delivery that needs an unavailable digest fails, and the
/// others continue.
async fn without_download(
    context: &Context<'_>,
    lock: &bundle::Lock,
    deliveries: &[Delivery<'_>],
    sources: &[Delivery<'_>],
    reads: Reads,
) -> Result<Option<Streamed>, Error> {
    let store = fetch::open_store(context.workspace)?;
    let may_be = |delivery| present::may_be_partial(context, &store, delivery);
    if deliveries.is_empty() || !deliveries.iter().all(may_be) {
        return Ok(None);
    }
    let searched = present::search(context, lock, deliveries, sources, reads).await?;
    let is_nowhere = |one: &Result<RegistryContent, Error>| matches!(one, Err(Error::Fetch(_)));
    if !context.offline && searched.iter().any(is_nowhere) {
        return Ok(None);
    }
    let mut outcomes = Outcomes::new();
    let (mut ready, mut held, mut indices) = (Vec::new(), Vec::new(), Vec::new());
    for (index, found) in searched.into_iter().enumerate() {
        outcomes.push(found.map(|found| {
            ready.push(deliveries[index].clone());
            held.push(found);
            indices.push(index);
            Sent::default()
        }));
    }
    if !ready.is_empty() {
        read_local_bundles(context, lock, &store).await?;
    }
    let (notifier, arrivals) = Notifier::new(lock, &ready);
    for held in &held {
        notifier.all_present(&AllPresent::prove(context, lock, &store, Some(held))?)?;
    }
    push::report_start(context, &ready);
    let pushed = push::push(context, &ready, &store, arrivals, &held).await;
    for (index, outcome) in indices.into_iter().zip(pushed) {
        outcomes[index] = outcome;
    }
    Ok(Some(Streamed {
        proof: None,
        outcomes,
    }))
}

/// Reads those bundles of a lock into the store that are on this machine.
async fn read_local_bundles(
    context: &Context<'_>,
    lock: &bundle::Lock,
    store: &bundle::Store,
) -> Result<(), Error> {
    for part in fetch::parts(lock) {
        if let fetch::Source::File(_) | fetch::Source::Made(_) =
            fetch::source(context.workspace, &part)?
        {
            before_push::room(context.workspace, &part)?;
            // The lock of one bundle names no other bundles, so this does not recurse further.
            Box::pin(fetch_into(context, &part, store)).await?;
        }
    }
    Ok(())
}
