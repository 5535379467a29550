//! `render`: mke4.yaml from the files of an environment. These tests include every environment and
//! example of this repository.

use serde_yaml::Value;
use support::Sandbox;
use support::sandbox::{environments, examples, repository};

use crate::AIRLOCK;

/// An environment whose values a careless tool would change.
const HARD: &str = r#"release: v4.1.5
registry:
  address: registry.example.com
  project: a/b
config:
  apiServer: { externalAddress: mke.example.com }
  hosts:
    - role: controller+worker
      ssh: { address: 192.0.2.10, user: "on", port: 22, keyPath: ~/.ssh/id }
  hard:
    plain-on: on
    quoted-on: "on"
    mode: 0755
    quoted-mode: '0755'
    version: 1.10
    quoted-version: "1.10"
    exponent: 1e3
    nothing: "~"
    empty: ""
    time: 12:30:45
    date: 2026-01-02
    country: NO
    hash: "a # b"
    colon: "a: b"
    dash: "- a"
    tab: "a\tb"
    escaped: "\u00e9\n"
    'it''s': it's
    schlüssel: Grüße
    ключ: значение
    キー: 値 🚀
    "on": 1
    list: [yes, "yes", 'no', off]
    literal: |
      first
        second

      third
    folded: >-
      one
      line
"#;

#[test]
fn every_environment_is_rendered_as_committed() {
    let run =
        Sandbox::new(AIRLOCK).run(&["-C", repository().as_str(), "render", "--all", "--check"]);
    let run = run.success();
    for name in environments() {
        let line = format!("environments/{name}/mke4.yaml is up to date\n");
        run.prints(&line);
    }
}

#[test]
fn every_environment_and_example_has_a_snapshot() {
    let committed = Sandbox::committed(AIRLOCK);
    let copied = Sandbox::with_examples(AIRLOCK);
    for (sandbox, kind, names) in [
        (&committed, "environment", environments()),
        (&copied, "example", examples()),
    ] {
        for name in names {
            sandbox.run(&["render", &name]).success();
            let path = format!("environments/{name}/mke4.yaml");
            let text = sandbox.redact(&sandbox.read(&path));
            insta::with_settings!({ omit_expression => true }, {
                insta::assert_snapshot!(format!("{kind}_{name}"), text);
            });
        }
    }
}

#[test]
fn a_copied_example_is_valid_and_rendered_as_committed() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    for name in examples() {
        let example = format!("environments/examples/{name}");
        #[expect(
            clippy::disallowed_methods,
            reason = "operators copy an example with this program"
        )]
        let copied = std::process::Command::new("cp")
            .args(["-r", &example, "environments/"])
            .current_dir(sandbox.path(""))
            .status();
        assert!(copied.unwrap().success(), "{name}");
        sandbox.run(&["check", &name]).success();
        sandbox.run(&["render", &name, "--check"]).success();
    }
}

#[test]
fn every_environment_is_read_back_with_the_values_that_were_meant() {
    let folders = environments().into_iter();
    let folders = folders.chain(
        examples()
            .into_iter()
            .map(|name| format!("examples/{name}")),
    );
    for name in folders {
        let folder = repository().join("environments").join(&name);
        let written = yaml(&std::fs::read_to_string(folder.join("environment.yaml")).unwrap());
        let rendered = yaml(&std::fs::read_to_string(folder.join("mke4.yaml")).unwrap());
        assert_eq!(rendered["kind"], "MkeConfig", "{name}");
        let config = written["config"].as_mapping().unwrap();
        for (key, value) in config {
            assert_eq!(&rendered["spec"][key], value, "{name}: {key:?}");
        }
        let address = written["registry"]["address"].as_str().unwrap();
        let project = written["registry"]["project"].as_str().unwrap();
        let registries = &rendered["spec"]["registries"];
        assert_eq!(
            registries["imageRegistry"]["url"],
            format!("{address}/{project}")
        );
        assert_eq!(
            registries["chartRegistry"]["url"],
            format!("oci://{address}/{project}")
        );
        let ca = written["registry"]["ca"]
            .as_str()
            .map(|ca| std::fs::read_to_string(folder.join(ca)).unwrap());
        for registry in ["imageRegistry", "chartRegistry"] {
            assert_eq!(
                registries[registry]["caData"].as_str(),
                ca.as_deref(),
                "{name}"
            );
        }
    }
}

#[test]
fn values_are_rendered_as_they_are_written() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write("environments/lab/environment.yaml", HARD);
    sandbox.run("render lab").success();
    let rendered = sandbox.read("environments/lab/mke4.yaml");

    let (_, written) = HARD.split_once("  hard:\n").unwrap();
    for line in written.lines().take_while(|line| !line.contains("list:")) {
        assert!(
            rendered.contains(&format!("\n{line}\n")) || line.contains("\\u00e9"),
            "{line:?} is not in\n{rendered}"
        );
    }
    assert_eq!(
        yaml(&rendered)["spec"]["hard"],
        yaml(HARD)["config"]["hard"],
        "{rendered}"
    );
    let user = &yaml(&rendered)["spec"]["hosts"][0]["ssh"]["user"];
    assert_eq!(user, "on");
}

