//! Announces each blob to the pushes as soon as the store has it, while the bundle is still being
//! read.
//!
//! A blob can be pushed when it matches its own digest. A tag stands for the whole bundle: only
//! [`Announcer::all_present`] lets tags be set, and it takes the proof that everything in the lock
//! is present.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bundle::{BlobSink, Sink, StoreError};
use oci_spec::image::Digest;
use registry::Arrival;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Error;
use crate::proof::Proven;
use crate::transfer::present::AllPresent;
use crate::transfer::push::Delivery;

/// Speaks to all pushes at once. If it is dropped before it reported that everything arrived, they
/// end without a tag.
#[derive(Debug, Clone)]
pub(crate) struct Announcer {
    /// Each push, with what its tags will speak for.
    pushes: Vec<(Proven, UnboundedSender<Arrival>)>,
}

impl Announcer {
    /// Makes one, and what the push of each delivery listens to.
    pub(crate) fn new(
        lock: &bundle::Lock,
        deliveries: &[Delivery<'_>],
    ) -> (Self, Vec<UnboundedReceiver<Arrival>>) {
        let pushes = deliveries.iter().map(|delivery| {
            let (sender, receiver) = unbounded_channel();
            let wanted = Proven::new(lock, Some(&delivery.environment.name));
            ((wanted, sender), receiver)
        });
        let (pushes, receivers) = pushes.unzip();
        (Self { pushes }, receivers)
    }

    /// Reports everything in the store that the lock names.
    pub(crate) fn stored(&self, lock: &bundle::Lock, store: &bundle::Store) {
        let mut told = BTreeSet::new();
        for (digest, size) in lock.artifacts.iter().flat_map(bundle::Artifact::blobs) {
            if told.insert(digest.as_ref()) && store.has(digest, size) {
                self.blob(digest);
            }
        }
    }

    /// Reports that the store has a blob.
    pub(crate) fn blob(&self, digest: &Digest) {
        for (_, sender) in &self.pushes {
            // A push that has failed listens no more.
            let _ = sender.send(Arrival::BlobReady(digest.clone()));
        }
    }

    /// Announces that everything is present to the pushes that the proof holds for.
    ///
    /// # Errors
    /// The proof is of a different lock. Then no tag is set.
    pub(crate) fn all_present(&self, proof: &AllPresent) -> Result<(), Error> {
        let arrival = match proof.is_compared() {
            true => Arrival::BundleVerified,
            false => Arrival::BundlePresent,
        };
        for (wanted, sender) in &self.pushes {
            if proof.holds_for(wanted)? {
                // A push that has failed listens no more.
                let _ = sender.send(arrival.clone());
            }
        }
        Ok(())
    }
}

/// A store that announces what it keeps.
#[derive(Debug)]
pub(crate) struct AnnouncingStore {
    pub(crate) store: bundle::Store,
    pub(crate) announcer: Announcer,
}

impl Sink for AnnouncingStore {
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn BlobSink>>, StoreError> {
        let Some(writer) = self.store.blob(digest, size)? else {
            // It exists, perhaps written just now by another process.
            self.announcer.blob(digest);
            return Ok(None);
        };
        Ok(Some(Box::new(AnnouncingBlob {
            writer,
            digest: digest.clone(),
            announcer: self.announcer.clone(),
        })))
    }

    fn artifact(&mut self, artifact: &bundle::Artifact) -> Result<(), StoreError> {
        self.store.artifact(artifact)
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.store.finish()
    }
}

struct AnnouncingBlob {
    writer: Box<dyn BlobSink>,
    digest: Digest,
    announcer: Announcer,
}

impl BlobSink for AnnouncingBlob {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.writer.write(bytes)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.writer.commit()?;
        self.announcer.blob(&self.digest);
        Ok(())
    }
}

/// A reader that ends with an error once its bytes are not needed any more.
#[derive(Debug)]
pub(crate) struct Abandonable<R> {
    pub(crate) input: R,
    pub(crate) abandoned: Arc<AtomicBool>,
}

impl<R: Read> Read for Abandonable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(io::Error::other("the rest of the bundle is not wanted"));
        }
        self.input.read(buffer)
    }
}
