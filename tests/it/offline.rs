//! Runs on machines without internet: promise 8, and errors about missing or copied files.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use support::bundles::{self, FILE, LOCK};
use support::{Lab, Sandbox, Server};

use crate::{AIRLOCK, FAKE_MKECTL};

/// Sets the proxy variables, so every request to other machines goes to `proxy`.
fn use_proxy(sandbox: &mut Sandbox, proxy: &Server) {
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        sandbox.variable(name, &proxy.url(""));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        sandbox.variable(name, "127.0.0.1,localhost");
    }
}

async fn proxy() -> Server {
    Server::start(|_| StatusCode::BAD_GATEWAY.into_response()).await
}

// promise 8
#[tokio::test(flavor = "multi_thread")]
async fn an_offline_run_makes_no_request_beyond_the_registry() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let proxy = proxy().await;
    use_proxy(&mut lab.sandbox, &proxy);
    let bundle = lab.path(&format!("bundles/{FILE}"));
    let bytes = std::fs::read(&bundle).unwrap();
    let elsewhere = lab.path("elsewhere.tar.gz");
    std::fs::write(&elsewhere, &bytes).unwrap();
    let commands: [&[&str]; 28] = [
        &["check", "lab", "--with-mkectl"],
        &["render", "lab"],
        &["inspect", "v4.1.5"],
        &["learn", "v4.1.5"],
        &["releases", "v4.1.5"],
        &["diff", "lab", "--live"],
        &["snapshot", "lab"],
        &["prune", "lab"],
        &["receipt", "rebuild", "lab"],
        &["cluster", "check", "lab"],
        &["migrate", "lab"],
        &["store"],
        &["verify", "lab", "--full", "--repair"],
        &["push", "lab", "lab"],
        &["fetch", "v4.1.5"],
        &["fetch", "lab", "--platform", "darwin-arm64"],
        &["fetch", "v4.1.5", "--check"],
        &["push", "lab"],
        &["deploy", "lab"],
        &["plan", "lab"],
        &["preflight", "lab"],
        &["verify", "lab"],
        &["rehearse", "lab"],
        &["status"],
        &["report", "--all"],
        &["lock", "v4.1.3"],
        &["lock", "v4.1.5"],
        &[
            "lock",
            "v4.1.5",
            "--bundle",
            "elsewhere.tar.gz",
            "--checksum-url",
            "http://vendor.example/sum",
        ],
    ];
    for with_variable in [false, true] {
        if with_variable {
            lab.variable("AIRLOCK_OFFLINE", "1");
        }
        for has_bundle in [false, true] {
            for command in commands {
                bundles::forget_store(&lab.sandbox);
                let _ = std::fs::remove_file(&bundle);
                if has_bundle {
                    std::fs::write(&bundle, &bytes).unwrap();
                }
                let flag: &[&str] = if with_variable { &[] } else { &["--offline"] };
                let _ = lab.run(&[command, flag].concat());
                assert_eq!(
                    proxy.asked().len(),
                    0,
                    "{command:?} asked {:?}",
                    proxy.asked()
                );
            }
        }
    }
    // Without `AIRLOCK_OFFLINE` the same command sends requests to the proxy.
    lab.variable("AIRLOCK_OFFLINE", "0");
    std::fs::remove_file(&bundle).unwrap();
    bundles::forget_store(&lab.sandbox);
    lab.run("fetch v4.1.5").exits_with(1);
    assert_ne!(proxy.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bundle_is_named_with_the_path_to_copy_it_to() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    bundles::forget_store(&lab.sandbox);
    lab.remove(&format!("bundles/{FILE}"));
    insta::assert_snapshot!(lab.run("push lab --offline").whole(), @"
    exit code: 1
    --- stdout
    --- stderr
    error: bundles/mke_bundle_v4.1.5_amd64.tar.gz is not fetched, and an offline run does not ask https://packages.mirantis.com/caas/mke_bundle_v4.1.5_amd64.tar.gz
    hint: copy the file to bundles/mke_bundle_v4.1.5_amd64.tar.gz
    ");
    assert!(lab.repositories().await.is_empty());
    // Without `--offline`: a host name that does not resolve, and a port that refuses connections.
    for url in ["http://nowhere.invalid/b", "http://127.0.0.1:9/b"] {
        let mut lock = bundles::lock_of(&lab.sandbox);
        lock.bundle.url = url.to_owned();
        lab.write(LOCK, &lock.to_yaml());
        let began = Instant::now();
        let run = lab.run("push lab").exits_with(1);
        assert!(began.elapsed() < Duration::from_secs(20), "{}", run.whole());
        let hint = format!("copy the file to bundles/{FILE}, and add `--offline`");
        run.reports(&hint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_check_verifies_a_copied_bundle_even_if_other_files_are_missing() {
    let mut sandbox = Sandbox::new(AIRLOCK);
    let proxy = proxy().await;
    use_proxy(&mut sandbox, &proxy);
    bundles::make_locked(&sandbox, &bundles::tiny());
    // The file is read even if the store is filled.
    for fills_store in [false, true] {
        if fills_store {
            let file = format!("bundles/{FILE}");
            sandbox
                .run(&["lock", "v4.1.5", "--bundle", &file])
                .success();
        }
        let before = sandbox.state();
        let run = sandbox.run("fetch v4.1.5 --check").success();
        if !fills_store {
            insta::assert_snapshot!("check", run.whole());
        }
        assert_eq!(sandbox.changes_since(&before), Vec::<String>::new());
    }
    let bundle = sandbox.path(&format!("bundles/{FILE}"));
    let whole = std::fs::read(&bundle).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&bundle, &flipped).unwrap();
    // The file may be the operator's only copy, so the hint does not suggest to delete it.
    let assert_kept = |run: support::Run| {
        let run = run.exits_with(4);
        run.does_not_report("delete");
        run.reports("copy it again");
    };
    assert_kept(sandbox.run("fetch v4.1.5 --check"));
    std::fs::write(&bundle, &whole[1..]).unwrap();
    assert_kept(sandbox.run("fetch v4.1.5 --check"));
    // Without the bundle, the store is read if it has content.
    std::fs::remove_file(&bundle).unwrap();
    let run = sandbox.run("fetch v4.1.5 --check").success();
    run.prints("the store has everything");
    let blobs = bundles::lock_of(&sandbox).blobs();
    let blob = sandbox.path(&format!(
        "bundles/store/blobs/{}",
        blobs.keys().next().unwrap().replace(':', "/")
    ));
    let size = std::fs::read(&blob).unwrap().len();
    std::fs::write(&blob, vec![b'x'; size]).unwrap();
    let run = sandbox.run("fetch v4.1.5 --check");
    run.reports("corrupt");
    // Without bundle and store, the bundle has to be copied from a disk.
    bundles::forget_store(&sandbox);
    let run = sandbox.run("fetch v4.1.5 --check").exits_with(1);
    run.reports(&format!("copy the file to bundles/{FILE}"));
    let disk = sandbox.path("disk.tar.gz");
    std::fs::write(&disk, &whole).unwrap();
    sandbox
        .run("fetch v4.1.5 --check --bundle disk.tar.gz")
        .success();
    std::fs::write(sandbox.path("wrong.tar.gz"), &flipped).unwrap();
    assert_kept(sandbox.run("fetch v4.1.5 --check --bundle wrong.tar.gz"));
    // A download of mkectl that differs from the lock is reported.
    let folder = "bundles/mkectl/v4.1.5/linux-x86_64/mkectl.tar.gz";
    sandbox.write(folder, "not mkectl");
    sandbox
        .run("fetch v4.1.5 --check --bundle disk.tar.gz")
        .exits_with(6);
    assert_eq!(proxy.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_does_not_fail_over_mkectl_when_one_of_the_release_is_on_path() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let proxy = proxy().await;
    use_proxy(&mut lab.sandbox, &proxy);
    let run = lab.run("fetch lab").success();
    run.reports("mkectl is of this release and is used");
    let run = lab.run("fetch lab --offline").success();
    run.reports("an offline run does not ask");
    lab.variable("FAKE_MKECTL_VERSION", "v4.1.3");
    let run = lab.run("fetch lab --offline").exits_with(1);
    run.reports("put the release's mkectl on PATH");
}

#[tokio::test(flavor = "multi_thread")]
async fn mkectl_is_downloaded_for_other_machines() {
    let mkectl = bundles::pack(&[bundles::Member::new("mkectl", "for another machine")]);
    let server = Server::of(mkectl.clone()).await;
    let sandbox = Sandbox::new(AIRLOCK);
    bundles::make_locked(&sandbox, &bundles::tiny());
    let mut lock = bundles::lock_of(&sandbox);
    let other = lock
        .mkectl
        .iter_mut()
        .find(|one| one.platform == "darwin-arm64")
        .unwrap();
    other.url = server.url("mkectl");
    other.sha256 = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(&mkectl))
    };
    sandbox.write(LOCK, &lock.to_yaml());
    sandbox
        .run("fetch v4.1.5 --platform darwin/arm64")
        .success();
    assert!(
        sandbox
            .path("bundles/mkectl/v4.1.5/darwin-arm64/mkectl")
            .exists()
    );
    sandbox
        .run("fetch v4.1.5 --platform plan9-386")
        .exits_with(3)
        .reports("has no mkectl for plan9-386, only for ");
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_compares_the_content_of_the_bundle() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    bundles::forget_store(&lab.sandbox);
    let run = lab.run("preflight lab --offline");
    run.prints("has the SHA-256 in the lock");
    let bundle = lab.path(&format!("bundles/{FILE}"));
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let run = lab.run("preflight lab --offline").exits_with(4);
    run.prints("but the lock has");
}

/// Returns the advice of a run: hints, and the fixes of `preflight`.
fn advice(run: &support::Run) -> String {
    let mut advice = String::new();
    for line in run.stderr.lines().filter(|line| line.starts_with("hint:")) {
        advice.push_str(line);
    }
    let value: serde_json::Value = serde_json::from_str(&run.stdout).unwrap_or_default();
    for check in value["result"]["checks"].as_array().into_iter().flatten() {
        for key in ["fix", "command"] {
            advice.push_str(check[key].as_str().unwrap_or_default());
            advice.push('\n');
        }
    }
    advice
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_machine_without_internet_no_hint_needs_internet_or_cargo() {
    let mut lab = Lab::without_mkectl(AIRLOCK).await;
    lab.as_of_medium();
    lab.variable("AIRLOCK_OFFLINE", "1");
    let bundle = lab.path(&format!("bundles/{FILE}"));
    let assert_inside = |arguments: &[&str], expected: &str| {
        let run = lab.run(arguments);
        // The hint for a missing lock names the commands with and without internet.
        let advice = advice(&run).replace("with internet: ", "");
        assert!(advice.contains(expected), "{advice}\n{}", run.whole());
        for word in ["internet", "download", "cargo", "fetch"] {
            assert!(!advice.contains(word), "{word}: {advice}");
        }
    };
    let preflight = ["preflight", "lab", "--format", "json"];
    assert_inside(
        &["deploy", "lab"],
        "copy `mkectl` and `mkectl.tar.gz` to bundles/mkectl/v4.1.5/",
    );
    assert_inside(
        &preflight,
        "copy `mkectl` and `mkectl.tar.gz` to bundles/mkectl/v4.1.5/",
    );
    std::fs::write(&bundle, "another file").unwrap();
    bundles::forget_store(&lab.sandbox);
    assert_inside(&["push", "lab"], "copy it again");
    assert_inside(&preflight, "copy it again");
    std::fs::remove_file(&bundle).unwrap();
    assert_inside(&["push", "lab"], "copy the file to bundles/");
    assert_inside(&preflight, "copy the file to bundles/");
    assert_inside(&["fetch", "lab"], "copy the file to bundles/");
    lab.remove(LOCK);
    assert_inside(&["deploy", "lab"], "unpack a medium that has the lock");
    assert_inside(&preflight, "unpack a medium that has the lock");
    let list = lab.run("list").success();
    list.prints("from outside");
}
