//! `inspect`: the content of a bundle, from its lock or from the file.

use support::{Sandbox, bundles};

use crate::AIRLOCK;

#[test]
fn a_locked_release_is_inspected_without_its_bundle() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("inspect v4.1.5-demo").whole(), @"
    exit code: 0
    --- stdout
    ARTIFACT                             KIND   PLATFORMS                     SIZE     SHARED  DIGEST
    calico/apiserver:v3.30.2             image  linux/amd64 linux/arm64  587.89 kB  201.77 kB  sha256:b453e9e13644
    calico/node:v3.30.2                  image  linux/amd64 linux/arm64  807.05 kB  201.77 kB  sha256:ae4d5f1fe74d
    charts/k0rdent-enterprise:1.2.3      chart                             4.65 kB        0 B  sha256:f769daa4c3fe
    dex-http-server:v0.7.0               image  linux/amd64              367.96 kB  301.61 kB  sha256:1aa1c743c47b
    dex-http-server-chart:0.3.0          chart                             4.65 kB        0 B  sha256:fca1ad667d6a
    dexidp/dex:v2.42.0                   image  linux/amd64              453.98 kB  301.61 kB  sha256:73a49501d953
    envoyproxy/envoy:distroless-v1.37.3  image  linux/amd64 linux/arm64  866.96 kB  301.61 kB  sha256:95d746f19cba
    k0sproject/coredns:1.12.1            image  linux/amd64 linux/arm64  547.44 kB  301.61 kB  sha256:12a3d4855fcf
    k0sproject/pause:3.10                image  linux/amd64 linux/arm64   21.10 kB        0 B  sha256:44a69179781b
    mirrored-chart-dex:v0.23.0           chart                             4.63 kB        0 B  sha256:fd0f94ce9189
    mke-dashboard:v1.6.2                 image  linux/amd64              514.40 kB  301.61 kB  sha256:d631c74fc809
    mke-operator:v1.6.3                  image  linux/amd64              534.37 kB  301.61 kB  sha256:1a592741213d
    mke-operator-chart:3.17.2            chart                             4.65 kB        0 B  sha256:5f744def2792
    nfd/node-feature-discovery:v0.17.2   image  linux/amd64              394.07 kB  301.61 kB  sha256:d6fe77b8e779

    mke_bundle_v4.1.5-demo_amd64.tar.gz: 5.23 MB, SHA-256 582a29318a41a06bd24549c801cdafde08564f049d71b81addb5e304632ed74b
    14 artifacts of 5.11 MB, 3.10 MB of them unique
    --- stderr
    ");
}

#[test]
fn a_bundle_is_inspected_like_its_lock() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = sandbox.path("mke_bundle_v4.1.5_amd64.tar.gz");
    bundles::make(&bundles::small(), &bundle);
    let before = sandbox.state();
    let of_file = sandbox.run(&["inspect", bundle.as_str()]);
    insta::assert_snapshot!(of_file.whole(), @"
    exit code: 0
    --- stdout
    ARTIFACT                             KIND   PLATFORMS                     SIZE     SHARED  DIGEST
    calico/apiserver:v3.30.2             image  linux/amd64 linux/arm64  587.89 kB  201.77 kB  sha256:b453e9e13644
    calico/node:v3.30.2                  image  linux/amd64 linux/arm64  807.05 kB  201.77 kB  sha256:ae4d5f1fe74d
    charts/k0rdent-enterprise:1.2.3      chart                             4.65 kB        0 B  sha256:f769daa4c3fe
    dex-http-server:v0.7.0               image  linux/amd64              367.96 kB  301.61 kB  sha256:1aa1c743c47b
    dex-http-server-chart:0.3.0          chart                             4.65 kB        0 B  sha256:fca1ad667d6a
    dexidp/dex:v2.42.0                   image  linux/amd64              453.98 kB  301.61 kB  sha256:73a49501d953
    envoyproxy/envoy:distroless-v1.37.3  image  linux/amd64 linux/arm64  866.96 kB  301.61 kB  sha256:95d746f19cba
    k0sproject/coredns:1.12.1            image  linux/amd64 linux/arm64  547.44 kB  301.61 kB  sha256:12a3d4855fcf
    k0sproject/pause:3.10                image  linux/amd64 linux/arm64   21.10 kB        0 B  sha256:44a69179781b
    mirrored-chart-dex:v0.23.0           chart                             4.63 kB        0 B  sha256:fd0f94ce9189
    mke-dashboard:v1.6.2                 image  linux/amd64              514.40 kB  301.61 kB  sha256:d631c74fc809
    mke-operator:v1.6.3                  image  linux/amd64              534.37 kB  301.61 kB  sha256:1a592741213d
    mke-operator-chart:3.17.2            chart                             4.65 kB        0 B  sha256:5f744def2792
    nfd/node-feature-discovery:v0.17.2   image  linux/amd64              394.07 kB  301.61 kB  sha256:d6fe77b8e779

    mke_bundle_v4.1.5_amd64.tar.gz: 5.23 MB, SHA-256 8d95e01c4e32b7bd4e1084f2bb357b0e204b86b5a788e2e593263bd9320e414e
    14 artifacts of 5.11 MB, 3.10 MB of them unique
    --- stderr
       verify [WORKSPACE]/mke_bundle_v4.1.5_amd64.tar.gz
       verify done: 14 artifacts, all blobs match their digests
    ");
    assert_eq!(sandbox.changes_since(&before), [""; 0]);

    sandbox
        .run(&["lock", "v4.1.5", "--bundle", bundle.as_str()])
        .success();
    let of_lock = sandbox.run("inspect v4.1.5").success();
    assert_eq!(of_file.stdout, of_lock.stdout);
}

