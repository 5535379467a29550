//! Fetches what the lock of a set names, and compares it with what is upstream.

use super::charts::{Unlocked, unlocked};
use super::lock::all_moved;
use super::pull::Fetched;
use crate::event::Event;
use crate::set::Error;
use crate::transfer::fetch::open_store;
use crate::transfer::stream;
use crate::{Context, locked};

/// Fetches what the lock of a set names, and looks whether its references still point there. Also
/// returns the images that its charts name and no lock has.
///
/// # Errors
/// The set is not locked, the lock does not fit the set's file, a registry does not serve a digest,
/// or a reference has moved. In the last case, everything that is locked was fetched.
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
    let _ = stream::bring_into(context, &locked.lock, &store).await?;
    compare(context, [set]).await?;
    Ok((fetched, unlocked(context.workspace, &locked.lock)?))
}

/// Looks whether the references of sets still point to what is locked. An offline run asks no
/// upstream registry.
///
/// # Errors
/// A reference has moved. The sets before the last one with such a reference are warned of.
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
