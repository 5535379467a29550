//! Where the blobs of a bundle go while it is read. Reading and hashing are the reader's work;
//! keeping is a sink's, so that a store, a mere look and anything that listens in between are the
//! same to the reader.

use oci_spec::image::Digest;

use crate::lock::Artifact;
use crate::store::StoreError;

/// Takes what [`crate::read()`] finds.
///
/// The order for one archive is: its blobs, in the order in which they are in the archive, and,
/// once all of them are committed, the artifact. The blobs of the next archives may be offered
/// before that. A blob is not offered again while it is on its way, and one that was committed is
/// right whatever becomes of the archive, since its content has been compared with its digest.
pub trait Sink {
    /// Offers a blob of `size` bytes. Returns where to write it, or none if the sink has it or does
    /// not need it; the reader hashes it in either case.
    ///
    /// # Errors
    /// When the sink cannot take blobs.
    fn blob(&mut self, digest: &Digest, size: u64)
    -> Result<Option<Box<dyn BlobSink>>, StoreError>;

    /// Reports that an archive was read to its end, is whole and, if there is a lock, as the lock
    /// says.
    ///
    /// # Errors
    /// When the sink cannot note it.
    fn artifact(&mut self, artifact: &Artifact) -> Result<(), StoreError>;

    /// Reports that the bundle was read to its end and is whole and, if there is a lock, as the
    /// lock says.
    ///
    /// # Errors
    /// When the sink cannot bring its work to an end.
    fn finish(&mut self) -> Result<(), StoreError>;
}

/// Takes the bytes of one blob, in another thread than the [`Sink`]'s. Dropped without
/// [`BlobSink::commit`], it leaves nothing behind.
pub trait BlobSink: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Keeps the blob. The reader calls it only after size and digest have been found right.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A sink that keeps nothing: for looking into a bundle without a store.
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
