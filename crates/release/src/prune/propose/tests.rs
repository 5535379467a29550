//! Tests with random histories: nothing that is needed is ever proposed.

use bundle::{Blob, Kind, LockedBundle, Manifest};
use proptest::prelude::*;

use super::*;

/// One of a few digests, so locks have many in common.
fn digest(number: u8) -> oci_spec::image::Digest {
    bundle::sha256_digest(&format!("sha256:{}", format!("{number:02x}").repeat(32))).unwrap()
}

fn registry() -> environment::Registry {
    environment::Registry {
        address: "registry.example.com".to_owned(),
        project: "mke".to_owned(),
        ca: None,
        push_credentials: None,
        pull_credentials: None,
    }
}

/// An image: its repository, its tag, its root, and the children of the root.
type Image = (u8, u8, u8, Vec<u8>);

fn artifact((repository, tag, root, children): &Image) -> Artifact {
    let manifest = |number: u8| Manifest {
        digest: digest(number),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        size: 10,
        platform: None,
        blobs: vec![Blob {
            digest: digest(number.wrapping_add(100)),
            size: 100,
        }],
        external: Vec::new(),
    };
    let mut manifests: Vec<Manifest> = children
        .iter()
        .filter(|child| *child != root)
        .map(|child| manifest(*child))
        .collect();
    manifests.dedup_by_key(|manifest| manifest.digest.to_string());
    manifests.push(manifest(*root));
    Artifact {
        repository: format!("r{repository}"),
        tag: format!("t{tag}"),
        kind: Kind::Image,
        archive: "a.tar".to_owned(),
        source: None,
        digest: digest(*root),
        media_type: "application/vnd.oci.image.index.v1+json".into(),
        size: 10,
        manifests,
    }
}

fn lock(number: usize, images: &[Image]) -> Lock {
    Lock {
        set: None,
        version: 1,
        release: format!("v4.1.{number}"),
        from: None,
        arch: "amd64".to_owned(),
        bundle: LockedBundle {
            file: "b.tar.gz".to_owned(),
            url: String::new(),
            size: 1,
            sha256: "0".repeat(64),
        },
        forced_release: Vec::new(),
        release_matrix: None,
        mkectl: Vec::new(),
        init: None,
        bundles: Vec::new(),
        skipped: Vec::new(),
        artifacts: images.iter().map(artifact).collect(),
    }
}

fn images() -> impl Strategy<Value = Vec<Image>> {
    // Roots and children come from the same digests, so a child of one image is the root of
    // another.
    let image = (
        0..3u8,
        0..4u8,
        0..12u8,
        prop::collection::vec(0..12u8, 0..3),
    );
    prop::collection::vec(image, 0..6)
}

/// Content of the registry that no lock lists: tags that others pushed, and tags that moved.
fn others() -> impl Strategy<Value = Vec<Image>> {
    let image = (
        0..3u8,
        0..8u8,
        0..14u8,
        prop::collection::vec(0..14u8, 0..3),
    );
    prop::collection::vec(image, 0..6)
}

