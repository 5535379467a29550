//! `show`: an environment with everything that it inherits. Also the errors about invalid files.

use support::Sandbox;

use crate::AIRLOCK;

/// For each case its name, the environment's file, and the inherited file.
const WRONG: &[(&str, &str, &str)] = &[
    ("no release", "registry: { address: r.example.com }\n", ""),
    ("no registry", "release: v4.1.5\n", ""),
    (
        "no address",
        "release: v4.1.5\nregistry:\n  project: mke\n",
        "",
    ),
    (
        "an unknown key",
        "release: v4.1.5\nregistry: { address: r.example.com }\nprotcted: true\n",
        "",
    ),
    (
        "an unknown key below a known one",
        "release: v4.1.5\nregistry:\n  adress: r.example.com\n",
        "",
    ),
    (
        "a misspelt section",
        "release: v4.1.5\nregsitry: { address: r.example.com }\n",
        "",
    ),
    (
        "a key at the wrong place",
        "release: v4.1.5\naddress: r.example.com\nregistry: { project: mke }\n",
        "",
    ),
    (
        "the same key twice",
        "release: v4.1.5\nregistry: { address: r.example.com }\nrelease: v4.1.4\n",
        "",
    ),
    (
        "a release without its v",
        "release: 4.1.5\nregistry: { address: r.example.com }\n",
        "",
    ),
    (
        "a release that is none",
        "release: latest\nregistry: { address: r.example.com }\n",
        "",
    ),
    (
        "a scheme",
        "release: v4.1.5\nregistry:\n  address: https://r.example.com/mke\n",
        "",
    ),
    (
        "a slash",
        "release: v4.1.5\nregistry:\n  address: r.example.com/\n",
        "",
    ),
    (
        "a port that is none",
        "release: v4.1.5\nregistry:\n  address: r.example.com:70000\n",
        "",
    ),
    (
        "capital letters in the host",
        "release: v4.1.5\nregistry:\n  address: R.example.com\n",
        "",
    ),
    (
        "a password in the address",
        "release: v4.1.5\nregistry:\n  address: me:hunter2@r.example.com\n",
        "",
    ),
    (
        "a project with a slash before it",
        "release: v4.1.5\nregistry:\n  address: r.example.com\n  project: /mke\n",
        "",
    ),
    (
        "a CA that is missing",
        "release: v4.1.5\nregistry:\n  address: r.example.com\n  ca: ca.pem\n",
        "",
    ),
    (
        "credentials in the file",
        "release: v4.1.5\nregistry:\n  address: r.example.com\n  push-credentials:\n    username: me\n    password: hunter2\n",
        "",
    ),
    (
        "a secret instead of its name",
        "release: v4.1.5\nregistry:\n  address: r.example.com\n  push-credentials: { env: hunter2 }\n",
        "",
    ),
    (
        "a boolean of YAML 1.1",
        "release: v4.1.5\nprotected: yes\nregistry: { address: r.example.com }\n",
        "",
    ),
    (
        "a rehearsal beyond loopback",
        "release: v4.1.5\nrehearsal: true\nregistry:\n  address: r.example.com\n",
        "",
    ),
    (
        "a parent that is missing",
        "inherit: ../bases.yaml\nrelease: v4.1.5\nregistry: { address: r.example.com }\n",
        "",
    ),
    ("a parent outside", "inherit: ../../../base.yaml\n", ""),
    (
        "a loop",
        "inherit: ../base.yaml\nrelease: v4.1.5\nregistry: { address: r.example.com }\n",
        "inherit: lab/environment.yaml\n",
    ),
    (
        "a mistake in the parent",
        "inherit: ../base.yaml\nregistry: { address: r.example.com }\n",
        "# Shared.\n\nrelease: v4.1\n",
    ),
    (
        "YAML that is none",
        "release: v4.1.5\nregistry:\n  address: r.example.com\n project: mke\n",
        "",
    ),
    (
        "a tab",
        "release: v4.1.5\nregistry:\n\taddress: r.example.com\n",
        "",
    ),
    ("a list", "- release: v4.1.5\n", ""),
    ("nothing at all", "", ""),
    (
        "wrong types, all at once",
        "release: [v4.1.5]\nregistry: r.example.com\nprotected: 1\nconfig: text\n",
        "",
    ),
];

