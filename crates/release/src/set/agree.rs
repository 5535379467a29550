//! Compares the lock of a set with the manifests that it names: a lock is a file, and files are edited.

use bundle::{Artifact, Blob, Content, LARGEST_MANIFEST, Lock, Manifest, Store};

/// Returns the first artifact whose manifests list something else than the lock, with the digest of that manifest. A manifest that the
/// store lacks is not compared.
pub(crate) fn contradiction<'a>(lock: &'a Lock, store: &Store) -> Option<(&'a Artifact, String)> {
    let of_sets = lock.artifacts.iter().filter(|one| one.source.is_some());
    of_sets.into_iter().find_map(|artifact| {
        let mut manifests = artifact.manifests.iter();
        let wrong = manifests.find(|manifest| !agrees(artifact, manifest, store))?;
        Some((artifact, wrong.digest.to_string()))
    })
}

fn agrees(artifact: &Artifact, manifest: &Manifest, store: &Store) -> bool {
    let is_root = manifest.digest == artifact.digest;
    if is_root && (manifest.size, &manifest.media_type) != (artifact.size, &artifact.media_type) {
        return false;
    }
    let Ok(bytes) = store.read(&manifest.digest, LARGEST_MANIFEST) else {
        return true;
    };
    let media_type = manifest.media_type.to_string();
    let Ok(described) = bundle::describe(&bytes, Some(&media_type)) else {
        return false;
    };
    let is_same =
        bytes.len() as u64 == manifest.size && described.media_type == manifest.media_type;
    is_same
        && match &described.content {
            Content::Index { children, .. } => {
                manifest.blobs.is_empty()
                    && children.iter().all(|child| {
                        let mut known = artifact.manifests.iter();
                        known.any(|one| {
                            (&one.digest, one.size, &one.media_type)
                                == (&child.digest, child.size, &child.media_type)
                        })
                    })
            }
            Content::Manifest {
                blobs, external, ..
            } => list(blobs, external) == list(&manifest.blobs, &manifest.external),
        }
}

/// Returns digests and sizes in one order, whether they are carried or not.
fn list<'a>(blobs: &'a [Blob], external: &'a [Blob]) -> Vec<(&'a str, u64)> {
    let all = blobs.iter().chain(external);
    let mut all: Vec<_> = all.map(|blob| (blob.digest.as_ref(), blob.size)).collect();
    all.sort_unstable();
    all.dedup();
    all
}
