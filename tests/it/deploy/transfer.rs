//! Tests of a transfer: a bundle is downloaded, verified and pushed as one stream, to one registry
//! or to several. A signal or `--until` stops it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::response::IntoResponse as _;
use support::bundles::{self, FILE};
use support::wire::Wire;
use support::{Lab, Sandbox, Server, TestRegistry, server};

use crate::deploy::deploy::Running;
use crate::{AIRLOCK, FAKE_MKECTL};

const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a workspace with an environment for each of these registries, and with the lock of a
/// bundle that has to be downloaded.
async fn workspace(server: &Server, bundle: &[u8], registries: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write_ssh_key("id_ed25519");
    bundles::lock_at(&sandbox, bundle, &server.url(FILE));
    for (name, address) in registries {
        write_environment(&sandbox, name, address);
    }
    sandbox
}

fn write_environment(sandbox: &Sandbox, name: &str, address: &str) {
    sandbox.write(
        &format!("environments/{name}/environment.yaml"),
        &format!(
            "\
release: v4.1.5
registry:
  address: {address}
  project: mke
config:
  apiServer: {{ externalAddress: mke.lab.example.com }}
  hosts:
    - role: controller+worker
      ssh: {{ address: 192.0.2.10, user: ubuntu, port: 22, keyPath: ~/.ssh/id_ed25519 }}
"
        ),
    );
}

fn blobs_sent(requests: &[String]) -> usize {
    let sends = |one: &&String| one.starts_with("PUT ") || one.ends_with("?digest");
    let sent = requests.iter().filter(sends);
    sent.filter(|one| one.contains("/blobs/uploads/")).count()
}

fn manifests_put(requests: &[String]) -> usize {
    let puts = requests.iter().filter(|one| one.starts_with("PUT "));
    puts.filter(|one| one.contains("/manifests/")).count()
}

/// Returns the number of PUT requests for the manifests of a lock: one for each tag, and one for
/// each child in a repository.
fn unique_manifests(lock: &bundle::Lock) -> usize {
    let manifests = lock.artifacts.iter().flat_map(|one| {
        let repository = &one.repository;
        let children = one.manifests.iter().map(|manifest| &manifest.digest);
        let children = children.filter(|digest| **digest != one.digest);
        children.map(move |digest| (repository, digest.to_string()))
    });
    manifests.collect::<BTreeSet<_>>().len() + lock.artifacts.len()
}

