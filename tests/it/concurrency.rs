//! Commands that change one environment concurrently: one of them runs, and the others are refused
//! and change nothing.

use camino::Utf8PathBuf;
use support::faulty::{FaultyRegistry, quirks};
use support::{Lab, Sandbox};

use crate::deploy::deploy::{Running, assert_ended};
use crate::{AIRLOCK, FAKE_MKECTL};

// cases 1.6, 1.6a, 1.6b
#[tokio::test(flavor = "multi_thread")]
async fn while_a_deploy_runs_every_other_change_of_the_environment_is_refused() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.edit_environment("mke.lab.example.com", "mke2.lab.example.com");
    lab.run("plan lab --out plan.yaml").success();
    lab.variable("FAKE_MKECTL_HANG", "yes");
    let receipt = lab.read("environments/lab/receipt.yaml");
    let mut first = Running::start(&lab, "deploy lab");
    first.wait_for("waiting for nodes");
    // The rendered file is outdated, so `render` would change it.
    lab.edit_environment("mke2.lab.example.com", "mke3.lab.example.com");
    let applied = lab.applies().len();
    for command in [
        "deploy lab",
        "deploy lab --plan plan.yaml",
        "push lab",
        "apply lab",
        "render lab",
        "promote demo lab --unproven",
        "verify lab --repair",
        "cluster backup lab",
        "cluster reset lab --confirm lab",
        "mkectl lab -- certs rotate",
    ] {
        let run = lab.run(command).exits_with(8);
        let process = run.stderr.split("(process ").nth(1).unwrap_or_default();
        let process = process.split(',').next().unwrap_or_default();
        assert_eq!(
            run.stderr.replace(process, "[PROCESS]"),
            "error: lab is in use by `deploy` (process [PROCESS], since [TIME])\n\
             hint: wait until that command ends, then run this one again\n",
            "{command:?}"
        );
    }
    assert_eq!(lab.read("environments/lab/receipt.yaml"), receipt);
    assert_eq!(lab.applies().len(), applied);
    // Commands that only read are not refused. A plan reports that a deploy would be refused.
    lab.run("plan lab")
        .exits_with(8)
        .prints("lab is in use by `deploy`");
    lab.run("status lab").success();
    lab.run("rehearse lab").success();
    first.interrupt();
    assert_eq!(first.end().code, Some(130));
    assert_ended(&lab);

    lab.variable("FAKE_MKECTL_HANG", "no");
    lab.run("deploy lab").success();
    let lock = lab.path("environments/lab/logs/environment.lock");
    assert!(!lock.exists(), "the lock file still exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_killed_is_named_by_the_next_one() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    kill_while_mkectl_runs(&mut lab, "deploy");
    let run = lab.run("deploy lab").success();
    run.reports("warning: `deploy` (process ");
    let again = lab.run("deploy lab").success();
    again.does_not_report("warning");
}

/// Kills a command while mkectl runs, and waits until the system has ended mkectl.
fn kill_while_mkectl_runs(lab: &mut Lab, command: &str) {
    lab.variable("FAKE_MKECTL_HANG", "yes");
    let mut running = Running::start(lab, &[command, "lab"]);
    running.wait_for("waiting for nodes");
    running.kill();
    assert_eq!(running.end().code, None);
    while lab.run("plan lab").stdout.contains("still running") {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    lab.variable("FAKE_MKECTL_HANG", "no");
}

/// Returns a second checkout of the lab's workspace: the same files and the same registry, with a
/// mkectl of its own.
async fn second_checkout(lab: &Lab) -> Lab {
    let other = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    other.edit_environment(&other.registry.address, &lab.registry.address);
    assert_eq!(
        other.sandbox.read("environments/lab/environment.yaml"),
        lab.read("environments/lab/environment.yaml")
    );
    other
}

/// Copies the files that a deploy leaves to be committed, as `git pull` does.
fn pull(from: &Sandbox, to: &Sandbox) {
    for file in ["receipt.yaml", "mke4.yaml"] {
        let path = format!("environments/lab/{file}");
        to.write(&path, &from.read(&path));
    }
}

/// Makes `mkectl apply` wait until a file exists, and returns its path.
fn gate(lab: &Lab) -> Utf8PathBuf {
    let gate = lab.home().join("gate");
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$1 $2\" = 'apply -f' ]; then\n\
           echo waiting for the gate\n\
           while [ ! -e {gate} ]; do PATH=/usr/bin:/bin sleep 0.05; done\n\
         fi\n\
         exec {FAKE_MKECTL} \"$@\"\n"
    );
    lab.install_script("mkectl", script);
    gate
}

