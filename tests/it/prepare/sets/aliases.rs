//! Second names: of an artifact of a set by `aliases`, and of a whole release by a second
//! environment. Neither sends a blob again.

use super::*;
use crate::FAKE_MKECTL;
use support::wire::Wire;
use support::{Lab, Run};

/// A lab whose environment carries a set of an image with these aliases.
struct Aliased {
    lab: Lab,
    upstream: Upstream,
}

support::used_as!(Aliased, lab: Lab);

impl Aliased {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        upstream.image("library/pause", "3.10", BOTH, 3000, "1");
        let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
        lab.write_environment("sets: [platform]\n");
        Self { lab, upstream }
    }

    fn lock(&self, aliases: &str) -> Lock {
        let address = &self.upstream.address;
        self.write(
            "bundles/platform.set.yaml",
            &format!(
                "images: [{{ reference: 'pause:3.10', as: tools/pause, aliases: {aliases} }}]\n\
                 registries: {{ docker.io: {{ mirror: '{address}' }} }}\n"
            ),
        );
        self.run("lock platform").success();
        Lock::read(&self.path("bundles/platform.lock.yaml")).unwrap()
    }

    async fn has(&self, repository: &str, tag: &str) -> bool {
        let client = self.registry.client();
        let found = client.head_manifest(repository, tag).await;
        found.unwrap().is_some()
    }
}

