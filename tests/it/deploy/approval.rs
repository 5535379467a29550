//! Approval: the prompt before a plan is executed, at a terminal and without one.

use std::io::Write as _;

use support::{Arguments, Lab, Run, Sandbox};

use crate::deploy::deploy::{last_line, last_stderr};
use crate::{AIRLOCK, FAKE_MKECTL};

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_shown_the_plan_and_asked() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for typed in ["\n", "n\n", "lab\n"] {
        let run = answer(&lab, "deploy lab", typed).exits_with(8);
        let (plan, rest) = run.stderr.split_once("\n\n").unwrap();
        assert!(plan.starts_with("Plan for lab: v4.1.5"), "{plan}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(rest, @"
            Execute this plan on lab? [y/N] error: the plan for lab was not approved; nothing was changed
            ");
        }
    }
    assert!(lab.repositories().await.is_empty());
    for (typed, port) in [("y\n", "port: 22"), ("YES\n", "port: 2222")] {
        lab.edit_environment("port: 22", port);
        let run = answer(&lab, "deploy lab", typed).success();
        run.reports("[y/N] ");
    }
    assert_eq!(lab.applies().len(), 2);
    // A deploy with nothing to do does not prompt.
    let run = answer(&lab, "deploy lab", "").success();
    run.does_not_report("[y/N]");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_a_plan_is_approved_by_a_flag_or_a_file() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let run = |arguments: &str| {
        let output = lab.command(arguments).output().unwrap();
        let stderr = lab.redact(&String::from_utf8_lossy(&output.stderr));
        Run {
            code: output.status.code(),
            stdout: String::new(),
            stderr,
        }
    };
    let refused = run("deploy lab");
    refused.reports("Plan for lab: v4.1.5");
    insta::assert_snapshot!(last_stderr(&refused, 2), @"
    exit code: 8
    error: the plan for lab requires approval, but this run has no terminal
    hint: review the plan and add `--yes`; or save it with `plan --out FILE`, and run `deploy --plan FILE`
    ");
    assert!(lab.repositories().await.is_empty());
    run("plan lab --out lab.plan.yaml").success();
    run("deploy lab --plan lab.plan.yaml").success();
    // A deploy with nothing to do needs no approval.
    run("deploy lab").success();
    run("apply lab").exits_with(8);
    run("apply lab --yes").success();
    // `--confirm` with the environment's name includes `--yes`.
    run("apply lab --confirm lab").success();
    run("apply lab --confirm prod --yes").exits_with(8);
    assert_eq!(lab.applies().len(), 3);
}

#[test]
fn the_demo_and_rehearsals_do_not_prompt() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    for arguments in ["deploy demo", "rehearse staging"] {
        let output = sandbox.command(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_a_protected_environment_requires_its_name_as_an_option() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("protected: true\n");
    let unconfirmed = lab.run("deploy lab").exits_with(8);
    insta::assert_snapshot!(unconfirmed.whole(), @"
    exit code: 8
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
      mkectl    [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml --no-color --no-pretty-print
                because no receipt records a successful deploy
    error: lab was not confirmed: a terminal is required to confirm
    hint: add `--confirm lab` for runs without a terminal; `--yes` alone does not confirm
    ");
    // `run` adds `--yes`, which is not enough.
    let wrong = lab.run("deploy lab --confirm prod").exits_with(8);
    insta::assert_snapshot!(last_stderr(&wrong, 2), @r#"
    exit code: 8
    error: lab was not confirmed: `--confirm` has `prod`, but expected `lab`
    hint: use `--confirm lab`
    "#);
    let machine = lab.run("deploy lab --format json").exits_with(8);
    assert_eq!(last_line(&machine)["error"]["exit-code"], 8);
    assert!(lab.repositories().await.is_empty());
    assert_eq!(lab.applies().len(), 0);

    lab.run("deploy lab --confirm lab").success();
    assert_eq!(lab.applies().len(), 1);
    // A deploy with nothing to do needs no confirmation.
    lab.run("deploy lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_a_protected_environment_prompts_for_its_name() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("protected: true\n");
    let wrong = answer(&lab, "deploy lab", "prod\n");
    insta::assert_snapshot!(last_stderr(&wrong, 4), @r#"
    exit code: 8
                because no receipt records a successful deploy

    lab is protected. Type its name to continue: error: lab was not confirmed: `prod` was typed; expected `lab`
    hint: run it again and type `lab`
    "#);
    // With `--confirm`, the command does not prompt.
    let wrong = answer(&lab, "deploy lab --confirm prod", "");
    insta::assert_snapshot!(last_stderr(&wrong, 1), @r#"
    exit code: 8
    hint: use `--confirm lab`
    "#);
    let nothing = answer(&lab, "deploy lab", "\n");
    insta::assert_snapshot!(last_stderr(&nothing, 2), @r#"
    exit code: 8
    lab is protected. Type its name to continue: error: lab was not confirmed: nothing was typed; expected `lab`
    hint: run it again and type `lab`
    "#);
    assert!(lab.repositories().await.is_empty());
    answer(&lab, "deploy lab", "lab\n").success();
    assert_eq!(lab.applies().len(), 1);
}

/// Runs the command with a terminal as standard input, and types this text.
#[must_use]
fn answer(lab: &Lab, arguments: impl Arguments, typed: &str) -> Run {
    let (mut controller, terminal) = support::terminal::open();
    controller.write_all(typed.as_bytes()).unwrap();
    let output = lab.command(arguments).stdin(terminal).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: lab.redact(&String::from_utf8_lossy(&output.stdout)),
        stderr: lab.redact(&String::from_utf8_lossy(&output.stderr)),
    }
}
