//! `rehearse`: all steps of a deploy, without changes to registry or cluster.

use support::{Lab, Sandbox};

use crate::{AIRLOCK, FAKE_MKECTL};

#[test]
fn the_shipped_examples_are_rehearsed_without_a_bundle() {
    for name in ["prod", "staging"] {
        let sandbox = Sandbox::with_examples(AIRLOCK);
        let before = sandbox.state();
        let run = sandbox.run(&["rehearse", name]).success();
        insta::assert_snapshot!(format!("rehearse_{name}"), run.whole());
        let mut changes = sandbox.changes_since(&before);
        changes.retain(|path| !path.starts_with("bundles/"));
        assert_eq!(changes, [""; 0], "{name}");
    }
}

#[test]
fn a_second_rehearsal_is_like_the_first() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    sandbox.run("rehearse staging").success();
    let again = sandbox.run("rehearse staging").success();
    again.prints(", 0 pushed, ");
    again.reports("INF Rehearsal complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_registry_nor_mkectl_nor_credentials_are_touched() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("protected: true\n");
    let run = lab.run("rehearse lab").success();
    run.does_not_report("is used instead");
    // Item 27: the release's mkectl checks the configuration, and changes nothing.
    let is_question = |words: &[String]| {
        words == ["version"] || words.ends_with(&["--help".to_owned()]) || words[0] == "init"
    };
    let calls = lab.calls();
    assert!(
        calls.iter().all(|call| is_question(&call.arguments)),
        "{calls:?}"
    );
    let asked = calls.iter().filter(|call| {
        call.arguments
            .iter()
            .any(|word| word == "--print-k0sctl-config")
    });
    assert_eq!(asked.count(), 1, "{calls:?}");
    assert!(lab.repositories().await.is_empty());
    assert!(!lab.path("environments/lab/receipt.yaml").exists());
    assert!(!lab.path("environments/lab/mke4.yaml").exists());
    assert!(!lab.path("environments/lab/logs").exists());
}

#[test]
fn the_result_is_json_with_format_json() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let run = sandbox.run("rehearse prod --format json").success();
    assert_eq!(run.stderr, "");
    let last = run.json();
    let result = &last["result"];
    assert_eq!(result["environment"], "prod");
    assert_eq!(result["applied"], true);
    assert_eq!(result["rehearsal"], true);
    assert!(
        result["log"]
            .as_str()
            .unwrap()
            .starts_with("bundles/rehearsal/prod/logs/"),
        "{result}"
    );
}

#[test]
fn an_invalid_configuration_is_refused() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let path = "environments/staging/environment.yaml";
    sandbox.edit(
        path,
        "externalAddress: mke.staging.example.com",
        "externalAddress: https://mke",
    );
    insta::assert_snapshot!(sandbox.run("rehearse staging").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: `apiServer.externalAddress` has a scheme
      --> environments/staging/environment.yaml:15:22
       |
    15 |     externalAddress: https://mke
       |                      ^^^^^^^^^^^
       |
       = help: write a host with an optional port: remove everything up to `://`

    1 problem
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_rehearsed_where_the_cluster_runs_an_earlier_release() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let bundle = lab.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
    lab.lock_as("v4.2.1", &bundle);
    lab.edit_environment("v4.1.5", "v4.2.1");
    let receipt = lab.read("environments/lab/receipt.yaml");
    let run = lab.run("rehearse lab").success();
    insta::assert_snapshot!("upgrade", run.whole());
    // The receipt and the cluster are unchanged.
    assert_eq!(lab.read("environments/lab/receipt.yaml"), receipt);
    assert_eq!(lab.applies().len(), 1);
    // A rehearsal also refuses a change that the vendor does not support.
    lab.lock_as("v4.1.2", &bundle);
    lab.edit_environment("v4.2.1", "v4.1.2");
    let run = lab.run("rehearse lab").exits_with(3);
    run.reports("v4.1.2 is older than v4.1.5");
}

#[test]
fn commands_for_a_cluster_refuse_a_rehearsal_before_they_ask() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    for command in [
        "migrate demo",
        "cluster reset demo",
        "cluster status demo",
        "diff demo --live",
    ] {
        let run = sandbox.run(command).exits_with(3);
        assert_eq!(
            run.stderr, "error: demo is a rehearsal and has no cluster\n",
            "{command:?}"
        );
    }
}