#[test]
fn json_output_has_every_artifact() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let run = sandbox.run("inspect v4.1.5-demo --format json").success();
    assert_eq!(run.stderr, "");
    let value = run.json();
    let result = &value["result"];
    let artifacts = result["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), 14);
    let sum: u64 = artifacts
        .iter()
        .map(|row| row["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(result["total-bytes"], sum);
    assert!(result["unique-bytes"].as_u64().unwrap() < sum);
    assert_eq!(artifacts[0]["name"], "calico/apiserver:v3.30.2");
    assert_eq!(
        artifacts[0]["platforms"],
        serde_json::json!(["linux/amd64", "linux/arm64"])
    );
}

#[test]
fn a_file_that_is_not_a_bundle_is_reported() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = sandbox.path("whole.tar.gz");
    bundles::make(&bundles::small(), &bundle);
    let whole = std::fs::read(&bundle).unwrap();
    let mut inflated = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::MultiGzDecoder::new(whole.as_slice()),
        &mut inflated,
    )
    .unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut longer = whole.clone();
    longer.extend_from_slice(b"and more");
    let html = b"<!DOCTYPE html>\n<html><body>404</body></html>\n".to_vec();
    let cases = [
        ("html.tar.gz", html),
        ("cut.tar.gz", whole[..whole.len() / 3].to_vec()),
        ("plain.tar", inflated),
        ("flipped.tar.gz", flipped),
        ("longer.tar.gz", longer),
        ("empty.tar.gz", Vec::new()),
    ];
    let mut all = String::new();
    for (name, content) in cases {
        std::fs::write(sandbox.path(name), content).unwrap();
        let run = sandbox.run(&["inspect", name]).exits_with(4);
        assert_eq!(run.stdout, "", "{name}");
        all.push_str(&format!("## {name}\n{}", run.stderr));
    }
    insta::assert_snapshot!("no_bundle", all);
}

#[test]
fn missing_releases_and_files_are_reported() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("inspect v4.1.5").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: release v4.1.5 is not locked: `bundles/v4.1.5-amd64.lock.yaml` does not exist
    hint: with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
    ");
    insta::assert_snapshot!(sandbox.run("inspect nowhere.tar.gz").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: `nowhere.tar.gz` is neither a release, a set nor a bundle's file
    hint: name a release such as v4.1.5; `cargo xtask list` shows environments with their releases, and what is locked
    "#);
    insta::assert_snapshot!(sandbox.run("inspect environments").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: `environments` is neither a release, a set nor a bundle's file
    hint: name a release such as v4.1.5; `cargo xtask list` shows environments with their releases, and what is locked
    "#);
}
