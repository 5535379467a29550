//! Writes upstream content to the store: small blobs from memory, and large ones in resumable
//! pieces.

use std::io;

use bundle::{BlobSink as _, PartialBlob, Store};
use oci_spec::image::Digest;
use registry::BlobTarget;

use crate::Context;
use crate::event::{Event, Reporter, Step};

/// Writes bytes with this digest to the store, unless it has them.
///
/// # Errors
/// The store cannot be written.
pub(super) fn keep(
    context: &Context<'_>,
    store: &Store,
    digest: &Digest,
    bytes: &[u8],
) -> Result<(), crate::Error> {
    let size = bytes.len() as u64;
    if store.has(digest, size) {
        return Ok(());
    }
    let stored = |source| crate::Error::store(context.workspace, source);
    let mut writer = Box::new(store.writer(digest, size).map_err(stored)?);
    writer.write(bytes).map_err(stored)?;
    writer.commit().map_err(stored)
}

/// A small blob, which is received in memory.
#[derive(Debug, Default)]
pub(super) struct Memory(pub(super) Vec<u8>);

impl BlobTarget for Memory {
    fn written(&self) -> u64 {
        self.0.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }

    fn digest(&self) -> Digest {
        digest_of(&self.0)
    }
}

/// Returns the SHA-256 of bytes as a digest.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    match bundle::sha256_digest(&format!("sha256:{}", crate::sha256(bytes))) {
        Ok(digest) => digest,
        Err(_) => unreachable!("a SHA-256 is a digest"),
    }
}

/// A large blob, which is received in the store. Progress is reported once for each byte, even
/// after a restart.
pub(super) struct Pieces<'a> {
    pub(super) partial: PartialBlob,
    reporter: &'a dyn Reporter,
    reported: u64,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(partial: PartialBlob, reporter: &'a dyn Reporter) -> Self {
        let reported = partial.written();
        reporter.report(Event::Skipped {
            step: Step::Fetch,
            bytes: reported,
        });
        Self {
            partial,
            reporter,
            reported,
        }
    }
}

impl BlobTarget for Pieces<'_> {
    fn written(&self) -> u64 {
        self.partial.written()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.partial.write(bytes).map_err(io::Error::other)?;
        let written = self.partial.written();
        if written > self.reported {
            advanced(self.reporter, written - self.reported);
            self.reported = written;
        }
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.partial.restart().map_err(io::Error::other)
    }

    fn digest(&self) -> Digest {
        self.partial.found()
    }
}

/// Reports that this number of bytes was received.
pub(super) fn advanced(reporter: &dyn Reporter, bytes: u64) {
    reporter.report(Event::Advanced {
        step: Step::Fetch,
        bytes,
    });
}
