//! `deploy`: all steps in one command, for the demo and for an environment with a fake mkectl.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use support::wire::Wire;
use support::{Arguments, Lab, Run, Sandbox, TestRegistry, Text as _, bundles, lab, registries};

use crate::{AIRLOCK, FAKE_MKECTL};

#[test]
fn the_demo_is_deployed_from_a_fresh_checkout() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let run = sandbox.run("deploy demo");
    insta::assert_snapshot!("demo_first", run.whole());
    insta::assert_snapshot!("demo_receipt", sandbox.receipt("demo"));
    let log = only_log(&sandbox, "demo");
    insta::assert_snapshot!(sandbox.redact(&std::fs::read_to_string(log).unwrap()), @"
    [TIME] INF Rehearsal of mkectl v4.1.5-demo: no host will be touched
    [TIME] INF Configuration accepted: 2 hosts, v4.1.5-demo
    [TIME] INF Pulled 14 artifacts, 5101628 bytes, without credentials
    [TIME] INF Would install controller+worker on 192.0.2.10
    [TIME] INF Would install worker on 192.0.2.11
    [TIME] INF A real first apply prints the admin password here, once
    [TIME] INF Rehearsal complete: mkectl would be run with this file
    ");
}

#[test]
fn a_second_deploy_changes_nothing_and_is_quick() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.run("deploy demo").success();
    let before = sandbox.state();
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        let run = sandbox.run("deploy demo");
        quickest = quickest.min(began.elapsed());
        insta::allow_duplicates! {
            insta::assert_snapshot!(run.whole(), @r#"
            exit code: 0
            --- stdout
            demo: nothing to do
            --- stderr
            Plan for demo: v4.1.5-demo to 127.0.0.1:[PORT]/mke
            Nothing to do: 14 artifacts are in the registry, mke4.yaml is applied.
            "#);
        }
    }
    // Reading from the embedded registry may change its files.
    let mut changes = sandbox.changes_since(&before);
    changes.retain(|path| !path.starts_with("bundles/rehearsal/"));
    assert_eq!(changes, [""; 0]);
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_changes_nothing_sends_one_request_per_artifact_and_three_more() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    lab.run("deploy lab").success();
    let first = wire.take();
    let of_kind = |seen: &[String], method: &str, part: &str| {
        seen.iter()
            .filter(|request| request.starts_with(method) && request.contains(part))
            .count()
    };
    let of_state = of_kind(&first, "PUT", "/airlock/state/blobs/uploads/");
    assert_eq!(
        of_state, 2,
        "once when the deploy begins and once when it ends"
    );
    let lock = bundles::lock_of(&lab.sandbox);
    for artifact in &lock.artifacts {
        let path = format!("/v2/mke/{}/manifests/{}", artifact.repository, artifact.tag);
        let count = |method: &str| {
            let line = format!("{method} {path}");
            first.iter().filter(|request| **request == line).count()
        };
        assert_eq!(count("HEAD"), 1, "{path} is requested once before the push");
        assert_eq!(count("GET"), 1, "{path} is read once after the push");
        assert_eq!(count("PUT"), 1, "{path}");
    }
    let mut blobs: Vec<&str> = lock
        .artifacts
        .iter()
        .flat_map(|artifact| &artifact.manifests)
        .flat_map(|manifest| &manifest.blobs)
        .map(|blob| blob.digest.as_ref())
        .collect();
    blobs.sort_unstable();
    blobs.dedup();
    let sent = of_kind(&first, "PUT", "/blobs/uploads/") - of_state;
    let in_one_request = of_kind(&first, "POST", "/blobs/uploads/?digest");
    assert_eq!(sent + in_one_request, blobs.len(), "each blob is sent once");
    assert!(in_one_request > sent, "{in_one_request} of {}", blobs.len());

    lab.run("deploy lab").success();
    let second = wire.take();
    let looks = of_kind(&second, "HEAD", "/manifests/");
    assert_eq!(looks, lock.artifacts.len(), "{second:?}");
    // The ping of the registry, and the shared state, which is a manifest and a blob.
    assert_eq!(second.len(), looks + 3, "{second:?}");
    assert_eq!(of_kind(&second, "GET", "/airlock/state/"), 2, "{second:?}");
}