/// Returns the files of the environment that git does not ignore.
fn committed(lab: &Lab) -> Vec<String> {
    let folder = lab.path("environments/lab");
    let names = folder.read_dir_utf8().unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().to_owned())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_deploys_and_the_other_is_refused_until_it_has_the_receipt() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let other = second_checkout(&lab).await;
    let gate = gate(&lab);
    let mut first = Running::start(&lab, "deploy lab");
    first.wait_for("waiting for the gate");
    for arguments in [
        "deploy lab",
        "apply lab",
        "cluster backup lab",
        "cluster reset lab --confirm lab",
    ] {
        let run = other.run(arguments).exits_with(8);
        assert!(
            run.stderr.ends_with(
                "error: a deploy of v4.1.5 to lab began at [TIME] from a different checkout and has not ended\n\
                 hint: wait until it ends, then run `git pull`\n\
                 hint: if `git pull` brings no receipt, wait until the other operator commits and pushes it\n\
                 hint: if it was interrupted, add `--take-over`\n"
            ),
            "{arguments:?}: {}",
            run.stderr
        );
    }
    let plan = other.run("plan lab").exits_with(8);
    plan.prints("  refused   a deploy of v4.1.5 to lab began");
    let status = other.run("status lab").success();
    status.prints("v4.1.5 deploying since [TIME]");
    status.prints("lab: a deploy of v4.1.5 to lab began at [TIME] from a different checkout and has not ended\n    git pull\n");
    assert_eq!(committed(&other), ["environment.yaml"]);
    assert_eq!(other.applies().len(), 0);

    std::fs::write(gate, "").unwrap();
    let first = first.end().success();
    assert_eq!(
        first.stderr.matches("warning").count(),
        0,
        "{}",
        first.stderr
    );
    let run = other.run("deploy lab").exits_with(8);
    assert!(
        run.stderr.ends_with(
            "error: the registry records that a deploy of v4.1.5 to lab ended at [TIME], but this checkout has no receipt\n\
             hint: run `git pull` to get the receipt of that deploy, then run this command again\n\
             hint: if `git pull` brings no receipt, wait until the other operator commits and pushes it\n\
             hint: if that receipt is lost, rebuild it: `cargo xtask receipt rebuild lab`\n\
             hint: if this checkout is right, add `--take-over`\n"
        ),
        "{}",
        run.stderr
    );
    let status = other.run("status lab").success();
    status.prints("a deploy of v4.1.5 ended [TIME]");
    status.prints("    git pull\n");
    status.does_not_print("cargo xtask");
    other.run("cluster backup lab --take-over").success();
    pull(&lab.sandbox, &other.sandbox);
    let run = other.run("status lab --format json");
    let value = run.json();
    let status = &value["result"]["environments"][0];
    assert_eq!(status["shared"]["phase"], "ended");
    assert_eq!(status["drift"], serde_json::json!([]));
    let run = other.run("deploy lab").success();
    assert_eq!(run.stdout, "lab: nothing to do\n");

    // The next change is deployed by the other operator.
    for checkout in [&lab, &other] {
        checkout.edit_environment("mke.lab.example.com", "mke2.lab.example.com");
    }
    other.run("deploy lab").success();
    let run = lab.run("deploy lab").exits_with(8);
    run.reports("but the receipt in this checkout records v4.1.5 of [TIME]");
    pull(&other.sandbox, &lab.sandbox);
    lab.run("deploy lab").success();
    assert_eq!((lab.applies().len(), other.applies().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slower_concurrent_deploy_is_refused_before_mkectl_runs() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let other = second_checkout(&lab).await;
    let mut slow = Running::start(&other, "deploy lab --max-rate 400KB");
    slow.wait_for("Plan for lab");
    lab.run("deploy lab").success();
    let slow = slow.end().exits_with(8);
    slow.reports("error: a different deploy of lab began while this one was running\n");
    slow.reports("wait until the other operator commits and pushes it");
    assert_eq!((lab.applies().len(), other.applies().len()), (1, 0));
    assert_eq!(committed(&other), ["environment.yaml"]);
    pull(&lab.sandbox, &other.sandbox);
    other.run("deploy lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_outdated_after_the_push_does_not_reach_mkectl() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let mut slow = Running::start(&lab, "deploy lab --max-rate 400KB");
    slow.wait_for("Plan for lab");
    lab.edit_environment("mke.lab.example.com", "mke2.lab.example.com");
    let slow = slow.end().exits_with(2);
    slow.reports("error: lab changed after its plan was computed: config: was ");
    assert_eq!(lab.applies().len(), 0);
    assert_eq!(committed(&lab), ["environment.yaml"]);
    lab.run("deploy lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_deploy_is_reported_and_taken_over() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let other = second_checkout(&lab).await;
    lab.run("push lab").success();
    for checkout in ["the same", "another"] {
        kill_while_mkectl_runs(&mut lab, "apply");
        if checkout == "the same" {
            let run = lab.run("deploy lab").success();
            run.reports("warning: the deploy of v4.1.5 that began at [TIME] from this checkout was interrupted; this one takes over\n");
            pull(&lab.sandbox, &other.sandbox);
            continue;
        }
        other.run("deploy lab").exits_with(8);
        let run = other.run("apply lab --take-over").success();
        run.reports("  set aside a deploy of");
        run.does_not_report("refused");
        // The checkout of the killed deploy lacks the receipt of the take-over.
        let run = lab.run("deploy lab").exits_with(8);
        run.reports("run `git pull`");
        pull(&other.sandbox, &lab.sandbox);
        lab.run("deploy lab").success();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_the_shared_state_costs_a_warning() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let quirks = quirks!(refuses: &["application/vnd.airlock.state.v1+json"]);
    let registry = FaultyRegistry::start(quirks, &[], 0).await;
    lab.edit_environment(&lab.registry.address, &registry.address);
    let run = lab.run("deploy lab").success();
    assert_eq!(run.stderr.matches("warning:").count(), 1, "{}", run.stderr);
    run.reports("warning: cannot write 127.0.0.1:[PORT]/mke/airlock/state:lab, so deploys from different checkouts are not noticed: ");
    assert!(!lab.receipt().contains("\nrun: "), "{}", lab.receipt());
    let again = lab.run("deploy lab").success();
    assert_eq!(again.stdout, "lab: nothing to do\n");
    again.does_not_report("warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_state_is_not_an_artifact_of_a_release() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    assert!(
        lab.repositories()
            .await
            .contains(&"mke/airlock/state".to_owned())
    );
    for arguments in [
        "prune lab --also-found",
        "snapshot lab",
        "verify lab",
        "inspect v4.1.5",
    ] {
        let run = lab.run(arguments).success();
        run.does_not_mention("airlock/state");
    }
    let repository = "mke/airlock/state";
    let manifest = lab
        .registry
        .get_json(&format!("{repository}/manifests/lab"))
        .await;
    assert_eq!(
        manifest["artifactType"],
        "application/vnd.airlock.state.v1+json"
    );
    let digest = manifest["config"]["digest"].as_str().unwrap();
    let state = lab
        .registry
        .get_json(&format!("{repository}/blobs/{digest}"))
        .await;
    assert_eq!(
        (&state["phase"], &state["release"]),
        (&"ended".into(), &"v4.1.5".into())
    );
    let receipt = lab.read("environments/lab/receipt.yaml");
    assert!(
        receipt.contains(state["run"].as_str().unwrap()),
        "{receipt}"
    );
    assert_eq!(state["receipt"], sha256(receipt.as_bytes()));
    assert_eq!(
        state["lock"],
        sha256(lab.read(support::bundles::LOCK).as_bytes())
    );
}

#[test]
fn a_demo_without_its_receipt_is_deployed_again() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.run("deploy demo").success();
    sandbox.remove("environments/demo/receipt.yaml");
    sandbox.run("deploy demo").success();
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
