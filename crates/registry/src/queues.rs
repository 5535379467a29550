//! The blobs to be sent, in order: large ones beside small ones. Among the large ones the largest
//! is first, because the push would wait for it alone at the end. Among the small ones the smallest
//! is first.
//!
//! A blob that its source cannot open yet waits aside until it arrives.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use oci_spec::image::Digest;

use crate::Blob;
use crate::plan::{Need, Transfer};
use crate::recorded::Recorded;

/// The largest blob that counts as small, in bytes: it fits into what a connection sends without
/// waiting for an answer or two.
pub(crate) const SMALL: u64 = 64 << 10;

/// How many large blobs are sent concurrently. Each must get enough of the line: a connection that
/// was crowded out for a while stays slow for seconds, and its blob is waited for alone.
const LARGE_BLOBS: u64 = 8;

/// From this size a blob counts as one; of smaller ones, as many are sent concurrently as are so
/// large together.
pub(crate) const WHOLE: u64 = 4 << 20;

pub(crate) struct Queues<'a> {
    recorded: &'a Recorded,
    /// Blobs to be sent, by size and digest.
    blobs: BTreeMap<(u64, &'a str), Transfer<'a>>,
    /// The bytes of large blobs in progress, [`WHOLE`] of each at most.
    in_progress: u64,
    /// Blobs that other repositories have. They cost little, and artifacts wait for them.
    mounts: VecDeque<Transfer<'a>>,
    /// Blobs that have not arrived.
    away: HashMap<Digest, Transfer<'a>>,
    /// Blobs that have arrived; nothing once all of them have.
    arrived: Option<HashSet<Digest>>,
}

impl<'a> Queues<'a> {
    /// Returns empty queues. If `arrive` is set, each blob waits until it arrives.
    pub(crate) fn new(recorded: &'a Recorded, arrive: bool) -> Self {
        Self {
            recorded,
            blobs: BTreeMap::new(),
            in_progress: 0,
            mounts: VecDeque::new(),
            away: HashMap::new(),
            arrived: arrive.then(HashSet::new),
        }
    }

    /// Lets a transfer wait for its turn.
    pub(crate) fn push(&mut self, mut transfer: Transfer<'a>) {
        let blob = transfer.blob;
        let here = |arrived: &HashSet<Digest>| arrived.contains(&blob.digest);
        if !self.arrived.as_ref().is_none_or(here) {
            self.away.insert(blob.digest.clone(), transfer);
            return;
        }
        if self.recorded.mounts() && self.recorded.is_held(&blob.digest) {
            // Nothing waits for the others any more.
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

    /// Takes note that a blob can be opened. One that is not needed, or that arrived before,
    /// changes nothing.
    pub(crate) fn arrived(&mut self, digest: Digest) {
        let Some(arrived) = &mut self.arrived else {
            return;
        };
        let transfer = self.away.remove(&digest);
        arrived.insert(digest);
        if let Some(transfer) = transfer {
            self.push(transfer);
        }
    }

    /// Takes note that every blob can be opened.
    pub(crate) fn all_arrived(&mut self) {
        self.arrived = None;
        for (_, transfer) in std::mem::take(&mut self.away) {
            self.push(transfer);
        }
    }

    /// Returns how many blobs are still to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.blobs.len() + self.away.len()
    }

    /// Returns whether there is nothing to send and nothing to mount.
    pub(crate) fn is_empty(&self) -> bool {
        self.unsent() == 0 && self.mounts.is_empty()
    }

    /// Leaves out what is not needed any more of what would be next.
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

    /// Returns whether there is something to mount or a small blob to send.
    pub(crate) fn has_small(&self) -> bool {
        let smallest = self.blobs.first_key_value();
        !self.mounts.is_empty() || smallest.is_some_and(|((size, _), _)| *size <= SMALL)
    }

    /// Returns whether there is a large blob of at least this size that has room beside the others.
    pub(crate) fn has_large(&self, least: u64) -> bool {
        let largest = self.blobs.last_key_value();
        let fits = |size| self.in_progress + share(size) <= LARGE_BLOBS * WHOLE;
        largest.is_some_and(|((size, _), _)| *size >= least && *size > SMALL && fits(*size))
    }

    /// Returns what is mounted next, or the next small blob.
    pub(crate) fn next_small(&mut self) -> Option<(Transfer<'a>, Need<'a>)> {
        let smallest = |blobs: &mut BTreeMap<_, _>| blobs.pop_first().map(|(_, smallest)| smallest);
        first(
            self.mounts
                .pop_front()
                .or_else(|| smallest(&mut self.blobs))?,
        )
    }

    /// Returns the next large blob. It is in progress until [`Queues::large_is_done`].
    pub(crate) fn next_large(&mut self) -> Option<(Transfer<'a>, Need<'a>)> {
        let ((size, _), largest) = self.blobs.pop_last()?;
        self.in_progress += share(size);
        first(largest)
    }

    /// Takes note that a large blob is not in progress any more.
    pub(crate) fn large_is_done(&mut self, blob: &Blob) {
        self.in_progress -= share(blob.size);
    }
}

fn share(size: u64) -> u64 {
    size.min(WHOLE)
}

fn first<'a>(mut transfer: Transfer<'a>) -> Option<(Transfer<'a>, Need<'a>)> {
    let need = transfer.needs.pop_front()?;
    Some((transfer, need))
}

#[cfg(test)]
mod tests;
