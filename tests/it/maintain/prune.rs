//! Tests of `prune`: it plans the removal of artifacts that no release requires, and removes them
//! only by that plan. All other artifacts stay.

use bundle::Lock;
use bundle::make::{ArtifactRecipe, Recipe};
use serde_json::Value;
use support::wire::Wire;
use support::{Run, Sandbox, TestRegistry, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

/// The releases, in the order of their deploys.
const RELEASES: [&str; 3] = ["v4.1.1", "v4.1.2", "v4.1.5"];

/// The tags that only the first release requires: an index, and an image that shares all its layers
/// with later releases.
const UNUSED: [&str; 2] = ["mke/four/calico/node:v4.1.1", "mke/four/only-first:1"];

/// The id of a deploy.
const RUN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A workspace in git whose registry holds three releases, each recorded by a receipt.
struct Site {
    sandbox: Sandbox,
    registry: TestRegistry,
}

support::used_as!(Site, sandbox: Sandbox);

impl Site {
    async fn new(registry: TestRegistry) -> Self {
        Self::with(registry, 3).await
    }

    /// Makes the site with receipts that record this number of pushed artifacts.
    async fn with(registry: TestRegistry, pushed: usize) -> Self {
        Self::of(registry, pushed, Vec::new()).await
    }

    /// Makes the site with more artifacts in the first release.
    async fn of(registry: TestRegistry, pushed: usize, first: Vec<ArtifactRecipe>) -> Self {
        let sandbox = Sandbox::new(AIRLOCK);
        registry.describe(&sandbox, "");
        sandbox.install_system("git");
        let site = Self { sandbox, registry };
        site.write(
            ".gitignore",
            "/bundles/store/\n*.tar.gz\nadmin-password\nbackups/\n",
        );
        site.git("init --quiet");
        for release in RELEASES {
            let mut recipe = recipe(release);
            if release == RELEASES[0] {
                recipe.artifacts.extend(first.iter().cloned());
            }
            site.deploy(release, &recipe, pushed);
        }
        site
    }

    /// Locks a release, pushes it, and commits a receipt that records it.
    fn deploy(&self, release: &str, recipe: &Recipe, pushed: usize) {
        let file = "environments/lab/environment.yaml";
        let text = self.read(file);
        let (_, rest) = text.split_once('\n').unwrap();
        self.write(file, &format!("release: {release}\n{rest}"));
        let bundle = self.path("bundles/b.tar.gz");
        bundles::make(recipe, &bundle);
        self.lock_as(release, &bundle);
        self.run("push lab").success();
        self.receipt(release, pushed);
        self.git("add .");
        self.git(&["commit", "--quiet", "--message", release]);
    }

    /// Writes a receipt that records a release.
    fn receipt(&self, release: &str, pushed: usize) {
        let lock = self.read(&lock_path(release));
        self.write(
            "environments/lab/receipt.yaml",
            &format!(
                "version: 2\napplied:\n  release: {release}\n  lock: {}\n  registry: {}/mke/four\n  config: aa\n  mkectl: {{ version: \
                 {release} }}\n  artifacts: 4\n  pushed:\n    artifacts: {pushed}\n    sent: {{ blobs: 1, bytes: 7 }}\n    \
                 mounted: {{ blobs: 0, bytes: 0 }}\n    present: {{ blobs: 0, bytes: 0 }}\n  \
                 ended: 2026-01-02T03:04:05Z\n  by: {{ airlock: 0.1.0 }}\n",
                Lock::digest(&lock),
                self.registry.address,
            ),
        );
    }

    fn plan(&self) -> Value {
        result(&self.run("prune lab --format json").success())
    }

    /// Returns the digest of a tag or manifest in the registry.
    async fn digest_of(&self, repository: &str, reference: &str) -> Option<String> {
        let client = self.registry.client();
        let found = client.head_manifest(repository, reference).await.unwrap();
        found.map(|found| found.digest.unwrap().to_string())
    }

    /// Writes the shared state of an environment, as a deploy from a different checkout does.
    async fn record(&self, environment: &str, phase: &str, lock: &str, receipt: Option<&str>) {
        let state = serde_json::json!({
            "phase": phase, "run": RUN, "release": RELEASES[0], "lock": lock, "receipt": receipt,
            "time": "2026-01-02T03:04:05Z",
        });
        let state = state.to_string();
        let url = format!("http://{}/v2/mke/four/airlock/state", self.registry.address);
        let http = support::registries::http();
        let begun = http.post(format!("{url}/blobs/uploads/")).send();
        let session = begun.await.unwrap().headers()["location"]
            .to_str()
            .unwrap()
            .to_owned();
        let session = reqwest::Url::parse(&url).unwrap().join(&session).unwrap();
        let digest = format!("sha256:{}", Lock::digest(&state));
        let size = state.len();
        let put = http.put(session).query(&[("digest", &digest)]).body(state);
        put.send().await.unwrap().error_for_status().unwrap();
        let media_type = "application/vnd.airlock.state.v1+json";
        let blob = serde_json::json!({ "mediaType": media_type, "digest": digest, "size": size });
        let oci = "application/vnd.oci.image.manifest.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": oci, "config": blob, "layers": [blob],
        });
        let put = http
            .put(format!("{url}/manifests/{environment}"))
            .header("content-type", oci);
        let put = put.body(manifest.to_string()).send().await.unwrap();
        put.error_for_status().unwrap();
    }

    /// Saves a plan, and executes it.
    #[must_use]
    async fn remove_by_plan(&self) -> Run {
        self.run("prune lab --out prune.yaml").success();
        self.run("prune lab --plan prune.yaml")
    }
}

