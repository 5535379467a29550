//! What is still to be brought, in the order in which it is: what is large first, with room kept for what is small.
//!
//! A blob that its source cannot open yet waits aside until it arrives.

use std::collections::{HashMap, HashSet, VecDeque};

use oci_spec::image::Digest;

use crate::known::Known;
use crate::limiter::{Limiter, Permit, Priority};
use crate::plan::{Need, Transfer};

/// The largest blob that may take the permit that is kept for small ones, in bytes.
pub(crate) const SMALL: u64 = 1024 * 1024;

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
            // Nobody has to wait for the others any more.
            self.mounts.extend(transfer.needs.drain(..).map(|need| {
                let needs = VecDeque::from([need]);
                Transfer { blob, needs }
            }));
            return;
        }
        if transfer.needs.is_empty() {
            return;
        }
        let queue = if blob.size > SMALL {
            &mut self.large
        } else {
            &mut self.small
        };
        // The largest first, and what others wait for before what is as large.
        let place = queue.partition_point(|other| other.blob.size > blob.size);
        queue.insert(place, transfer);
    }

    /// Takes note that a blob can be opened. One that nobody needs, or that arrived before, changes nothing.
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

    /// Returns what is brought next of what there is room for. What nobody `wants` any more is left out.
    pub(crate) fn next(
        &mut self,
        limiter: &'a Limiter,
        wants: impl Fn(&Need<'_>) -> bool,
    ) -> Option<(Permit<'a>, Transfer<'a>, Need<'a>)> {
        for (queue, priority) in [
            (&mut self.mounts, Priority::Small),
            (&mut self.large, Priority::Large),
            (&mut self.small, Priority::Small),
        ] {
            while let Some(transfer) = queue.front_mut() {
                transfer.needs.retain(&wants);
                if !transfer.needs.is_empty() {
                    break;
                }
                queue.pop_front();
            }
            if queue.is_empty() {
                continue;
            }
            // Where there is no room for what is large, there may be some for what is small.
            let Some(permit) = limiter.try_permit(priority) else {
                continue;
            };
            let mut transfer = queue.pop_front()?;
            let need = transfer.needs.pop_front()?;
            return Some((permit, transfer, need));
        }
        None
    }
}

#[cfg(test)]
mod tests;