#[test]
fn a_stale_file_is_reported_with_check_and_written_without() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let path = "environments/staging/environment.yaml";
    sandbox.edit(path, "10.20.0.21", "10.20.0.22");
    let rendered = "environments/staging/mke4.yaml";
    let before = sandbox.read(rendered);

    let check = sandbox.run("render staging --check");
    insta::assert_snapshot!(check.whole(), @r#"
    exit code: 2
    --- stdout
    environments/staging/mke4.yaml is stale
    --- a/environments/staging/mke4.yaml
    +++ b/environments/staging/mke4.yaml
    @@ -28,7 +28,7 @@
             keyPath: ~/.ssh/mke-staging
         - role: worker
           ssh:
    -        address: 10.20.0.21
    +        address: 10.20.0.22
             user: ubuntu
             port: 22
             keyPath: ~/.ssh/mke-staging
    --- stderr
    hint: `cargo xtask render staging` writes what is stale; commit it
    "#);
    assert_eq!(sandbox.read(rendered), before, "--check has written");
    let others = sandbox.run("render prod --check");
    insta::assert_snapshot!(others.whole(), @r#"
    exit code: 0
    --- stdout
    environments/prod/mke4.yaml is up to date
    --- stderr
    "#);

    let write = sandbox.run("render staging");
    insta::assert_snapshot!(write.whole(), @r#"
    exit code: 0
    --- stdout
    wrote environments/staging/mke4.yaml
    --- stderr
    "#);
    assert_eq!(
        sandbox.read(rendered),
        before.replace("10.20.0.21", "10.20.0.22")
    );
    sandbox.run("render staging --check").success();
}

#[test]
fn a_missing_file_is_stale_too() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write("environments/lab/environment.yaml", HARD);
    let run = sandbox.run("render lab --check").exits_with(2);
    run.prints("--- /dev/null\n+++ b/environments/lab/mke4.yaml\n");
    assert!(!sandbox.path("environments/lab/mke4.yaml").exists());
}

#[test]
fn machines_get_the_diff() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    sandbox.write("environments/prod/mke4.yaml", "");
    let run = sandbox
        .run("render --all --check --format json")
        .exits_with(2);
    assert_eq!(run.stderr, "");
    let value = run.json();
    let rows = value["result"].as_array().unwrap();
    let changed: Vec<(&str, bool)> = rows
        .iter()
        .map(|row| {
            (
                row["environment"].as_str().unwrap(),
                row["changed"].as_bool().unwrap(),
            )
        })
        .collect();
    // The demo's registry has another port in each sandbox.
    assert_eq!(
        changed,
        [("demo", true), ("prod", true), ("staging", false)]
    );
    assert!(
        rows[1]["diff"]
            .as_str()
            .unwrap()
            .contains("+kind: MkeConfig\n")
    );
}

#[test]
fn one_invalid_environment_prevents_all_writes() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    sandbox.write("environments/staging/environment.yaml", "release: 4.1.5\n");
    let before = sandbox.state();
    let run = sandbox.run("render --all").exits_with(3);
    run.reports("environments/staging/environment.yaml:1:10");
    assert_eq!(sandbox.changes_since(&before), [""; 0]);
}

#[test]
fn what_contradicts_the_tool_is_shown_in_place() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write(
        "environments/lab/environment.yaml",
        "\
release: v4.1.5
registry: { address: registry.example.com }
config:
  version: v4.1.4
  airgap: { enabled: false }
  registries:
    imageRegistry: { url: other.example.com }
  hosts:
    - role: master
      ssh: { address: 192.0.2.10, user: ubuntu, port: 22, keyPath: key }
",
    );
    insta::assert_snapshot!(sandbox.run("render lab").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: `version` contradicts `release`, which is v4.1.5
     --> environments/lab/environment.yaml:4:12
      |
    4 |   version: v4.1.4
      |            ^^^^^^
      |
      = help: remove it: `release` decides what is installed

    error: `airgap.enabled` must be `true`: all images come from the registry
     --> environments/lab/environment.yaml:5:22
      |
    5 |   airgap: { enabled: false }
      |                      ^^^^^
      |
      = help: remove it

    error: `registries.imageRegistry.url` contradicts `registry`, which makes it `registry.example.com`
     --> environments/lab/environment.yaml:7:27
      |
    7 |     imageRegistry: { url: other.example.com }
      |                           ^^^^^^^^^^^^^^^^^
      |
      = help: remove it: `registry` decides where images and charts are

    error: `master` is not a role
     --> environments/lab/environment.yaml:9:13
      |
    9 |     - role: master
      |             ^^^^^^
      |
      = help: write `controller+worker` or `worker`

    4 problems
    "#);
}

#[test]
fn render_requires_a_name_or_all() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("render").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
      ENVIRONMENT or --all

    Usage: cargo xtask render [OPTIONS] <ENVIRONMENT|--all>

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(sandbox.run("render --all lab").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: the argument '--all' cannot be used with 'ENVIRONMENT'

    Usage: cargo xtask render [OPTIONS] <ENVIRONMENT|--all>

    For more information, try '--help'.
    "#);
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}
