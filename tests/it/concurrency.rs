//! Commands that change one environment at the same time: one of them runs, the others are refused and change nothing.

use support::Lab;

use crate::deploy::{Running, assert_ended};
use crate::{AIRLOCK, FAKE_MKECTL};

// cases 1.6, 1.6a, 1.6b
#[tokio::test(flavor = "multi_thread")]
async fn while_a_deploy_runs_every_other_change_of_the_environment_is_refused() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let _ = lab.run(&["deploy", "lab"]).ends_with(0);
    lab.edit_environment("mke.lab.example.com", "mke2.lab.example.com");
    let _ = lab.run(&["plan", "lab", "--out", "plan.yaml"]).ends_with(0);
    lab.sandbox.variable("FAKE_MKECTL_HANG", "yes");
    let receipt = lab.sandbox.read("environments/lab/receipt.yaml");
    let mut first = Running::start(&lab, &["deploy", "lab"]);
    first.wait_for("waiting for nodes");
    // Stale again, so `render` has something to write.
    lab.edit_environment("mke2.lab.example.com", "mke3.lab.example.com");
    let applied = lab.applies().len();
    for command in [
        &["deploy", "lab"][..],
        &["deploy", "lab", "--plan", "plan.yaml"],
        &["push", "lab"],
        &["apply", "lab"],
        &["render", "lab"],
        &["promote", "demo", "lab", "--unproven"],
        &["verify", "lab", "--repair"],
        &["cluster", "backup", "lab"],
        &["cluster", "reset", "lab", "--confirm", "lab"],
        &["mkectl", "lab", "--", "certs", "rotate"],
    ] {
        let run = lab.run(command).ends_with(8);
        let process = run.stderr.split("(process ").nth(1).unwrap_or_default();
        let process = process.split(',').next().unwrap_or_default();
        assert_eq!(
            run.stderr.replace(process, "[PROCESS]"),
            "error: lab is in use by `deploy` (process [PROCESS], since [TIME])\n\
             hint: wait until that command ends, then run this one again\n",
            "{command:?}"
        );
    }
    assert_eq!(lab.sandbox.read("environments/lab/receipt.yaml"), receipt);
    assert_eq!(lab.applies().len(), applied);
    // What only looks is not held up.
    let _ = lab.run(&["plan", "lab"]).ends_with(0);
    let _ = lab.run(&["status", "lab"]).ends_with(0);
    let _ = lab.run(&["rehearse", "lab"]).ends_with(0);
    first.interrupt();
    assert_eq!(first.end().code, Some(130));
    assert_ended(&lab);

    lab.sandbox.variable("FAKE_MKECTL_HANG", "no");
    let _ = lab.run(&["deploy", "lab"]).ends_with(0);
    let lock = lab.sandbox.path("environments/lab/logs/environment.lock");
    assert!(!lock.exists(), "the lock is left");
}

// case 1.6a
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_killed_is_named_by_the_next_one() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.sandbox.variable("FAKE_MKECTL_HANG", "yes");
    let mut first = Running::start(&lab, &["deploy", "lab"]);
    first.wait_for("waiting for nodes");
    first.kill();
    assert_eq!(first.end().code, None);
    // The system ends mkectl.
    while lab.run(&["plan", "lab"]).stdout.contains("still at work") {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    lab.sandbox.variable("FAKE_MKECTL_HANG", "no");
    let run = lab.run(&["deploy", "lab"]).ends_with(0);
    assert!(
        run.stderr.contains("warning: `deploy` (process "),
        "{}",
        run.stderr
    );
    let again = lab.run(&["deploy", "lab"]).ends_with(0);
    assert!(!again.stderr.contains("warning"), "{}", again.stderr);
}
