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
use crate::transfer::announce::Announcer;
use crate::transfer::fetch;
use crate::transfer::present::{self, AllPresent, Reads, RegistryContent};
use crate::transfer::push::{self, Delivery, Sent};
use crate::transfer::{before_push, local, look, set};
use crate::{Context, Error};

mod unread;

use unread::{Readable, Unread};

/// What came of the push to each registry, in the order of the deliveries.
pub type Outcomes = Vec<Result<Sent, Error>>;

/// Fetches a locked bundle and fills the store with its blobs.
///
/// # Errors
/// The bundle is not available, or is not what its lock says.
pub async fn bring(context: &Context<'_>, lock: &bundle::Lock) -> Result<AllPresent, Error> {
    bring_into(context, lock, &fetch::open_store(context.workspace)?).await
}

/// Fetches a locked bundle as [`bring`] does. What reads its blobs from this `store` need not hash
/// them again.
///
/// # Errors
/// As for [`bring`].
pub(crate) async fn bring_into(
    context: &Context<'_>,
    lock: &bundle::Lock,
    store: &bundle::Store,
) -> Result<AllPresent, Error> {
    let streamed = stream(context, lock, store, &[], &Parts::none()).await?;
    Ok(streamed
        .proof
        .unwrap_or_else(|| unreachable!("only a failed push makes a bundle unwanted")))
}

/// Pushes to each registry what it lacks of one bundle, which is downloaded if needed.
///
/// Each byte is downloaded and read once, for however many registries. One that fails stops no
/// other. Nothing is done for a registry that lacks nothing.
///
/// # Errors
/// The bundle is not available, or is not what its lock says. Then nothing was tagged anywhere.
pub async fn carry(
    context: &Context<'_>,
    lock: &bundle::Lock,
    deliveries: &[Delivery<'_>],
) -> Result<Outcomes, Error> {
    let mut outcomes: Outcomes = Vec::new();
    let mut places = Vec::new();
    let mut wanting = Vec::new();
    for (place, delivery) in deliveries.iter().enumerate() {
        let pushes = !delivery.artifacts.is_empty();
        // Nothing is sent where nodes could not pull it.
        let open = match pushes {
            true => look::require_open(context, delivery.environment, delivery.shut).await,
            false => Ok(()),
        };
        if open.is_ok() && pushes {
            places.push(place);
            wanting.push(delivery.clone());
        }
        outcomes.push(open.map(|()| Sent::default()));
    }
    if !wanting.is_empty() {
        let pushed = push_all(context, lock, &wanting, deliveries).await?;
        for (place, outcome) in places.into_iter().zip(pushed) {
            outcomes[place] = outcome;
        }
    }
    Ok(outcomes)
}

/// Pushes, and once more what failed by a damaged store, or by a registry that does not mount.
async fn push_all(
    context: &Context<'_>,
    lock: &bundle::Lock,
    deliveries: &[Delivery<'_>],
    sources: &[Delivery<'_>],
) -> Result<Outcomes, Error> {
    let mut parts = Parts {
        sources,
        reads: Reads::Needed,
    };
    let store = fetch::open_store(context.workspace)?;
    report_damaged(
        context,
        &local::discard_damaged_manifests(context, deliveries, &store)?,
    );
    let streamed = stream(context, lock, &store, deliveries, &parts).await?;
    let mut outcomes = streamed.outcomes;
    let mut damaged = BTreeSet::new();
    let mut again = Vec::new();
    for (place, outcome) in outcomes.iter().enumerate() {
        let Err(error) = outcome else { continue };
        let discarded = local::discard_damaged(context, lock, error)?;
        // What one push discarded, another one that failed by it finds discarded.
        let is_by_damage =
            !discarded.is_empty() || local::is_by_damage(error) && !damaged.is_empty();
        if is_by_damage || local::is_by_lack(error) {
            again.push(place);
        }
        damaged.extend(discarded);
    }
    if again.is_empty() {
        return Ok(outcomes);
    }
    report_damaged(context, &damaged);
    // Once only: a disk that damages blobs again at once is not to be trusted.
    let failed: Vec<_> = (again.iter())
        .map(|place| deliveries[*place].clone())
        .collect();
    parts.reads = Reads::Unmountable;
    // A store of its own, so everything is hashed again.
    let store = fetch::open_store(context.workspace)?;
    let streamed = stream(context, lock, &store, &failed, &parts).await?;
    let repeated = streamed.outcomes;
    for (place, mut outcome) in again.into_iter().zip(repeated) {
        if let (Ok(sent), Err(Error::Push(push::Error::Failed { sent: before, .. }))) =
            (&mut outcome, &outcomes[place])
        {
            sent.add(before);
        }
        outcomes[place] = outcome;
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

/// What a stream came to.
struct Streamed {
    /// None if no push needed the rest of the bundle, or if registries have parts of it.
    proof: Option<AllPresent>,
    outcomes: Outcomes,
}

/// How what a partial store lacks is looked for.
struct Parts<'a> {
    /// The registries that may be read from.
    sources: &'a [Delivery<'a>],
    reads: Reads,
}

impl Parts<'_> {
    /// Has nothing looked for: the store is to have all of it.
    const fn none() -> Self {
        Self {
            sources: &[],
            reads: Reads::Nothing,
        }
    }
}

/// Has everything in the store that a lock names, and pushes it meanwhile.
async fn stream(
    context: &Context<'_>,
    lock: &bundle::Lock,
    store: &bundle::Store,
    deliveries: &[Delivery<'_>],
    parts: &Parts<'_>,
) -> Result<Streamed, Error> {
    let asks_registries = set::need::is_needed(lock, store);
    let unread = unread::all(context, lock)?;
    if (asks_registries || unread.iter().any(Unread::is_away))
        && let Some(streamed) = from_parts(context, lock, deliveries, parts).await?
    {
        return Ok(streamed);
    }
    if !deliveries.is_empty() {
        before_push::room(context.workspace, lock)?;
    }
    let unread = unread.into_iter().map(|one| one.prepare(context, lock));
    let unread: Vec<Readable<'_>> = unread.collect::<Result<_, _>>()?;
    let (announcer, arrivals) = Announcer::new(lock, deliveries);
    announcer.stored(lock, store);
    let mut reported = unread.first().filter(|_| !asks_registries);
    if let Some(first) = reported {
        first.report_start(context);
    }
    push::report_start(context, deliveries);
    let (wanted, unwanted) = oneshot::channel::<()>();
    let unwanted = unwanted.map(drop).shared();
    // Until the reason is here, the pushes do not hear that nothing more comes.
    let held = announcer.clone();
    let reading = unwanted.clone();
    let unread = &unread;
    let bringing = async move {
        set::pull::bring(context, lock, store, &|digest| announcer.blob(digest)).await?;
        for one in unread {
            if reported.take().is_none() {
                one.report_start(context);
            }
            one.read(context, store, &announcer, reading.clone())?;
        }
        let proof = local::stored(context, lock, store)?;
        announcer.all_present(&proof)?;
        Ok::<_, Error>(proof)
    };
    let pushing = push::push(context, deliveries, store, arrivals, &[]);
    let (told, telling) = oneshot::channel();
    // Reading and hashing are work for a disk and a processor, not for the runtime.
    let (brought, outcomes) = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let runtime = Handle::current();
            scope.spawn(move || {
                let bringing = pin!(bringing);
                let done = runtime.block_on(future::select(bringing, unwanted));
                if let Either::Left((brought, _)) = done {
                    // The receiver may be gone.
                    let _ = told.send(brought);
                }
            });
            let brought = async {
                let brought = telling.await;
                drop(held);
                brought.unwrap_or_else(|_| unreachable!("a thread that panics is seen below"))
            };
            let done = Handle::current().block_on(together(deliveries, brought, pushing));
            drop(wanted);
            done
        })
    });
    // What was stopped is reported by the pushes.
    let stopped = !deliveries.is_empty() && context.tool.signals.stop().is_requested();
    let brought = brought.filter(|brought| brought.is_ok() || !stopped);
    Ok(Streamed {
        proof: brought.transpose()?,
        outcomes,
    })
}

