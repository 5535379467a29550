//! `check`: it reports all problems of environments, and reads only their files.

use support::{Lab, Sandbox, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

#[test]
fn what_is_shipped_is_right_and_nothing_is_written() {
    let fresh = Sandbox::shipped(AIRLOCK).run("check").success();
    assert_eq!(fresh.stdout, "no errors in 1 environment\n");
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let before = sandbox.state();
    for arguments in [&["check"][..], &["check", "--all"]] {
        let run = sandbox.run(arguments);
        insta::allow_duplicates! {
            insta::assert_snapshot!(run.whole(), @r#"
            exit code: 0
            --- stdout
            no errors in 3 environments; 2 warnings
            --- stderr
            warning: prod: v4.1.5 is not locked, so `deploy` is refused; with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
            warning: staging: v4.1.5 is not locked, so `deploy` is refused; with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
            "#);
        }
    }
    let one = sandbox.run("check prod").success();
    assert_eq!(one.stdout, "no errors in prod; 1 warning\n");
    assert_eq!(sandbox.changes_since(&before), [""; 0]);
    insta::assert_snapshot!(sandbox.run("check prod --all").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: the argument 'ENVIRONMENT' cannot be used with '--all'

    Usage: cargo xtask check [OPTIONS] [ENVIRONMENT]

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(sandbox.run("check prdo").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: environment not found: `prdo`
    hint: did you mean `prod`? `cargo xtask list` shows them all
    "#);
}

#[test]
fn a_lock_that_cannot_be_read_is_found_and_a_missing_one_is_ignored() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let lock = "bundles/v4.1.5-demo-amd64.lock.yaml";
    let text = sandbox.read(lock);
    sandbox.write(lock, &text.replacen("sha256:", "sha255:", 1));
    let run = sandbox.run("check").exits_with(3);
    run.reports(lock);
    run.does_not_print("nothing is wrong");
    sandbox.remove(lock);
    sandbox.run("check").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_counted_and_strict_makes_them_fail() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let run = lab.run("check lab --strict").success();
    assert_eq!(run.stdout, "no errors in lab\n");
    // A release that is not locked, and that the vendor has removed.
    lab.edit_environment("release: v4.1.5", "release: v4.1.4");
    let run = lab.run("check lab").success();
    run.prints("; 2 warnings\n");
    run.reports("v4.1.4 is not locked");
    let run = lab.run("check --strict").exits_with(3);
    run.reports("`--strict` treats warnings as errors");
    // The remaining warning is a fact of the release.
    let bundle = lab.path("bundles/mke_bundle_v4.1.4_amd64.tar.gz");
    bundles::make(&bundles::small(), &bundle);
    lab.lock_as("v4.1.4", &bundle);
    let run = lab.run("check --strict").success();
    run.prints("; 1 warning\n")
        .reports("warning: lab: v4.1.4: ");
    // A downgrade, which a deploy refuses.
    lab.edit_environment("release: v4.1.4", "release: v4.1.5");
    lab.run("deploy lab").success();
    lab.edit_environment("release: v4.1.5", "release: v4.1.4");
    let run = lab.run("check lab --strict").exits_with(3);
    run.reports("`deploy` and `apply` refuse v4.1.4");
}

#[test]
fn a_new_environment_is_right_and_warned_of() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("check").whole(), @r#"
    exit code: 0
    --- stdout
    No environment exists yet. Create one with `cargo xtask new NAME`.
    --- stderr
    "#);
    sandbox.run("new lab --release v4.1.4").success();
    let run = sandbox.run("check lab").success();
    run.reports("warning: lab: v4.1.4");

    let run = sandbox.run("check --format json").success();
    assert_eq!(run.stderr, "");
    let value = run.json();
    let one = &value["result"]["environments"][0];
    assert_eq!(one["environment"], "lab");
    assert_eq!(one["release"], "v4.1.4");
    assert!(!one["warnings"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_git_would_commit_is_refused_before_anything_runs() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("admin-password: { file: pw.txt }\n");
    // Without a repository nothing is committed.
    lab.run("check lab").success();
    lab.init_git();
    insta::assert_snapshot!(lab.run("check lab").exits_with(3).stderr, @"
    error: `admin-password.file` is in the repository, and git does not ignore it: the password would be committed
     --> environments/lab/environment.yaml:1:25
      |
    1 | admin-password: { file: pw.txt }
      |                         ^^^^^^
      |
      = help: name a file outside of the repository, or `admin-password`, which .gitignore lists

    1 problem
    ");
    for command in ["plan lab", "deploy lab"] {
        lab.run(command)
            .exits_with(3)
            .reports("the password would be committed");
    }
    lab.write_environment("kubeconfig: cluster.yaml\n");
    for command in ["check lab", "plan lab"] {
        let run = lab.run(command).exits_with(3);
        run.reports("the key of the cluster's administrator would be committed")
            .reports("or `kubeconfig`, which .gitignore lists");
    }
    for ignored in ["kubeconfig", "mke.kubeconf", "../../../outside/mke"] {
        lab.write_environment(&format!("kubeconfig: {ignored}\n"));
        lab.run("check lab").success();
    }
    // Backups have the values of secrets, and so does the configuration beside them.
    for folder in ["bk", "../..", "backups/../bk"] {
        lab.write_environment(&format!("backups: {folder}\n"));
        for command in ["check lab", "plan lab", "deploy lab", "cluster backup lab"] {
            let run = lab.run(command).exits_with(3);
            run.reports("`backups` is in the repository, and git does not ignore it: the cluster's secrets would be committed")
                .reports("name a folder outside of the repository, or `backups/`, which .gitignore lists");
        }
    }
    for ignored in ["backups", "backups/old", "../../../outside/backups"] {
        lab.write_environment(&format!("backups: {ignored}\n"));
        lab.run("check lab").success();
    }
    for ignored in ["admin-password", "../../../outside/pw.txt"] {
        lab.write_environment(&format!("admin-password: {{ file: {ignored} }}\n"));
        lab.run("check lab").success();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_their_usual_places_are_ignored_by_git_or_nothing_runs() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.init_git();
    let shipped = lab.read(".gitignore");
    for (missing, file, what) in [
        (
            "/environments/*/admin-password*",
            "admin-password",
            "password",
        ),
        ("/environments/*/backups/", "backups", "cluster's secrets"),
    ] {
        lab.write(".gitignore", &shipped.replace(missing, ""));
        let problem = format!(
            "`environments/lab/{file}` is in the repository, and git does not ignore it: the {what} would be committed"
        );
        for command in ["check lab", "plan lab", "deploy lab"] {
            lab.run(command)
                .exits_with(3)
                .reports(&problem)
                .reports(&format!("add the line `{missing}` to .gitignore"));
        }
        lab.run("preflight lab").exits_with(3).prints(&problem);
    }
    assert!(lab.applies().is_empty());
    lab.write(".gitignore", &shipped);
    lab.run("check lab").success();
    // Without git, the lines of .gitignore are trusted for these places, and no other path is.
    std::fs::remove_file(lab.bin().join("git")).unwrap();
    lab.run("deploy lab").success();
    for (command, path) in [("kubeconfig", "kc"), ("backup", "x.tar")] {
        let output = format!("environments/lab/{path}");
        let run = lab.run(&["cluster", command, "lab", "--output", &output]);
        run.exits_with(3)
            .reports("it is unknown whether git ignores it (git is not installed)");
        assert!(!lab.path(&output).exists());
    }
    lab.write(".gitignore", "");
    lab.run("check lab")
        .exits_with(3)
        .reports("add the line `/environments/*/admin-password*` to .gitignore");
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_accepts_an_upgrade_and_a_requirement_that_is_not_met_yet() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let text = lab.read("environments/lab/environment.yaml");
    lab.write(
        "environments/prod/environment.yaml",
        &format!("requires: {{ environment: lab, minimum-age: 24h }}\n{text}")
            .replace("192.0.2.10", "192.0.2.20"),
    );
    let receipt = "environments/lab/receipt.yaml";
    let run = lab.run("check --strict").success();
    run.reports("it requires lab, but lab has run it only since")
        .prints("1 warning");
    lab.edit(receipt, "v4.1.5", "v4.1.2");
    lab.edit_environment(
        "config:\n",
        "config:\n  gatewayMKEIngress: { nodePorts: { http: 33010, https: 33011 } }\n",
    );
    let run = lab.run("check lab --strict").success();
    run.reports("the cluster runs v4.1.2, so v4.1.5 is an upgrade");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_two_environments_is_a_warning_in_both() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let text = lab.read("environments/lab/environment.yaml");
    lab.write("environments/twin/environment.yaml", &text);
    for (name, other) in [("lab", "twin"), ("twin", "lab")] {
        let run = lab.run(&["check", name, "--strict"]).exits_with(3);
        run.reports(&format!(
            "warning: {name}: {other} has the same machines: 192.0.2.10; a machine belongs to one cluster"
        ));
    }
    let rehearsal = format!("rehearsal: true\n{text}");
    lab.write("environments/twin/environment.yaml", &rehearsal);
    lab.run("check lab --strict").success();
}

#[test]
fn hosts_that_are_neither_names_nor_addresses_are_refused_where_they_are() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.run("new lab --release v4.1.5").success();
    let path = "environments/lab/environment.yaml";
    let text = sandbox.read(path);
    let (before, _) = text.split_once("  hosts:").unwrap();
    sandbox.write(path, &format!("inventory: hosts.csv\n{before}"));
    let header = "address,role,user,port,keyPath\n";
    let wrong = ["host;rm", "$(id)", "*", "-V", "-oProxyCommand=id"];
    let row = |host: &str| format!("{host},controller+worker,mke,22,key\n");
    let rows: String = wrong.into_iter().map(row).collect();
    sandbox.write("environments/lab/hosts.csv", &format!("{header}{rows}"));
    let run = sandbox.run("check lab").exits_with(3);
    for (index, host) in wrong.iter().enumerate() {
        run.reports(&format!("hosts.csv:{}:1", index + 2));
        run.reports(&format!("`{host}`, not a host name or IP address"));
    }
}

/// Makes a workspace with the invalid environments `alpha`, `beta` and `gamma`, each with a
/// different problem, two of them in an inherited file, and the valid environment `delta`.
fn wrong() -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    let registry = "registry: { address: registry.example.com }\n";
    let host = |role: &str| {
        format!(
            "  apiServer: {{ externalAddress: mke.example.com }}\n  hosts:\n    - role: {role}\n      \
             ssh: {{ address: 192.0.2.1, user: mke, port: 22, keyPath: key }}\n"
        )
    };
    sandbox.write(
        "environments/base.yaml",
        "release: v4.1.5\nconfig:\n  version: v4.1.4\n",
    );
    for (name, text) in [
        (
            "alpha",
            format!(
                "inherit: ../base.yaml\n{registry}config:\n{}",
                host("master")
            ),
        ),
        (
            "beta",
            format!(
                "inherit: ../base.yaml\n{registry}config:\n{}",
                host("single")
            ),
        ),
        (
            "delta",
            format!("release: v4.1.5\n{registry}config:\n{}", host("single")),
        ),
        (
            "gamma",
            format!("release: v4.0.1\n{registry}config:\n{}", host("single")),
        ),
    ] {
        sandbox.write(&format!("environments/{name}/environment.yaml"), &text);
    }
    sandbox.write(
        "environments/omega/environment.yaml",
        &format!("release: v4.1.5\n{registry}config:\n{}", host("single")),
    );
    sandbox.write("environments/omega/receipt.yaml", "version: 7\n");
    sandbox
}

#[test]
fn all_of_all_wrong_environments_is_shown_and_what_they_inherit_once() {
    let sandbox = wrong();
    insta::assert_snapshot!("several", sandbox.run("check --all").whole());
}

#[test]
fn machines_get_the_problems_of_each_environment() {
    let sandbox = wrong();
    let run = sandbox.run("check --all --format json").exits_with(3);
    assert_eq!(run.stderr, "");
    let value = run.json();
    let error = &value["error"];
    assert_eq!(error["exit-code"], 3);
    assert_eq!(error["message"], "4 of 5 environments are wrong");
    let found: Vec<(&str, usize)> = error["environments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["environment"].as_str().unwrap(),
                one["problems"].as_array().map_or(0, Vec::len),
            )
        })
        .collect();
    // A problem in an inherited file is reported for both environments.
    assert_eq!(
        found,
        [("alpha", 2), ("beta", 1), ("gamma", 1), ("omega", 0)]
    );
    let first = &error["environments"][0]["problems"];
    let files: Vec<&str> = first
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["file"].as_str().unwrap())
        .collect();
    assert_eq!(
        files,
        [
            "environments/alpha/environment.yaml",
            "environments/base.yaml"
        ]
    );
}

#[test]
fn render_shows_all_wrong_environments_and_writes_none() {
    let sandbox = wrong();
    let before = sandbox.state();
    for arguments in [&["render", "--all"][..], &["render", "--all", "--check"]] {
        let run = sandbox.run(arguments).exits_with(3);
        for name in ["alpha", "base"] {
            run.reports(&format!("environments/{name}"));
        }
        run.reports("v4.0.1 has no documented offline installation");
        run.reports("3 of 5 environments are wrong");
    }
    assert_eq!(sandbox.changes_since(&before), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_keeps_permanently_is_refused_from_the_receipt() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.run("check lab").success();
    lab.edit_environment(
        "apiServer: { externalAddress: mke.lab.example.com }",
        "apiServer: {}",
    );
    lab.edit_environment("project: mke", "project: other");
    insta::assert_snapshot!(lab.run("check lab").whole(), @r#"
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

    error: the cluster of lab was installed with `apiServer.externalAddress: mke.lab.example.com`, which is not set here
     --> environments/lab/environment.yaml:7:3
      |
    7 |   apiServer: {}
      |   ^^^^^^^^^
      |
      = help: set it. The vendor: "MKE 4k cannot clear the apiserver.externalAddress parameter once it has been applied". Only for a new cluster, delete the environment's receipt.yaml

    2 problems
    "#);
    // A deploy obeys the same rules.
    for command in ["plan", "deploy", "apply"] {
        let run = lab.run(&[command, "lab"]).exits_with(3);
        run.reports("2 problems");
    }
    assert_eq!(lab.applies().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_external_address_is_allowed_and_another_release_warned_of() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.edit_environment("mke.lab.example.com", "other.lab.example.com");
    let run = lab.run("check lab").success();
    assert_eq!(run.stderr, "");
    lab.edit_environment("v4.1.5", "v4.2.1");
    let run = lab.run("check lab").success();
    run.reports("warning: lab: the cluster runs v4.1.5, so v4.2.1 is an upgrade");
    run.reports("warning: lab: it is unverified whether the vendor supports the upgrade from v4.1.5 to v4.2.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_an_upgrade_path_is_reported_with_the_reason() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let receipt = "environments/lab/receipt.yaml";
    lab.edit(receipt, "v4.1.5", "v4.1.2");
    lab.edit_environment("v4.1.5", "v4.1.3");
    let run = lab.run("check lab").success();
    run.reports("warning: lab: the cluster runs v4.1.2, but v4.1.3 is not an upgrade target: Mirantis supports only fresh \
             installations of it");
}

// Item 27: mkectl itself checks what is rendered, before anything is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_mkectl_refuses_is_found_before_anything_is_sent() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("check lab --with-mkectl").success();
    lab.edit_environment(
        "config:
",
        "config:
  license: { token: { $env: LAB_LICENSE } }
  kubelet: { maxPods: 250 }
",
    );
    lab.variable("LAB_LICENSE", "planted-license-5d21")
        .variable("FAKE_MKECTL_REFUSED", "maxPods");
    lab.run("check lab").success();
    for command in [
        &["check", "lab", "--with-mkectl"][..],
        &["rehearse", "lab"],
        &["deploy", "lab"],
    ] {
        let run = lab.run(command).exits_with(3);
        run.reports("mkectl v4.1.5 refuses the rendered configuration: FTL invalid config")
            .reports("maxPods is not allowed");
    }
    assert!(lab.repositories().await.is_empty() && lab.applies().is_empty());
    lab.variable("FAKE_MKECTL_REFUSED", "planted-license-5d21");
    let run = lab.run("check lab --with-mkectl").exits_with(3);
    run.reports("*** is not allowed")
        .does_not_mention("planted-license");
}

// Item 27: where mkectl can simulate `apply`, that comes first.
#[tokio::test(flavor = "multi_thread")]
async fn an_apply_is_simulated_first_where_mkectl_can() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let bundle = lab.path("bundles/mke_bundle_v4.2.0_amd64.tar.gz");
    support::bundles::make(&support::bundles::small(), &bundle);
    lab.lock_as("v4.2.0", &bundle);
    lab.edit_environment("release: v4.1.5", "release: v4.2.0");
    lab.variable("FAKE_MKECTL_VERSION", "v4.2.0");
    lab.variable("FAKE_MKECTL_DRY_RUN", "fail");
    let run = lab.run("deploy lab").exits_with(7);
    run.reports("`mkectl apply --dry-run` exited with code 1");
    assert!(lab.applies().is_empty());
    lab.variable("FAKE_MKECTL_DRY_RUN", "");
    lab.run("deploy lab").success();
    let calls = lab.calls();
    let applies = calls
        .iter()
        .filter(|call| call.file.is_some() && call.arguments[0] == "apply");
    let dry: Vec<bool> = applies
        .map(|call| call.arguments.iter().any(|word| word == "--dry-run"))
        .collect();
    assert_eq!(dry, [true, true, false]);
}

/// A typo in a key hides no other problem.
#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_key_is_a_warning_alone_and_beside_a_problem() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment(
        "  tracking:",
        "  etcd: { storagequota: 4GB }\n  apiserver2: {}\n  tracking:",
    );
    lab.edit_environment("externalAddress", "externalAdress");
    let run = lab.run("check lab").success();
    for (key, meant) in [
        ("apiServer.externalAdress", "externalAddress"),
        ("etcd.storagequota", "storageQuota"),
    ] {
        let text = format!("`{key}` is unknown to v4.1.5");
        run.mentions(&text);
        run.mentions(&format!("did you mean `{meant}`?"));
    }
    lab.edit_environment("enabled: false", "enabled: perhaps");
    let run = lab.run("check lab").exits_with(3);
    for key in ["apiServer.externalAdress", "etcd.storagequota"] {
        let text = format!("\nwarning: unknown key `{key}`");
        run.mentions(&text);
    }
    let counted = "\n1 problem, 3 warnings\n";
    run.mentions(counted);
    let json = lab.run("check lab --format json").exits_with(3);
    let warnings = json.stdout.matches("\"warning\":true").count();
    assert_eq!(warnings, 3, "{}", json.stdout);
    lab.edit_environment("  project:", "  projekt:");
    let list = lab.run("list").stdout;
    list.has("wrong: 1 problem, 3 warnings");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_machines_without_machines_or_with_control_characters_is_named() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment("release:", "inventory: hosts.csv\nrelease:");
    for (text, expected) in [
        ("", "hosts.csv` lists no machines"),
        ("address,role\n", "hosts.csv` lists no machines"),
        (
            "address,role\n10.0.0.\u{1b}[31m1,worker\n",
            "`10.0.0. [31m1` contains a control character\n --> environments/lab/hosts.csv:2:1",
        ),
    ] {
        lab.write("environments/lab/hosts.csv", text);
        let run = lab.run("check lab").exits_with(3);
        assert!(run.whole().contains(expected), "{text:?}: {}", run.whole());
    }
}
