//! Deploys without the bundle, from a store that has only the blobs that the registry lacks. A
//! medium of a courier fills a store that way.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use bundle::{Artifact, Lock, Store};
use oci_spec::image::Digest;
use support::bundles::{self, FILE};
use support::faulty::{Fault, FaultyRegistry, Kind, Mounts, Quirks, always, quirks};
use support::wire::Wire;
use support::{Lab, Run, Sandbox, Server, TestRegistry, server};

use crate::{AIRLOCK, FAKE_MKECTL};

/// A store as a source of blobs.
struct Source(Store);

impl registry::BlobSource for Source {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        self.0.open_blob(digest).map_err(io::Error::other)
    }
}

fn store(sandbox: &Sandbox) -> Store {
    Store::open(&sandbox.path("bundles/store")).unwrap()
}

fn client(address: &str) -> registry::Registry {
    registry::install_crypto_provider();
    let endpoint = registry::Endpoint::new(address, None).unwrap();
    registry::Registry::new(endpoint, registry::Credentials::Anonymous).unwrap()
}

/// Pushes an artifact under the tag `earlier`: the registry then has its manifests and blobs, and
/// lacks its own tag.
async fn push_earlier(sandbox: &Sandbox, address: &str, project: &str, artifact: &Artifact) {
    let manifests = artifact
        .manifests
        .iter()
        .map(|manifest| registry::Manifest {
            digest: manifest.digest.clone(),
            media_type: manifest.media_type.clone(),
            size: manifest.size,
            blobs: (manifest.blobs.iter())
                .map(|blob| registry::Blob {
                    digest: blob.digest.clone(),
                    size: blob.size,
                })
                .collect(),
        });
    let pushed = registry::Artifact {
        repository: format!("{project}/{}", artifact.repository),
        tag: "earlier".to_owned(),
        manifests: manifests.collect(),
    };
    let source = Source(store(sandbox));
    client(address).push(&pushed, &source, &()).await.unwrap();
}

fn artifact<'a>(lock: &'a Lock, repository: &str) -> &'a Artifact {
    let mut artifacts = lock.artifacts.iter();
    artifacts.find(|one| one.repository == repository).unwrap()
}

fn digests<'a>(artifacts: impl IntoIterator<Item = &'a Artifact>) -> BTreeSet<String> {
    let blobs = artifacts.into_iter().flat_map(Artifact::blobs);
    blobs.map(|(digest, _)| digest.to_string()).collect()
}

/// Removes the bundle from the workspace and these blobs from the store, as if the medium did not
/// have them.
fn remove_from_store(sandbox: &Sandbox, blobs: &BTreeSet<String>) {
    for digest in blobs {
        let digest = bundle::sha256_digest(digest).unwrap();
        store(sandbox).discard(&digest).unwrap();
    }
    sandbox.remove(&format!("bundles/{FILE}"));
}

/// Makes an environment whose registry has the content of every artifact except `calico/node`, and
/// no tag of the release. The store has the blobs that the registry lacks.
async fn tiny(address: &str) -> (Sandbox, Lock) {
    let sandbox = Sandbox::new(AIRLOCK);
    TestRegistry::describe_at(address, None, &sandbox, "");
    let lock = lock_tiny(&sandbox);
    let others = |one: &&Artifact| one.repository != "calico/node";
    for artifact in lock.artifacts.iter().filter(others) {
        push_earlier(&sandbox, address, "mke/four", artifact).await;
    }
    remove_from_store(&sandbox, &digests(lock.artifacts.iter().filter(others)));
    (sandbox, lock)
}

/// Locks the tiny bundle. The store has all of its blobs.
fn lock_tiny(sandbox: &Sandbox) -> Lock {
    let bundle = sandbox.path(&format!("bundles/{FILE}"));
    bundles::make(&bundles::tiny(), &bundle);
    sandbox
        .run(&["lock", "v4.1.5", "--bundle", bundle.as_str()])
        .success();
    bundles::lock_of(sandbox)
}

/// Returns a layer of `calico/node` that no other artifact has.
fn own_layer(lock: &Lock) -> Digest {
    let others = digests(
        lock.artifacts
            .iter()
            .filter(|one| one.repository != "calico/node"),
    );
    let node = artifact(lock, "calico/node");
    let layers = node
        .manifests
        .iter()
        .flat_map(|one| one.blobs.iter().skip(1));
    let mut own = layers.filter(|layer| !others.contains(layer.digest.as_ref()));
    own.next().unwrap().digest.clone()
}

fn assert_names(run: &Run, digest: &Digest, artifact: &str) {
    for text in [digest.as_ref(), artifact, "--have FILE --out DIR"] {
        assert!(run.stderr.contains(text), "{text}: {}", run.whole());
    }
}