fn holdings(images: &[Image]) -> BTreeMap<String, Result<Holding, String>> {
    let mut holdings: BTreeMap<String, Result<Holding, String>> = BTreeMap::new();
    for image in images {
        let artifact = artifact(image);
        let children = artifact.manifests.iter().map(|one| one.digest.to_string());
        let digest = artifact.digest.to_string();
        let held = TagTarget {
            children: children.filter(|child| *child != digest).collect(),
            digest,
        };
        let repository = registry().repository(&artifact.repository);
        let holding = holdings
            .entry(repository)
            .or_insert_with(|| Ok(Holding::new()));
        if let Ok(holding) = holding {
            holding.insert(artifact.tag, held);
        }
    }
    holdings
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_needed_or_of_others_is_ever_proposed(
        history in prop::collection::vec((images(), any::<bool>()), 1..6),
        kept_count in 1..4usize,
        others in others(),
    ) {
        let locks: Vec<(Lock, bool)> = history
            .iter()
            .enumerate()
            .map(|(number, (images, put))| (lock(number, images), *put))
            .collect();
        let (kept_locks, past) = locks.split_at(kept_count.min(locks.len()));
        let mut kept = Retained::default();
        for (lock, _) in kept_locks {
            kept.keep(&registry(), lock);
        }
        let past: Vec<PastLock> = past
            .iter()
            .map(|(lock, was_pushed)| PastLock { lock: lock.clone(), was_pushed: *was_pushed })
            .collect();
        // All locks were pushed, the newest last. Then others pushed.
        let mut all: Vec<Image> = history.iter().rev().flat_map(|(images, _)| images.clone()).collect();
        all.extend(others.iter().cloned());
        let holdings = holdings(&all);
        let proposal = propose(&kept, &candidates(&kept, &past, &registry()), &holdings);

        let needed: BTreeSet<String> = kept_locks
            .iter()
            .flat_map(|(lock, _)| &lock.artifacts)
            .flat_map(|artifact| &artifact.manifests)
            .map(|manifest| manifest.digest.to_string())
            .collect();
        for removal in &proposal.remove {
            let gone = || removal.children.iter().chain([&removal.digest]);
            // No kept lock names a removed digest, neither as root nor as child.
            prop_assert!(gone().all(|digest| !needed.contains(digest)), "{removal:?}");
            // A removed tag is in no kept lock, and in a past lock that was pushed.
            let holding = holdings[&removal.repository].as_ref().unwrap();
            let named = |tag: &str| past.iter().filter(|past| past.was_pushed).any(|past| {
                past.lock.artifacts.iter().any(|artifact| {
                    registry().repository(&artifact.repository) == removal.repository
                        && artifact.tag == tag
                        && artifact.digest.as_ref() == removal.digest
                })
            });
            for tag in &removal.tags {
                prop_assert!(!kept.tags.contains(&(removal.repository.clone(), tag.clone())));
                prop_assert!(named(tag), "{tag} of {removal:?}");
                prop_assert_eq!(&holding[tag].digest, &removal.digest);
            }
            // No remaining tag loses its manifest or a child.
            let listed: BTreeSet<&String> = proposal
                .remove
                .iter()
                .filter(|other| other.repository == removal.repository)
                .flat_map(|other| &other.tags)
                .collect();
            for (tag, held) in holding {
                if !listed.contains(tag) {
                    let broken = gone().find(|digest| {
                        **digest == held.digest || held.children.contains(*digest)
                    });
                    prop_assert_eq!(broken, None, "{} would lose it", tag);
                }
            }
        }
    }
}

/// The property above also holds for a function that proposes nothing.
#[test]
fn what_only_a_past_lock_names_is_proposed_whole() {
    let old = lock(
        1,
        &[(0, 0, 1, vec![2, 3]), (1, 0, 4, vec![]), (2, 0, 5, vec![])],
    );
    let new = lock(
        2,
        &[(0, 1, 6, vec![3]), (1, 0, 7, vec![]), (2, 1, 5, vec![])],
    );
    let mut kept = Retained::default();
    kept.keep(&registry(), &new);
    let past = [PastLock {
        lock: old,
        was_pushed: true,
    }];
    let candidates = candidates(&kept, &past, &registry());
    let holdings = holdings(&[
        (0, 0, 1, vec![2, 3]),
        (0, 1, 6, vec![3]),
        (1, 0, 7, vec![]),
        (2, 0, 5, vec![]),
        (2, 1, 5, vec![]),
    ]);
    let proposal = propose(&kept, &candidates, &holdings);
    let [removal] = proposal.remove.as_slice() else {
        panic!("{proposal:#?}");
    };
    assert_eq!(removal.repository, "mke/r0");
    assert_eq!(removal.digest, digest(1).to_string());
    assert_eq!(removal.tags, BTreeSet::from(["t0".to_owned()]));
    // The new release has the other child, too.
    assert_eq!(removal.children, BTreeSet::from([digest(2).to_string()]));
    // The new release has r1's tag. Both tags of r2 have the same manifest.
    let stays: Vec<_> = proposal
        .stay
        .iter()
        .map(|stay| (&*stay.repository, &*stay.tag))
        .collect();
    assert_eq!(stays, [("mke/r2", "t0")]);
}