fn lock_path(release: &str) -> String {
    format!("bundles/{release}-amd64.lock.yaml")
}

/// Returns the bundle of a release. Each release has a different `calico/node`, and the same chart
/// and `pause`. Only the first release has `only-first`.
fn recipe(release: &str) -> Recipe {
    let platforms: &[&str] = &["linux/amd64", "linux/arm64"];
    let own = format!("node-{release}");
    let mut artifacts = vec![
        bundles::image(
            "calico/node",
            release,
            platforms,
            &[("base", 900), (&own, 1_500)],
        ),
        bundles::pause("3.10"),
        bundles::dex(),
    ];
    if release == RELEASES[0] {
        artifacts.push(bundles::image(
            "only-first",
            "1",
            &["linux/amd64"],
            &[("base", 900)],
        ));
        // The manifest of `pause:3.10`, which is kept, under a second tag.
        artifacts.push(bundles::pause("old"));
    }
    bundles::of(artifacts)
}

fn result(run: &Run) -> Value {
    run.json()["result"].clone()
}

/// Returns the tags that a plan removes.
fn removed(plan: &Value) -> Vec<String> {
    let mut names: Vec<String> = plan["remove"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|removal| {
            let repository = removal["repository"].as_str().unwrap().to_owned();
            let tags = removal["tags"].as_array().unwrap().clone();
            tags.into_iter()
                .map(move |tag| format!("{repository}:{}", tag.as_str().unwrap()))
        })
        .collect();
    names.sort();
    names
}

