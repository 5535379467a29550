//! Compares the lock of a set with the manifests that it names: a lock is a file, and files are edited.

use std::collections::{HashMap, HashSet};

use bundle::{Artifact, Blob, Content, LARGEST_MANIFEST, Lock, Manifest, Store};
use oci_spec::image::Digest;

/// What a manifest of the store says of its artifact in the lock.
enum Judged {
    /// The store lacks it.
    Unknown,
    /// The lock lists something else.
    Wrong,
    /// The lock lists the same, and these manifests are in it.
    Agrees(Vec<Digest>),
}

/// Returns the first artifact whose manifests list something else than the lock, with the digest of that manifest. A manifest that the
/// store lacks is not compared.
pub(crate) fn contradiction<'a>(lock: &'a Lock, store: &Store) -> Option<(&'a Artifact, String)> {
    let mut of_sets = lock.artifacts.iter().filter(|one| one.source.is_some());
    of_sets.find_map(|artifact| {
        let (mut named, mut is_whole) = (HashSet::from([artifact.digest.clone()]), true);
        for manifest in &artifact.manifests {
            match judge(artifact, manifest, store) {
                Judged::Unknown => is_whole = false,
                Judged::Wrong => return Some((artifact, manifest.digest.to_string())),
                Judged::Agrees(children) => named.extend(children),
            }
        }
        // One that no index names would be pushed with the others.
        let mut all = artifact.manifests.iter();
        let has_more = is_whole && all.any(|one| !named.contains(&one.digest));
        has_more.then(|| (artifact, artifact.digest.to_string()))
    })
}

fn judge(artifact: &Artifact, manifest: &Manifest, store: &Store) -> Judged {
    let is_root = manifest.digest == artifact.digest;
    if is_root && (manifest.size, &manifest.media_type) != (artifact.size, &artifact.media_type) {
        return Judged::Wrong;
    }
    let Ok(bytes) = store.read(&manifest.digest, LARGEST_MANIFEST) else {
        return Judged::Unknown;
    };
    let media_type = manifest.media_type.to_string();
    let Ok(described) = bundle::describe(&bytes, Some(&media_type)) else {
        return Judged::Wrong;
    };
    let is_same =
        bytes.len() as u64 == manifest.size && described.media_type == manifest.media_type;
    let (is_listed, named) = match described.content {
        Content::Index { children, .. } => {
            let known: HashMap<_, _> = (artifact.manifests.iter())
                .map(|one| (&one.digest, (one.size, &one.media_type)))
                .collect();
            let are_known = children
                .iter()
                .all(|child| known.get(&child.digest) == Some(&(child.size, &child.media_type)));
            let named = children.into_iter().map(|child| child.digest).collect();
            (manifest.blobs.is_empty() && are_known, named)
        }
        Content::Manifest {
            blobs, external, ..
        } => {
            let is_same = list(&blobs, &external) == list(&manifest.blobs, &manifest.external);
            (is_same, Vec::new())
        }
    };
    match is_same && is_listed {
        true => Judged::Agrees(named),
        false => Judged::Wrong,
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
