//! Fetches the locked content of a set, and compares its references with upstream.

use super::charts::{Unlocked, unlocked};
use super::lock::all_moved;
use super::pull::Fetched;
use crate::event::Event;
use crate::set::Error;
use crate::transfer::fetch::open_store;
use crate::transfer::stream;
use crate::{Context, locked};

/// Fetches the locked content of a set, and checks that its references have not moved. Also returns
/// the images that its charts name and no lock has.
///
/// # Errors
/// The set is not locked, the lock does not match the set's file, a registry does not serve a
/// digest, or a reference moved ([`Error::Moved`]). In the last case, all locked content was
/// fetched.
pub async fn fetch(
    context: &Context<'_>,
    set: &str,
) -> Result<(Fetched, Vec<Unlocked>), crate::Error> {
    let (_, locked) = locked::of_set(context.workspace, set)?;
    let store = open_store(context.workspace)?;
    let missing = store.missing(&locked.lock);
    let fetched = Fetched {
        blobs: missing.len(),
        bytes: missing.iter().map(|blob| blob.size).sum(),
    };
    let _ = stream::fetch_into(context, &locked.lock, &store).await?;
    compare(context, [set]).await?;
    Ok((fetched, unlocked(context.workspace, &locked.lock)?))
}

/// Checks that the references of sets have not moved. An offline run contacts no upstream registry
/// and checks nothing.
///
/// # Errors
/// [`Error::Moved`] for the last set with a moved reference. Earlier ones are warnings.
pub async fn compare<'s>(
    context: &Context<'_>,
    sets: impl IntoIterator<Item = &'s str>,
) -> Result<(), crate::Error> {
    let mut outdated: Option<Error> = None;
    for set in sets.into_iter().filter(|_| !context.offline) {
        let (loaded, locked) = locked::of_set(context.workspace, set)?;
        let (moved, _) = all_moved(context, &loaded, &locked.lock, true).await?;
        if !moved.is_empty() {
            let set = set.to_owned();
            let before = outdated.replace(Error::Moved { set, moved });
            let warn = |error: Error| context.reporter.report(Event::Warning(error.to_string()));
            before.into_iter().for_each(warn);
        }
    }
    outdated.map_or(Ok(()), |error| Err(error.into()))
}
