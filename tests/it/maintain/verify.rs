//! Tests of `verify`: it reports exactly what the registry lacks, and repairs exactly that.
//! `--watch` reports only changes.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use bundle::Lock;
use oci_spec::image::Digest;
use serde_json::Value;
use sha2::Digest as _;
use support::bundles::{self, FILE};
use support::faulty::{Fault, FaultyRegistry, Kind, Quirks, always};
use support::server::{Server, redirect};
use support::wire::Wire;
use support::{Lab, Run, Sandbox, TestRegistry, Text as _};

use crate::{AIRLOCK, FAKE_MKECTL};

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_verified_without_bundle_and_store() {
    let registry = TestRegistry::embedded().await;
    let sandbox = pushed(&registry, &bundles::small());
    sandbox.remove(&format!("bundles/{FILE}"));
    bundles::forget_store(&sandbox);
    insta::assert_snapshot!(sandbox.run("verify lab").whole(), @"
    exit code: 0
    --- stdout
    lab: 127.0.0.1:[PORT]/mke/four serves 14 artifacts of v4.1.5 to nodes
    --- stderr
    warning: environments/lab/mke4.yaml does not exist; the registry of environment.yaml is read
      confirm 14 artifacts as a node pulls them
      confirm done: 14 artifacts are served to nodes
    ");
    insta::assert_snapshot!(sandbox.run("verify lab --format json").whole(), @r#"
    exit code: 0
    --- stdout
    {"event":{"kind":"warning","text":"environments/lab/mke4.yaml does not exist; the registry of environment.yaml is read"}}
    {"event":{"bytes":null,"kind":"started","step":"confirm","what":"14 artifacts as a node pulls them"}}
    {"event":{"kind":"finished","step":"confirm","what":"14 artifacts are served to nodes"}}
    {"result":{"artifacts":14,"blobs":47,"chart-registry":"127.0.0.1:[PORT]/mke/four","deployed":null,"environment":"lab","manifests":24,"read-bytes":0,"registry":"127.0.0.1:[PORT]/mke/four","release":"v4.1.5","unlocked":[]}}
    --- stderr
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_registry_lacks_every_tag() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, &bundles::tiny());
    insta::assert_snapshot!(sandbox.run("verify lab").whole(), @"
    exit code: 5
    --- stdout
    --- stderr
    warning: environments/lab/mke4.yaml does not exist; the registry of environment.yaml is read
      confirm 3 artifacts as a node pulls them
      confirm done: findings in 3 artifacts
    error: registry 127.0.0.1:[PORT]/mke/four does not serve what the lock names
      calico/node:v3.30.2 is missing, and 7 of its manifests and blobs
      charts/dex:0.23.0 is missing, and 2 of its manifests and blobs
      pause:3.10 is missing, and 3 of its manifests and blobs
    hint: `cargo xtask push lab` pushes missing and different tags; `cargo xtask verify lab --repair` restores what is below tags too
    ");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn only_the_moved_and_the_missing_tag_are_reported() {
    let registry = TestRegistry::plain().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let lock = bundles::lock_of(&sandbox);
    let pause = artifact(&lock, "pause");
    let node = artifact(&lock, "calico/node");
    move_tag(&registry, node).await;
    delete_manifest(&registry, pause, &pause.digest).await;

    insta::assert_snapshot!(sandbox.run("verify lab").whole(), @"
    exit code: 5
    --- stdout
    --- stderr
    warning: environments/lab/mke4.yaml does not exist; the registry of environment.yaml is read
      confirm 3 artifacts as a node pulls them
      confirm done: findings in 2 artifacts
    error: registry 127.0.0.1:[PORT]/mke/four does not serve what the lock names
      calico/node:v3.30.2 is sha256:8a849de29a0cd1e89b0ccf5802e44d976d8e8e58f8cf099d416d8d119decbb73, not sha256:db9b9b098bbe1b53d7c4b16396619ebeb8c70ccc7a9f0c36181490ddb386fb30
      pause:3.10 is missing
    hint: `cargo xtask push lab` pushes missing and different tags; `cargo xtask verify lab --repair` restores what is below tags too
    ");
    insta::assert_snapshot!(sandbox.run("verify lab --format json").whole(), @r#"
    exit code: 5
    --- stdout
    {"event":{"kind":"warning","text":"environments/lab/mke4.yaml does not exist; the registry of environment.yaml is read"}}
    {"event":{"bytes":null,"kind":"started","step":"confirm","what":"3 artifacts as a node pulls them"}}
    {"event":{"kind":"finished","step":"confirm","what":"findings in 2 artifacts"}}
    {"error":{"causes":[],"exit-code":5,"findings":[{"artifact":"calico/node:v3.30.2","digest":"sha256:db9b9b098bbe1b53d7c4b16396619ebeb8c70ccc7a9f0c36181490ddb386fb30","found":"sha256:8a849de29a0cd1e89b0ccf5802e44d976d8e8e58f8cf099d416d8d119decbb73","kind":"moved-tag","repository":"mke/four/calico/node","size":491},{"artifact":"pause:3.10","digest":"sha256:3ec34db4bc5a9858aa383238dc0cd38e1a0fa7728bc3b694a8f390b11ebe2903","kind":"missing-tag","repository":"mke/four/pause","size":557}],"hints":["`cargo xtask push lab` pushes missing and different tags; `cargo xtask verify lab --repair` restores what is below tags too"],"message":"registry 127.0.0.1:[PORT]/mke/four does not serve what the lock names","wrong":["calico/node:v3.30.2 is sha256:8a849de29a0cd1e89b0ccf5802e44d976d8e8e58f8cf099d416d8d119decbb73, not sha256:db9b9b098bbe1b53d7c4b16396619ebeb8c70ccc7a9f0c36181490ddb386fb30","pause:3.10 is missing"]}}
    --- stderr
    "#);

    // The command of the hint helps.
    sandbox.run("push lab").success();
    sandbox.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn missing_manifests_and_blobs_of_a_correct_tag_are_reported() {
    let registry = TestRegistry::plain().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let lock = bundles::lock_of(&sandbox);
    let node = artifact(&lock, "calico/node");
    let dex = artifact(&lock, "charts/dex");
    delete_manifest(&registry, node, &node.manifests[0].digest).await;
    let layer = &dex.manifests[0].blobs[1].digest;
    delete_blob(&registry, dex, layer).await;
    insta::assert_snapshot!(sandbox.run("verify lab").whole(), @"
    exit code: 5
    --- stdout
    --- stderr
    warning: environments/lab/mke4.yaml does not exist; the registry of environment.yaml is read
      confirm 3 artifacts as a node pulls them
      confirm done: findings in 2 artifacts
    error: registry 127.0.0.1:[PORT]/mke/four does not serve what the lock names
      calico/node:v3.30.2: manifest sha256:8a849de29a0cd1e89b0ccf5802e44d976d8e8e58f8cf099d416d8d119decbb73 of its index is missing
      charts/dex:0.23.0: blob sha256:67c506264c5603dd611478217e3e707c8936b7dc3a3dece664605a17b0dd4c82 is missing
    hint: the registry lost blobs of existing tags, and a push trusts tags: `cargo xtask verify lab --repair` restores them
    ");

    // The command of the hint helps.
    let run = sandbox.run("verify lab --repair").success();
    insta::assert_snapshot!(run.stdout, @"lab: 2 artifacts repaired: 1 manifest set, 1 blob sent (4.12 kB); 127.0.0.1:[PORT]/mke/four serves 3 artifacts of v4.1.5 to nodes");
    sandbox.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_repair_sends_only_the_tag_manifest_or_blob_that_is_missing() {
    let registry = TestRegistry::plain().await;
    let wire = Wire::before(&registry.address).await;
    let sandbox = Sandbox::new(AIRLOCK);
    TestRegistry::describe_at(&wire.address, None, &sandbox, "");
    bundles::make_locked(&sandbox, &bundles::tiny());
    sandbox.run("push lab").success();
    let lock = bundles::lock_of(&sandbox);
    let (node, pause) = (artifact(&lock, "calico/node"), artifact(&lock, "pause"));
    let (child, layer) = (&node.manifests[0], &pause.manifests[0].blobs[2]);
    let children = child.digest.to_string();
    let cases = [
        (
            "missing-child",
            children.clone(),
            vec![format!("PUT /v2/mke/four/calico/node/manifests/{children}")],
        ),
        (
            "missing-blob",
            layer.digest.to_string(),
            vec!["POST /v2/mke/four/pause/blobs/uploads/".to_owned()],
        ),
        (
            "missing-tag",
            node.digest.to_string(),
            vec![format!(
                "PUT /v2/mke/four/calico/node/manifests/{}",
                node.tag
            )],
        ),
        (
            "moved-tag",
            node.digest.to_string(),
            vec![format!(
                "PUT /v2/mke/four/calico/node/manifests/{}",
                node.tag
            )],
        ),
    ];
    for (kind, digest, changes) in cases {
        match kind {
            "missing-child" => delete_manifest(&registry, node, &child.digest).await,
            "missing-blob" => delete_blob(&registry, pause, &layer.digest).await,
            "missing-tag" => delete_manifest(&registry, node, &node.digest).await,
            _ => move_tag(&registry, node).await,
        }
        let found = findings(&sandbox.run("verify lab --format json").exits_with(5));
        let [finding] = found.as_slice() else {
            panic!("{kind}: {found:#?}");
        };
        assert_eq!(finding["kind"], kind);
        assert_eq!(finding["digest"], digest.as_str());

        wire.take();
        sandbox.run("verify lab --repair").success();
        let sent = writes(&wire.take());
        // An upload is a POST, which opens a session, and a PUT with the blob.
        let is_upload =
            |request: &String| request.starts_with("PUT") && request.contains("/uploads/");
        let (uploads, rest): (Vec<String>, Vec<String>) = sent.into_iter().partition(is_upload);
        assert_eq!(rest, changes, "{kind}");
        assert_eq!(
            uploads.len(),
            usize::from(kind == "missing-blob"),
            "{uploads:?}"
        );
        sandbox.run("verify lab --full").success();
    }
    wire.take();
    let run = sandbox.run("verify lab --repair").success();
    run.prints("nothing to repair");
    assert_eq!(writes(&wire.take()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_repair_reads_blobs_that_the_store_lacks_from_the_bundle() {
    let registry = TestRegistry::plain().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let lock = bundles::lock_of(&sandbox);
    let pause = artifact(&lock, "pause");
    delete_manifest(&registry, pause, &pause.digest).await;
    bundles::forget_store(&sandbox);
    sandbox.run("verify lab --repair").success();
    sandbox.run("verify lab").success();

    // A damaged blob of the store is never sent.
    let layer = &pause.manifests[0].blobs[2].digest;
    let file = sandbox.path(&format!(
        "bundles/store/blobs/{}",
        layer.to_string().replace(':', "/")
    ));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    delete_blob(&registry, pause, layer).await;
    sandbox.run("verify lab --repair").success();
    sandbox.run("verify lab --full").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_of_a_protected_environment_requires_its_name() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    let file = "environments/lab/environment.yaml";
    sandbox.write(file, &format!("protected: true\n{}", sandbox.read(file)));
    bundles::make_locked(&sandbox, &bundles::tiny());
    let run = sandbox.run("verify lab --repair").exits_with(8);
    run.reports("pause:3.10 is missing");
    sandbox.run("verify lab").exits_with(5);
    sandbox.run("verify lab --repair --confirm lab").success();
    sandbox.run("verify lab --full").success();
}

#[test]
fn verify_full_finds_a_changed_byte_in_the_registry() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.run("deploy demo").success();
    let run = sandbox.run("verify demo --full --format json").success();
    let read = last(&run)["result"]["read-bytes"].as_u64();
    let lock = Lock::read(&sandbox.path("bundles/v4.1.5-demo-amd64.lock.yaml")).unwrap();
    let unique: u64 = lock.blobs().values().sum();
    assert_eq!(
        read,
        Some(unique),
        "each blob is read once, however many artifacts share it"
    );

    let having = |digest: &oci_spec::image::Digest| {
        let has = |one: &&bundle::Artifact| one.blobs().any(|(blob, _)| blob == digest);
        let having = lock.artifacts.iter().filter(has);
        having.map(|one| one.reference()).collect::<Vec<_>>()
    };
    let blobs = lock.artifacts.iter().flat_map(|one| &one.manifests);
    let layer = blobs
        .flat_map(|manifest| &manifest.blobs)
        .max_by_key(|blob| (having(&blob.digest).len(), blob.size))
        .unwrap();
    assert!(having(&layer.digest).len() > 1);
    // The embedded registry splits the digest into folders.
    let hex = layer.digest.to_string().replace("sha256:", "").split_off(2);
    let kept = sandbox
        .files()
        .into_keys()
        .filter(|path| path.as_str().contains("/rehearsal/demo/registry/"));
    let file = kept
        .into_iter()
        .find(|path| path.as_str().contains(&hex))
        .unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    sandbox.run("verify demo").success();
    let found = findings(
        &sandbox
            .run("verify demo --full --format json")
            .exits_with(5),
    );
    for finding in &found {
        assert_eq!(finding["kind"], "wrong-digest");
        assert_eq!(finding["digest"], layer.digest.as_ref());
    }
    let named: Vec<_> = found.iter().map(|one| one["artifact"].clone()).collect();
    assert_eq!(
        named,
        having(&layer.digest),
        "every artifact that shares the layer"
    );

    // The registry reports the blob as present, so it cannot be sent.
    sandbox
        .run("verify demo --full --repair")
        .exits_with(5)
        .reports("storage is damaged")
        .reports("verify demo --full --repair");
    // Without `--repair` the hint is the same, because a repair cannot help.
    let run = sandbox.run("verify demo --full").exits_with(5);
    run.reports("docker/registry/v2/blobs/sha256/");
    run.does_not_report("puts back");
    // After the file is removed from the registry's storage, a repair sends the blob. Registries of
    // rehearsals are repaired too.
    std::fs::remove_file(&file).unwrap();
    sandbox.run("verify demo").exits_with(5);
    sandbox.run("verify demo --repair").success();
    sandbox.run("verify demo --full").success();
}

/// Makes a workspace with a small release and this registry.
fn sandbox_for(registry: &FaultyRegistry, more: &str) -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    TestRegistry::describe_at(&registry.address, None, &sandbox, more);
    bundles::make_locked(&sandbox, &bundles::tiny());
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_head_finds_but_get_does_not_is_missing() {
    let registry = FaultyRegistry::start(Quirks::default(), &[], 1).await;
    let sandbox = sandbox_for(&registry, "");
    sandbox.run("push lab").success();
    sandbox.run("verify lab").success();
    let missing = Fault::Answer {
        status: 404,
        code: "MANIFEST_UNKNOWN",
    };
    for kind in [Kind::GetManifest, Kind::GetBlob] {
        registry.play(&[always(&[kind], missing)]);
        sandbox.run("verify lab").exits_with(5).reports("missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_refuses_redirected_requests_is_named() {
    let storage = Server::start(|_| StatusCode::FORBIDDEN.into_response()).await;
    let to = storage.url("store");
    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&is_broken);
    let registry = FaultyRegistry::recorded(Quirks::default(), move |asked| {
        let redirects = breaks.load(Ordering::Relaxed) && asked.is("GET", "/blobs/");
        redirects.then(|| redirect(&to))
    })
    .await;
    let sandbox = sandbox_for(&registry, "");
    sandbox.run("push lab").success();
    is_broken.store(true, Ordering::Relaxed);
    let run = sandbox.run("verify lab").exits_with(5);
    run.reports(&format!(
        "redirects to http://{}, which refuses the request",
        sandbox.redact(&storage.address)
    ));
    run.reports("turn redirects off in the registry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_project_that_answers_404_is_not_reported_as_empty() {
    let registry = FaultyRegistry::recorded(Quirks::default(), |asked| {
        let hides = asked.is("GET", "/v2/") && asked.path != "/v2/" || asked.is("HEAD", "/v2/");
        let login = (hides && asked.sent("authorization").is_none()).then(|| {
            let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
            (StatusCode::NOT_FOUND, unknown).into_response()
        });
        let asks = !hides && asked.sent("authorization").is_none();
        login.or_else(|| {
            asks.then(|| {
                let challenge = [("www-authenticate", "Basic realm=\"private\"")];
                (StatusCode::UNAUTHORIZED, challenge).into_response()
            })
        })
    })
    .await;
    let mut sandbox = sandbox_for(&registry, "  push-credentials: { env: LAB }\n");
    sandbox.variable("LAB_USERNAME", "courier");
    sandbox.variable("LAB_PASSWORD", "correct-horse");
    for command in ["push lab", "verify lab"] {
        let run = sandbox.run(command).exits_with(5);
        run.reports("without credentials");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_blob_is_read_to_its_locked_size() {
    let registry = FaultyRegistry::start(Quirks::default(), &[], 1).await;
    let sandbox = sandbox_for(&registry, "");
    sandbox.run("push lab").success();
    sandbox.run("render lab").success();
    let rule = always(&[Kind::GetBlob], Fault::Endless);
    registry.play(&[rule]);
    let run = sandbox.run("verify lab --full").exits_with(5);
    run.reports("is a longer blob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_stops_answering_is_named() {
    let silent = Fault::Stall { after: 0 };
    let rule = always(&[Kind::GetManifest], silent);
    let registry = FaultyRegistry::start(Quirks::default(), &[rule], 1).await;
    let sandbox = sandbox_for(&registry, "");
    let mut command = sandbox.command("verify lab");
    let mut verify = command.stderr(Stdio::piped()).spawn().unwrap();
    let expected = format!(
        "registry {} has not answered for 10 s; still waiting",
        registry.address
    );
    let stderr = BufReader::new(verify.stderr.take().unwrap());
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(&expected)));
    verify.kill().unwrap();
    verify.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_charts_are_read_from_the_registries_of_the_rendered_file() {
    let registry = TestRegistry::embedded().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let (images, charts) = (
        Wire::before(&registry.address).await,
        Wire::before(&registry.address).await,
    );
    sandbox.run("render lab").success();
    let file = "environments/lab/mke4.yaml";
    let own = format!("{}/mke/four", registry.address);
    let text = sandbox
        .read(file)
        .replace(
            &format!("oci://{own}"),
            &format!("oci://{}/mke/four", charts.address),
        )
        .replace(&own, &format!("{}/mke/four", images.address));
    sandbox.write(file, &text);
    let run = sandbox.run("verify lab").success();
    run.reports("makes nodes pull from");
    let seen = |wire: &Wire, part: &str| {
        let seen = wire.take();
        let about: Vec<bool> = seen
            .iter()
            .filter(|one| one.len() > 9)
            .map(|one| one.contains(part))
            .collect();
        (about.len(), about.into_iter().all(|is| is))
    };
    let (asked, only_charts) = seen(&charts, "/charts/");
    assert!(asked > 3 && only_charts);
    let (asked, is_chart) = seen(&images, "/charts/");
    assert!(asked > 3 && !is_chart);
    // A repair sends nothing to a registry that is not that of the environment.
    let run = sandbox.run("verify lab --repair").success();
    run.prints("nothing to repair");
    sandbox.write(file, &text.replace("/mke/four", "/other"));
    let run = sandbox.run("verify lab --repair").exits_with(3);
    run.reports("cargo xtask render lab");

    sandbox.write(file, "spec: {}\n");
    let run = sandbox.run("verify lab").exits_with(3);
    run.reports("does not specify where nodes pull from");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_reports_each_change_once_and_ends_on_a_signal() {
    let registry = TestRegistry::embedded().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let metrics = sandbox.path("metrics/airlock.prom");
    std::fs::create_dir(metrics.parent().unwrap()).unwrap();
    let mut command = sandbox.command(&[
        "verify",
        "lab",
        "--watch",
        "1s",
        "--textfile",
        metrics.as_str(),
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = || sandbox.redact(&lines.next().unwrap().unwrap());
    assert_eq!(line(), "[TIME] lab: 3 artifacts of v4.1.5 are served");
    // During these rounds nothing changes.
    std::thread::sleep(Duration::from_millis(2_500));
    let lock = bundles::lock_of(&sandbox);
    let pause = artifact(&lock, "pause");
    delete_manifest(&registry, pause, &pause.digest).await;
    assert_eq!(line(), "[TIME] lab: pause:3.10 is missing");
    let text = std::fs::read_to_string(&metrics).unwrap();
    text.has("airlock_verify_success{environment=\"lab\",release=\"v4.1.5\"} 0\n");
    sandbox.run("push lab").success();
    assert_eq!(line(), "[TIME] lab: 3 artifacts of v4.1.5 are served");
    let text = std::fs::read_to_string(&metrics).unwrap();
    text.has("airlock_verify_success{environment=\"lab\",release=\"v4.1.5\"} 1\n");
    // A temporarily invalid file does not end the watch.
    let file = "environments/lab/environment.yaml";
    let valid = sandbox.read(file);
    sandbox.write(file, "release: nonsense\n");
    assert!(line().starts_with("[TIME] lab: unknown: "));
    sandbox.write(file, &valid);
    assert_eq!(line(), "[TIME] lab: 3 artifacts of v4.1.5 are served");
    let process = i32::try_from(child.id()).unwrap();
    // SAFETY: the process is a child that has not been waited for.
    unsafe { libc::kill(process, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "warning: environments/lab/mke4.yaml does not exist; the registry of environment.yaml is read\n"
    );
    let left: Vec<_> = metrics.parent().unwrap().read_dir_utf8().unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_writes_metrics_whether_it_succeeds_or_fails() {
    let registry = TestRegistry::embedded().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let look = "verify lab --textfile lab.prom";
    let metric = |name: &str| {
        let text = sandbox.read("lab.prom");
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next().map(str::to_owned))
    };
    sandbox.run(look).success();
    assert_eq!(metric("airlock_verify_success").as_deref(), Some("1"));
    assert_eq!(metric("airlock_verify_artifacts").as_deref(), Some("3"));
    let file = "environments/lab/environment.yaml";
    let free = format!("127.0.0.1:{}", support::sandbox::free_port());
    sandbox.edit(file, &registry.address, &free);
    sandbox.run(look).exits_with(5);
    assert_eq!(metric("airlock_verify_success").as_deref(), Some("0"));
    assert_eq!(metric("airlock_verify_completed").as_deref(), Some("0"));
    assert_eq!(metric("airlock_verify_artifacts"), None);
    // A missing folder may be a typing error, so it is not created.
    let run = sandbox
        .run("verify lab --textfile nowhere/lab.prom")
        .exits_with(3);
    run.reports("the folder `nowhere` does not exist");
    assert!(!sandbox.path("nowhere").exists());
    let run = sandbox.run("verify --watch lab").exits_with(64);
    run.reports("the environment goes before `--watch`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_run_is_reported() {
    let registry = TestRegistry::embedded().await;
    let sandbox = pushed(&registry, &bundles::tiny());
    let file = "environments/lab/environment.yaml";
    let free = format!("127.0.0.1:{}", support::sandbox::free_port());
    sandbox.edit(file, &registry.address, &free);
    insta::assert_snapshot!(sandbox.run("verify lab").whole(), @"
    exit code: 5
    --- stdout
    --- stderr
    warning: environments/lab/mke4.yaml does not exist; the registry of environment.yaml is read
    error: registry 127.0.0.1:[PORT] cannot be used
      because: GET http://127.0.0.1:[PORT]/v2/: connection refused
    hint: start the registry, open the port in the firewall, or correct registry.address
    ");
}

#[test]
fn an_environment_without_a_lock_gets_the_command_to_lock_it() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("verify prod").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: release v4.1.5 is not locked: `bundles/v4.1.5-amd64.lock.yaml` does not exist
    hint: with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_mkectl_that_the_lock_lacks_stop_a_deploy_unless_the_environment_accepts_it() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write(
        "images.txt",
        "registry.mirantis.com/mke/calico/node:v3.30.2\nregistry.mirantis.com/mke/felix:v9\nquay.io/other/thing:v1\n",
    );
    let list = lab.path("images.txt");
    lab.variable("FAKE_MKECTL_IMAGES", list.as_str());
    let lacks = "registry.mirantis.com/mke/felix:v9";
    let plan = lab.run("plan lab").exits_with(3);
    plan.prints(&format!(
        "refused   the lock lacks what mkectl lists: {lacks}\n"
    ));
    plan.prints("mkectl lists quay.io/other/thing:v1, which is of another registry");
    let run = lab.run("deploy lab").exits_with(3);
    run.reports("accept: [incomplete-lock]");
    assert!(lab.repositories().await.is_empty(), "nothing is sent");
    assert_eq!(lab.applies().len(), 0);
    // If there are two reasons for a refusal, `plan` and `deploy` exit with the same code.
    let text = lab.read("environments/lab/environment.yaml");
    let required = format!("{text}requires: lab-before\n");
    lab.write("environments/lab-before/environment.yaml", &text);
    lab.write("environments/lab/environment.yaml", &required);
    lab.run("plan lab").exits_with(8);
    lab.run("deploy lab").exits_with(8);
    lab.write("environments/lab/environment.yaml", &text);
    lab.run("push lab").success();
    lab.run("apply lab").exits_with(3);
    let run = lab.run("verify lab").success();
    run.reports(&format!("mkectl lists {lacks}, which is not in the lock"));

    lab.edit_environment("[telemetry]", "[telemetry, incomplete-lock]");
    let run = lab.run("deploy lab").success();
    run.reports("which the environment accepts");
    // A deploy that changes nothing does not run mkectl.
    let before = lab.calls().len();
    lab.run("deploy lab").success();
    assert_eq!(lab.calls().len(), before);
}

// Item 26: mkectl may list images that no bundle holds, and the registry may have them.
#[tokio::test(flavor = "multi_thread")]
async fn images_that_only_the_registry_has_do_not_stop_a_deploy() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("push lab").success();
    let listed = "registry.mirantis.com/mke/calico/node:extra";
    lab.write("images.txt", &format!("{listed}\n"));
    let list = lab.path("images.txt");
    lab.variable("FAKE_MKECTL_IMAGES", list.as_str());
    lab.run("deploy lab").exits_with(3);
    let repository = "mke/calico/node";
    (lab.registry)
        .copy_manifest((repository, "v3.30.2"), (repository, "extra"))
        .await;
    let run = lab.run("deploy lab").success();
    run.reports(&format!("mkectl lists {listed}: the lock does not have it"));
    assert_eq!(lab.applies().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mkectl_without_the_command_airgap_is_not_asked_for_images() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_VERSION", "v4.1.2");
    let bundle = lab.path(&format!("bundles/{FILE}"));
    lab.lock_as("v4.1.2", &bundle);
    lab.edit_environment("v4.1.5", "v4.1.2");
    lab.run("deploy lab").success();
    let asked = lab
        .calls()
        .into_iter()
        .filter(|call| call.arguments.first().is_some_and(|word| word == "airgap"));
    assert_eq!(asked.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_in_charts_that_the_lock_lacks_cause_warnings() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let values = "\
image: { repository: registry.mirantis.com/mke/dex-helper, tag: v1 }
known: { image: 'registry.mirantis.com/mke/calico/node:v3.30.2' }
older: { image: 'calico/node:v3.29.0' }
elsewhere: { image: 'docker.io/library/busybox:1.36' }
relative: { image: 'busybox:1.36' }
own: { repository: registry.mirantis.com/mke/late, tag: '' }
";
    let bundle = lab.path(&format!("bundles/{FILE}"));
    let bytes = with_values(&std::fs::read(&bundle).unwrap(), values);
    lab.remove(bundles::LOCK);
    bundles::put_locked(&lab.sandbox, &bytes);
    lab.variable("FAKE_MKECTL_CHARTS", "/dev/null");
    let run = lab.run("deploy lab").success();
    let warnings: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.contains("the lock does not have"))
        .collect();
    assert_eq!(
        warnings,
        [
            "warning: the lock does not have calico/node:v3.29.0, which mirrored-chart-dex:v0.23.0 names",
            "warning: the lock does not have registry.mirantis.com/mke/dex-helper:v1, which mirrored-chart-dex:v0.23.0 names",
            "warning: the lock does not have registry.mirantis.com/mke/late, which mirrored-chart-dex:v0.23.0 names",
        ],
        "{}",
        run.whole()
    );
    // The chart is in the store now, so a plan reports the images. The plan is refused, because the
    // registry records the deploy of the removed receipt.
    lab.remove("environments/lab/receipt.yaml");
    let plan = lab.run("plan lab").exits_with(8);
    assert_eq!(
        plan.stdout.matches("the lock does not have").count(),
        3,
        "{}",
        plan.whole()
    );
    // A saved plan is the same without the bundle in the store.
    let saved = || {
        lab.run("plan lab --out plan.yaml").exits_with(8);
        lab.read("plan.yaml")
    };
    let with_store = saved();
    bundles::forget_store(&lab.sandbox);
    assert_eq!(saved(), with_store);
}

/// Makes a workspace whose bundle is in the registry.
fn pushed(registry: &TestRegistry, recipe: &bundle::make::Recipe) -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, recipe);
    sandbox.run("push lab").success();
    sandbox
}

fn artifact<'l>(lock: &'l Lock, repository: &str) -> &'l bundle::Artifact {
    lock.artifacts
        .iter()
        .find(|artifact| artifact.repository == repository)
        .unwrap()
}

fn repository(artifact: &bundle::Artifact) -> String {
    format!("mke/four/{}", artifact.repository)
}

/// Deletes one of an artifact's manifests.
async fn delete_manifest(registry: &TestRegistry, artifact: &bundle::Artifact, digest: &Digest) {
    registry
        .delete_manifest(&repository(artifact), digest)
        .await;
}

/// Deletes one of an artifact's blobs.
async fn delete_blob(registry: &TestRegistry, artifact: &bundle::Artifact, digest: &Digest) {
    registry.delete_blob(&repository(artifact), digest).await;
}

/// Makes the tag of an image for two platforms point to the first manifest of its index.
async fn move_tag(registry: &TestRegistry, artifact: &bundle::Artifact) {
    let repository = repository(artifact);
    let child = artifact.manifests[0].digest.as_ref();
    registry
        .copy_manifest((&repository, child), (&repository, &artifact.tag))
        .await;
}

/// Returns the last line of standard output, as JSON.
fn last(run: &Run) -> Value {
    let line = run.stdout.lines().last().unwrap();
    serde_json::from_str(line).unwrap()
}

/// Returns the findings of a run with `--format json`.
fn findings(run: &Run) -> Vec<Value> {
    let error = &last(run)["error"];
    serde_json::from_value(error["findings"].clone()).unwrap()
}

/// Returns the requests that change the registry.
fn writes(seen: &[String]) -> Vec<String> {
    let changes = seen
        .iter()
        .filter(|request| !(request.starts_with("HEAD ") || request.starts_with("GET ")));
    changes.cloned().collect()
}

/// Returns a bundle with other values in the chart of Dex.
fn with_values(bundle: &[u8], values: &str) -> Vec<u8> {
    let mut members = bundles::unpack(bundle);
    let archive = members
        .iter_mut()
        .find(|member| member.path.contains("mirrored-chart-dex@"))
        .unwrap();
    let mut blobs = bundles::untar(&archive.bytes);
    let (chart, layer) = blobs
        .iter()
        .enumerate()
        .find(|(_, blob)| blob.bytes.starts_with(&[0x1f, 0x8b]))
        .map(|(place, blob)| (place, blob.bytes.clone()))
        .unwrap();
    let mut files = bundles::unpack(&layer);
    let file = files
        .iter_mut()
        .find(|file| file.path.ends_with("values.yaml"))
        .unwrap();
    file.bytes = values.as_bytes().to_vec();
    let packed = bundles::gzip(&bundles::tar(&files));
    replace(&mut blobs, chart, packed);
    archive.bytes = bundles::tar(&blobs);
    bundles::pack(&members)
}

/// Replaces a blob of an OCI layout, and its digest and size in every blob up to the index.
fn replace(blobs: &mut [bundles::Member], place: usize, bytes: Vec<u8>) {
    let old = (
        blobs[place].path.rsplit('/').next().unwrap().to_owned(),
        blobs[place].bytes.len(),
    );
    let new = hex::encode(sha2::Sha256::digest(&bytes));
    let size = bytes.len();
    blobs[place].path = blobs[place].path.replace(&old.0, &new);
    blobs[place].bytes = bytes;
    let parent = (0..blobs.len()).find(|other| {
        *other != place
            && blobs[*other]
                .bytes
                .windows(64)
                .any(|window| window == old.0.as_bytes())
    });
    let Some(parent) = parent else { return };
    let text = String::from_utf8(blobs[parent].bytes.clone()).unwrap();
    let text = text
        .replace(&old.0, &new)
        .replace(&format!("\"size\":{}", old.1), &format!("\"size\":{size}"));
    if blobs[parent].path.ends_with("index.json") {
        blobs[parent].bytes = text.into_bytes();
    } else {
        replace(blobs, parent, text.into_bytes());
    }
}
