//! Pushes that are killed, and what the next push sends. A release that shares most of its blobs
//! with the release before it is tested the same way.
//!
//! The tests count bytes of blobs that reached the registry and uploads that were completed,
//! whatever requests sent them.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use bundle::make::Recipe;
use registry::Artifact;
use support::bundles::{self, FILE};
use support::faulty::{FaultyRegistry, Kind, Quirks, quirks};
use support::{Arguments, Sandbox, TestRegistry};

use crate::AIRLOCK;
use crate::deploy::push::{Content, root};

mod graceful;

/// How many bytes may be sent again when a session is resumed.
const AGAIN: u64 = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_killed_repeatedly_sends_no_complete_blob_again() {
    const KILLS: usize = 10;
    /// The seed of the random numbers of bytes after which the push is killed.
    const SEED: u64 = 0x5eed;
    let recipe = bundles::of(
        (0..10)
            .map(|number| {
                let (name, own) = (format!("image-{number}"), format!("own-{number}"));
                let layers = [("base", 300_000), (own.as_str(), 3_700_000)];
                bundles::image(&name, "v1", &["linux/amd64"], &layers)
            })
            .collect(),
    );
    let content = Content::of(&recipe);
    // Slow enough that a push is running when it is killed, even on a fast machine.
    let quirks = quirks!(rate: Some(25_000_000));
    let registry = FaultyRegistry::start(quirks, &[], 0).await;
    let sandbox = sandbox_for(&registry, &recipe);

    let all = count_blobs(&content);
    let mut state = SEED;
    let mut hits = 0;
    for _ in 0..KILLS {
        let complete = registry.blobs();
        let opened = registry.transfers().len();
        let before = registry.received();
        let mut push = start(&sandbox, "push lab");
        let after = before + 1_000_000 + random(&mut state) % 8_000_000;
        let killed = kill_when(&mut push, || registry.received() >= after).await;
        registry.wait_for_disconnects().await;
        assert_nothing_sent_again(&registry, &content, &complete, opened);
        let there = registry.blobs();
        // The push had sent a part of its bytes, not all of them.
        hits += usize::from(killed && registry.received() > before && there.len() < all);
        if !killed {
            break;
        }
    }
    assert!(hits >= 5, "only {hits} kills interrupted a running push");

    let complete = registry.blobs();
    let opened = registry.transfers().len();
    sandbox.run("push lab").success();
    assert_nothing_sent_again(&registry, &content, &complete, opened);
    assert_complete(&registry, &content);
    sandbox.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_resumes_where_it_was_cut_if_the_registry_keeps_the_session() {
    resumes_after_a_kill(64_000_000, 60_000_000).await;
}

/// The size that the promise names. The test takes memory and time, and covers the same code as the
/// smaller one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "sends 500 MB"]
async fn a_blob_of_500_mb_resumes_where_it_was_cut_if_the_registry_keeps_the_session() {
    resumes_after_a_kill(500_000_000, 120_000_000).await;
}

async fn resumes_after_a_kill(size: usize, rate: u64) {
    let recipe = bundles::of(vec![bundles::image(
        "large",
        "v1",
        &["linux/amd64"],
        &[("large", size)],
    )]);
    let content = Content::of(&recipe);
    let artifact = &content.artifacts()[0];
    let total: u64 = artifact.manifests[0]
        .blobs
        .iter()
        .map(|blob| blob.size)
        .sum();
    let quirks = quirks!(keeps_cut_sessions: true, rate: Some(rate));
    let registry = FaultyRegistry::start(quirks, &[], 0).await;
    let sandbox = sandbox_for(&registry, &recipe);
    let mut push = start(&sandbox, "push lab");
    assert!(kill_when(&mut push, || registry.received() >= total / 2).await);
    registry.wait_for_disconnects().await;
    let kept = registry.most_held();
    assert!(
        kept >= total / 3 && kept < total,
        "{kept} of {total} bytes were kept"
    );

    let before = registry.received();
    sandbox.run("push lab").success();
    let sent = registry.received() - before;
    let rest = total - kept;
    assert!(
        sent <= rest + AGAIN,
        "{sent} bytes were sent where {rest} were missing"
    );
    assert!(registry.count_of(Kind::AskUpload) > 0);
    assert_complete(&registry, &content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_shares_most_of_its_blobs_sends_and_stores_only_the_others() {
    const LAYER: usize = 200_000;
    // Ten images of five layers each. One layer of each image differs between the releases.
    let release = |version: &str| {
        bundles::of(
            (0..10)
                .map(|number| {
                    let names: Vec<String> = (0..5)
                        .map(|layer| match layer {
                            4 => format!("{number}-{layer}-{version}"),
                            _ => format!("{number}-{layer}"),
                        })
                        .collect();
                    let layers: Vec<(&str, usize)> =
                        names.iter().map(|name| (name.as_str(), LAYER)).collect();
                    bundles::image(
                        &format!("image-{number}"),
                        version,
                        &["linux/amd64"],
                        &layers,
                    )
                })
                .collect(),
        )
    };
    let (first, second) = (release("v1"), release("v2"));
    let (old, new) = (Content::of(&first), Content::of(&second));
    let registry = FaultyRegistry::start(Quirks::default(), &[], 0).await;
    let sandbox = sandbox_for(&registry, &first);
    sandbox.run("push lab").success();
    assert_complete(&registry, &old);
    let (sent_first, kept_first) = (registry.received(), store_size(&sandbox));
    let complete = registry.blobs();
    let opened = registry.transfers().len();

    let file = sandbox.path("bundles/mke_bundle_v4.1.6_amd64.tar.gz");
    bundles::make(&second, &file);
    sandbox.lock_as("v4.1.6", &file);
    let environment = "environments/lab/environment.yaml";
    sandbox.edit(environment, "v4.1.5", "v4.1.6");
    sandbox.run("push lab").success();
    assert_complete(&registry, &new);
    assert_complete(&registry, &old);

    let only_new: u64 = difference(&new, &old, |artifact| {
        let blobs = artifact
            .manifests
            .iter()
            .flat_map(|manifest| &manifest.blobs);
        blobs
            .map(|blob| (blob.digest.to_string(), blob.size))
            .collect()
    });
    assert_eq!(registry.received() - sent_first, only_new);
    assert_nothing_sent_again(&registry, &new, &complete, opened);
    // The changed layers are a fifth. The images' configurations add less than a twentieth.
    assert!(
        only_new * 5 < sent_first + sent_first / 20,
        "{only_new} of {sent_first}"
    );

    let with_manifests: u64 = difference(&new, &old, |artifact| {
        let manifests = artifact.manifests.iter();
        manifests
            .flat_map(|manifest| {
                let own = (manifest.digest.to_string(), manifest.size);
                let blobs = manifest.blobs.iter();
                blobs
                    .map(|blob| (blob.digest.to_string(), blob.size))
                    .chain([own])
            })
            .collect()
    });
    assert_eq!(store_size(&sandbox) - kept_first, with_manifests);
}

/// Makes a workspace with the lock of this bundle and an environment with this registry.
fn sandbox_for(registry: &FaultyRegistry, recipe: &Recipe) -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    TestRegistry::describe_at(&registry.address, None, &sandbox, "");
    bundles::make_locked(&sandbox, recipe);
    assert!(sandbox.path(&format!("bundles/{FILE}")).is_file());
    sandbox
}

fn start(sandbox: &Sandbox, arguments: impl Arguments) -> Child {
    sandbox
        .approved(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a process as soon as `is_due` holds. Returns `false` if the process ended before that.
async fn kill_when(process: &mut Child, is_due: impl Fn() -> bool) -> bool {
    loop {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        if is_due() {
            process.kill().unwrap();
            return process.wait().unwrap().code().is_none();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Checks that no upload after the first `opened` uploads sent a blob that its repository had
/// already, according to `complete`. Checks that no blob was uploaded to a repository twice.
#[track_caller]
fn assert_nothing_sent_again(
    registry: &FaultyRegistry,
    content: &Content,
    complete: &BTreeSet<(String, String)>,
    opened: usize,
) {
    let twice: Vec<_> = registry
        .completions()
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .collect();
    assert!(twice.is_empty(), "uploaded twice: {twice:?}");
    let transfers = registry.transfers();
    for artifact in content.artifacts() {
        for blob in artifact
            .manifests
            .iter()
            .flat_map(|manifest| &manifest.blobs)
        {
            let key = (artifact.repository.clone(), blob.digest.to_string());
            if !complete.contains(&key) {
                continue;
            }
            let bytes = content.bytes(&blob.digest);
            let again = transfers[opened..]
                .iter()
                .find(|transfer| transfer.repository == key.0 && transfer.is_of(&bytes));
            assert!(
                again.is_none(),
                "{key:?} was complete, and was sent again: {again:?}"
            );
        }
    }
}

/// Checks every tag, manifest and blob byte for byte.
#[track_caller]
fn assert_complete(registry: &FaultyRegistry, content: &Content) {
    for artifact in content.artifacts() {
        let (name, repository) = (artifact.name(), &artifact.repository);
        let found = registry.tag(repository, &artifact.tag);
        assert_eq!(found, Some(root(&artifact).digest.to_string()), "{name}");
        for manifest in &artifact.manifests {
            let found = registry.manifest(repository, manifest.digest.as_ref());
            let (media_type, bytes) = found.unwrap_or_else(|| panic!("{name}"));
            assert_eq!(media_type, manifest.media_type.to_string(), "{name}");
            assert!(bytes == content.bytes(&manifest.digest), "{name}");
            for blob in &manifest.blobs {
                let found = registry.blob(repository, blob.digest.as_ref());
                let bytes = found.unwrap_or_else(|| panic!("{name} lacks {}", blob.digest));
                assert!(
                    bytes == content.bytes(&blob.digest),
                    "{name}: {}",
                    blob.digest
                );
            }
        }
    }
}

/// Returns the number of blobs of a release. A blob counts once for each of its repositories.
fn count_blobs(content: &Content) -> usize {
    let mut all = BTreeSet::new();
    for artifact in content.artifacts() {
        for manifest in &artifact.manifests {
            let blobs = manifest.blobs.iter().map(|blob| blob.digest.to_string());
            all.extend(blobs.map(|digest| (artifact.repository.clone(), digest)));
        }
    }
    all.len()
}

/// Returns the bytes that `new` has and `old` lacks.
fn difference(
    new: &Content,
    old: &Content,
    contents: impl Fn(&Artifact) -> BTreeSet<(String, u64)>,
) -> u64 {
    let all = |content: &Content| -> BTreeSet<(String, u64)> {
        content.artifacts().iter().flat_map(&contents).collect()
    };
    all(new).difference(&all(old)).map(|(_, size)| size).sum()
}

/// Returns the size of the blobs in a workspace's store, in bytes.
fn store_size(sandbox: &Sandbox) -> u64 {
    let folder = sandbox.path("bundles/store/blobs/sha256");
    let entries = folder.read_dir_utf8().unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