fn result(run: Run) -> serde_json::Value {
    run.success().json()["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_a_second_name_and_costs_no_bytes() {
    let aliased = Aliased::new().await;
    let lab = &aliased.lab;
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    aliased.lock("[]");
    lab.run("deploy lab").success();
    let asked = aliased.upstream.count();
    let lock = aliased.lock("[mke/pause, 'other/pause:latest']");
    assert_eq!(aliased.upstream.count() - asked, 1, "the tag is looked at");
    let names: Vec<String> = lock.artifacts.iter().map(|one| one.reference()).collect();
    let places = ["mke/pause:3.10", "other/pause:latest", "tools/pause:3.10"];
    assert_eq!(names, places);

    let plan = lab.run("plan lab").success();
    for place in &places[..2] {
        plan.prints(&format!("+ {place}"));
    }
    let pushed = result(lab.run("push lab --format json"));
    assert_eq!(pushed["sent-bytes"], 0, "{pushed}");
    assert!(aliased.has("mke/mke/pause", "3.10").await);
    assert!(aliased.has("mke/other/pause", "latest").await);
    lab.run("deploy lab").success();
    lab.run("verify lab --full").success();
    assert_eq!(aliased.upstream.count() - asked, 1);
    lab.run("fetch platform").success();

    // Blobs of a new name are mounted too: a registry may keep blobs for each repository. The
    // embedded registry refuses mounts, and three refusals end the attempts.
    aliased.lock("[mke/renamed, 'other/pause:latest']");
    wire.take();
    lab.run("push lab").success();
    let requests = wire.take();
    let asks_to_mount = |one: &&String| one.starts_with("POST /v2/mke/mke/renamed/blobs/uploads/");
    let mounts = requests.iter().filter(asks_to_mount).count();
    assert!(mounts >= 3, "{requests:?}");
    aliased.lock("[mke/pause, 'other/pause:latest']");

    // Consumers get one name of an image. The full list has all names.
    let kustomize = lab.run("images lab --as kustomize").success();
    let entry = "- name: docker.io/library/pause\n  newName: 127.0.0.1:[PORT]/mke/tools/pause\n";
    kustomize.prints(entry);
    let listed = lab.run("images lab").success();
    let listed = listed
        .stdout
        .matches("docker.io/library/pause:3.10 ")
        .count();
    assert_eq!(listed, 3);

    // A tag that moved upstream moves under all its names.
    let moved = aliased
        .upstream
        .image("library/pause", "3.10", BOTH, 3000, "2");
    lab.run("lock platform --update pause").success();
    let lock = Lock::read(&lab.path("bundles/platform.lock.yaml")).unwrap();
    let moved = |one: &bundle::Artifact| *one.digest.as_ref() == *moved;
    assert!(lock.artifacts.iter().all(moved));
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_keeps_aliases_and_removes_dropped_ones() {
    let aliased = Aliased::new().await;
    let lab = &aliased.lab;
    lab.init_git();
    let http = support::registries::http();
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let address = &lab.registry.address;
    let url = |tag: &str| format!("http://{address}/v2/mke/airlock/state/manifests/{tag}");
    let mut first = String::new();
    // What runs and what ran before it is kept, under each name that it has.
    for (seed, aliases) in [("1", "[one, two]"), ("2", "[one]"), ("3", "[one, three]")] {
        let upstream = &aliased.upstream;
        upstream.image("library/pause", "3.10", BOTH, 3000, seed);
        aliased.lock(aliases);
        lab.run("lock platform --replace").success();
        lab.run("deploy lab").success();
        lab.commit(&format!("Deploy {seed}"));
        if seed == "1" {
            // The registry records the same for an environment that is not in the workspace.
            first = lab.read("environments/lab/receipt.yaml");
            let bytes = http.get(url("lab")).header("accept", oci).send();
            let bytes = bytes.await.unwrap().bytes().await.unwrap();
            let put = http
                .put(url("gone"))
                .header("content-type", oci)
                .body(bytes);
            put.send().await.unwrap().error_for_status().unwrap();
        }
    }
    let prune = || {
        let run = lab.run("prune lab --format json").success();
        assert_eq!(result(run)["remove"], serde_json::json!([]));
        lab.run("prune lab").success()
    };
    prune().prints("note: the sets that gone needs are unknown");
    let receipt = "environments/gone/receipt.yaml";
    lab.write(receipt, &first);
    lab.commit("Add gone");
    std::fs::remove_dir_all(lab.path("environments/gone")).unwrap();
    lab.commit("Remove gone");
    prune().prints("kept: platform: the registry records a deploy to gone\n");
    let state = lab.registry.client();
    let found = state.head_manifest("mke/airlock/state", "gone").await;
    let digest = found.unwrap().unwrap().digest.unwrap();
    let removed = state.remove_manifest("mke/airlock/state", &digest).await;
    assert_eq!(removed.unwrap(), registry::Removed::Gone);
    lab.run("prune lab --out prune.yaml").success();
    lab.run("prune lab --plan prune.yaml").success();
    assert!(!aliased.has("mke/two", "3.10").await);
    for kept in ["mke/one", "mke/three", "mke/tools/pause"] {
        assert!(aliased.has(kept, "3.10").await, "{kept}");
    }
    lab.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_aliases_are_named() {
    let aliased = Aliased::new().await;
    let refused = |aliases: &str| {
        aliased.write(
            "bundles/platform.set.yaml",
            &format!("images: [{{ reference: 'pause:3.10', aliases: {aliases} }}]\n"),
        );
        let run = aliased.run("lock platform");
        run.exits_with(3).stderr.lines().next().unwrap().to_owned()
    };
    let all = ["[A]", "[one, one]", "[library/pause]", "[airlock/one]"].map(refused);
    insta::assert_snapshot!(all.join("\n"), @"
    error: bundles/platform.set.yaml: `A` in `aliases` is not a repository
    error: bundles/platform.set.yaml: `aliases` of docker.io/library/pause:3.10 repeats one:3.10
    error: bundles/platform.set.yaml: `aliases` of docker.io/library/pause:3.10 repeats library/pause:3.10
    error: bundles/platform.set.yaml: docker.io/library/pause:3.10 would become airlock/one:3.10 in your registry, and airlock/ is reserved for Airlock
    ");
}

/// mkectl of v4.1.3 may look for a release below the project twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_environment_gives_a_release_second_names() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write(
        "environments/lab-twice/environment.yaml",
        "inherit: ../lab/environment.yaml\nregistry: { project: mke/mke }\n",
    );
    lab.run("push lab").success();
    let pushed = result(lab.run("push lab-twice --format json"));
    assert_eq!(pushed["sent-bytes"], 0, "{pushed}");
    lab.run("verify lab-twice").success();
    let lock = bundles::lock_of(&lab.sandbox);
    let client = lab.registry.client();
    for one in &lock.artifacts {
        let twice = format!("mke/mke/{}", one.repository);
        let found = client.get_manifest(&twice, &one.tag).await.unwrap();
        assert_eq!(found.digest, one.digest);
    }
    // One cluster is deployed by one environment.
    lab.run("deploy lab").success();
    for command in ["plan", "deploy", "apply"] {
        let run = lab.run(&[command, "lab-twice"]).exits_with(3);
        run.reports("lab-twice and lab name one cluster, at mke.lab.example.com");
    }
    let status = lab.run("status lab-twice").success();
    status.does_not_mention("deploy lab-twice");
    lab.run("push lab-twice").success();
}
