//! `lock --from`: it locks a release without its bundle, from a registry and the lists of mkectl.

use bundle::Lock;
use support::bundles::{self, LOCK};
use support::upstream::Upstream;
use support::{Arguments, Lab, Run};

use crate::{AIRLOCK, FAKE_MKECTL};

const BOTH: &[&str] = &["linux/amd64", "linux/arm64"];

const LIST: &str = "\
registry.mirantis.com/mke/calico/node:v3.30.2
registry.mirantis.com/k0rdent-enterprise/mke-operator:v1.6.3
docker.io/library/other:1

oci://registry.mirantis.com/mke/dex-http-server-chart:0.3.0+k0s.1
registry.mirantis.com/k0rdent-enterprise/charts/k0rdent-enterprise:1.2.3
";

/// A lab whose release is not locked, and a mirror of the vendor's registry that has the release.
struct Mirrored {
    lab: Lab,
    upstream: Upstream,
}

impl Mirrored {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        upstream.image("mirror/mke/calico/node", "v3.30.2", BOTH, 3000, "1");
        upstream.image("mirror/mke/mke-operator", "v1.6.3", BOTH, 2 << 20, "1");
        upstream.chart("mirror/mke/dex-http-server-chart", "0.3.0_k0s.1");
        upstream.chart("mirror/mke/charts/k0rdent-enterprise", "1.2.3");
        let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
        lab.remove(LOCK);
        lab.remove(&format!("bundles/{}", bundles::FILE));
        bundles::forget_store(&lab.sandbox);
        lab.write("list.txt", LIST);
        Self { lab, upstream }
    }

    fn lock(&self, more: impl Arguments) -> Run {
        let from = format!("{}/mirror/mke", self.upstream.address);
        let file = self.lab.path("list.txt");
        let arguments = ["lock", "v4.1.5", "--from", &from, "--images", file.as_str()];
        self.lab.run(&[&arguments, &more.words()[..]].concat())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_is_fetched_of_the_release_from_what_is_of_sets() {
    let mirrored = Mirrored::new().await;
    let lab = &mirrored.lab;
    mirrored.lock(&[]).success();
    (mirrored.upstream).image("library/nginx", "1.29", BOTH, 3000, "2");
    let set = format!(
        "images: ['{}/library/nginx:1.29']\n",
        mirrored.upstream.address
    );
    lab.write("bundles/platform.set.yaml", &set);
    lab.write_environment("sets: [platform]\n");
    lab.run("lock platform").success();
    let plan = lab.run("plan lab").success();
    plan.prints("  bundle    fetch 127.0.0.1:[PORT]/mirror/mke (6.30 MB)\n");
    plan.prints("  sets      platform: fetch 5 blobs from upstream (");
    lab.run("fetch v4.1.5").success();
    let plan = lab.run("plan lab").success();
    plan.prints("  bundle    already in the store\n");
    plan.prints("  sets      platform: fetch 5 blobs from upstream (");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_locked_fetched_and_deployed_from_a_registry() {
    let mirrored = Mirrored::new().await;
    let lab = &mirrored.lab;
    insta::assert_snapshot!(mirrored.lock(&[]).success().whole(), @"
    exit code: 0
    --- stdout
    wrote bundles/v4.1.5-amd64.lock.yaml: 4 artifacts
    locked from 127.0.0.1:[PORT]/mirror/mke, not from the vendor's bundle
    bundles/v4.1.5.init.yaml belongs to the lock: it contains the output of `mkectl init`; commit both
    --- stderr
    warning: docker.io/library/other:1 is not locked: it does not begin with `registry.mirantis.com/mke/` or `registry.mirantis.com/k0rdent-enterprise/`, as mkectl prints it; list it in a set if the cluster needs it
        fetch the manifests of 4 references
    warning: a registry has no release matrix; an upgrade to v4.1.5 may require the vendor's: name the file as `release-matrix:` in environment.yaml
       verify done: 4 artifacts locked
    ");
    let text = lab.read(LOCK);
    let head: Vec<&str> = text.lines().take(6).collect();
    let head = head.join("\n");
    insta::assert_snapshot!(head.replace(&mirrored.upstream.address, "127.0.0.1:[PORT]"), @"
    # What 127.0.0.1:[PORT]/mirror/mke has, and not the vendor's bundle. Written by `lock v4.1.5`; not to be edited.
    version: 1
    release: v4.1.5
    arch: amd64
    from: 127.0.0.1:[PORT]/mirror/mke
    mkectl:
    ");
    assert!(
        mirrored
            .lock(&[])
            .success()
            .stdout
            .starts_with("unchanged:")
    );

    let said = "not the vendor's bundle";
    let inspected = lab.run("inspect v4.1.5").success();
    inspected.prints(said);
    let listed = lab.run("list").success();
    listed.prints("not fetched");
    let preflight = lab.run("preflight lab");
    for text in [
        "the release is locked from 127.0.0.1:[PORT]/mirror/mke",
        "4 artifacts, 12 blobs to be fetched from upstream",
    ] {
        preflight.prints(text);
    }
    let plan = lab.run("plan lab").success();
    let (plan, _) = plan.stdout.split_once("\n--- ").unwrap();
    insta::assert_snapshot!(plan, @"
    Plan for lab: v4.1.5 to 127.0.0.1:[PORT]/mke
    warning: v4.1.5 is locked from 127.0.0.1:[PORT]/mirror/mke, not from the vendor's bundle
      bundle    fetch 127.0.0.1:[PORT]/mirror/mke (6.30 MB)
      registry  push 4 of 4 artifacts, 6.31 MB at most
                + calico/node:v3.30.2
                + charts/k0rdent-enterprise:1.2.3
                + dex-http-server-chart:0.3.0_k0s.1
                + mke-operator:v1.6.3
      config    write environments/lab/mke4.yaml
      mkectl    [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml --no-color --no-pretty-print
                because no receipt records a successful deploy
    ");

    lab.run("deploy lab").success();
    let lock = Lock::parse(&text, LOCK.into()).unwrap();
    let client = lab.registry.client();
    for one in &lock.artifacts {
        let repository = format!("mke/{}", one.repository);
        let found = client.get_manifest(&repository, &one.tag).await.unwrap();
        assert_eq!(found.digest, one.digest);
    }
    lab.run("verify lab --full").success();
    let status = lab.run("status").success();
    status.prints(
        "\nlab: v4.1.5 is locked from 127.0.0.1:[PORT]/mirror/mke, not from the vendor's bundle\n",
    );
    lab.run("fetch v4.1.5 --check").success();
    lab.run("rehearse lab").success();
    // Charts and manifests name the vendor's registry.
    let images = lab.run("images lab").success();
    let image =
        "registry.mirantis.com/mke/calico/node:v3.30.2 127.0.0.1:[PORT]/mke/calico/node:v3.30.2@";
    images.prints(image);

    // After a tag moved, the lock would differ, so it is not replaced without an option.
    let upstream = &mirrored.upstream;
    let moved = upstream.image("mirror/mke/calico/node", "v3.30.2", BOTH, 3000, "2");
    mirrored.lock(&[]).exits_with(2);
    assert_eq!(lab.read(LOCK), text);
    mirrored.lock("--replace").success();
    assert!(lab.read(LOCK).contains(&moved));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_brings_a_release_into_the_store() {
    let mirrored = Mirrored::new().await;
    let lab = &mirrored.lab;
    mirrored.lock(&[]).success();
    lab.run("fetch v4.1.5").success();
    let store = bundle::Store::open(&lab.path("bundles/store")).unwrap();
    let lock = Lock::read(&lab.path(LOCK)).unwrap();
    for (digest, size) in lock.artifacts.iter().flat_map(|one| one.blobs()) {
        store.verify_blob(digest, size).unwrap();
    }
    // The registry is not asked again.
    let asked = mirrored.upstream.count();
    lab.run("push lab").success();
    assert_eq!(mirrored.upstream.count(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_its_manifests_contradict_is_named_when_they_arrive() {
    let mirrored = Mirrored::new().await;
    let lab = &mirrored.lab;
    mirrored.lock(&[]).success();
    let text = lab.read(LOCK);
    let lock = Lock::read(&lab.path(LOCK)).unwrap();
    let layer = lock.artifacts[0].manifests[0].blobs[1].digest.to_string();
    // The line with the digest, and the one with the size.
    let mut lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.contains(&layer)).unwrap();
    lines.drain(at..at + 2);
    lab.write(LOCK, &(lines.join("\n") + "\n"));
    bundles::forget_store(&lab.sandbox);
    let run = lab.run("fetch v4.1.5").exits_with(4);
    run.reports("`bundles/v4.1.5-amd64.lock.yaml` does not list what manifest sha256:");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_carries_a_release_without_its_bundle() {
    let mirrored = Mirrored::new().await;
    let lab = &mirrored.lab;
    mirrored.lock(&[]).success();
    let script = b"#!/bin/sh\nexec mkectl \"$@\"\n";
    bundles::lock_mkectl(&lab.sandbox, "v4.1.5", script);
    lab.init_git();
    lab.commit("Lock v4.1.5");
    lab.write("../program", support::PROGRAM);
    let paths = ["../medium", "../inside"].map(|path| lab.path(path));
    let [medium, inside] = paths.each_ref().map(|path| path.as_str());
    lab.run(&["pack", "lab", "--program", "../program", "--out", medium])
        .success();
    lab.run(&["unpack", medium, "-C", inside, "--allow-unsigned"])
        .success();
    let asked = mirrored.upstream.count();
    lab.run(&["push", "lab", "-C", inside, "--offline"])
        .success();
    assert_eq!(mirrored.upstream.count(), asked);
    lab.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sources_are_named_and_nothing_is_locked() {
    let mirrored = Mirrored::new().await;
    let sandbox = &mirrored.lab.sandbox;
    let mut all = Vec::new();
    let mut refused = |from: &str, code: i32| {
        let file = sandbox.path("list.txt");
        let arguments = ["lock", "v4.1.5", "--from", from, "--images", file.as_str()];
        let run = sandbox.run(&arguments).exits_with(code);
        let lines = run.stderr.lines().filter(|line| line.starts_with("error:"));
        all.extend(lines.map(|line| line.replace(file.as_str(), "list.txt")));
        assert!(!sandbox.path(LOCK).exists());
    };
    refused("mke", 64);
    refused("https://registry.mirantis.com/mke", 64);
    let from = format!("{}/mirror/mke", mirrored.upstream.address);
    sandbox.write("list.txt", "registry.mirantis.com/mke/no/such:1\n");
    refused(&from, 5);
    sandbox.write("list.txt", &format!("{LIST}INF listing images\n"));
    refused(&from, 3);
    sandbox.write("list.txt", "docker.io/library/other:1\n");
    refused(&from, 3);
    // The vendor's registry has each reference where it is listed.
    sandbox.write("list.txt", LIST.lines().nth(1).unwrap());
    let file = sandbox.path("list.txt");
    let vendor = "registry.mirantis.com/mke";
    let arguments = ["lock", "v4.1.5", "--from", vendor, "--offline", "--images"];
    let run = sandbox.run(&[&arguments[..], &[file.as_str()]].concat());
    let own = "registry.mirantis.com/k0rdent-enterprise/mke-operator:v1.6.3";
    assert!(run.exits_with(1).stderr.contains(own));
    // A list of a different release.
    let upstream = &mirrored.upstream;
    upstream.image("mirror/mke/mke-operator", "v4.1.3", BOTH, 10, "1");
    sandbox.write(
        "list.txt",
        "registry.mirantis.com/mke/mke-operator:v4.1.3\n",
    );
    refused(&from, 4);
    insta::assert_snapshot!(all.join("\n"), @"
    error: `mke` is not a registry, such as `registry.mirantis.com/mke`
    error: `https://registry.mirantis.com/mke` is not a registry, such as `registry.mirantis.com/mke`
    error: cannot read 127.0.0.1:[PORT]/mirror/mke/no/such:1 from 127.0.0.1:[PORT]
    error: [WORKSPACE]/list.txt:7: `INF listing images` is not a reference
    error: no line of [WORKSPACE]/list.txt begins with `registry.mirantis.com/mke/` or `registry.mirantis.com/k0rdent-enterprise/`, as mkectl prints them
    error: this list is not v4.1.5 for amd64: it contains mke-operator:v4.1.3, but v4.1.5 has v1.6.3
    ");
    // A lock by hand cannot have both.
    sandbox.write("list.txt", LIST);
    mirrored.lock(&[]).success();
    let text = sandbox.read(LOCK);
    let text = text.replace(&format!("from: {from}"), "from: mirror");
    sandbox.write(LOCK, &text);
    let run = sandbox.run("inspect v4.1.5").exits_with(3);
    run.reports("`from: mirror` must be a registry");
}