fn manifests_put(requests: &[String]) -> usize {
    let puts = requests.iter().filter(|one| one.starts_with("PUT "));
    puts.filter(|one| one.contains("/manifests/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_sends_from_the_store_only_the_blobs_that_the_registry_lacks() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let lock = bundles::lock_of(&lab.sandbox);
    let (last, others) = lock.artifacts.split_last().unwrap();
    for artifact in others {
        push_earlier(&lab.sandbox, &lab.registry.address, "mke", artifact).await;
    }
    let there = digests(others);
    remove_from_store(&lab.sandbox, &there);
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    let list = lab.run("list").success();
    list.prints("partly in the store");
    let check = lab.run("fetch v4.1.5 --check").success();
    check.prints("the store has a part of v4.1.5");
    // Without `--offline` too, nothing is downloaded if nothing is missing.
    let words = "not needed: the registry has what the store lacks";
    for offline in [&["--offline"][..], &[]] {
        let plan = lab.run(&[&["plan", "lab"], offline].concat());
        plan.prints(words);
        plan.does_not_mention("deploy would fail");
    }
    let preflight = lab.run("preflight lab --offline");
    preflight.prints(words);
    wire.take();
    lab.run("deploy lab --offline").success();
    let requests = wire.take();
    let sent = requests.iter().filter(|one| one.starts_with("PUT "));
    let sent = sent.filter(|one| one.contains("/blobs/uploads/") && !one.contains("/airlock/"));
    let sent = sent.count();
    let own: BTreeSet<String> = digests([last]).difference(&there).cloned().collect();
    let manifests = last.manifests.iter().map(|one| one.digest.to_string());
    assert_eq!(
        sent,
        own.len() - manifests.filter(|one| own.contains(one)).count()
    );
    // Small blobs are read after the push, to confirm it. Before that, no blob is read.
    let puts = |one: &&String| !(one.starts_with("PUT ") && one.contains("/manifests/"));
    let before = requests.iter().take_while(puts);
    let mut read = before.filter(|one| one.starts_with("GET "));
    assert!(read.all(|one| !one.contains("/blobs/")), "{requests:#?}");
    lab.run("verify lab --full").success();
    let status = lab.run("status lab --offline").success();
    status.does_not_mention("bundles/");
    assert_eq!(lab.applies().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_neither_store_nor_registry_has_are_named_and_no_tag_is_set() {
    let registry = TestRegistry::embedded().await;
    let wire = Wire::before(&registry.address).await;
    let (sandbox, lock) = tiny(&wire.address).await;
    let lost = own_layer(&lock);
    store(&sandbox).discard(&lost).unwrap();
    // The exit code is that of the missing mkectl.
    let plan = sandbox.run("plan lab --offline").exits_with(6);
    plan.mentions(lost.as_ref());
    let preflight = sandbox.run("preflight lab --offline");
    preflight.prints(lost.as_ref());
    wire.take();
    let run = sandbox.run("push lab --offline").exits_with(1);
    assert_names(&run, &lost, "calico/node:v3.30.2");
    insta::assert_snapshot!(run.whole().replace(&wire.address, "127.0.0.1:[WIRE]"), @"
    exit code: 1
    --- stdout
    --- stderr
    error: 1 blob is neither in bundles/store nor in 127.0.0.1:[PORT]/mke/four: sha256:d47af7b4aad836edbbf6acb163ff387df715923fb7471ee5d13c636fb9db225f of calico/node:v3.30.2
    hint: write a snapshot of the registry, and carry it outside: `cargo xtask snapshot lab --out FILE`
    hint: outside, `pack lab --have FILE --out DIR` writes what is missing; here, `unpack DIR` imports it
    ");
    let requests = wire.take();
    assert_eq!(manifests_put(&requests), 0, "{requests:#?}");
    // The release matrix is in no registry.
    let (sandbox, lock) = tiny(&registry.address).await;
    let matrix = lock.release_matrix.as_ref().unwrap();
    let digest = bundle::sha256_digest(&format!("sha256:{}", matrix.sha256)).unwrap();
    store(&sandbox).discard(&digest).unwrap();
    let run = sandbox.run("push lab --offline").exits_with(1);
    assert_names(&run, &digest, &matrix.path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_blob_of_the_store_is_read_from_the_registry_or_named() {
    let registry = TestRegistry::embedded().await;
    let wire = Wire::before(&registry.address).await;
    let (sandbox, lock) = tiny(&wire.address).await;
    // Both have these blobs: the registry keeps its own.
    let pause = artifact(&lock, "pause");
    for (digest, size) in pause.blobs() {
        let size = usize::try_from(size).unwrap();
        std::fs::write(store(&sandbox).path(digest), vec![b'x'; size]).unwrap();
    }
    // Only the store has this layer.
    let own = own_layer(&lock);
    let path = store(&sandbox).path(&own);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, vec![b'x'; whole.len()]).unwrap();
    wire.take();
    let run = sandbox.run("push lab --offline").exits_with(1);
    assert_names(&run, &own, "calico/node:v3.30.2");
    let tags = wire.take();
    let is_tag = |one: &&String| {
        one.starts_with("PUT ")
            && one.contains("/manifests/")
            && !one.contains("/manifests/sha256:")
    };
    assert_eq!(tags.iter().find(is_tag), None);
    let refused = sandbox.run("verify lab");
    refused.mentions("calico/node");
    std::fs::write(&path, whole).unwrap();
    sandbox.run("push lab --offline").success();
    sandbox.run("verify lab --full").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_a_registry_confirms_but_has_lost_are_named() {
    let registry = FaultyRegistry::start(Quirks::default(), &[], 1).await;
    let (sandbox, lock) = tiny(&registry.address).await;
    // The registry confirms lost blobs, until a manifest refers to them.
    let gone = |status, code| Fault::Answer { status, code };
    registry.play(&[
        always(&[Kind::PutManifest], gone(404, "MANIFEST_BLOB_UNKNOWN")),
        always(&[Kind::GetBlob], gone(404, "BLOB_UNKNOWN")),
    ]);
    let run = sandbox.run("push lab --offline").exits_with(1);
    let pause = artifact(&lock, "pause");
    let layer = &pause.manifests[0].blobs.last().unwrap().digest;
    assert_names(&run, layer, "pause:3.10");
    let tags = registry.tags();
    assert!(tags.iter().all(|(_, tag)| tag == "earlier"), "{tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_a_different_repository_are_mounted_or_read_back() {
    for mounts in [Mounts::Granted, Mounts::Ignored, Mounts::Refused(405)] {
        let quirks = quirks!(mounts: mounts);
        let registry = FaultyRegistry::start(quirks, &[], 1).await;
        let (sandbox, lock) = tiny(&registry.address).await;
        // Only the repository of `pause` has the layer that `pause` and `calico/node` share.
        let shared = &artifact(&lock, "pause").manifests[0].blobs[1].digest;
        assert!(digests([artifact(&lock, "calico/node")]).contains(shared.as_ref()));
        sandbox.run("push lab --offline").success();
        let is_mounted = mounts == Mounts::Granted;
        assert_eq!(
            registry.count_of(Kind::GetBlob) == 0,
            is_mounted,
            "{mounts:?}"
        );
        assert_eq!(store(&sandbox).path(shared).exists(), !is_mounted);
        registry.calm();
        sandbox.run("verify lab --full").success();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_one_registry_lacks_are_read_from_another_one() {
    let (full, empty) = (
        TestRegistry::embedded().await,
        TestRegistry::embedded().await,
    );
    let (sandbox, lock) = tiny(&full.address).await;
    let describe = |name: &str, address: &str| {
        let text = TestRegistry::description(address, false, "");
        sandbox.write(&format!("environments/{name}/environment.yaml"), &text);
    };
    describe("empty", &empty.address);
    let alone = sandbox.run("push empty --offline").exits_with(1);
    let layer = &artifact(&lock, "pause").manifests[0].blobs[1].digest;
    assert_names(&alone, layer, "pause:3.10");
    sandbox.run("push empty lab --offline").success();
    for name in ["lab", "empty"] {
        sandbox.run(&["verify", name, "--full"]).success();
    }
    // A registry that fails does not stop the push to the other one.
    let full = TestRegistry::embedded().await;
    let (sandbox, _) = tiny(&full.address).await;
    let refusing = Server::start(server::closed_registry).await;
    let text = TestRegistry::description(&refusing.address, false, "");
    sandbox.write("environments/empty/environment.yaml", &text);
    sandbox.run("push empty lab --offline").exits_with(9);
    sandbox.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_needs_no_bundle_for_blobs_of_other_repositories() {
    let registry = FaultyRegistry::start(Quirks::default(), &[], 1).await;
    let (sandbox, lock) = tiny(&registry.address).await;
    sandbox.run("push lab --offline").success();
    let shared = &artifact(&lock, "pause").manifests[0].blobs[1].digest;
    let delete = async |repository: &str, digest: &Digest| {
        let blob = format!("mke/four/{repository}/blobs/{digest}");
        support::registries::delete(&registry.address, &blob).await;
    };
    delete("calico/node", shared).await;
    sandbox.run("verify lab --full").exits_with(5);
    let repair = "verify lab --full --repair --offline";
    sandbox.run(repair).success();
    // Only the store has the image's own layer.
    let own = own_layer(&lock);
    delete("calico/node", &own).await;
    sandbox.run(repair).success();
    delete("calico/node", &own).await;
    store(&sandbox).discard(&own).unwrap();
    let run = sandbox.run(repair).exits_with(1);
    assert_names(&run, &own, "calico/node:v3.30.2");
}
