//! Finds the content of sets that the store lacks.

use std::collections::BTreeMap;

use bundle::{Artifact, Lock, Store};
use oci_spec::image::Digest;

/// A digest that the store lacks.
pub(super) struct Need<'a> {
    pub(super) digest: &'a Digest,
    pub(super) size: u64,
    pub(super) artifact: &'a Artifact,
    pub(super) is_manifest: bool,
}

impl Need<'_> {
    /// Returns whether it is created from its artifact's layer, which must be in the store first.
    pub(super) fn is_derived(&self) -> bool {
        let layer = self.artifact.download();
        layer.is_some_and(|(_, layer)| layer.digest != *self.digest)
    }
}

/// Returns whether the store lacks content of sets.
pub(crate) fn lacks(lock: &Lock, store: &Store) -> bool {
    let mut bundles = lock.set_bundles();
    is_needed(lock, store) || bundles.any(|part| !store.missing(&part).is_empty())
}

/// Returns whether the store lacks content from registries and web servers.
pub(crate) fn is_needed(lock: &Lock, store: &Store) -> bool {
    !needs(lock, store).is_empty()
}

/// Returns each missing digest that no bundle has, once. The largest come first, because they take
/// longest.
pub(super) fn needs<'a>(lock: &'a Lock, store: &Store) -> Vec<Need<'a>> {
    let mut needs: BTreeMap<&str, Need<'a>> = BTreeMap::new();
    let is_single = |one: &&Artifact| one.source.is_some() && one.archive.is_empty();
    for artifact in lock.artifacts.iter().filter(is_single) {
        for manifest in &artifact.manifests {
            let blobs = manifest
                .blobs
                .iter()
                .map(|blob| (&blob.digest, blob.size, false));
            for (digest, size, is_manifest) in
                blobs.chain([(&manifest.digest, manifest.size, true)])
            {
                if !needs.contains_key(digest.as_ref()) && !store.has(digest, size) {
                    let need = Need {
                        digest,
                        size,
                        artifact,
                        is_manifest,
                    };
                    needs.insert(digest.as_ref(), need);
                }
            }
        }
    }
    let mut needs: Vec<Need<'a>> = needs.into_values().collect();
    needs.sort_by_key(|need| std::cmp::Reverse(need.size));
    needs
}
