//! Sets of an environment: planned, pushed, verified, packed and pruned with its release.

use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use support::{Courier, Lab, TestRegistry, bundles};

use super::*;
use crate::FAKE_MKECTL;

/// A lab whose environment carries the set `platform`, locked.
struct Carried {
    lab: Lab,
    upstream: Upstream,
}

support::used_as!(Carried, lab: Lab);

impl Carried {
    async fn new() -> Self {
        Self::of(Lab::new(AIRLOCK, FAKE_MKECTL).await).await
    }

    async fn of(lab: Lab) -> Self {
        let upstream = Upstream::start().await;
        upstream.image("library/nginx", "1.29", BOTH, 3000, "1");
        upstream.image("monitoring/exporter", "v1.9", BOTH, 2 << 20, "1");
        upstream.chart("charts/extra", "1.0.0");
        let address = &upstream.address;
        lab.write(
            "bundles/platform.set.yaml",
            &format!(
                "images:\n- nginx:1.29\n- {{ reference: '{address}/monitoring/exporter:v1.9', as: tools/exporter }}\n\
                 charts:\n- oci://{address}/charts/extra:1.0.0\nregistries: {{ docker.io: {{ mirror: '{address}' }} }}\n"
            ),
        );
        lab.write_environment("sets: [platform]\n");
        lab.run("lock platform").success();
        Self { lab, upstream }
    }

    fn store(&self) -> Store {
        Store::open(&self.path("bundles/store")).unwrap()
    }

    fn set(&self) -> Lock {
        Lock::read(&self.path("bundles/platform.lock.yaml")).unwrap()
    }