/// Returns the number of different blobs in the lock of a workspace, without manifests.
fn unique_blobs(sandbox: &Sandbox) -> usize {
    let lock = bundles::lock_of(sandbox);
    let manifests = lock.artifacts.iter().flat_map(|one| &one.manifests);
    let digests: BTreeSet<String> = manifests
        .flat_map(|manifest| &manifest.blobs)
        .map(|blob| blob.digest.to_string())
        .collect();
    digests.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_pushed_while_the_bundle_is_downloaded_and_tags_wait_for_its_end() {
    let bundle = bundles::bytes(&bundles::small());
    let released = Arc::new(AtomicBool::new(false));
    let (whole, until) = (Bytes::from(bundle.clone()), Arc::clone(&released));
    let server = Server::start(move |_| server::hold_back(&whole, 1, Arc::clone(&until))).await;
    let registry = TestRegistry::embedded().await;
    let wire = Wire::before(&registry.address).await;
    let sandbox = workspace(&server, &bundle, &[("lab", &wire.address)]).await;

    let mut child = sandbox.command("push lab").spawn().unwrap();
    let began = Instant::now();
    let mut requests = Vec::new();
    // The server holds back the last byte, so every archive but the last one can be read.
    while blobs_sent(&requests) < 10 {
        assert!(began.elapsed() < PATIENCE, "only {requests:#?}");
        assert!(child.try_wait().unwrap().is_none(), "the push has ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
        requests.extend(wire.take());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    requests.extend(wire.take());
    assert_eq!(manifests_put(&requests), 0, "{requests:#?}");

    released.store(true, Ordering::SeqCst);
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < 2 * PATIENCE, "the push does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(child.wait().unwrap().success());
    assert!(manifests_put(&wire.take()) > 10);
    sandbox.run("verify lab").success();
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_starts_over_is_read_again_when_it_is_whole() {
    let bundle = bundles::bytes(&bundles::small());
    let asked = AtomicUsize::new(0);
    let whole = Bytes::from(bundle.clone());
    // The server does not support ranges, so the second request starts at the first byte. By then
    // half of the bundle has been read and pushed.
    let server = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => server::cut_after(&whole, whole.len() / 2),
        _ => whole.clone().into_response(),
    })
    .await;
    let registry = TestRegistry::embedded().await;
    let wire = Wire::before(&registry.address).await;
    let sandbox = workspace(&server, &bundle, &[("lab", &wire.address)]).await;
    sandbox.run("push lab").success();
    let requests = wire.take();
    assert_eq!(blobs_sent(&requests), unique_blobs(&sandbox));
    assert_eq!(server.asked().len(), 2);
    sandbox.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_registries_are_served_by_one_download_and_one_reading() {
    let bundle = bundles::bytes(&bundles::small());
    let server = Server::of(bundle.clone()).await;
    let (staging, prod) = (
        TestRegistry::embedded().await,
        TestRegistry::embedded().await,
    );
    let environments = [
        ("staging", staging.address.as_str()),
        ("prod", prod.address.as_str()),
    ];
    let sandbox = workspace(&server, &bundle, &environments).await;
    insta::assert_snapshot!(sandbox.run("push staging prod staging").whole(), @"
    exit code: 0
    --- stdout
    staging: 14 artifacts in 127.0.0.1:[PORT]/mke, 14 pushed, 3.09 MB sent
    prod: 14 artifacts in 127.0.0.1:[PORT]/mke, 14 pushed, 3.09 MB sent
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 28 artifacts to 127.0.0.1:[PORT]/mke and 127.0.0.1:[PORT]/mke
        fetch done: downloaded bundles/mke_bundle_v4.1.5_amd64.tar.gz
       verify done: 14 artifacts match the lock
         push done: 28 artifacts pushed: 80 blobs sent, 14 mounted or already present
      confirm 14 artifacts as a node pulls them
      confirm done: 14 artifacts are served to nodes
      confirm 14 artifacts as a node pulls them
      confirm done: 14 artifacts are served to nodes
    ");
    assert_eq!(server.asked().len(), 1);
    for name in ["staging", "prod"] {
        sandbox.run(&["verify", name]).success();
    }
    insta::assert_snapshot!(sandbox.run("push staging prod --format json").whole(), @r#"
    exit code: 0
    --- stdout
    {"result":{"environments":[{"artifacts":14,"environment":"staging","pushed":0,"sent-bytes":0},{"artifacts":14,"environment":"prod","pushed":0,"sent-bytes":0}]}}
    --- stderr
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_stops_no_other_one() {
    let bundle = bundles::bytes(&bundles::tiny());
    let server = Server::of(bundle.clone()).await;
    let good = TestRegistry::embedded().await;
    let bad = TestRegistry::embedded().await;
    let environments = [
        ("bad", bad.address.as_str()),
        ("good", good.address.as_str()),
    ];
    let sandbox = workspace(&server, &bundle, &environments).await;
    // This registry serves reads and refuses writes.
    let refusing = Server::start(server::closed_registry).await;
    write_environment(&sandbox, "bad", &refusing.address);
    let run = sandbox.run("push bad good").exits_with(9);
    insta::assert_snapshot!(run.whole().replace(&refusing.address, "127.0.0.1:[BAD]"), @"
    exit code: 9
    --- stdout
    good: 3 artifacts in 127.0.0.1:[PORT]/mke, 3 pushed, 16.25 kB sent
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 6 artifacts to 127.0.0.1:[PORT]/mke and 127.0.0.1:[PORT]/mke
        fetch done: downloaded bundles/mke_bundle_v4.1.5_amd64.tar.gz
       verify done: 3 artifacts match the lock
      confirm 3 artifacts as a node pulls them
      confirm done: 3 artifacts are served to nodes
    bad error: registry 127.0.0.1:[PORT] cannot be used
      because: POST http://127.0.0.1:[PORT]/v2/mke/calico/node/blobs/uploads/: not allowed without credentials: 403 Forbidden
    hint: let the account push to this project and change its tags
    ");
    sandbox.run("verify good").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_stops_at_its_time_and_the_next_one_continues() {
    let bundle = bundles::bytes(&bundles::small());
    let server = Server::of(bundle.clone()).await;
    let registry = TestRegistry::embedded().await;
    let wire = Wire::before(&registry.address).await;
    let sandbox = workspace(&server, &bundle, &[("lab", &wire.address)]).await;
    // At this rate a complete push takes minutes.
    let began = Instant::now();
    let run = sandbox.run("push lab --max-rate 20kB --jobs 2 --until 2s");
    assert!(began.elapsed() < PATIENCE);
    let run = run.exits_with(9);
    run.mentions("of 14 artifacts still to be pushed");
    let before = wire.take();
    assert!(manifests_put(&before) < 14, "{before:#?}");
    sandbox.run("push lab").success();
    let after = wire.take();
    assert!(blobs_sent(&before) > 0, "{before:#?}");
    // No blob is sent twice.
    assert_eq!(
        blobs_sent(&before) + blobs_sent(&after),
        unique_blobs(&sandbox)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_is_interrupted_while_it_downloads_leaves_a_receipt() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let path = lab.path(&format!("bundles/{FILE}"));
    let whole = Bytes::from(std::fs::read(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let released = Arc::new(AtomicBool::new(false));
    let server = Server::start(move |_| server::hold_back(&whole, 1, Arc::clone(&released))).await;
    bundles::forget_store(&lab.sandbox);
    let mut lock = bundles::lock_of(&lab.sandbox);
    lock.bundle.url = server.url(FILE);
    lab.write(bundles::LOCK, &lock.to_yaml());
    let mut running = Running::start(&lab, "deploy lab");
    running.wait_for(&server.url(FILE));
    // A part of the bundle arrives.
    tokio::time::sleep(Duration::from_millis(500)).await;
    running.interrupt();
    let run = running.end().exits_with(130);
    let receipt = lab.receipt();
    assert!(
        receipt.contains("  step: push\n  error: stopped with 14 of 14 artifacts"),
        "{}{receipt}",
        run.whole()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_is_interrupted_at_the_end_of_its_push_touches_no_cluster() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    let lock = bundles::lock_of(&lab.sandbox);
    for artifact in &lock.artifacts {
        let repository = format!("/v2/mke/{}", artifact.repository);
        wire.delay(format!("PUT {repository}/manifests/{}", artifact.tag));
    }
    let running = Running::start(&lab, "deploy lab");
    let began = Instant::now();
    let mut requests = Vec::new();
    while manifests_put(&requests) < unique_manifests(&lock) {
        assert!(began.elapsed() < PATIENCE, "only {requests:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        requests.extend(wire.take());
    }
    // The requests for the last tags are in flight, so the push cannot be stopped any more.
    running.interrupt();
    let run = running.end().exits_with(130);
    assert_eq!(lab.applies().len(), 0, "{}", run.whole());
    assert!(
        lab.receipt().contains("  step: push\n"),
        "{}",
        lab.receipt()
    );
    lab.run("deploy lab").success();
}

#[test]
fn limits_are_read_as_people_write_them() {
    let sandbox = Sandbox::new(AIRLOCK);
    for (option, value) in [
        ("--max-rate", "fast"),
        ("--max-rate", "0"),
        ("--jobs", "0"),
        ("--until", "tomorrow"),
    ] {
        sandbox.run(&["push", "lab", option, value]).exits_with(64);
    }
}
