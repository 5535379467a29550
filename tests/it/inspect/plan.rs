//! `plan`: what `deploy` would do, as text, as JSON and as an exit code.

use support::{Arguments, Lab, Sandbox, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_every_step_and_changes_nothing() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let before = lab.state();
    let run = lab.run("plan lab").success();
    insta::assert_snapshot!("first", run.whole());
    // A plan writes one file: the help of this mkectl, which is read once only.
    let mut changes = lab.changes_since(&before);
    changes.retain(|path| !path.starts_with("bundles/mkectl/help/"));
    assert_eq!(changes, [""; 0]);
    assert!(lab.repositories().await.is_empty());
    assert!(lab.applies().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_ends_with_the_command_that_shows_the_rest() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for file in [bundles::LOCK, "bundles/mke_bundle_v4.1.5_amd64.tar.gz"] {
        lab.remove(file);
    }
    let image = |number: usize| {
        let repository = format!("demo/image-{number}");
        bundles::image(&repository, "v1", &["linux/amd64"], &[("layer", 100)])
    };
    let recipe = bundles::of((0..23).map(image).collect());
    bundles::lock_release(&lab.sandbox, "v4.1.5", &recipe);
    let run = lab.run("deploy lab");
    run.reports("+ and 3 more; `cargo xtask plan lab` lists all");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_detailed_exit_code_shows_whether_a_deploy_changes_anything() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let plan = "plan lab --detailed-exitcode";
    lab.run(plan).exits_with(2);
    lab.run("plan lab").success();
    lab.run("deploy lab").success();
    let run = lab.run(plan);
    insta::assert_snapshot!(run.whole(), @r#"
    exit code: 0
    --- stdout
    Plan for lab: v4.1.5 to 127.0.0.1:[PORT]/mke
    Nothing to do: 14 artifacts are in the registry, mke4.yaml is applied.
    --- stderr
    "#);

    // An edited file alone is a change.
    let path = "environments/lab/mke4.yaml";
    let config = lab.read(path);
    lab.write(path, &format!("{config}# by hand\n"));
    let by_hand = lab.run(plan);
    insta::assert_snapshot!(by_hand.whole(), @r#"
    exit code: 2
    --- stdout
    Plan for lab: v4.1.5 to 127.0.0.1:[PORT]/mke
      bundle    not needed
      registry  14 artifacts already present
      config    write environments/lab/mke4.yaml
      mkectl    not needed

    --- a/environments/lab/mke4.yaml
    +++ b/environments/lab/mke4.yaml
    @@ -24,4 +24,3 @@
             keyPath: ~/.ssh/id_ed25519
       tracking:
         enabled: false
    -# by hand
    --- stderr
    "#);
    lab.write(path, &config);
    lab.run(plan).success();

    lab.remove("environments/lab/receipt.yaml");
    // A refusal of `deploy` takes precedence over a difference.
    lab.run(plan).exits_with(8);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_output_has_the_same_plan() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let plan = |lab: &Lab, code: i32| {
        let run = lab
            .run("plan lab --format json --detailed-exitcode")
            .exits_with(code);
        assert_eq!(run.stderr, "");
        let value = run.json();
        value["result"].clone()
    };
    let first = plan(&lab, 2);
    assert_eq!(first["environment"], "lab");
    assert_eq!(first["release"], "v4.1.5");
    assert_eq!(first["artifacts"], 14);
    assert_eq!(first["missing"].as_array().unwrap().len(), 14);
    assert_eq!(first["nothing-to-do"], false);
    assert_eq!(first["config"], "environments/lab/mke4.yaml");
    assert!(
        first["config-diff"]
            .as_str()
            .unwrap()
            .contains("+kind: MkeConfig\n")
    );
    assert!(
        first["mkectl"]["commands"][0]["command"]
            .as_str()
            .unwrap()
            .ends_with("--no-pretty-print")
    );
    assert_eq!(first["mkectl"]["action"], "apply");
    assert_eq!(first["mkectl"]["problem"], serde_json::Value::Null);

    lab.variable("FAKE_MKECTL_VERSION", "v4.1.4");
    let without = plan(&lab, 2);
    assert_eq!(without["mkectl"]["commands"], serde_json::json!([]));
    let problem = without["mkectl"]["problem"].as_str().unwrap();
    assert!(
        problem.ends_with("is mkectl v4.1.4, but release v4.1.5 requires its own"),
        "{problem}"
    );

    lab.variable("FAKE_MKECTL_VERSION", "v4.1.5");
    lab.run("deploy lab").success();
    let last = plan(&lab, 0);
    assert_eq!(last["nothing-to-do"], true);
    assert_eq!(last["missing"].as_array().unwrap().len(), 0);
    assert_eq!(last["bytes-to-send"], 0);
    assert_eq!(last["config-diff"], "");
    assert_eq!(last["mkectl"]["action"], "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mkectl_that_deploy_cannot_download_is_a_refusal() {
    let lab = Lab::without_mkectl(AIRLOCK).await;
    lab.run("plan lab").success();
    let refused = |more: &[&str]| {
        let run = |command: &str| {
            let arguments = [&command.words(), more].concat();
            lab.run(&arguments).exits_with(6).stderr
        };
        let hint = run("plan lab");
        let deploy = run("deploy lab");
        hint.has("put the mkectl of v4.1.5 on PATH");
        assert!(deploy.ends_with(&hint), "{deploy}");
    };
    refused(&["--offline"]);
    bundles::forget_mkectl(&lab.sandbox);
    refused(&[]);
}

#[test]
fn a_release_without_a_lock_gets_the_command_to_lock_it() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("plan staging").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: release v4.1.5 is not locked: `bundles/v4.1.5-amd64.lock.yaml` does not exist
    hint: with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
    ");
    insta::assert_snapshot!(sandbox.run("plan staging --format json").whole(), @r#"
    exit code: 3
    --- stdout
    {"error":{"causes":[],"exit-code":3,"hints":["with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock"],"message":"release v4.1.5 is not locked: `bundles/v4.1.5-amd64.lock.yaml` does not exist"}}
    --- stderr
    "#);
}

#[test]
fn a_misspelt_pre_release_gets_a_suggestion() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let path = "environments/demo/environment.yaml";
    sandbox.edit(path, "v4.1.5-demo", "v4.1.5-dmeo");
    let run = sandbox.run("plan demo").exits_with(3);
    assert!(
        run.stderr.ends_with("hint: did you mean `v4.1.5-demo`?\n"),
        "{}",
        run.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_run_is_reported() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let free = format!("127.0.0.1:{}", support::sandbox::free_port());
    lab.edit_environment(&lab.registry.address, &free);
    insta::assert_snapshot!(lab.run("plan lab").whole(), @r#"
    exit code: 5
    --- stdout
    --- stderr
    error: registry 127.0.0.1:[PORT] cannot be used
      because: GET http://127.0.0.1:[PORT]/v2/: connection refused
    hint: start the registry, open the port in the firewall, or correct registry.address
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_receipt_stops_a_plan() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write("environments/lab/receipt.yaml", "version: 2\nsigned: yes\n");
    insta::assert_snapshot!(lab.run("plan lab").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: `[WORKSPACE]/environments/lab/receipt.yaml` is not a receipt
      because: unknown field `signed`, expected one of `version`, `run`, `applied`, `failed` at line 2 column 1
    hint: restore the committed file: it records what the cluster runs
    "#);
    lab.write("environments/lab/receipt.yaml", "version: 3\n");
    insta::assert_snapshot!(lab.run("plan lab").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: `[WORKSPACE]/environments/lab/receipt.yaml` is a receipt of version 3, which this version of Airlock does not support
    hint: use the version of Airlock that wrote it, or a newer one
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_lock_stops_a_plan() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let path = "bundles/v4.1.5-amd64.lock.yaml";
    let lock = lab.read(path);
    lab.write(path, &lock.replacen("kind: image", "kind: picture", 1));
    insta::assert_snapshot!(lab.run("plan lab").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: bundles/v4.1.5-amd64.lock.yaml:27:9: the lock is damaged
      because: artifacts[0].kind: unknown variant `picture`, expected one of `image`, `chart`, `artifact` at line 27 column 9
    hint: restore the committed lock: `git checkout HEAD -- bundles/v4.1.5-amd64.lock.yaml`; or delete it and run `cargo xtask lock v4.1.5`
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_confirmation_the_change_of_the_applied_configuration_is_shown() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("protected: true\n");
    let second = "    - role: worker\n      ssh: { address: 192.0.2.11, user: ubuntu, port: 22, keyPath: ~/.ssh/id_ed25519 }\n";
    lab.edit_environment("  tracking:", &format!("{second}  tracking:"));
    lab.run("deploy lab --confirm lab").success();
    lab.edit_environment(second, "");
    // mke4.yaml is still the applied file.
    let run = lab.run("deploy lab").exits_with(8);
    insta::assert_snapshot!(run.stderr, @"
    Plan for lab: v4.1.5 to 127.0.0.1:[PORT]/mke
    warning: the cluster of lab does not respond, so only the receipt is used: `[SANDBOX]/bin/mkectl config get` exited with code 1: FTL there is no kubeconfig
      bundle    not needed
      registry  14 artifacts already present
      config    write environments/lab/mke4.yaml
      hosts     remove 192.0.2.11
      mkectl    [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml --no-color --no-pretty-print
                because the configuration changed

    --- a/environments/lab/mke4.yaml
    +++ b/environments/lab/mke4.yaml
    @@ -22,11 +22,5 @@
             user: ubuntu
             port: 22
             keyPath: ~/.ssh/id_ed25519
    -    - role: worker
    -      ssh:
    -        address: 192.0.2.11
    -        user: ubuntu
    -        port: 22
    -        keyPath: ~/.ssh/id_ed25519
       tracking:
         enabled: false
    error: lab was not confirmed: a terminal is required to confirm
    hint: add `--confirm lab` for runs without a terminal; `--yes` alone does not confirm
    ");

    // The change is rendered and committed, as for a review. After that, only git's history has the
    // applied file.
    lab.init_git();
    lab.git(&["config", "user.name", "Jane Doe"]);
    lab.git("config user.email jane@example.com");
    lab.git(&["add", "environments", bundles::LOCK]);
    lab.git("commit --quiet --message=first");
    lab.run("render lab").success();
    lab.git("commit --quiet --all --message=second");
    let run = lab.run("deploy lab").exits_with(8);
    insta::assert_snapshot!("removed_host_committed", run.stderr);
    let json = lab.run("plan lab --format json").success();
    let plan = json.json();
    assert_eq!(
        plan["result"]["removed-hosts"],
        serde_json::json!(["192.0.2.11"])
    );
    let markdown = lab.run("plan lab --markdown").success();
    markdown.prints("**Removed host:** `192.0.2.11`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncommitted_lock_is_reported_once() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let lock = "bundles/v4.1.5-amd64.lock.yaml";
    let warning = format!("not committed as it is now: {lock}; a review covers what is committed");
    let warnings = || {
        lab.run("plan lab")
            .success()
            .whole()
            .matches(&warning)
            .count()
    };
    assert_eq!(warnings(), 0);
    lab.init_git();
    assert_eq!(warnings(), 1);
    lab.commit("lab");
    assert_eq!(warnings(), 0);
    let text = lab.read(lock);
    lab.write(lock, &format!("{text}# changed\n"));
    assert_eq!(warnings(), 1);
    let run = lab.run("deploy lab").success().whole();
    assert_eq!(run.matches(&warning).count(), 1, "{run}");
}
