//! Removes blobs and artifacts that no lock needs, while no process writes.

use std::fs::File;

use oci_spec::image::Digest;

use super::incoming::sweep;
use super::{Listed, Store, StoreError, index};

/// A store without writers. Other processes wait with their first write until this is dropped. So
/// no blob becomes needed while blobs are removed.
#[derive(Debug)]
pub struct Exclusive<'a> {
    pub(super) store: &'a Store,
    /// Held until it is dropped.
    pub(super) _lock: File,
}

impl Exclusive<'_> {
    /// Removes a blob. `index.json` must not name it any more.
    ///
    /// # Errors
    /// [`StoreError`] if the blob cannot be removed. A missing blob is not an error.
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        self.store.discard(digest)
    }

    /// Removes the artifacts that `keep` rejects from `index.json`.
    ///
    /// # Errors
    /// [`StoreError`] if `index.json` cannot be read or written.
    pub fn unlist(&self, keep: &dyn Fn(&Listed) -> bool) -> Result<(), StoreError> {
        index::retain(&self.store.directory, keep)
    }

    /// Removes the unfinished files of killed processes.
    ///
    /// # Errors
    /// [`StoreError`] if a file cannot be removed.
    pub fn sweep(&self) -> Result<(), StoreError> {
        sweep(&self.store.incoming())?;
        let partials = self.store.partials();
        match partials.is_dir() {
            true => sweep(&partials),
            false => Ok(()),
        }
    }
}
