//! Tests of `verify`: what the registry lacks is named exactly, and nothing else is.

use bundle::Lock;
use support::bundles::{self, FILE};
use support::{Sandbox, TestRegistry};

use crate::AIRLOCK;

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_served_is_verified_without_bundle_and_store() {
    let registry = TestRegistry::embedded().await;
    let sandbox = pushed(&registry, &bundles::small());
    std::fs::remove_file(sandbox.path(&format!("bundles/{FILE}"))).unwrap();
    bundles::forget_store(&sandbox);
    insta::assert_snapshot!(sandbox.run(&["verify", "lab"]).whole());
    insta::assert_snapshot!(sandbox.run(&["verify", "lab", "--format", "json"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_anything_lacks_every_tag() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, &bundles::tiny());
    insta::assert_snapshot!(sandbox.run(&["verify", "lab"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_moved_tag_and_a_missing_one_are_named_and_nothing_else_is() {
    let registry = TestRegistry::plain().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let lock = bundles::lock_of(&sandbox);
    let pause = artifact(&lock, "pause");
    let node = artifact(&lock, "calico/node");
    // The tag of the image for two platforms now points at the one of its children.
    let http = reqwest::Client::new();
    let child = &node.manifests[0];
    let url = manifest_url(&registry, node, child.digest.as_ref());
    let media_type = child.media_type.to_string();
    let manifest = http.get(&url).header("accept", &media_type);
    let manifest = manifest.send().await.unwrap().error_for_status().unwrap();
    let moved = http
        .put(manifest_url(&registry, node, &node.tag))
        .header("content-type", &media_type)
        .body(manifest.bytes().await.unwrap());
    moved.send().await.unwrap().error_for_status().unwrap();
    delete(&http, &manifest_url(&registry, pause, pause.digest.as_ref())).await;

    insta::assert_snapshot!(sandbox.run(&["verify", "lab"]).whole());
    insta::assert_snapshot!(sandbox.run(&["verify", "lab", "--format", "json"]).whole());

    // The hint holds what it promises.
    let _ = sandbox.run(&["push", "lab"]).ends_with(0);
    let _ = sandbox.run(&["verify", "lab"]).ends_with(0);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn manifests_and_blobs_below_a_right_tag_are_looked_at_too() {
    let registry = TestRegistry::plain().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let lock = bundles::lock_of(&sandbox);
    let node = artifact(&lock, "calico/node");
    let dex = artifact(&lock, "charts/dex");
    let http = reqwest::Client::new();
    delete(
        &http,
        &manifest_url(&registry, node, node.manifests[0].digest.as_ref()),
    )
    .await;
    let layer = &dex.manifests[0].blobs[1].digest;
    delete(
        &http,
        &format!(
            "http://{}/v2/mke/four/{}/blobs/{layer}",
            registry.address, dex.repository
        ),
    )
    .await;
    insta::assert_snapshot!(sandbox.run(&["verify", "lab"]).whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there_is_said_to_be_so() {
    let registry = TestRegistry::embedded().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let file = "environments/lab/environment.yaml";
    let free = format!("127.0.0.1:{}", support::sandbox::free_port());
    sandbox.write(file, &sandbox.read(file).replace(&registry.address, &free));
    insta::assert_snapshot!(sandbox.run(&["verify", "lab"]).whole());
}

#[test]
fn an_environment_whose_release_is_not_locked_is_told_how_to_lock_it() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    insta::assert_snapshot!(sandbox.run(&["verify", "prod"]).whole());
}

/// Makes a workspace whose bundle is in the registry.
fn pushed(registry: &TestRegistry, recipe: &bundle::make::Recipe) -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, recipe);
    let _ = sandbox.run(&["push", "lab"]).ends_with(0);
    sandbox
}

fn artifact<'l>(lock: &'l Lock, repository: &str) -> &'l bundle::Artifact {
    lock.artifacts
        .iter()
        .find(|artifact| artifact.repository == repository)
        .unwrap()
}

fn manifest_url(registry: &TestRegistry, artifact: &bundle::Artifact, reference: &str) -> String {
    format!(
        "http://{}/v2/mke/four/{}/manifests/{reference}",
        registry.address, artifact.repository
    )
}

async fn delete(http: &reqwest::Client, url: &str) {
    http.delete(url)
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
}