    /// Checks that the registry serves everything of the set, byte for byte.
    async fn everything_is_served(&self) {
        let client = self.registry.client();
        for artifact in &self.set().artifacts {
            let repository = format!("mke/{}", artifact.repository);
            let found = client
                .get_manifest(&repository, &artifact.tag)
                .await
                .unwrap();
            assert_eq!(found.digest, artifact.digest);
            for manifest in &artifact.manifests {
                let found = client
                    .get_manifest(&repository, manifest.digest.as_ref())
                    .await
                    .unwrap();
                assert_eq!(found.digest, manifest.digest);
                for blob in &manifest.blobs {
                    assert!(
                        client
                            .find_blob(&repository, &blob.digest)
                            .await
                            .unwrap()
                            .is_some()
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_hashed_as_it_came_is_sent_without_hashing_it_again() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    let hashed = |trace: &str| {
        lab.run(&["push", "lab", "--trace", trace]).success();
        let lines = std::fs::read_to_string(lab.path(trace)).unwrap();
        let lines = lines
            .lines()
            .map(|line| -> serde_json::Value { serde_json::from_str(line).unwrap() });
        let hashed = lines.filter_map(|line| line["hashes"].as_bool());
        hashed.collect::<Vec<bool>>()
    };
    std::fs::remove_dir_all(lab.path("bundles/store")).unwrap();
    let first = hashed("first");
    assert!(first.len() > 10 && !first.contains(&true), "{first:?}");
    // A later run did not see how the blobs came.
    let other = TestRegistry::plain().await;
    lab.edit_environment(&lab.registry.address, &other.address);
    let later = hashed("later");
    assert!(later.len() > 10 && !later.contains(&false), "{later:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_carries_the_sets_of_its_environment() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    let plan = lab.run("plan lab").success();
    assert!(
        plan.stdout.contains("+ library/nginx:1.29")
            && plan.stdout.contains("+ tools/exporter:v1.9"),
        "{}",
        plan.stdout
    );
    plan.prints("platform: fetch 8 blobs from upstream");
    let preflight = lab.run("preflight lab");
    preflight.prints("3 artifacts, 8 blobs to be fetched from upstream");
    lab.run("deploy lab").success();
    carried.everything_is_served().await;
    let receipt = lab.receipt();
    receipt.has("  sets:\n    platform: ");
    lab.run("verify lab").success();
    let page = lab.run("report lab").success().stdout;
    let row = "<tr><th scope=\"row\">platform</th><td class=\"size\">3</td><td class=\"size\">";
    assert!(page.contains(row), "{page}");
    // The sentence counts what the lock of the set names, too.
    for text in [
        "of v4.1.5 and platform that their locks record.",
        "of v4.1.5 and platform.</p>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let status = lab.run("status lab").success();
    status.does_not_print("different lock");
    // Nothing to do asks no upstream.
    let before = carried.upstream.count();
    let again = lab.run("deploy lab").success();
    again.mentions("Nothing to do");
    assert_eq!(carried.upstream.count(), before);

    // A new lock of the set is a difference, and the next deploy brings it.
    carried
        .upstream
        .image("library/nginx", "1.29", BOTH, 3000, "2");
    let moved = "the set platform is fetched as it was locked; moved upstream: docker.io/library/nginx:1.29";
    lab.run("fetch lab").exits_with(2).reports(moved);
    lab.run("lock platform --update nginx").success();
    let status = lab.run("status lab");
    status.prints("it was deployed from a different lock");
    lab.run("deploy lab").success();
    carried.everything_is_served().await;

    lab.write_environment("");
    let status = lab.run("status lab");
    status.prints("it was deployed with the set platform, which is no longer listed");
}

// promise 1, of sets
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_lists_less_than_its_manifests_is_refused_by_every_command() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    lab.run("fetch lab").success();
    lab.run("push lab").success();
    let path = "bundles/platform.lock.yaml";
    let good = lab.read(path);
    let layer = carried.set().artifacts[0].manifests[0].blobs[1].clone();
    // The line with the digest, and the one with the size.
    let mut lines: Vec<&str> = good.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains(layer.digest.as_ref()))
        .unwrap();
    lines.drain(at..at + 2);
    let without = lines.join("\n") + "\n";
    let size = format!("size: {}", layer.size);
    let resized = good.replace(&size, &format!("size: {}", layer.size + 1));
    let retyped = good.replace("application/vnd.oci.image.manifest.v1+json", "text/html");
    for wrong in [without, resized, retyped] {
        assert_ne!(wrong, good);
        lab.write(path, &wrong);
        for command in [
            &["lock", "platform"][..],
            &["lock", "platform", "--check"],
            &["fetch", "platform"],
            &["fetch", "lab", "--check"],
            &["plan", "lab"],
            &["push", "lab"],
            &["verify", "lab", "--full"],
        ] {
            let run = lab.run(command).exits_with(4);
            assert!(
                run.stderr
                    .contains("`bundles/platform.lock.yaml` does not list what manifest sha256:")
                    && run
                        .stderr
                        .contains("git checkout HEAD -- bundles/platform.lock.yaml"),
                "{command:?}: {}",
                run.stderr
            );
        }
    }
    // Without manifests in the store, those that are fetched decide.
    let wrong = lab.read(path);
    bundles::forget_store(&lab.sandbox);
    lab.write(path, &wrong);
    let run = lab.run("fetch lab");
    assert_ne!(run.code, Some(0), "{}", run.whole());
    lab.write(path, &good);
    lab.run("fetch lab").success();
    lab.run("verify lab --full").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_what_was_fetched_reads_the_sets_too() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    lab.run("fetch lab").success();
    lab.run("fetch lab --check").success();
    let layer = carried.set().artifacts[0].manifests[0].blobs[1].clone();
    let path = carried.store().path(&layer.digest);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let run = lab.run("fetch lab --check").exits_with(4);
    run.reports("bundles/store lacks 1 blob that sets name");
    std::fs::write(&path, vec![b'x'; bytes.len()]).unwrap();
    let run = lab.run("fetch lab --check");
    assert_ne!(run.code, Some(0), "{}", run.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn success_is_reported_only_if_the_sets_are_served_too() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    // A blob that upstream lost: nothing is tagged, and no cluster is touched.
    let lost = carried.upstream.blobs()[0].clone();
    let digest = lost.clone();
    carried.upstream.instead(move |asked| {
        asked
            .path
            .ends_with(&digest)
            .then(|| StatusCode::NOT_FOUND.into_response())
    });
    let run = lab.run("deploy lab").exits_with(5);
    run.reports(&lost);
    assert!(lab.applies().is_empty());
    let client = lab.registry.client();
    assert!(
        client
            .head_manifest("mke/library/nginx", "1.29")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        client
            .head_manifest("mke/calico/node", "v3.30.2")
            .await
            .unwrap()
            .is_none()
    );
    carried.upstream.as_usual();
    lab.run("deploy lab").success();
    carried.everything_is_served().await;

    // A manifest of the set that the registry loses is found, and restored.
    let set = carried.set();
    let exporter = set
        .artifacts
        .iter()
        .find(|one| one.repository == "tools/exporter")
        .unwrap();
    let url = format!(
        "http://{}/v2/mke/tools/exporter/manifests/{}",
        lab.registry.address, exporter.digest
    );
    support::registries::http()
        .delete(url)
        .send()
        .await
        .unwrap();
    let run = lab.run("verify lab").exits_with(5);
    run.reports("tools/exporter");
    lab.run("verify lab --repair").success();
    carried.everything_is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_a_deploy_that_upstream_failed_names_the_fetch() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    bundles::forget_store(&lab.sandbox);
    let refused = StatusCode::FORBIDDEN;
    carried
        .upstream
        .instead(move |_| Some(refused.into_response()));
    lab.run("deploy lab").exits_with(5);
    let receipt = lab.receipt();
    receipt.has("  step: fetch\n");
    carried.upstream.as_usual();
    lab.run("deploy lab").success();
    carried.everything_is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_stopped_while_upstream_is_read_says_that_it_was_stopped() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    bundles::forget_store(&lab.sandbox);
    // One byte, and no end.
    carried.upstream.instead(|asked| {
        let first = futures_util::stream::iter([Ok::<_, std::convert::Infallible>("x")]);
        let body = axum::body::Body::from_stream(first.chain(futures_util::stream::pending()));
        asked.path.contains("/blobs/").then(|| body.into_response())
    });
    for _ in 0..4 {
        let before = carried.upstream.count();
        let push = lab.command("push lab");
        let mut push = { push }.stderr(Stdio::piped()).spawn().unwrap();
        while carried.upstream.count() < before + 4 {
            assert!(push.try_wait().unwrap().is_none(), "it ended too soon");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let process = i32::try_from(push.id()).unwrap();
        // SAFETY: a signal to a process that was started here and not waited for.
        assert_eq!(unsafe { libc::kill(process, libc::SIGINT) }, 0);
        let ended = push.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(130), "{said}");
    }
    carried.upstream.as_usual();
    lab.run("push lab").success();
    carried.everything_is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_named_before_anything_is_sent() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    lab.write_environment("sets: [platform, gpu]\n");
    let check = lab.run("check lab").exits_with(3);
    assert!(
        check.stderr.contains("`gpu` is not a set")
            && check.stderr.contains("environments/lab/environment.yaml:"),
        "{}",
        check.whole()
    );
    lab.write(
        "bundles/gpu.set.yaml",
        &format!(
            "images: [{}/monitoring/exporter:v1.9]\n",
            carried.upstream.address
        ),
    );
    let check = lab.run("check lab").success();
    check.reports("gpu is not locked");
    let plan = lab.run("plan lab").exits_with(3);
    plan.reports("hint: on a machine with internet: `cargo xtask lock gpu`");
    // Different content under one name.
    carried
        .upstream
        .image("library/nginx", "1.29", BOTH, 10, "other");
    lab.write(
        "bundles/gpu.set.yaml",
        &format!(
            "images: [{}/library/nginx:1.29]\n",
            carried.upstream.address
        ),
    );
    lab.run("lock gpu").success();
    let plan = lab.run("plan lab").exits_with(3);
    assert!(
        plan.stderr
            .contains("platform and gpu both have library/nginx:1.29, with different content")
            || plan
                .stderr
                .contains("gpu and platform both have library/nginx:1.29, with different content"),
        "{}",
        plan.stderr
    );
    plan.does_not_report("--update");
    // Of one reference, at different times.
    let set = lab.read("bundles/platform.set.yaml");
    lab.write("bundles/gpu.set.yaml", &set);
    lab.run("lock gpu --replace").success();
    lab.run("plan lab")
        .exits_with(3)
        .reports("--update docker.io/library/nginx:1.29`, then `cargo xtask lock ");
    // The same in two environments of one project.
    let of_lab = "environments/lab/environment.yaml";
    lab.write_environment("sets: [gpu]\n");
    lab.write("environments/lab2/environment.yaml", &lab.read(of_lab));
    lab.write_environment("sets: [platform]\n");
    let push = lab.run("push lab lab2").exits_with(3);
    let refused = "lab and lab2 require different content under";
    push.reports(refused);
    assert!(lab.repositories().await.is_empty());
    lab.run("push lab2").success();
    let push = lab.run("push lab").success();
    let moved = "lab: the registry has different content under 1 tag, which the push moves";
    push.reports(moved);

    // Where a cluster pulls, a push moves tags only if a deploy may.
    lab.run("deploy lab").success();
    lab.write_environment("sets: [gpu]\nrequires: lab2\n");
    let push = lab.run("push lab").exits_with(8);
    push.reports("error: lab requires lab2: lab2 has no receipt of a deploy\n");
}

/// Commits the workspace, which becomes a repository.
fn commit(lab: &Lab) {
    if !lab.path(".git").exists() {
        lab.init_git();
    }
    lab.commit("deployed");
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_keeps_what_sets_need_and_removes_what_they_needed() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    lab.run("deploy lab").success();
    commit(lab);
    for seed in ["2", "3"] {
        carried
            .upstream
            .image("library/nginx", &format!("1.29-{seed}"), BOTH, 3000, seed);
        let set = lab.read("bundles/platform.set.yaml");
        let line = set
            .lines()
            .find(|line| line.starts_with("- nginx:"))
            .unwrap()
            .to_owned();
        lab.write(
            "bundles/platform.set.yaml",
            &set.replace(&line, &format!("- nginx:1.29-{seed}")),
        );
        lab.run("lock platform").success();
        lab.run("deploy lab").success();
        commit(lab);
    }
    // The third one runs and the second one ran before it.
    lab.run("prune lab --out prune.yaml").success();
    let plan = lab.read("prune.yaml");
    let (_, remove) = plan.split_once("\nremove:").unwrap();
    assert!(remove.contains("- '1.29'\n"), "{plan}");
    assert!(
        !remove.contains("1.29-2") && !remove.contains("1.29-3"),
        "{plan}"
    );
    assert!(!remove.contains("tools/exporter"), "{plan}");
    lab.run("prune lab --plan prune.yaml").success();
    let client = lab.registry.client();
    let held = |tag: &'static str| client.head_manifest("mke/library/nginx", tag);
    assert_eq!(held("1.29").await.unwrap(), None);
    assert!(held("1.29-2").await.unwrap().is_some());
    carried.everything_is_served().await;

    // Without the lock of a set, what another environment needs is unknown.
    let other = (lab.read("environments/lab/environment.yaml"))
        .replace("sets: [platform]", "sets: [unlocked]");
    lab.write("environments/other/environment.yaml", &other);
    lab.write("bundles/unlocked.set.yaml", "images: [nginx:1.29-2]\n");
    let run = lab.run("prune lab --out again.yaml").exits_with(3);
    run.reports("other needs unlocked, and its lock was not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_no_lock_has_are_named_when_the_charts_of_sets_come() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    let values = "sidecar: { image: 'quay.io/org/sidecar:v2' }\n";
    let members = [("Chart.yaml", "name: extra"), ("values.yaml", values)];
    let members =
        members.map(|(name, text)| bundles::Member::new(&format!("chart/{name}"), text.as_bytes()));
    let packed = bundles::gzip(&bundles::tar(&members));
    (carried.upstream).chart_of("charts/extra", "2.0.0", packed);
    lab.edit("bundles/platform.set.yaml", "1.0.0", "2.0.0");
    lab.run("lock platform").success();
    // A clone of the repository has no store.
    std::fs::remove_dir_all(lab.path("bundles/store")).unwrap();
    let named =
        "warning: the chart charts/extra:2.0.0 names quay.io/org/sidecar:v2, which is in no lock\n";
    lab.run("deploy lab").success().reports(named);
    lab.run("fetch lab").success().reports(named);
    (lab.run("deploy lab").success()).does_not_report("in no lock");
}

/// As docs/sets.md describes it.
#[tokio::test(flavor = "multi_thread")]
async fn the_bundle_of_a_release_gives_it_second_names_without_a_byte() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("push lab").success();
    let locked = Lock::read(&lab.path("bundles/v4.1.5-amd64.lock.yaml")).unwrap();
    let bundle = &locked.bundle;
    lab.write(
        "bundles/twice.set.yaml",
        &format!(
            "bundles:\n- url: {}\n  sha256: {}\n  as: mke\n",
            bundle.url, bundle.sha256
        ),
    );
    lab.run("lock twice").success();
    lab.write_environment("sets: [twice]\n");
    let run = lab.run("push lab").success();
    assert!(
        run.stdout.ends_with(", 14 pushed, 0 B sent\n"),
        "{}",
        run.stdout
    );
    lab.run("verify lab").success();
}

/// mkectl does not run where only sets changed, but their tags move.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_lacks_a_deploy_of_sets_moves_no_tag() {
    let mut carried = Carried::new().await;
    let cluster = carried.home().join("cluster.yaml");
    carried.variable("FAKE_MKECTL_CLUSTER", cluster.as_str());
    let lab = &carried.lab;
    lab.run("deploy lab").success();
    commit(lab);
    let files = [
        "bundles/platform.lock.yaml",
        "environments/lab/receipt.yaml",
    ];
    let before = files.map(|file| lab.read(file));
    (carried.upstream).image("library/nginx", "1.29", BOTH, 3000, "2");
    lab.run("lock platform --update nginx:1.29").success();
    // What the registry does not hold was not deployed.
    let rebuild = ["receipt", "rebuild", "lab", "--confirm", "lab"];
    lab.run(&rebuild).success().reports(
        "warning: the receipt does not record platform, since the registry does not hold all of it",
    );
    assert!(!lab.receipt().contains("platform: "), "{}", lab.receipt());
    lab.run("deploy lab").success();
    assert_eq!(lab.applies().len(), 1);
    lab.run(&rebuild)
        .success()
        .does_not_report("does not record");
    assert!(lab.receipt().contains("platform: "), "{}", lab.receipt());

    for (file, text) in files.iter().zip(&before) {
        lab.write(file, text);
    }
    for command in ["deploy", "push"] {
        let run = lab.run(&[command, "lab"]).exits_with(8);
        run.reports("but the receipt in this checkout records v4.1.5 of [TIME]");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_carries_the_sets_over_the_gap() {
    let Courier { lab, .. } = Courier::new(AIRLOCK, FAKE_MKECTL).await;
    let carried = Carried::of(lab).await;
    let lab = &carried.lab;
    commit(lab);
    // The site has neither upstream nor bundle.
    let inside = lab.carry();
    let before = carried.upstream.count();
    lab.run(&["push", "lab", "-C", inside.as_str(), "--offline"])
        .success();
    assert_eq!(carried.upstream.count(), before);
    carried.everything_is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_push_from_distribution_to_distribution_keeps_every_digest() {
    let upstream = TestRegistry::plain().await;
    let target = TestRegistry::plain().await;
    let mut sandbox = Sandbox::new(AIRLOCK);
    let bundle = sandbox.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
    bundles::make(&bundles::small(), &bundle);
    sandbox
        .run(&["lock", "v4.1.5", "--bundle", bundle.as_str()])
        .success();
    let release = Lock::read(&sandbox.path("bundles/v4.1.5-amd64.lock.yaml")).unwrap();
    target.describe(&sandbox, "");
    let environment = sandbox.read("environments/lab/environment.yaml");
    // The release itself is what the set is made of: under the same project of another registry.
    let moved = environment.replace(&target.address, &upstream.address);
    sandbox.write("environments/lab/environment.yaml", &moved);
    sandbox.run("push lab").success();
    sandbox.write(
        "environments/lab/environment.yaml",
        &format!("sets: [copied]\n{environment}"),
    );
    let (charts, images): (Vec<_>, Vec<_>) = release
        .artifacts
        .iter()
        .partition(|one| one.kind == bundle::Kind::Chart);
    let list = |artifacts: &[&bundle::Artifact]| -> String {
        artifacts
            .iter()
            .map(|one| {
                format!(
                    "- {{ reference: '{}/mke/four/{}', as: 'copy/{}' }}\n",
                    upstream.address,
                    one.reference(),
                    one.reference()
                )
            })
            .collect()
    };
    sandbox.write(
        "bundles/copied.set.yaml",
        &format!("images:\n{}charts:\n{}", list(&images), list(&charts)),
    );
    sandbox.run("lock copied").success();
    // What is fetched is not what the release brought.
    std::fs::remove_dir_all(sandbox.path("bundles/store")).unwrap();
    sandbox.run("push lab").success();
    sandbox.variable("NO_PROXY", "127.0.0.1");
    let copied = Lock::read(&sandbox.path("bundles/copied.lock.yaml")).unwrap();
    assert_eq!(copied.artifacts.len(), release.artifacts.len());
    let client = target.client();
    for artifact in &copied.artifacts {
        let name = artifact.reference();
        let original = release
            .artifacts
            .iter()
            .find(|one| format!("copy/{}", one.reference()) == name)
            .unwrap();
        assert_eq!(
            (&artifact.digest, &artifact.manifests),
            (&original.digest, &original.manifests),
            "{name}"
        );
        let found = client
            .get_manifest(&format!("mke/four/{}", artifact.repository), &artifact.tag)
            .await
            .unwrap();
        assert_eq!(found.digest, original.digest, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_without_a_lock_is_called_a_set() {
    let carried = Carried::new().await;
    let lab = &carried.lab;
    let path = "bundles/platform.lock.yaml";
    let good = lab.read(path);
    let about_lock = |lab: &Lab, code: i32| {
        let run = lab.run("preflight lab").exits_with(code);
        let lines = run.stdout.lines();
        let lines = lines.skip_while(|line| !line.contains(" lock "));
        let is_disk = |line: &&str| line.contains(" disk ");
        let all: Vec<&str> = lines.take_while(|line| !is_disk(line)).collect();
        all.join("\n")
    };
    lab.remove(path);
    insta::assert_snapshot!(about_lock(lab, 3), @"
    PROBLEM  lock              the set platform is not locked: `bundles/platform.lock.yaml` does not exist
                               fix: with internet: `cargo xtask lock platform`, and commit it; without: unpack a medium that has the lock
    ");
    for command in ["plan", "status", "push", "verify", "images"] {
        let run = lab.run(&[command, "lab"]);
        let said = "the set platform is not locked: `bundles/platform.lock.yaml` does not exist";
        assert!(run.whole().contains(said), "{command}: {}", run.whole());
    }
    // An entry that the lock lacks.
    let set = lab.read("bundles/platform.set.yaml");
    let more = set.replace("images:\n", "images:\n- nginx:1.30\n");
    lab.write(path, &good);
    lab.write("bundles/platform.set.yaml", &more);
    let about = about_lock(lab, 3);
    assert!(
        about.contains("docker.io/library/nginx:1.30 is not locked")
            && about.contains("`cargo xtask lock platform`"),
        "{about}"
    );
}