/// Brings what is pushed, and pushes it. Nothing more is brought when all pushes have failed.
async fn together(
    deliveries: &[Delivery<'_>],
    bringing: impl Future<Output = Result<AllPresent, Error>>,
    pushing: impl Future<Output = Outcomes>,
) -> (Option<Result<AllPresent, Error>>, Outcomes) {
    let failed =
        |outcomes: &Outcomes| !deliveries.is_empty() && outcomes.iter().all(Result::is_err);
    match future::select(pin!(bringing), pin!(pushing)).await {
        Either::Left((brought, pushing)) => (Some(brought), pushing.await),
        // Tags require everything, so a push that ends before has failed and needs nothing more.
        Either::Right((outcomes, _)) if failed(&outcomes) => (None, outcomes),
        Either::Right((outcomes, bringing)) => (Some(bringing.await), outcomes),
    }
}

/// Pushes from a store that lacks what registries have. Returns nothing if the bundle has to be
/// downloaded, which an offline run does not do: there, a delivery of which something is nowhere
/// fails alone.
async fn from_parts(
    context: &Context<'_>,
    lock: &bundle::Lock,
    deliveries: &[Delivery<'_>],
    parts: &Parts<'_>,
) -> Result<Option<Streamed>, Error> {
    let store = fetch::open_store(context.workspace)?;
    let may_be = |delivery| present::may_be_partial(context, &store, delivery);
    if deliveries.is_empty() || !deliveries.iter().all(may_be) {
        return Ok(None);
    }
    let searched = present::search(context, lock, deliveries, parts.sources, parts.reads).await?;
    let is_nowhere = |one: &Result<RegistryContent, Error>| matches!(one, Err(Error::Fetch(_)));
    if !context.offline && searched.iter().any(is_nowhere) {
        return Ok(None);
    }
    let mut outcomes = Outcomes::new();
    let (mut ready, mut held, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (place, found) in searched.into_iter().enumerate() {
        outcomes.push(found.map(|found| {
            ready.push(deliveries[place].clone());
            held.push(found);
            places.push(place);
            Sent::default()
        }));
    }
    if !ready.is_empty() {
        read_on_disk(context, lock, &store).await?;
    }
    let (announcer, arrivals) = Announcer::new(lock, &ready);
    for held in &held {
        announcer.all_present(&AllPresent::prove(context, lock, &store, Some(held))?)?;
    }
    push::report_start(context, &ready);
    let pushed = push::push(context, &ready, &store, arrivals, &held).await;
    for (place, outcome) in places.into_iter().zip(pushed) {
        outcomes[place] = outcome;
    }
    Ok(Some(Streamed {
        proof: None,
        outcomes,
    }))
}

/// Reads the bundles of a lock into the store that are here.
async fn read_on_disk(
    context: &Context<'_>,
    lock: &bundle::Lock,
    store: &bundle::Store,
) -> Result<(), Error> {
    for part in fetch::parts(lock) {
        if let fetch::Source::File(_) | fetch::Source::Made(_) =
            fetch::source(context.workspace, &part)?
        {
            before_push::room(context.workspace, &part)?;
            // A part has no parts.
            Box::pin(bring_into(context, &part, store)).await?;
        }
    }
    Ok(())
}
