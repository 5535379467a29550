//! The destination of a bundle's blobs. The reader reads and hashes; a sink writes. A store, an
//! inspection and observers in between look the same to the reader.

use oci_spec::image::Digest;

use crate::lock::Artifact;
use crate::store::StoreError;

/// Receives the content of a bundle from [`crate::read()`].
///
/// For each archive, the reader offers its blobs in their order. After all of them are committed,
/// it reports the artifact. It may offer blobs of the next archives before that.
///
/// A blob is not offered again while it is being written. A committed blob is correct even if its
/// archive turns out wrong, because its content was compared with its digest.
pub trait Sink {
    /// Offers a blob of `size` bytes. Returns its writer, or `None` if the sink has or does not
    /// need the blob. The reader hashes it in either case.
    ///
    /// # Errors
    /// [`StoreError`] if the sink cannot take blobs.
    fn blob(&mut self, digest: &Digest, size: u64)
    -> Result<Option<Box<dyn BlobSink>>, StoreError>;

    /// Reports that an archive is complete and, if there is a lock, equals the lock.
    ///
    /// # Errors
    /// [`StoreError`] if the sink cannot record it.
    fn artifact(&mut self, artifact: &Artifact) -> Result<(), StoreError>;

    /// Reports that the bundle is complete and, if there is a lock, equals the lock.
    ///
    /// # Errors
    /// [`StoreError`] if the sink cannot finish its work.
    fn finish(&mut self) -> Result<(), StoreError>;
}

/// Writes one blob, in a different thread than its [`Sink`]. If it is dropped before
/// [`BlobSink::commit`], nothing remains of the blob.
pub trait BlobSink: Send {
    /// Writes the next bytes.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Keeps the blob. The reader has compared size and digest before.
    ///
    /// # Errors
    /// [`StoreError`] if the blob cannot be kept.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A sink that keeps nothing, for inspecting a bundle without a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inspection;

impl Sink for Inspection {
    fn blob(&mut self, _: &Digest, _: u64) -> Result<Option<Box<dyn BlobSink>>, StoreError> {
        Ok(None)
    }

    fn artifact(&mut self, _: &Artifact) -> Result<(), StoreError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
