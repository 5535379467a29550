//! `ci`: the steps of the workspace's checks, with a `cargo` that only records its arguments.

use regex_lite::Regex;
use support::sandbox::repository;
use support::{Run, Sandbox, Text as _};

use crate::AIRLOCK;

/// Runs `ci` with a `cargo` that fails at the subcommand `failing`. Returns the run and how `cargo`
/// was called.
fn ci(arguments: &[&str], failing: &str) -> (Run, String) {
    let mut sandbox = Sandbox::shipped(AIRLOCK);
    let calls = sandbox.path("calls");
    sandbox.install_script(
        "cargo",
        format!("#!/bin/sh\necho \"$RUSTDOCFLAGS|$*\" >>{calls}\n[ \"$1\" != '{failing}' ]\n"),
    );
    sandbox.variable("RUSTDOCFLAGS", "");
    let run = sandbox.run(&[&["ci"], arguments].concat());
    (run, std::fs::read_to_string(calls).unwrap_or_default())
}

#[test]
fn every_step_runs_in_order() {
    let (run, calls) = ci(&[], "");
    run.success();
    insta::assert_snapshot!(calls, @"
    |fmt --all --check
    |clippy --workspace --all-targets -- -D warnings
    -D warnings|doc --workspace --no-deps
    |test --workspace
    ");
}

#[test]
fn a_step_can_be_run_alone() {
    let (run, calls) = ci(&["test", "format"], "");
    run.success();
    assert_eq!(calls, "|test --workspace\n|fmt --all --check\n");
}

#[test]
fn a_failing_step_is_named_and_ends_the_run() {
    let (run, calls) = ci(&[], "clippy");
    insta::assert_snapshot!(run.whole(), @r"
    exit code: 1
    --- stdout
    --- stderr
    == format: cargo fmt --all --check
    == lint: cargo clippy --workspace --all-targets -- -D warnings
    error: step `lint` failed
      because: command exited with non-zero code `cargo clippy --workspace --all-targets -- -D warnings`: 1
    hint: run `cargo xtask ci lint` to repeat this step alone
    ");
    calls.lacks("test");
}

#[test]
fn the_script_of_ci_calls_these_steps() {
    let script = std::fs::read_to_string(repository().join(".ci/run")).unwrap();
    assert!(script.trim_end().ends_with("cargo xtask ci"), "{script}");
}

#[test]
fn the_pipelines_in_the_examples_call_commands_that_exist() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let command = Regex::new(r"cargo xtask ([a-z][^|>\n)]*)").unwrap();
    for name in ["github-actions.yaml", "gitlab-ci.yaml"] {
        let text =
            std::fs::read_to_string(repository().join("environments/ci").join(name)).unwrap();
        let mut seen = 0;
        for found in command.captures_iter(&text) {
            let line = found[1].replace('"', "").replace("$ENVIRONMENT", "demo");
            let mut arguments: Vec<&str> = line.split_whitespace().collect();
            arguments.push("--help");
            sandbox.run(&arguments).success();
            seen += 1;
        }
        // `git add -A` would add passwords and backups that .gitignore does not list.
        assert!(!text.contains("git add -A"), "{name}");
        assert!(seen >= 5, "{name}: only {seen} commands found");
        // Git ignores passwords, backups and each mkectl in the folder of a runner. They must stay.
        let (checkouts, kept) = match name {
            "gitlab-ci.yaml" => (1, text.matches("GIT_CLEAN_FLAGS: none").count()),
            _ => (
                text.matches("uses: actions/checkout").count(),
                text.matches("with: { clean: false }").count(),
            ),
        };
        assert_eq!(kept, checkouts, "{name} deletes ignored files");
        // Exit code 8, from an environment that waits for another one, does not fail the job.
        assert!(text.contains(match name {
            "gitlab-ci.yaml" => "exit_codes: 8",
            _ => "|| [ $? = 8 ]",
        }));
    }
}

/// check-jsonschema has the schemas of the two services.
#[test]
#[cfg_attr(
    without_check_jsonschema,
    ignore = "check-jsonschema is not on PATH (PyPI has it)"
)]
fn the_pipelines_in_the_examples_match_the_schemas_of_their_services() {
    for (schema, name) in [
        ("vendor.github-workflows", "github-actions.yaml"),
        ("vendor.gitlab-ci", "gitlab-ci.yaml"),
    ] {
        #[expect(clippy::disallowed_methods, reason = "the referee is a program")]
        let checked = std::process::Command::new("check-jsonschema")
            .args(["--builtin-schema", schema, name])
            .current_dir(repository().join("environments/ci"))
            .output()
            .expect("check-jsonschema runs");
        assert!(checked.status.success(), "{checked:?}");
    }
}