#[test]
fn problems_are_shown_with_file_line_and_rule() {
    let mut all = String::new();
    for (name, environment, base) in WRONG {
        let sandbox = Sandbox::new(AIRLOCK);
        sandbox.write("environments/lab/environment.yaml", environment);
        if !base.is_empty() {
            sandbox.write("environments/base.yaml", base);
        }
        let run = sandbox.run("show lab").exits_with(3);
        assert_eq!(run.stdout, "", "{name}");
        assert!(run.stderr.starts_with("error: "), "{name}: {}", run.stderr);
        assert!(
            run.stderr.contains("--> environments/"),
            "{name}: {}",
            run.stderr
        );
        assert!(!run.stderr.contains("hunter2"), "{name}: {}", run.stderr);
        all.push_str(&format!("## {name}\n{}\n", run.stderr));

        // JSON output has the same problems.
        let run = sandbox.run("show lab --format json").exits_with(3);
        assert_eq!(run.stderr, "", "{name}");
        assert!(!run.stdout.contains("hunter2"), "{name}: {}", run.stdout);
        let line = run.json();
        for problem in line["error"]["problems"].as_array().unwrap() {
            assert!(
                problem["file"].as_str().unwrap().ends_with(".yaml"),
                "{problem}"
            );
            assert!(problem["line"].as_u64().unwrap() > 0, "{problem}");
            assert!(problem["column"].as_u64().unwrap() > 0, "{problem}");
            assert!(!problem["rule"].as_str().unwrap().is_empty(), "{problem}");
        }
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!("wrong_environments", all);
    });
}

#[test]
fn each_value_is_shown_with_its_source() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("show staging").whole(), @r#"
    exit code: 0
    --- stdout
    release: v4.1.5 # environments/base.yaml:4
    accept:
      - telemetry # environments/base.yaml:6
    config:
      tracking:
        enabled: false # environments/base.yaml:11
      cloudProvider:
        enabled: false # environments/base.yaml:16
      apiServer:
        externalAddress: mke.staging.example.com # environments/staging/environment.yaml:15
      hosts:
        - role: controller+worker # environments/staging/environment.yaml:17
          ssh:
            address: 10.20.0.11 # environments/staging/environment.yaml:18
            user: ubuntu # environments/staging/environment.yaml:18
            port: 22 # environments/staging/environment.yaml:18
            keyPath: ~/.ssh/mke-staging # environments/staging/environment.yaml:18
        - role: worker # environments/staging/environment.yaml:19
          ssh:
            address: 10.20.0.21 # environments/staging/environment.yaml:20
            user: ubuntu # environments/staging/environment.yaml:20
            port: 22 # environments/staging/environment.yaml:20
            keyPath: ~/.ssh/mke-staging # environments/staging/environment.yaml:20
    registry:
      address: registry.staging.example.com # environments/staging/environment.yaml:7
      project: platform/mke # environments/staging/environment.yaml:8
      push-credentials:
        env: STAGING_REGISTRY # environments/staging/environment.yaml:11
    --- stderr
    "#);
}

#[test]
fn the_output_is_an_equivalent_environment_in_yaml() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    for name in ["demo", "prod", "staging"] {
        let shown = sandbox.run(&["show", name]).success().stdout;
        let machine = sandbox
            .run(&["show", name, "--format", "json"])
            .success()
            .stdout;
        let machine: serde_json::Value = serde_json::from_str(&machine).unwrap();
        let merged = machine["result"]["merged"].as_str().unwrap();
        let read = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).unwrap();
        assert_eq!(read(&shown), read(merged), "{name}");
        assert_eq!(
            machine["result"]["files"],
            serde_json::json!([
                format!("environments/{name}/environment.yaml"),
                "environments/base.yaml"
            ])
        );
    }
}

#[test]
fn a_misspelt_name_gets_a_suggestion() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("show stagin").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: environment not found: `stagin`
    hint: did you mean `staging`? `cargo xtask list` shows them all
    "#);
    insta::assert_snapshot!(sandbox.run("show moon").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: environment not found: `moon`
    hint: `cargo xtask list` shows the environments; `cargo xtask new NAME` creates one
    "#);
    insta::assert_snapshot!(sandbox.run("show ../prod").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: `../prod` is not a valid name of an environment: only lower-case letters, digits and hyphens are allowed
    hint: did you mean `prod`?
    "#);
}

#[test]
fn without_a_workspace_show_fails() {
    let sandbox = Sandbox::new(AIRLOCK);
    let home = sandbox.home();
    insta::assert_snapshot!(sandbox.run(&["-C", home.as_str(), "show", "lab"]).whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: `[SANDBOX]/home` is not a workspace: it has no folder environments/
    hint: name the workspace folder itself with `-C DIR`
    "#);
}

#[test]
fn the_workspace_is_the_nearest_one_in_the_parent_folders() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let from_below = sandbox
        .command("show prod")
        .current_dir(sandbox.path("environments/prod"))
        .output()
        .unwrap();
    let from_root = sandbox.run("show prod").success();
    assert_eq!(
        String::from_utf8_lossy(&from_below.stdout),
        from_root.stdout
    );
}
