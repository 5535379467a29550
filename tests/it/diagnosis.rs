//! Diagnosis: `-v`, `AIRLOCK_LOG` and `--trace` log each request and program, and no secret.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use support::faulty::{Fault, FaultyRegistry, Kind, Quirks, first};
use support::lab::{PASSWORD, USER};
use support::{Lab, TestRegistry};

use crate::{AIRLOCK, FAKE_MKECTL};

/// Checks that a text has the password in no encoding.
fn assert_no_secret(text: &str) {
    let pair = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for secret in [PASSWORD, &pair, &BASE64_STANDARD.encode(PASSWORD)] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_and_program_is_logged_without_secrets() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.registry = TestRegistry::embedded().await;
    lab.write_environment("");
    let run = lab.run("deploy lab -v --trace run.jsonl").success();
    assert_no_secret(&run.stderr);
    let line = |words: &[&str]| {
        let has = |line: &&str| words.iter().all(|word| line.contains(word));
        assert!(
            run.stderr.lines().any(|line| has(&line)),
            "{words:?} in\n{}",
            run.stderr
        );
    };
    line(&[
        "DEBUG artifact{reference=\"mke/calico/node:v3.30.2\"}:attempt{n=1}:",
        "request method=PUT url=\"http://127.0.0.1:[PORT]/v2/mke/calico/node/manifests/v3.30.2\" status=201 sent=",
        " ms=",
    ]);
    line(&[
        "artifact{reference=",
        "blob=\"sha256:",
        "method=PUT",
        "status=201",
    ]);
    line(&["program started", "mkectl apply"]);
    line(&["program ended", "exited with code 0"]);
    // One `-v` logs requests without headers.
    run.does_not_report("TRACE");

    let trace = lab.read("run.jsonl");
    assert_no_secret(&trace);
    let lines: Vec<Value> = trace
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let put = |line: &&Value| line["method"] == "PUT" && line["status"] == 201;
    let put = lines.iter().find(put).unwrap();
    assert!(
        put["timestamp"].is_string() && put["ms"].is_u64() && put["sent"].is_u64(),
        "{put}"
    );
    assert_eq!(put["spans"][1]["n"], 1, "{put}");
    assert!(put["spans"][0]["reference"].is_string(), "{put}");
    assert!(
        trace.contains("docker-distribution-api-version"),
        "headers are traced"
    );
    // Without these options nothing is logged.
    let quiet = lab.run("push lab").success();
    quiet.does_not_report("DEBUG");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_has_the_number_of_its_attempt() {
    let fault = Fault::Answer {
        status: 503,
        code: "UNAVAILABLE",
    };
    let rule = first(1, &[Kind::PutManifest], fault);
    let registry = FaultyRegistry::start(Quirks::default(), &[rule], 1).await;
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment(&lab.registry.address.clone(), &registry.address);
    lab.variable("LAB_REGISTRY_USERNAME", support::faulty::USER)
        .variable("LAB_REGISTRY_PASSWORD", support::faulty::PASSWORD)
        .variable("AIRLOCK_LOG", "trace");
    let run = lab.run("push lab").success();
    for words in [
        "attempt{n=1}: request method=PUT",
        "status=503",
        "pause attempt=2",
        "attempt{n=2}: request method=PUT",
    ] {
        assert!(
            run.stderr.lines().any(|line| line.contains(words)),
            "{words}\n{}",
            run.stderr
        );
    }
    run.does_not_report(support::faulty::PASSWORD);
    // Standard output has only JSON.
    let run = lab.run("push lab -vv --format json").success();
    run.reports("request method=");
    for line in run.stdout.lines() {
        let _: Value = serde_json::from_str(line).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_trace_file_or_log_level_is_an_error_and_no_file_is_overwritten() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for file in [
        "environments/lab/environment.yaml",
        "environments/lab/receipt.yaml",
    ] {
        let before = lab.state();
        lab.run(&["list", "--trace", file]).exits_with(3);
        assert!(lab.changes_since(&before).is_empty());
    }
    lab.write("trace", "something else\n");
    let run = lab.run("list --trace trace");
    run.reports("`trace` exists and is not a trace");
    // A trace replaces an earlier trace, and an empty file of a run that stopped at its start.
    lab.write("again", "");
    for _ in 0..2 {
        lab.run("push lab --trace again").success();
        assert!(!lab.read("again").is_empty());
    }
    lab.variable("AIRLOCK_LOG", "registry=loud");
    insta::assert_snapshot!(lab.run("list").whole(), @r"
    exit code: 64
    --- stdout
    --- stderr
    error: AIRLOCK_LOG is `registry=loud`, which is not a level or a list of targets with levels
    hint: set it to `debug` or `trace`, or to a list such as `registry=trace,bundle=debug`
    ");
}
