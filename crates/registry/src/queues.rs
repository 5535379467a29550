//! The blobs to be sent, in order: large ones beside small ones. Among the large ones the largest is first, because the push
//! would wait for it alone at the end. Among the small ones the smallest is first.
//!
//! A blob that its source cannot open yet waits aside until it arrives.

use std::collections::{HashMap, HashSet, VecDeque};

use oci_spec::image::Digest;

use crate::known::Known;
use crate::plan::{Need, Transfer};

/// The largest blob that counts as small, in bytes: over a distance, its requests wait for latency about as long as its bytes take.
pub(crate) const SMALL: u64 = 4 << 20;

pub(crate) struct Queues<'a> {
    known: &'a Known,
    large: VecDeque<Transfer<'a>>,
    small: VecDeque<Transfer<'a>>,
    /// Blobs that other repositories have. They cost little, and artifacts wait for them.
    mounts: VecDeque<Transfer<'a>>,
    /// Blobs that have not arrived.
    away: HashMap<Digest, Transfer<'a>>,
    /// Blobs that have arrived; nothing once all of them have.
    arrived: Option<HashSet<Digest>>,
}

impl<'a> Queues<'a> {
    /// Returns empty queues. If `arrive` is set, each blob waits until it arrives.
    pub(crate) fn new(known: &'a Known, arrive: bool) -> Self {
        Self {
            known,
            large: VecDeque::new(),
            small: VecDeque::new(),
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
        if self.known.mounts() && self.known.is_held(&blob.digest) {
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
        if blob.size > SMALL {
            // What others wait for before what is as large.
            let place = (self.large).partition_point(|other| other.blob.size > blob.size);
            self.large.insert(place, transfer);
        } else {
            let place = (self.small).partition_point(|other| other.blob.size < blob.size);
            self.small.insert(place, transfer);
        }
    }

    /// Takes note that a blob can be opened. One that is not needed, or that arrived before, changes nothing.
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
        self.large.len() + self.small.len() + self.away.len()
    }

    /// Leaves out, at the front of each queue, what is not needed any more.
    pub(crate) fn retain(&mut self, needed: impl Fn(&Need<'_>) -> bool) {
        for queue in [&mut self.mounts, &mut self.large, &mut self.small] {
            while let Some(transfer) = queue.front_mut() {
                transfer.needs.retain(&needed);
                if !transfer.needs.is_empty() {
                    break;
                }
                queue.pop_front();
            }
        }
    }

    /// Returns whether there is something to mount or a small blob to send.
    pub(crate) fn has_small(&self) -> bool {
        !(self.mounts.is_empty() && self.small.is_empty())
    }

    /// Returns whether there is a large blob to send.
    pub(crate) fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Returns what is mounted next, or the next small blob.
    pub(crate) fn next_small(&mut self) -> Option<(Transfer<'a>, Need<'a>)> {
        first(&mut self.mounts).or_else(|| first(&mut self.small))
    }

    /// Returns the next large blob.
    pub(crate) fn next_large(&mut self) -> Option<(Transfer<'a>, Need<'a>)> {
        first(&mut self.large)
    }
}

fn first<'a>(queue: &mut VecDeque<Transfer<'a>>) -> Option<(Transfer<'a>, Need<'a>)> {
    let mut transfer = queue.pop_front()?;
    let need = transfer.needs.pop_front()?;
    Some((transfer, need))
}

#[cfg(test)]
mod tests;
