//! Notifies the pushes of each blob in the store, while the bundle is still being read.
//!
//! A blob can be pushed once it matches its own digest. A tag stands for the whole lock: only
//! [`Notifier::all_present`] lets tags be set, and it requires the proof that everything in the
//! lock is present.

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

/// Sends events to all pushes. If all clones are dropped before [`Notifier::all_present`], the
/// pushes end without setting a tag.
#[derive(Debug, Clone)]
pub(crate) struct Notifier {
    /// For each push, the proof that its tags require.
    pushes: Vec<(Proven, UnboundedSender<Arrival>)>,
}

impl Notifier {
    /// Creates a notifier, and the receiver for the push of each delivery.
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

    /// Reports each blob of the lock that the store already has.
    pub(crate) fn stored_blobs_ready(&self, lock: &bundle::Lock, store: &bundle::Store) {
        let mut reported = BTreeSet::new();
        for (digest, size) in lock.artifacts.iter().flat_map(bundle::Artifact::blobs) {
            if reported.insert(digest.as_ref()) && store.has(digest, size) {
                self.blob_ready(digest);
            }
        }
    }

    /// Reports that the store has a blob.
    pub(crate) fn blob_ready(&self, digest: &Digest) {
        for (_, sender) in &self.pushes {
            // A failed push has dropped its receiver.
            let _ = sender.send(Arrival::BlobReady(digest.clone()));
        }
    }

    /// Lets those pushes set tags that the proof covers.
    ///
    /// # Errors
    /// [`crate::proof::Mismatch`] if the proof is of a different lock. No tag is set then.
    pub(crate) fn all_present(&self, proof: &AllPresent) -> Result<(), Error> {
        let event = match proof.is_compared() {
            true => Arrival::BundleVerified,
            false => Arrival::BundlePresent,
        };
        for (wanted, sender) in &self.pushes {
            if proof.holds_for(wanted)? {
                // A failed push has dropped its receiver.
                let _ = sender.send(event.clone());
            }
        }
        Ok(())
    }
}

/// A store that reports each blob that it receives.
#[derive(Debug)]
pub(crate) struct NotifyingStore {
    pub(crate) store: bundle::Store,
    pub(crate) notifier: Notifier,
}

impl Sink for NotifyingStore {
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn BlobSink>>, StoreError> {
        let Some(writer) = self.store.blob(digest, size)? else {
            // Another process may have written it just now.
            self.notifier.blob_ready(digest);
            return Ok(None);
        };
        Ok(Some(Box::new(NotifyingBlob {
            writer,
            digest: digest.clone(),
            notifier: self.notifier.clone(),
        })))
    }

    fn artifact(&mut self, artifact: &bundle::Artifact) -> Result<(), StoreError> {
        self.store.artifact(artifact)
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.store.finish()
    }
}

struct NotifyingBlob {
    writer: Box<dyn BlobSink>,
    digest: Digest,
    notifier: Notifier,
}

impl BlobSink for NotifyingBlob {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.writer.write(bytes)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.writer.commit()?;
        self.notifier.blob_ready(&self.digest);
        Ok(())
    }
}

/// A reader that fails once `cancelled` is set.
#[derive(Debug)]
pub(crate) struct CancellableReader<R> {
    pub(crate) input: R,
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl<R: Read> Read for CancellableReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("the rest of the bundle is not wanted"));
        }
        self.input.read(buffer)
    }
}
