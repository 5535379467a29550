//! `apply`: runs mkectl without a push, after it has verified the registry.

use support::{Lab, Text as _};

use crate::{AIRLOCK, FAKE_MKECTL};

#[tokio::test(flavor = "multi_thread")]
async fn apply_is_refused_while_the_registry_lacks_artifacts() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    insta::assert_snapshot!(lab.run("apply lab").whole(), @"
    exit code: 5
    --- stdout
    --- stderr
    error: registry 127.0.0.1:[PORT]/mke does not serve what the lock names
      calico/apiserver:v3.30.2 is missing
      calico/node:v3.30.2 is missing
      charts/k0rdent-enterprise:1.2.3 is missing
      dex-http-server:v0.7.0 is missing
      dex-http-server-chart:0.3.0 is missing
      dexidp/dex:v2.42.0 is missing
      envoyproxy/envoy:distroless-v1.37.3 is missing
      k0sproject/coredns:1.12.1 is missing
      k0sproject/pause:3.10 is missing
      mirrored-chart-dex:v0.23.0 is missing
      mke-dashboard:v1.6.2 is missing
      mke-operator:v1.6.3 is missing
      mke-operator-chart:3.17.2 is missing
      nfd/node-feature-discovery:v0.17.2 is missing
    hint: `cargo xtask push lab` pushes missing and different tags; `cargo xtask verify lab --repair` restores what is below tags too
    ");
    assert_eq!(lab.applies().len(), 0);
    // Nothing was attempted, so there is nothing to record.
    assert!(!lab.path("environments/lab/receipt.yaml").exists());
    let run = lab.run("apply lab --format json").exits_with(5);
    let last = run.json();
    assert_eq!(last["error"]["wrong"].as_array().unwrap().len(), 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_renders_runs_mkectl_and_writes_the_receipt() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("push lab").success();
    assert!(lab.applies().is_empty());
    insta::assert_snapshot!(lab.run("apply lab").whole(), @r#"
    exit code: 0
    --- stdout
    lab: applied; mkectl's log is environments/lab/logs/[TIME]-apply.log
    --- stderr
    Plan for lab: v4.1.5 to 127.0.0.1:[PORT]/mke
      bundle    not needed
      registry  14 artifacts already present
      config    write environments/lab/mke4.yaml
      mkectl    [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml --no-color --no-pretty-print
                because `apply` always runs mkectl
      confirm 14 artifacts as a node pulls them
      confirm done: 14 artifacts are served to nodes
        apply [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml --no-color --no-pretty-print
    mkectl | INF mkectl v4.1.5 reads [WORKSPACE]/environments/lab/mke4.yaml
    mkectl | !!! Make sure to save the admin credentials shown below !!!
    mkectl |               They are only showed once
    mkectl |          You won't be able to see them again
    mkectl |              Generated username:password
    mkectl |         admin:***
    mkectl | INF MKE v4.1.5 is installed
        apply done: the password of user admin is in environments/lab/admin-password, which only you can read; no other copy exists
        apply done: applied; log in environments/lab/logs/[TIME]-apply.log
    "#);
    let receipt = lab.receipt();
    receipt
        .has("\napplied:\n")
        .has("  pushed:\n    artifacts: 0\n");
    assert_eq!(
        lab.applies()[0].file,
        Some(lab.read("environments/lab/mke4.yaml"))
    );
    // After that, `deploy` has nothing to do. `apply` always runs mkectl.
    insta::assert_snapshot!(lab.run("deploy lab").stdout, @r#"lab: nothing to do"#);
    let run = lab.run("apply lab --format json").success();
    assert_eq!(run.stderr, "");
    let last = run.json();
    assert_eq!(last["result"]["environment"], "lab");
    assert_eq!(lab.applies().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_mkectl_is_reported_first() {
    let lab = Lab::without_mkectl(AIRLOCK).await;
    support::bundles::forget_mkectl(&lab.sandbox);
    lab.run("push lab").success();
    let run = lab.run("apply lab").exits_with(6);
    run.reports("hint: put the mkectl of v4.1.5 on PATH");
    assert!(!lab.path("environments/lab/receipt.yaml").exists());
    assert!(!lab.path("environments/lab/mke4.yaml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_environment_requires_its_name() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("protected: true\n");
    lab.run("push lab").exits_with(8);
    lab.run("push lab --confirm lab").success();
    let run = lab.run("apply lab").exits_with(8);
    assert!(
        run.stderr
            .ends_with("hint: add `--confirm lab` for runs without a terminal; `--yes` alone does not confirm\n"),
        "{}",
        run.stderr
    );
    assert_eq!(lab.applies().len(), 0);
    lab.run("apply lab --confirm lab").success();
    assert_eq!(lab.applies().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_resolved_for_mkectl_alone() {
    const TOKEN: &str = "planted-license-5d21";
    const KEY: &str = "planted-key-77aa";
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment(
        "config:\n",
        "config:\n  license: { token: { $env: LAB_LICENSE } }\n  \
         authentication: { oidc: { enabled: true, clientSecret: { $file: ../../secrets/oidc } } }\n",
    );
    lab.run("push lab").success();

    // Before anything is applied, a missing value is shown with its place.
    let run = lab.run("apply lab").exits_with(3);
    run.reports("the variable `LAB_LICENSE` is not set")
        .reports("the file `secrets/oidc` cannot be read");
    for command in ["deploy lab", "preflight lab"] {
        let run = lab.run(command).exits_with(3);
        for missing in [
            "the variable `LAB_LICENSE` is not set",
            "the file `secrets/oidc` cannot be read",
        ] {
            let all = format!("{}{}", run.stdout, run.stderr);
            assert!(all.replace("\n", " ").contains(missing), "{command}: {all}");
        }
    }
    lab.variable("LAB_LICENSE", " \t");
    lab.write("secrets/oidc", "\n");
    let run = lab.run("apply lab").exits_with(3);
    run.reports("the variable `LAB_LICENSE` is empty")
        .reports("the file `secrets/oidc` is empty");
    assert!(lab.applies().is_empty());

    lab.variable("LAB_LICENSE", TOKEN);
    lab.write("secrets/oidc", &format!("{KEY}\n"));
    lab.write(
        "environments/lab/logs/.mke4-killed.yaml",
        "left by a run that was killed",
    );
    let mut runs = vec![lab.run("apply lab").success()];
    for arguments in ["render lab", "show lab", "plan lab --format json"] {
        runs.push(lab.run(arguments).success());
    }
    let applied = lab.applies().remove(0);
    let file = applied.file.unwrap_or_default();
    file.has(&format!("token: {TOKEN}\n"))
        .has(&format!("clientSecret: {KEY}\n"));
    assert!(!applied.environment.contains_key("LAB_LICENSE"));

    for secret in [TOKEN, KEY] {
        for run in &runs {
            run.does_not_mention(secret);
        }
        for (path, content) in lab.files() {
            if path.ends_with("secrets/oidc") || path.as_str().contains("mkectl-calls") {
                continue;
            }
            let content = String::from_utf8_lossy(&content);
            assert!(!content.contains(secret), "{path} holds {secret}");
        }
    }
    let committed = lab.read("environments/lab/mke4.yaml");
    committed.has("      $env: LAB_LICENSE\n");
    let logs = lab.path("environments/lab/logs");
    let left: Vec<String> = (logs.read_dir_utf8().unwrap())
        .map(|entry| entry.unwrap().file_name().to_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_ssh_key_is_found_before_the_push_that_does_not_need_it() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment("~/.ssh/id_ed25519", "~/.ssh/gone");
    lab.edit_environment(
        "config:\n",
        "config:\n  airgap: { bastion: { address: 192.0.2.5, user: root, keyPath: /nowhere/key } }\n",
    );
    let missing = [
        "the SSH key `~/.ssh/gone` of 192.0.2.10 cannot be read: No such file",
        "the SSH key `/nowhere/key` of 192.0.2.5 cannot be read: No such file",
    ];
    for command in ["deploy lab", "preflight lab"] {
        if command == "preflight lab" {
            // Its probe leaves names in the catalog.
            assert!(lab.repositories().await.is_empty());
        }
        let run = lab.run(command).exits_with(3);
        let all = format!("{}{}", run.stdout, run.stderr).replace("\n", " ");
        for missing in missing {
            assert!(all.contains(missing), "{command}: {all}");
        }
    }
    for command in [
        "plan lab",
        "check lab",
        "render lab",
        "push lab",
        "rehearse lab",
    ] {
        lab.run(command).success();
    }
}

// The comment at the top of mke4.yaml has the environment's name.
#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_was_renamed_is_not_applied_again() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let rename = |from: &str, to: &str| std::fs::rename(lab.path(from), lab.path(to));
    rename("environments/lab", "environments/lab2").unwrap();
    lab.run("deploy lab2").success();
    assert_eq!(lab.applies().len(), 1);
    let config = lab.read("environments/lab2/mke4.yaml");
    config.has("render lab2");
    let again = lab.run("deploy lab2").success();
    assert_eq!(again.stdout, "lab2: nothing to do\n");
}
