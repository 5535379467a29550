//! Compares the lock of a set with its manifests, because the lock may have been edited by hand.

use std::collections::{HashMap, HashSet};

use bundle::{Artifact, Blob, Content, Kind, LARGEST_MANIFEST, Lock, Manifest, Store};
use oci_spec::image::Digest;

/// Result of comparing a manifest in the store with the lock.
enum Comparison {
    /// The store lacks the manifest.
    Unknown,
    /// The lock differs from the manifest.
    Wrong,
    /// The lock agrees with the manifest, whose content this is.
    Agrees(Content),
}

/// Returns the first artifact that the lock describes differently than its manifests do, with the
/// digest of that manifest. Manifests that the store lacks are skipped.
pub(crate) fn contradiction<'a>(lock: &'a Lock, store: &Store) -> Option<(&'a Artifact, String)> {
    let mut of_sets = lock.artifacts.iter().filter(|one| one.source.is_some());
    of_sets.find_map(|artifact| {
        let (mut contents, mut is_whole) = (Vec::new(), true);
        for manifest in &artifact.manifests {
            match compare(artifact, manifest, store) {
                Comparison::Unknown => is_whole = false,
                Comparison::Wrong => return Some((artifact, manifest.digest.to_string())),
                Comparison::Agrees(content) => contents.push((manifest, content)),
            }
        }
        let is_wrong = is_whole && !is_described(artifact, &contents);
        is_wrong.then(|| (artifact, artifact.digest.to_string()))
    })
}

/// Returns whether the artifact has the kind and platforms of its manifests. Also returns false if
/// it has a manifest that no index lists: that manifest would be pushed, too.
fn is_described(artifact: &Artifact, contents: &[(&Manifest, Content)]) -> bool {
    let mut named: HashSet<(&Digest, Option<&str>)> = HashSet::new();
    let (mut kinds, mut is_artifact) = (Vec::new(), false);
    for (manifest, content) in contents {
        match content {
            Content::Index {
                children,
                is_artifact: is_of_artifact,
            } => {
                is_artifact |= *is_of_artifact && manifest.digest == artifact.digest;
                let children = children.iter();
                named.extend(children.map(|one| (&one.digest, one.platform.as_deref())));
            }
            Content::Manifest { kind, .. } => kinds.push(*kind),
        }
    }
    let are_named = contents.iter().all(|(one, content)| {
        one.digest == artifact.digest
            || match content {
                // The lock records no platforms of indexes.
                Content::Index { .. } => named.iter().any(|(digest, _)| **digest == one.digest),
                Content::Manifest { .. } => {
                    // For an image of an archive, the platform comes from its config if the index
                    // has none.
                    let of_config = !artifact.archive.is_empty();
                    named.contains(&(&one.digest, one.platform.as_deref()))
                        || of_config && named.contains(&(&one.digest, None))
                }
            }
    });
    let signs = artifact
        .source
        .as_ref()
        .is_some_and(|one| one.subject.is_some());
    let has = |kind: Kind| kinds.contains(&kind) && !signs;
    let kind = Kind::of(has(Kind::Image) && !is_artifact, has(Kind::Chart));
    are_named && kind == artifact.kind
}

fn compare(artifact: &Artifact, manifest: &Manifest, store: &Store) -> Comparison {
    let is_root = manifest.digest == artifact.digest;
    if is_root && (manifest.size, &manifest.media_type) != (artifact.size, &artifact.media_type) {
        return Comparison::Wrong;
    }
    let Ok(bytes) = store.read(&manifest.digest, LARGEST_MANIFEST) else {
        return Comparison::Unknown;
    };
    let media_type = manifest.media_type.to_string();
    let Ok(described) = bundle::describe(&bytes, Some(&media_type)) else {
        return Comparison::Wrong;
    };
    let is_same =
        bytes.len() as u64 == manifest.size && described.media_type == manifest.media_type;
    let is_listed = match &described.content {
        Content::Index { children, .. } => {
            let known: HashMap<_, _> = (artifact.manifests.iter())
                .map(|one| (&one.digest, (one.size, &one.media_type)))
                .collect();
            let are_listed = children
                .iter()
                .all(|child| known.get(&child.digest) == Some(&(child.size, &child.media_type)));
            manifest.blobs.is_empty() && are_listed
        }
        Content::Manifest {
            blobs, external, ..
        } => all_blobs(blobs, external) == all_blobs(&manifest.blobs, &manifest.external),
    };
    match is_same && is_listed {
        true => Comparison::Agrees(described.content),
        false => Comparison::Wrong,
    }
}

/// Returns digests and sizes of all blobs, sorted, including those that no bundle contains.
fn all_blobs<'a>(blobs: &'a [Blob], external: &'a [Blob]) -> Vec<(&'a str, u64)> {
    let all = blobs.iter().chain(external);
    let mut all: Vec<_> = all.map(|blob| (blob.digest.as_ref(), blob.size)).collect();
    all.sort_unstable();
    all.dedup();
    all
}
