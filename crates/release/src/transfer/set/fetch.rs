//! Fetches what the lock of a set names, and compares it with what is upstream.

use super::charts::{Unlocked, unlocked};
use super::lock::all_moved;
use super::pull::Fetched;
use crate::set::Error;
use crate::transfer::fetch::open_store;
use crate::transfer::stream;
use crate::{Context, locked};

/// Fetches what the lock of a set names, and looks whether its references still point there. Also returns the images that its charts name
/// and no lock has.
///
/// # Errors
/// The set is not locked, the lock does not fit the set's file, a registry does not serve a digest, or a reference has moved. In the
/// last case, everything that is locked was fetched.
pub async fn fetch(
    context: &Context<'_>,
    set: &str,
) -> Result<(Fetched, Vec<Unlocked>), crate::Error> {
    let (loaded, locked) = locked::of_set(context.workspace, set)?;
    let store = open_store(context.workspace)?;
    let missing = store.missing(&locked.lock);
    let fetched = Fetched {
        blobs: missing.len(),
        bytes: missing.iter().map(|blob| blob.size).sum(),
    };
    let _ = stream::bring_into(context, &locked.lock, &store).await?;
    // An offline run asks no upstream registry.
    let moved = match context.offline {
        true => Vec::new(),
        false => all_moved(context, &loaded, &locked.lock).await?,
    };
    match moved.is_empty() {
        true => Ok((fetched, unlocked(context.workspace, &locked.lock)?)),
        false => Err(Error::Moved {
            set: set.to_owned(),
            moved,
        }
        .into()),
    }
}
