//! Queues of the blobs to be sent. Large blobs are sent concurrently with small ones.
//!
//! - The largest blob goes first among the large ones, because at the end the push would wait for
//!   it alone.
//! - The smallest blob goes first among the small ones.
//! - A blob that its source cannot open yet waits until it arrives.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use oci_spec::image::Digest;

use crate::Blob;
use crate::plan::{Need, Transfer};
use crate::recorded::Recorded;

/// Maximum size of a small blob in bytes. A connection sends that much without waiting for more
/// than one or two acknowledgements.
pub(crate) const SMALL: u64 = 64 << 10;

/// Maximum number of concurrent large blobs, each of [`FULL_SHARE`] or more. A connection that
/// other connections starved stays slow for seconds, and the push would wait for its blob alone.
const LARGE_BLOBS: u64 = 8;

/// Size in bytes from which a blob takes a full share of the concurrency. Smaller ones take a share
/// that is proportional to their size.
pub(crate) const FULL_SHARE: u64 = 4 << 20;

pub(crate) struct Queues<'a> {
    recorded: &'a Recorded,
    /// Blobs to be sent, by size and digest.
    blobs: BTreeMap<(u64, &'a str), Transfer<'a>>,
    /// Sum of the shares of large blobs in progress, in bytes.
    in_progress: u64,
    /// Blobs to be mounted. They cost little, and artifacts wait for them.
    mounts: VecDeque<Transfer<'a>>,
    /// Blobs that have not arrived.
    awaited: HashMap<Digest, Transfer<'a>>,
    /// Blobs that have arrived. `None` once all have.
    arrived: Option<HashSet<Digest>>,
}

impl<'a> Queues<'a> {
    /// Returns empty queues. With `arrive`, each blob is held back until [`Queues::arrived`] names
    /// it.
    pub(crate) fn new(recorded: &'a Recorded, arrive: bool) -> Self {
        Self {
            recorded,
            blobs: BTreeMap::new(),
            in_progress: 0,
            mounts: VecDeque::new(),
            awaited: HashMap::new(),
            arrived: arrive.then(HashSet::new),
        }
    }

    /// Adds a transfer with its remaining needs. One without needs is dropped.
    pub(crate) fn push(&mut self, mut transfer: Transfer<'a>) {
        let blob = transfer.blob;
        let here = |arrived: &HashSet<Digest>| arrived.contains(&blob.digest);
        if !self.arrived.as_ref().is_none_or(here) {
            self.awaited.insert(blob.digest.clone(), transfer);
            return;
        }
        if self.recorded.may_mount() && self.recorded.is_held(&blob.digest) {
            // The registry has the bytes, so all remaining repositories can mount them now.
            self.mounts.extend(transfer.needs.drain(..).map(|need| {
                let needs = VecDeque::from([need]);
                Transfer { blob, needs }
            }));
            return;
        }
        if transfer.needs.is_empty() {
            return;
        }
        let place = (blob.size, blob.digest.as_ref());
        self.blobs.insert(place, transfer);
    }

    /// Releases a blob that the source can open. A repeated or unknown digest has no effect.
    pub(crate) fn arrived(&mut self, digest: Digest) {
        let Some(arrived) = &mut self.arrived else {
            return;
        };
        let transfer = self.awaited.remove(&digest);
        arrived.insert(digest);
        if let Some(transfer) = transfer {
            self.push(transfer);
        }
    }

    /// Releases all blobs.
    pub(crate) fn all_arrived(&mut self) {
        self.arrived = None;
        for (_, transfer) in std::mem::take(&mut self.awaited) {
            self.push(transfer);
        }
    }

    /// Returns the number of blobs that are neither sent nor in progress.
    pub(crate) fn unsent(&self) -> usize {
        self.blobs.len() + self.awaited.len()
    }

    /// Returns whether there is nothing to send and nothing to mount.
    pub(crate) fn is_empty(&self) -> bool {
        self.unsent() == 0 && self.mounts.is_empty()
    }

    /// Drops needs that are not `needed` from the heads of the queues.
    pub(crate) fn retain(&mut self, needed: impl Fn(&Need<'_>) -> bool) {
        let is_needed = |transfer: &mut Transfer<'_>| {
            transfer.needs.retain(&needed);
            !transfer.needs.is_empty()
        };
        while self.mounts.front_mut().is_some_and(|next| !is_needed(next)) {
            self.mounts.pop_front();
        }
        while let Some(mut smallest) = self.blobs.first_entry()
            && !is_needed(smallest.get_mut())
        {
            smallest.remove();
        }
        while let Some(mut largest) = self.blobs.last_entry()
            && !is_needed(largest.get_mut())
        {
            largest.remove();
        }
    }

    /// Returns whether there is a blob to mount or a small blob to send.
    pub(crate) fn has_small(&self) -> bool {
        let smallest = self.blobs.first_key_value();
        !self.mounts.is_empty() || smallest.is_some_and(|((size, _), _)| *size <= SMALL)
    }

    /// Returns whether there is a large blob of at least `min_size` bytes that fits beside those in
    /// progress.
    pub(crate) fn has_large(&self, min_size: u64) -> bool {
        let largest = self.blobs.last_key_value();
        let fits = |size| self.in_progress + concurrency_share(size) <= LARGE_BLOBS * FULL_SHARE;
        largest.is_some_and(|((size, _), _)| *size >= min_size && *size > SMALL && fits(*size))
    }

    /// Returns the next blob to mount, or the smallest blob.
    pub(crate) fn next_small(&mut self) -> Option<(Transfer<'a>, Need<'a>)> {
        let mount = self.mounts.pop_front();
        take_first_need(mount.or_else(|| Some(self.blobs.pop_first()?.1))?)
    }

    /// Returns the largest blob. It takes its share until [`Queues::large_is_done`].
    pub(crate) fn next_large(&mut self) -> Option<(Transfer<'a>, Need<'a>)> {
        let ((size, _), largest) = self.blobs.pop_last()?;
        self.in_progress += concurrency_share(size);
        take_first_need(largest)
    }

    /// Gives back the share of a large blob.
    pub(crate) fn large_is_done(&mut self, blob: &Blob) {
        self.in_progress -= concurrency_share(blob.size);
    }
}

fn concurrency_share(size: u64) -> u64 {
    size.min(FULL_SHARE)
}

fn take_first_need<'a>(mut transfer: Transfer<'a>) -> Option<(Transfer<'a>, Need<'a>)> {
    let need = transfer.needs.pop_front()?;
    Some((transfer, need))
}

#[cfg(test)]
mod tests;