#[test]
fn a_configuration_that_mke_refuses_is_refused_before_anything_is_sent() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let path = "environments/demo/environment.yaml";
    sandbox.edit(path, "role: controller+worker", "role: worker");
    let run = sandbox.run("deploy demo");
    insta::assert_snapshot!(run.whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: no host is a controller
      --> environments/demo/environment.yaml:20:7
       |
    20 |       - role: worker
       |  _______^
    21 | |       ssh:
    22 | |         address: 192.0.2.10
    23 | |         user: ubuntu
    24 | |         port: 22
    25 | |         keyPath: ~/.ssh/id_ed25519
       | |__________________________________^
       |
       = help: give at least one the role `controller+worker`

    1 problem
    "#);
}

#[test]
fn the_mkectl_of_rehearsals_refuses_configurations_that_mke_refuses() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let lock = "bundles/v4.1.5-demo-amd64.lock.yaml";
    let apply = |file: &str| {
        sandbox.run(&[
            "rehearsal-mkectl",
            "--release",
            "v4.1.5-demo",
            "--lock",
            lock,
            "apply",
            "-f",
            file,
        ])
    };
    let valid = sandbox.read("environments/demo/mke4.yaml");
    let wrong = valid
        .replace("url: oci://127", "url: 127")
        .replace("enabled: true", "enabled: false")
        .replace("role: controller+worker", "role: master");
    sandbox.write("wrong.yaml", &wrong);
    insta::assert_snapshot!(apply("wrong.yaml").whole(), @r#"
    exit code: 1
    --- stdout
    INF Rehearsal of mkectl v4.1.5-demo: no host will be touched
    ERR wrong.yaml: `spec.airgap.enabled` is not `true`
    ERR wrong.yaml: `spec.registries.chartRegistry.url` is `127.0.0.1:[PORT]/mke`, which does not begin with `oci://`
    ERR wrong.yaml: `spec.hosts[0].role` is `master`, which is not a valid role
    ERR wrong.yaml: no host in `spec.hosts` is a controller
    FTL MKE would refuse this configuration
    --- stderr
    "#);
    // The registry is not running, so no artifact can be pulled.
    let run = apply("environments/demo/mke4.yaml");
    assert_eq!(run.code, Some(1), "{}", run.whole());
    assert!(
        run.stdout
            .ends_with("FTL Nodes could not pull everything\n"),
        "{}",
        run.stdout
    );
    assert_eq!(run.stdout.matches("ERR ").count(), 14, "{}", run.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn mkectl_gets_the_rendered_file_and_no_variable_that_it_does_not_use() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    // `cargo run` sets variables for its child. They are not meant for mkectl.
    lab.variable("CARGO_MANIFEST_DIR", "/nowhere")
        .variable("SSH_AUTH_SOCK", "/run/agent");
    let run = lab.run("deploy lab");
    insta::assert_snapshot!("lab_first", run.whole());
    insta::assert_snapshot!("lab_receipt", lab.receipt());

    let applies = lab.applies();
    let [apply] = applies.as_slice() else {
        panic!("{applies:#?}");
    };
    let config = lab.path("environments/lab/mke4.yaml");
    assert_eq!(
        apply.arguments,
        [
            "apply",
            "-f",
            config.as_str(),
            "--no-color",
            "--no-pretty-print"
        ]
    );
    assert_eq!(apply.file, Some(lab.read("environments/lab/mke4.yaml")));
    for call in lab.calls() {
        let names: Vec<&str> = call.environment.keys().map(String::as_str).collect();
        let expected = [
            "FAKE_MKECTL_RECORD",
            "HOME",
            "NO_COLOR",
            "PATH",
            "SSH_AUTH_SOCK",
        ];
        assert_eq!(names, expected, "{:?}", call.arguments);
        assert_eq!(call.stdin, "", "{:?}", call.arguments);
    }

    let again = lab.run("deploy lab");
    insta::assert_snapshot!(again.whole(), @r#"
    exit code: 0
    --- stdout
    lab: nothing to do
    --- stderr
    Plan for lab: v4.1.5 to 127.0.0.1:[PORT]/mke
    Nothing to do: 14 artifacts are in the registry, mke4.yaml is applied.
    "#);
    assert_eq!(
        lab.applies().len(),
        1,
        "mkectl ran although nothing changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_mkectl_gets_only_the_flags_that_its_help_lists() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_FLAGS", "old");
    lab.run("deploy lab").success();
    let config = lab.path("environments/lab/mke4.yaml");
    assert_eq!(lab.applies()[0].arguments, ["apply", "-f", config.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_mkectl_has_its_own_exit_code_and_is_in_the_receipt() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_EXIT", "7");
    let run = lab.run("deploy lab");
    insta::assert_snapshot!("mkectl_fails", run.whole());
    insta::assert_snapshot!("mkectl_fails_receipt", lab.receipt());

    // Airlock exits with 7, whatever code mkectl exits with.
    lab.variable("FAKE_MKECTL_EXIT", "3");
    let run = lab.run("deploy lab --format json").exits_with(7);
    let error = last_line(&run)["error"].clone();
    assert_eq!(error["exit-code"], 7);
    assert_eq!(error["mkectl-exit-code"], 3);

    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run("deploy lab").success();
    let receipt = lab.receipt();
    receipt.lacks("failed:");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_apply_mkectl_runs_again_even_if_the_change_is_reverted() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.edit_environment("mke.lab.example.com", "mke2.lab.example.com");
    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.run("deploy lab").exits_with(7);
    // mkectl may have applied a part of the change before it failed.
    lab.edit_environment("mke2.lab.example.com", "mke.lab.example.com");
    lab.variable("FAKE_MKECTL_EXIT", "0");
    let run = lab.run("deploy lab");
    insta::assert_snapshot!(run.whole(), @r#"
    exit code: 0
    --- stdout
    lab: v4.1.5 deployed: 14 artifacts in 127.0.0.1:[PORT]/mke, 0 pushed, 0 B sent, mkectl's log is environments/lab/logs/[TIME]-apply.log
    --- stderr
    Plan for lab: v4.1.5 to 127.0.0.1:[PORT]/mke
    warning: the cluster of lab does not respond, so only the receipt is used: `[SANDBOX]/bin/mkectl config get` exited with code 1: FTL there is no kubeconfig
      bundle    not needed
      registry  14 artifacts already present
      config    write environments/lab/mke4.yaml
      mkectl    [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml --no-color --no-pretty-print
                because the last deploy failed

    --- a/environments/lab/mke4.yaml
    +++ b/environments/lab/mke4.yaml
    @@ -14,7 +14,7 @@
         chartRegistry:
           url: oci://127.0.0.1:[PORT]/mke
       apiServer:
    -    externalAddress: mke2.lab.example.com
    +    externalAddress: mke.lab.example.com
       hosts:
         - role: controller+worker
           ssh:
        apply [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml --no-color --no-pretty-print
    mkectl | INF mkectl v4.1.5 reads [WORKSPACE]/environments/lab/mke4.yaml
    mkectl | !!! Make sure to save the admin credentials shown below !!!
    mkectl |               They are only showed once
    mkectl |          You won't be able to see them again
    mkectl |              Generated username:password
    mkectl |         admin:***
    mkectl | INF MKE v4.1.5 is installed
        apply done: the password of user admin is in environments/lab/admin-password-[TIME], which only you can read; no other copy exists
        apply done: applied; log in environments/lab/logs/[TIME]-apply.log
    "#);
    assert_eq!(lab.applies().len(), 3);
    let receipt = lab.receipt();
    receipt.lacks("failed:");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_reported_even_if_no_receipt_can_be_written() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let folder = lab.path("environments/lab");
    // This simulates a full disk: while mkectl runs, a file replaces the folder of the receipt. The
    // note that mkectl has started is written before that.
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2\" = 'apply -f' ] && {{ PATH=/usr/bin:/bin; sleep 0.5; mv {folder} {folder}.away; : > {folder}; exit 3; }}\nexec {FAKE_MKECTL} \"$@\"\n"
    );
    lab.install_script("mkectl", script);
    let run = lab.run("deploy lab").exits_with(7);
    run.reports("no receipt records this failure");
    run.reports("error: `mkectl apply` exited with code 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_written_are_reported_before_anything_is_pushed() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let folder = lab.path("environments/lab");
    for name in ["receipt.yaml", "mke4.yaml", "logs"] {
        let path = folder.join(name);
        match name {
            "logs" => std::fs::write(&path, "").unwrap(),
            _ => std::fs::create_dir(&path).unwrap(),
        }
        let run = lab.run("deploy lab").exits_with(3);
        run.reports(&format!("environments/lab/{name}"));
        assert!(
            lab.repositories().await.is_empty(),
            "{name}: something was pushed"
        );
        match name {
            "logs" => std::fs::remove_file(&path).unwrap(),
            _ => std::fs::remove_dir(&path).unwrap(),
        }
    }
    assert_eq!(lab.applies().len(), 0);
    lab.run("deploy lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_mkectl_is_reported_before_anything_is_pushed() {
    let lab = Lab::without_mkectl(AIRLOCK).await;
    bundles::forget_mkectl(&lab.sandbox);
    let missing = lab.run("deploy lab");
    insta::assert_snapshot!(missing.whole(), @"
    exit code: 6
    --- stdout
    --- stderr
    Plan for lab: v4.1.5 to 127.0.0.1:[PORT]/mke
      bundle    already in the store
      registry  push 14 of 14 artifacts, 3.10 MB at most
                + calico/apiserver:v3.30.2
                + calico/node:v3.30.2
                + charts/k0rdent-enterprise:1.2.3
                + dex-http-server:v0.7.0
                + dex-http-server-chart:0.3.0
                + dexidp/dex:v2.42.0
                + envoyproxy/envoy:distroless-v1.37.3
                + k0sproject/coredns:1.12.1
                + k0sproject/pause:3.10
                + mirrored-chart-dex:v0.23.0
                + mke-dashboard:v1.6.2
                + mke-operator:v1.6.3
                + mke-operator-chart:3.17.2
                + nfd/node-feature-discovery:v0.17.2
      config    write environments/lab/mke4.yaml
      mkectl    cannot be run: no `mkectl` in any folder of PATH (1 searched), and the lock of v4.1.5 lists none for linux-x86_64
    error: no `mkectl` in any folder of PATH (1 searched), and the lock of v4.1.5 lists none for linux-x86_64
    hint: put the mkectl of v4.1.5 on PATH, or name it in the environment: `mkectl: ./path/to/mkectl`
    ");
    assert_eq!(missing.code, Some(6));

    let path = lab.bin().join("mkectl");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    let not_executable = lab.run("deploy lab").exits_with(6);
    insta::assert_snapshot!(last_stderr(&not_executable, 2), @"
    exit code: 6
    error: `[SANDBOX]/bin/mkectl` is not executable
    hint: chmod +x [SANDBOX]/bin/mkectl
    ");

    lab.install_script("mkectl", b"#!/no/such/interpreter\n");
    let unstarted = lab.run("deploy lab").exits_with(6);
    insta::assert_snapshot!(last_stderr(&unstarted, 3), @"
    exit code: 6
    error: cannot start [SANDBOX]/bin/mkectl: its interpreter or loader is missing
      because: No such file or directory (os error 2)
    hint: run `file [SANDBOX]/bin/mkectl`, which names the interpreter or loader, and install it; or use the mkectl build for this system
    ");

    // The ELF header of a program for a 32-bit ARM processor.
    let mut foreign = b"\x7fELF\x01\x01\x01".to_vec();
    foreign.resize(18, 0);
    foreign.extend([0x28, 0]);
    lab.install_script("mkectl", foreign);
    let foreign = lab.run("deploy lab").exits_with(6);
    foreign.reports("it is a program for another architecture");
    std::fs::remove_file(&path).unwrap();

    let mut lab = lab;
    lab.install(FAKE_MKECTL, "mkectl");
    lab.variable("FAKE_MKECTL_VERSION", "v4.1.4");
    let wrong_version = lab.run("deploy lab").exits_with(6);
    insta::assert_snapshot!(last_stderr(&wrong_version, 2), @"
    exit code: 6
    error: [SANDBOX]/bin/mkectl is mkectl v4.1.4, but release v4.1.5 requires its own
    hint: install mkectl v4.1.5: each mkectl serves one release
    ");

    lab.variable("FAKE_MKECTL_VERSION", "");
    let no_version = lab.run("deploy lab").exits_with(6);
    insta::assert_snapshot!(last_stderr(&no_version, 2), @"
    exit code: 6
    error: `[SANDBOX]/bin/mkectl version` prints no version: mkectl, built from source
    hint: check that this is the mkectl of MKE 4; name a different one in the environment: `mkectl: ./path/to/mkectl`
    ");

    let named = lab.path("environments/lab/environment.yaml");
    let text = std::fs::read_to_string(&named).unwrap();
    std::fs::write(&named, format!("mkectl: ../../tools/mkectl\n{text}")).unwrap();
    let not_found = lab.run("deploy lab").exits_with(6);
    insta::assert_snapshot!(last_stderr(&not_found, 2), @"
    exit code: 6
    error: program not found: `[WORKSPACE]/tools/mkectl`
    hint: correct the path after `mkectl:` in environment.yaml, or remove the key to use a downloaded mkectl
    ");

    assert!(
        lab.repositories().await.is_empty(),
        "{:?}",
        lab.repositories().await
    );
    assert!(!lab.path("environments/lab/receipt.yaml").exists());
    assert!(!lab.path("environments/lab/mke4.yaml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mkectl_that_an_environment_names_precedes_the_one_on_path() {
    let lab = Lab::without_mkectl(AIRLOCK).await;
    std::fs::create_dir(lab.path("tools")).unwrap();
    std::os::unix::fs::symlink(FAKE_MKECTL, lab.path("tools/mkectl")).unwrap();
    lab.write_environment("mkectl: ../../tools/mkectl\n");
    let run = lab.run("deploy lab").success();
    run.reports("tools/mkectl apply -f environments/lab/mke4.yaml");
    assert_eq!(lab.applies().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_reaches_mkectl_once_and_airlock_waits_for_its_end() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_HANG", "yes");
    let mut running = Running::start(&lab, "deploy lab");
    running.wait_for("waiting for nodes");
    // A plan at this time reports that the deploy is running, not that it was interrupted.
    let plan = lab.run("plan lab").exits_with(8);
    plan.prints("lab is in use by `deploy` (process ");
    plan.does_not_mention("was interrupted");
    running.interrupt();
    let run = running.end();
    insta::assert_snapshot!(last_stderr(&run, 7), @"
    exit code: 130
        apply [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml --no-color --no-pretty-print
    mkectl | INF mkectl v4.1.5 reads [WORKSPACE]/environments/lab/mke4.yaml
    mkectl | INF waiting for nodes to become ready
    warning: SIGINT was passed on to mkectl; waiting for it to end (a second one kills it)
    mkectl | WRN received SIGINT, cleaning up
    error: `mkectl apply` was interrupted and exited with code 130
    hint: its output is in environments/lab/logs/[TIME]-apply.log
    ");
    assert_eq!(run.code, Some(130), "{}", run.whole());
    assert_eq!(
        run.stderr.matches("received SIGINT").count(),
        1,
        "{}",
        run.stderr
    );
    assert_ended(&lab);
    let receipt = lab.receipt();
    receipt.has("mkectl-exit-code: 130");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_terminal_does_not_stop_mkectl_and_the_receipt_is_written() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_HANG", "yes");
    let (mut controller, terminal) = support::terminal::open();
    let copy = || terminal.try_clone().unwrap();
    let mut command = lab.approved("deploy lab");
    command.stdin(copy()).stdout(copy()).stderr(copy());
    let mut child = command.spawn().unwrap();
    drop((command, terminal));
    let mut seen = String::new();
    while !seen.contains("waiting for nodes") {
        let mut block = [0; 4096];
        let read = controller.read(&mut block).unwrap();
        seen.push_str(&String::from_utf8_lossy(&block[..read]));
    }
    drop(controller);
    let process = child.id().cast_signed();
    // SAFETY: `kill` touches no memory, and the process has not been waited for.
    let send = |signal| assert_eq!(unsafe { libc::kill(process, signal) }, 0);
    send(libc::SIGHUP);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "{seen}");
    send(libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_ended(&lab);
    lab.receipt().has("mkectl-exit-code: 143");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_kills_a_mkectl_that_does_not_end() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_HANG", "ignore");
    let mut running = Running::start(&lab, "deploy lab");
    running.wait_for("waiting for nodes");
    running.interrupt();
    running.wait_for("which is ignored");
    // Two signals within a short time count as one.
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.interrupt();
    let run = running.end();
    insta::assert_snapshot!(last_stderr(&run, 6), @"
    exit code: 130
    mkectl | INF waiting for nodes to become ready
    warning: SIGINT was passed on to mkectl; waiting for it to end (a second one kills it)
    mkectl | WRN received SIGINT, which is ignored
    warning: mkectl was killed
    error: `mkectl apply` was interrupted and was ended by signal 9
    hint: its output is in environments/lab/logs/[TIME]-apply.log
    ");
    assert_eq!(run.code, Some(130), "{}", run.whole());
    assert_ended(&lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_different_registry_is_refused_after_the_first_deploy() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.edit_environment("project: mke", "project: other");
    for command in ["deploy", "plan", "apply", "push"] {
        let run = lab.run(&[command, "lab"]);
        insta::allow_duplicates! {
            insta::assert_snapshot!(run.whole(), @r#"
            exit code: 3
            --- stdout
            --- stderr
            error: the cluster of lab pulls from 127.0.0.1:[PORT]/mke, but the environment names 127.0.0.1:[PORT]/other
             --> environments/lab/environment.yaml:4:12
              |
            4 |   project: other
              |            ^^^^^
              |
              = help: set it back to 127.0.0.1:[PORT]/mke. The vendor: "can only be configured once during the first running of the mkectl apply command". Only for a new cluster, delete the environment's receipt.yaml

            1 problem
            "#);
        }
    }
    assert_eq!(lab.applies().len(), 1);
    assert!(
        !lab.repositories()
            .await
            .iter()
            .any(|name| name.starts_with("other/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_refuses_a_different_release_and_deploy_refuses_an_older_one() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let bundle = lab.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
    lab.lock_as("v4.1.6", &bundle);
    lab.edit_environment("v4.1.5", "v4.1.6");
    lab.variable("FAKE_MKECTL_VERSION", "v4.1.6");
    insta::assert_snapshot!(lab.run("apply lab").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: the cluster of lab runs v4.1.5, but its environment now requires v4.1.6
    hint: run `cargo xtask deploy`, which upgrades the cluster
    ");
    assert_eq!(lab.applies().len(), 1);
    // A push of the new release is allowed, because an upgrade begins with one.
    lab.run("push lab").success();
    // An older release is refused with the reason.
    lab.lock_as("v4.1.2", &bundle);
    lab.edit_environment("v4.1.6", "v4.1.2");
    insta::assert_snapshot!(lab.run("deploy lab").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: the cluster of lab runs v4.1.5, but its environment now requires v4.1.2
      because: v4.1.2 is older than v4.1.5; only a backup restores an older release
    hint: set `release` back to v4.1.5; `cargo xtask releases v4.1.2` lists the releases that can be upgraded to it
    ");
    assert_eq!(lab.applies().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_and_no_file_has_the_credentials() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("RUST_LOG", "trace")
        .variable("RUST_BACKTRACE", "full");
    let mut runs = Vec::new();
    for arguments in [
        "plan lab",
        "show lab",
        "deploy lab",
        "deploy lab --format json",
        "apply lab",
        "push lab",
        "verify lab",
        "rehearse lab",
        "list",
    ] {
        runs.push(lab.run(arguments).success());
    }
    lab.variable("FAKE_MKECTL_EXIT", "9");
    runs.push(lab.run("apply lab").exits_with(7));
    assert_no_secret(&lab.sandbox, &runs, &[lab::USER, lab::PASSWORD]);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn no_output_and_no_file_has_credentials_that_the_registry_accepted() {
    let mut lab = with_credentials().await;
    lab.variable("LAB_REGISTRY_USERNAME", registries::USER)
        .variable("LAB_REGISTRY_PASSWORD", registries::PASSWORD);
    lab.edit_environment(
        "config:\n",
        "config:\n  registries: { imageRegistry: { credentialsSecretName: pull }, chartRegistry: { credentialsSecretName: pull } }\n",
    );
    let runs = [
        lab.run("plan lab").success(),
        lab.run("deploy lab").success(),
        lab.run("verify lab --format json").success(),
    ];
    // `courier:correct-horse` in Base64, as the Authorization header has it.
    let header = "Y291cmllcjpjb3JyZWN0LWhvcnNl";
    assert_no_secret(&lab.sandbox, &runs, &[registries::PASSWORD, header]);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn no_output_and_no_file_has_credentials_that_the_registry_rejected() {
    let lab = with_credentials().await;
    let mut runs = Vec::new();
    for arguments in [
        "plan lab",
        "deploy lab",
        "push lab --format json",
        "verify lab",
    ] {
        runs.push(lab.run(arguments));
    }
    assert_eq!(runs[1].code, Some(5), "{}", runs[1].whole());
    // The error names the user who was rejected.
    runs[1].reports(lab::USER);
    assert_no_secret(&lab.sandbox, &runs, &[lab::PASSWORD]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_credentials_are_reported_before_anything_is_sent() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("LAB_REGISTRY_PASSWORD", "");
    let run = lab.run("deploy lab").exits_with(3);
    insta::assert_snapshot!(last_stderr(&run, 3), @r#"
    exit code: 3
    error: no credentials for registry 127.0.0.1:[PORT]
      because: the variable LAB_REGISTRY_PASSWORD is empty
    hint: set the variables that `push-credentials` names; without `push-credentials`, log in with Docker, Podman or Skopeo, which write the file
    "#);
    assert!(lab.repositories().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn json_output_has_the_plan_the_events_and_the_result() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let run = lab.run("deploy lab --format json").success();
    assert_eq!(run.stderr, "");
    let keys: Vec<String> = run
        .stdout
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.as_object().unwrap().keys().next().unwrap().clone()
        })
        .collect();
    assert_eq!(keys.first().unwrap(), "plan");
    assert!(
        keys[1..keys.len() - 1].iter().all(|key| key == "event"),
        "{keys:?}"
    );
    assert_eq!(keys.last().unwrap(), "result");
    let result = last_line(&run)["result"].clone();
    assert_eq!(result["environment"], "lab");
    assert_eq!(result["artifacts"], result["pushed"]);
    assert_eq!(result["applied"], true);
    assert_eq!(result["nothing-to-do"], false);
    assert_eq!(result["rehearsal"], false);
    assert!(
        lab.path(
            result["log"]
                .as_str()
                .unwrap()
                .replace("[TIME]", "x")
                .rsplit_once('/')
                .unwrap()
                .0
        )
        .exists()
    );

    let again = lab.run("deploy lab --format json").success();
    let result = last_line(&again)["result"].clone();
    assert_eq!(result["nothing-to-do"], true);
    assert_eq!(result["pushed"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_mkectl_is_in_a_log_that_other_users_cannot_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_FLOOD", "2000");
    let run = lab.run("deploy lab").success();
    let log = only_log(&lab.sandbox, "lab");
    let mode = std::fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&log).unwrap();
    for (what, text) in [
        ("the log", text.as_str()),
        ("standard error", run.stderr.as_str()),
    ] {
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("flood line"))
            .collect();
        assert_eq!(lines.len(), 2000, "{what}");
        for (at, line) in lines.iter().enumerate() {
            assert!(
                line.ends_with(&format!("flood line {} of 2000", at + 1)),
                "{what}: {line}"
            );
        }
    }
    // Each line of the log begins with the time.
    for line in text.lines() {
        let time = line.split(' ').next().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z'), "{line}");
    }
}

/// Makes an environment whose registry requires credentials. The variables of the lab have
/// different ones.
async fn with_credentials() -> Lab {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.registry = TestRegistry::with_credentials().await;
    let ca = lab.registry.ca_pem.clone().unwrap();
    lab.write("environments/lab/registry-ca.pem", &ca);
    lab.write_environment("");
    lab.edit_environment(
        "  project: mke\n",
        "  project: mke\n  ca: registry-ca.pem\n",
    );
    lab
}

/// Returns the path of the only log of an environment.
fn only_log(sandbox: &Sandbox, environment: &str) -> Utf8PathBuf {
    let folder = sandbox.path(&format!("environments/{environment}/logs"));
    let logs: Vec<_> = folder
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs[0].path().to_owned()
}

/// Returns the last lines of standard error, with the exit code.
pub(crate) fn last_stderr(run: &Run, lines: usize) -> String {
    let all: Vec<&str> = run.stderr.lines().collect();
    let code = run
        .code
        .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    format!(
        "exit code: {code}\n{}",
        all[all.len().saturating_sub(lines)..].join("\n")
    )
}

/// Returns the last line of JSON that a run wrote.
pub(crate) fn last_line(run: &Run) -> serde_json::Value {
    let line = run
        .stdout
        .lines()
        .last()
        .unwrap_or_else(|| panic!("{}", run.whole()));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[track_caller]
fn assert_no_secret(sandbox: &Sandbox, runs: &[Run], secrets: &[&str]) {
    for secret in secrets {
        for run in runs {
            assert!(
                !run.whole().contains(secret),
                "{secret} in\n{}",
                run.whole()
            );
        }
        for (path, content) in sandbox.files() {
            let found = content
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {path}");
        }
    }
}

/// Checks that every mkectl that the lab started has ended.
#[track_caller]
pub(crate) fn assert_ended(lab: &Lab) {
    for call in lab.calls() {
        // SAFETY: signal 0 asks whether a process exists, and touches no memory.
        let answer = unsafe { libc::kill(call.process, 0) };
        assert_eq!(
            answer, -1,
            "process {} of {:?} is left",
            call.process, call.arguments
        );
    }
}

/// A running command. It leads a process group, as a command that a shell starts does.
pub(crate) struct Running<'a> {
    lab: &'a Lab,
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl<'a> Running<'a> {
    pub(crate) fn start(lab: &'a Lab, arguments: impl Arguments) -> Self {
        let mut child = lab
            .approved(arguments)
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            lab,
            child,
            stderr,
            seen: String::new(),
        }
    }

    /// Reads standard error up to a line with this text.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).unwrap();
            self.seen.push_str(&line);
            assert_ne!(read, 0, "no {text:?} in\n{}", self.seen);
            if line.contains(text) {
                return;
            }
        }
    }

    /// Sends SIGINT to each process of the group, as a terminal does on Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let group = -self.child.id().cast_signed();
        // SAFETY: `kill` touches no memory, and the group's leader has not been waited for.
        let answer = unsafe { libc::kill(group, libc::SIGINT) };
        assert_eq!(answer, 0);
    }

    /// Kills the command, but not its children, as the kernel does when memory runs out.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for the end of the command, and returns its output.
    #[must_use]
    pub(crate) fn end(mut self) -> Run {
        self.stderr.read_to_string(&mut self.seen).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Run {
            code: output.status.code(),
            stdout: self.lab.redact(&String::from_utf8_lossy(&output.stdout)),
            stderr: self.lab.redact(&self.seen),
        }
    }
}
