//! Removes what no lock needs any more, while no other process writes.

use std::fs::File;

use oci_spec::image::Digest;

use super::incoming::sweep;
use super::{Listed, Store, StoreError, index};

/// A store to which nothing writes as long as this lives: other processes wait with their first
/// write, and this one was refused if another had written and was not done. So what is not needed
/// now cannot become needed meanwhile.
#[derive(Debug)]
pub struct Exclusive<'a> {
    pub(super) store: &'a Store,
    /// Held, not used.
    pub(super) _lock: File,
}

impl Exclusive<'_> {
    /// Removes a blob. It must not be named by `index.json` any more.
    ///
    /// # Errors
    /// When it cannot be removed. A missing one is not an error.
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        self.store.discard(digest)
    }

    /// Removes the artifacts that `keep` rejects from `index.json`.
    ///
    /// # Errors
    /// When `index.json` cannot be read or written.
    pub fn unlist(&self, keep: &dyn Fn(&Listed) -> bool) -> Result<(), StoreError> {
        index::retain(&self.store.directory, keep)
    }

    /// Removes what killed processes have left half-written.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn sweep(&self) -> Result<(), StoreError> {
        sweep(&self.store.incoming())?;
        let partials = self.store.partials();
        match partials.is_dir() {
            true => sweep(&partials),
            false => Ok(()),
        }
    }
}