/// A promise for every registry that deletes manifests: unused tags are removed with the manifests
/// of their index, and everything else stays complete.
async fn unused_tags_are_removed_and_everything_else_stays(registry: TestRegistry) {
    let site = Site::new(registry).await;
    let first = Lock::read(&site.path(&lock_path(RELEASES[0]))).unwrap();
    let node = &first.artifacts[0];
    let child = node.manifests[0].digest.to_string();
    assert_eq!(removed(&site.plan()), UNUSED);
    assert!(
        site.digest_of("mke/four/only-first", "1").await.is_some(),
        "planning removes nothing"
    );
    let run = site.remove_by_plan().await.success();
    run.prints("lab: 2 tags removed with 4 manifests");
    run.prints("garbage-collect");
    assert_eq!(
        site.digest_of("mke/four/calico/node", RELEASES[0]).await,
        None
    );
    assert_eq!(site.digest_of("mke/four/calico/node", &child).await, None);
    assert_eq!(site.digest_of("mke/four/only-first", "1").await, None);
    assert!(
        site.digest_of("mke/four/pause", "old").await.is_some(),
        "its manifest is still required"
    );
    for release in [RELEASES[1], RELEASES[2]] {
        let file = "environments/lab/environment.yaml";
        let text = site.read(file);
        let (_, rest) = text.split_once('\n').unwrap();
        site.write(file, &format!("release: {release}\n{rest}"));
        site.run("verify lab --full").success();
    }
    // After that, the same plan has nothing to do, and a new plan is empty.
    site.run("prune lab --plan prune.yaml")
        .success()
        .prints("2 gone already");
    assert_eq!(removed(&site.plan()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_without_a_receipt_is_noted_with_its_tags_in_the_registry() {
    let site = Site::new(TestRegistry::embedded().await).await;
    // The receipts of the first two deploys were never committed.
    std::fs::remove_dir_all(site.path(".git")).unwrap();
    site.git("init --quiet");
    site.git("add .");
    site.git("commit --quiet --message all");
    let run = site.run("prune lab").success();
    for release in &RELEASES[..2] {
        let note = format!(
            " in the registry: no receipt here or in git's history records their deploy from {}: ",
            lock_path(release)
        );
        assert!(run.stdout.contains(&note), "{note}\n{}", run.stdout);
    }
    run.prints("calico/node:");
    run.does_not_print(&lock_path(RELEASES[2]));
    // An empty plan replaces an older one, and removes nothing.
    site.write("empty.yaml", "");
    let run = site.run("prune lab --out empty.yaml").success();
    run.prints("the plan in empty.yaml is empty");
    let run = site.run("prune lab --plan empty.yaml").success();
    run.prints("lab: nothing to remove in 127.0.0.1:[PORT]/mke/four\n");
    // A lock is not noted if the registry has none of its artifacts.
    let lock = Lock::read(&site.path(&lock_path(RELEASES[0]))).unwrap();
    let client = site.registry.client();
    for artifact in &lock.artifacts {
        let repository = format!("mke/four/{}", artifact.repository);
        let _ = client
            .remove_manifest(&repository, &artifact.digest)
            .await
            .unwrap();
    }
    let run = site.run("prune lab").success();
    run.does_not_print(&lock_path(RELEASES[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_mkectl_of_a_kept_release_lists_stay() {
    let mut site = Site::new(TestRegistry::embedded().await).await;
    site.install(FAKE_MKECTL, "mkectl");
    let images = site.home().join("images");
    std::fs::write(&images, "registry.mirantis.com/mke/only-first:1\n").unwrap();
    site.variable("FAKE_MKECTL_IMAGES", images.as_str());
    assert_eq!(removed(&site.plan()), [UNUSED[0]]);
    // The mkectl of the previous release is missing.
    let run = site.run("prune lab").success();
    run.prints("note: what mkectl v4.1.2 lists");
    run.does_not_print("what mkectl v4.1.5 lists");
    run.prints("kept: v4.1.5: required by lab, running in lab\n");
}

/// The lock of the receipt was edited after the deploy, and the edited lock was not deployed.
#[tokio::test(flavor = "multi_thread")]
async fn a_note_of_a_local_lock_names_nothing_that_the_plan_removes() {
    let site = Site::new(TestRegistry::embedded().await).await;
    let path = lock_path(RELEASES[0]);
    let text = site.read(&path);
    site.write(&path, &format!("# by hand\n{text}"));
    let run = site.run("prune lab").success();
    run.prints("only-first");
    let notes: Vec<&str> = (run.stdout.lines())
        .filter(|line| line.contains("only that lock"))
        .collect();
    assert_eq!(notes, [""; 0], "{}", run.stdout);
}

/// A promise for every registry that deletes manifests with their tags: if a run was killed after
/// it removed an index, the next run of the same plan removes the rest.
async fn a_killed_run_is_finished_by_the_same_plan(registry: TestRegistry) {
    let site = Site::new(registry).await;
    let first = Lock::read(&site.path(&lock_path(RELEASES[0]))).unwrap();
    let node = &first.artifacts[0];
    let repository = "mke/four/calico/node";
    let children = || {
        let manifests = node.manifests.iter().map(|manifest| &manifest.digest);
        manifests.filter(|digest| **digest != node.digest)
    };
    assert_eq!(children().count(), 2);
    site.run("prune lab --out prune.yaml").success();
    // The killed run removed the index and one of its manifests.
    let client = site.registry.client();
    for digest in [&node.digest, children().next().unwrap()] {
        let removed = client.remove_manifest(repository, digest).await.unwrap();
        assert_eq!(removed, registry::Removed::Gone);
    }
    site.run("prune lab --plan prune.yaml")
        .success()
        .prints("lab: 1 tag removed with 2 manifests, 1 gone already");
    for child in children() {
        assert_eq!(site.digest_of(repository, child.as_ref()).await, None);
    }
    site.run("verify lab --full").success();
    site.run("prune lab --plan prune.yaml")
        .success()
        .prints("0 tags removed with 0 manifests, 2 gone already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_finished_in_the_embedded_registry() {
    a_killed_run_is_finished_by_the_same_plan(TestRegistry::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_killed_run_is_finished_in_registry_2() {
    a_killed_run_is_finished_by_the_same_plan(TestRegistry::plain().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_a_removed_index_stays_if_another_tag_points_to_it() {
    let site = Site::new(TestRegistry::embedded().await).await;
    let first = Lock::read(&site.path(&lock_path(RELEASES[0]))).unwrap();
    let (index, repository) = (&first.artifacts[0], "mke/four/calico/node");
    let child = &index.manifests[0].digest;
    site.run("prune lab --out prune.yaml").success();
    let client = site.registry.client();
    let _ = client.remove_manifest(repository, &index.digest).await;
    (site.registry)
        .copy_manifest((repository, child.as_ref()), (repository, "theirs"))
        .await;
    site.run("prune lab --plan prune.yaml").success();
    assert!(site.digest_of(repository, "theirs").await.is_some());
    let other = &index.manifests[1].digest;
    assert_eq!(site.digest_of(repository, other.as_ref()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_two_indexes_stays_while_one_of_them_stays() {
    let layers: &[(&str, usize)] = &[("base", 900), ("agent", 700)];
    let repository = "mke/four/agent";
    let both = [
        ["linux/amd64", "linux/arm64"],
        ["linux/amd64", "linux/s390x"],
    ];
    let first = both.iter().zip(["one", "two"]);
    let first = first.map(|(platforms, tag)| bundles::image("agent", tag, platforms, layers));
    let mut registry = TestRegistry::embedded().await;
    let wire = Wire::before(&registry.address).await;
    registry.address = wire.address.clone();
    let site = Site::of(registry, 3, first.collect()).await;
    let lock = Lock::read(&site.path(&lock_path(RELEASES[0]))).unwrap();
    let of = |tag: &str| {
        let mut artifacts = lock.artifacts.iter();
        artifacts
            .find(|one| one.repository == "agent" && one.tag == tag)
            .unwrap()
    };
    let shared = &of("one").manifests;
    let shared: Vec<&str> = shared
        .iter()
        .map(|manifest| manifest.digest.as_ref())
        .filter(|digest| {
            of("two")
                .manifests
                .iter()
                .any(|two| two.digest.as_ref() == *digest)
        })
        .collect();
    assert_eq!(shared.len(), 1, "{shared:?}");
    // Indexes are removed in the order of their digests. The registry refuses to delete the last
    // one.
    let last = ["one", "two"]
        .into_iter()
        .max_by_key(|tag| of(tag).digest.to_string());
    let stays = last.unwrap();
    let path = format!("/v2/{repository}/manifests/{}", of(stays).digest);
    wire.refuse(format!("DELETE {path}"));
    site.remove_by_plan().await.exits_with(5);
    assert!(site.digest_of(repository, stays).await.is_some());
    let held = site.digest_of(repository, shared[0]).await;
    assert!(held.is_some(), "{stays} is broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_tags_are_removed_from_the_embedded_registry() {
    unused_tags_are_removed_and_everything_else_stays(TestRegistry::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn unused_tags_are_removed_from_registry_2() {
    unused_tags_are_removed_and_everything_else_stays(TestRegistry::plain().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_registry_that_does_not_delete_is_reported() {
    let site = Site::new(TestRegistry::without_delete().await).await;
    let run = site.remove_by_plan().await.exits_with(5);
    run.reports("does not remove manifests: 0 tags removed");
    run.reports("REGISTRY_STORAGE_DELETE_ENABLED");
    assert!(site.digest_of("mke/four/only-first", "1").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_as_text_and_saved_as_yaml() {
    let site = Site::new(TestRegistry::embedded().await).await;
    let run = site.run("prune lab --out prune.yaml");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 0
    --- stdout
    kept: v4.1.2: previously deployed to lab
    kept: v4.1.5: required by lab, running in lab
    note: what mkectl v4.1.2 lists for lab but its lock lacks is unknown and not kept: it is not on this machine
    note: what mkectl v4.1.5 lists for lab but its lock lacks is unknown and not kept: it is not on this machine
    REPOSITORY            TAGS    OF      DIGEST
    mke/four/calico/node  v4.1.1  v4.1.1  sha256:b09d829881e4
    mke/four/only-first   1       v4.1.1  sha256:e86bcc31d28b
    stays: mke/four/pause:old: a lock that is kept names the same manifest
    lab: 2 tags would be removed from 127.0.0.1:[PORT]/mke/four, which frees at most 8.80 kB. Nothing was removed.
    Review prune.yaml, then run `cargo xtask prune lab --plan prune.yaml`: it removes exactly that, or refuses.
    --- stderr
    ");
    let text = site.redact(&site.read("prune.yaml"));
    let stable: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("revision: ") && !line.contains("receipt: "))
        .collect();
    insta::assert_snapshot!("file", stable.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_plan_no_request_changes_the_registry() {
    let registry = TestRegistry::embedded().await;
    let wire = Wire::before(&registry.address).await;
    let site = Site::new(registry).await;
    let file = "environments/lab/environment.yaml";
    site.edit(file, &site.registry.address, &wire.address);
    let receipt = "environments/lab/receipt.yaml";
    site.run("prune lab").success();
    site.edit(receipt, &site.registry.address, &wire.address);
    site.run("prune lab --out prune.yaml").success();
    let seen = wire.take();
    assert!(
        seen.iter()
            .all(|request| request.starts_with("GET ") || request.starts_with("HEAD ")),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_other_users_and_their_manifests_stay() {
    let site = Site::new(TestRegistry::embedded().await).await;
    let repository = "mke/four/calico/node";
    // Another user of the registry gives the same image a tag of their own.
    (site.registry)
        .copy_manifest((repository, RELEASES[0]), (repository, "theirs"))
        .await;
    let plan = site.plan();
    assert_eq!(removed(&plan), UNUSED[1..]);
    let stays = plan["stays"].to_string();
    stays.has("the tag theirs points to the same manifest");
    site.remove_by_plan().await.success();
    assert!(site.digest_of(repository, "theirs").await.is_some());
    assert!(site.digest_of(repository, RELEASES[0]).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_refused_if_anything_in_it_has_changed() {
    let site = Site::new(TestRegistry::embedded().await).await;
    site.run("prune lab --out prune.yaml").success();
    let prune = || site.run("prune lab --plan prune.yaml");
    let reviewed = site.read("prune.yaml");
    let refused = |run: &Run, why: &str| {
        run.reports(why);
        run.reports("nothing was removed");
    };
    // The cluster runs the first release again, so its artifacts are required.
    site.receipt(RELEASES[0], 3);
    let run = prune().exits_with(2);
    refused(&run, "a lock that is kept names it");
    run.reports("`cargo xtask prune lab --out prune.yaml`");
    site.receipt(RELEASES[2], 3);
    // A different environment of the same registry requires it.
    let lab = site.read("environments/lab/environment.yaml");
    site.write(
        "environments/other/environment.yaml",
        &lab.replace(RELEASES[2], RELEASES[0]),
    );
    refused(&prune().exits_with(2), "a lock that is kept names it");
    std::fs::remove_dir_all(site.path("environments/other")).unwrap();
    // The plan was edited to remove a different tag.
    site.write(
        "prune.yaml",
        &reviewed
            .replace("only-first", "pause")
            .replace("- '1'", "- old"),
    );
    refused(&prune().exits_with(2), "mke/four/pause:old");
    site.write(
        "prune.yaml",
        &reviewed.replace("environment: lab", "environment: prod"),
    );
    let run = prune().exits_with(64);
    let why = "error: `prune.yaml` is a prune plan for prod, not for lab\n";
    assert!(run.stderr.starts_with(why), "{}", run.whole());
    site.write("prune.yaml", &format!("{reviewed}more: 1\n"));
    assert_eq!(prune().code, Some(3));
    site.write("prune.yaml", &reviewed);
    // A tag of the plan points to different content.
    let first = Lock::read(&site.path(&lock_path(RELEASES[0]))).unwrap();
    let child = &first.artifacts[0].manifests[0].digest;
    let repository = "mke/four/calico/node";
    (site.registry)
        .copy_manifest((repository, child.as_ref()), (repository, RELEASES[0]))
        .await;
    refused(
        &prune().exits_with(2),
        "it points to different content than a receipt's lock records",
    );
    assert!(site.digest_of("mke/four/only-first", "1").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_environment_requires_its_name() {
    let site = Site::new(TestRegistry::embedded().await).await;
    let file = "environments/lab/environment.yaml";
    let text = site.read(file);
    site.write(file, &format!("{text}protected: true\n"));
    let run = site.remove_by_plan().await.exits_with(8);
    run.reports("hint: add `--confirm lab` for runs without a terminal\n");
    assert!(site.digest_of("mke/four/only-first", "1").await.is_some());
    site.run("prune lab --plan prune.yaml --confirm lab")
        .success();
    assert!(site.digest_of("mke/four/only-first", "1").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_that_no_deploy_pushed_stay_without_also_found() {
    let site = Site::with(TestRegistry::embedded().await, 0).await;
    let plan = site.plan();
    assert_eq!(removed(&plan), [""; 0]);
    assert!(
        plan["stays"].to_string().contains("not that it was pushed"),
        "{plan}"
    );
    let run = site.run("prune lab --also-found --format json").success();
    assert_eq!(removed(&result(&run)), UNUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_git_history_the_plan_is_empty_and_a_missing_lock_is_an_error() {
    let site = Site::new(TestRegistry::embedded().await).await;
    std::fs::remove_dir_all(site.path(".git")).unwrap();
    let plan = site.plan();
    assert_eq!(removed(&plan), [""; 0]);
    assert!(
        plan["notes"]
            .to_string()
            .contains("only receipts and locks in this folder are used"),
        "{plan}"
    );
    // If an environment cannot be read, the release that it requires is unknown.
    let unmounted = site.path("environments/unmounted");
    std::os::unix::fs::symlink("/nowhere", &unmounted).unwrap();
    let run = site.run("prune lab").exits_with(3);
    run.reports("environments/unmounted");
    std::fs::remove_file(unmounted).unwrap();
    site.remove(&lock_path(RELEASES[2]));
    let run = site.run("prune lab").exits_with(3);
    run.reports("its lock was not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_from_a_different_checkout_stops_a_removal() {
    let site = Site::new(TestRegistry::embedded().await).await;
    site.run("prune lab --out prune.yaml").success();
    let lock = Lock::digest(&site.read(&lock_path(RELEASES[0])));
    for (phase, why) in [
        (
            "began",
            "error: a deploy of v4.1.1 to lab began at [TIME] from a different checkout and has not ended\n",
        ),
        (
            "ended",
            "error: the registry records that a deploy of v4.1.1 to lab ended at [TIME], but the receipt in this checkout records v4.1.5 of [TIME]\n",
        ),
    ] {
        site.record("lab", phase, &lock, Some(RUN)).await;
        for command in ["prune lab", "prune lab --plan prune.yaml"] {
            let run = site.run(command).exits_with(8);
            run.reports(why).reports("run `git pull`");
            run.reports(", run `cargo xtask deploy lab --take-over` first\n");
        }
        assert!(site.digest_of("mke/four/only-first", "1").await.is_some());
    }
    // With the receipt of that deploy, the plan is outdated.
    site.receipt(RELEASES[0], 3);
    let receipt = "environments/lab/receipt.yaml";
    let text = site.read(receipt);
    let known = text.replacen("applied:", &format!("run: {RUN}\napplied:"), 1);
    site.write(receipt, &known);
    let run = site.run("prune lab --plan prune.yaml").exits_with(2);
    run.reports("a lock that is kept names it");
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_the_registry_records_for_other_environments_stay() {
    let site = Site::new(TestRegistry::embedded().await).await;
    site.run("prune lab --out prune.yaml").success();
    let lock = Lock::digest(&site.read(&lock_path(RELEASES[0])));
    // `gone` is not in the workspace, and `second` uses a second name of the registry.
    let lab = site.read("environments/lab/environment.yaml");
    let second = lab.replace("127.0.0.1", "localhost");
    assert_ne!(lab, second);
    site.write("environments/second/environment.yaml", &second);
    for name in ["gone", "second"] {
        for phase in ["began", "ended"] {
            site.record(name, phase, &lock, Some(RUN)).await;
            assert_eq!(removed(&site.plan()), [""; 0]);
        }
        let run = site.run("prune lab").success();
        run.prints(&format!(
            "kept: v4.1.1: the registry records a deploy to {name}\n"
        ));
        let run = site.run("prune lab --plan prune.yaml").exits_with(2);
        run.reports("a lock that is kept names it");
        // The registry records a lock that is not in the workspace.
        site.record(name, "ended", RUN, Some(RUN)).await;
        for command in ["prune lab", "prune lab --plan prune.yaml"] {
            let run = site.run(command).exits_with(3);
            run.reports(&format!(
                "airlock/state:{name} records v4.1.1, and its lock was not found"
            ));
        }
        // The registry records that the cluster was reset.
        site.record(name, "ended", &lock, None).await;
        assert_eq!(removed(&site.plan()), UNUSED);
    }
    site.remove_by_plan().await.success();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_without_a_lock_stops_a_removal() {
    let site = Site::new(TestRegistry::embedded().await).await;
    site.run("prune lab --out prune.yaml").success();
    let lab = site.read("environments/lab/environment.yaml");
    let other = lab.replace(RELEASES[2], "v4.1.4");
    site.write("environments/other/environment.yaml", &other);
    for command in ["prune lab", "prune lab --plan prune.yaml"] {
        let run = site.run(command).exits_with(3);
        run.reports("error: other needs v4.1.4, and its lock was not found");
        run.reports("without it the artifacts to keep are unknown");
    }
    assert!(site.digest_of("mke/four/only-first", "1").await.is_some());
}
