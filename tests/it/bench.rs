//! Tests of `bench`: that each program that is measured does what is measured. How fast they are
//! depends on the machine.

use serde_json::Value;
use support::{Sandbox, Text as _};

use crate::BENCH;

/// Returns the report of a run, which is the last line.
fn report(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let run = sandbox.run(arguments).success();
    let last = run.stdout.lines().last().unwrap_or_default().to_owned();
    let mut line: Value = serde_json::from_str(&last).unwrap();
    line["result"].take()
}

/// Returns what a contender cost in the round that is shown.
fn cost<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["measured"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name);
    &row.unwrap_or_else(|| panic!("{name} is not in {report:#}"))["median"]
}

fn requests(cost: &Value, method: &str) -> u64 {
    cost["requests"][method].as_u64().unwrap_or(0)
}

/// Returns where this machine has its programs.
#[expect(
    clippy::disallowed_methods,
    reason = "the programs of this machine are measured"
)]
fn path() -> String {
    std::env::var("PATH").unwrap()
}

#[test]
#[cfg_attr(without_docker_registry, ignore = "docker-registry is not on PATH")]
#[cfg_attr(without_skopeo, ignore = "skopeo is not on PATH")]
fn every_contender_is_measured_at_the_same_work() {
    let mut sandbox = Sandbox::new(BENCH);
    sandbox.variable("PATH", &path());
    let report = report(
        &sandbox,
        &[
            "bench",
            "--size",
            "2MB",
            "--archives",
            "4",
            "--format",
            "json",
        ],
    );
    let (blobs, artifacts) = (
        report["bundle"]["blobs"].as_u64().unwrap(),
        report["bundle"]["archives"].as_u64().unwrap(),
    );
    assert_eq!(artifacts, 4);
    assert!(blobs > 10, "{report:#}");
    for name in ["cold", "filled", "curls", "set", "copy"] {
        let cost = cost(&report, name);
        // An upload is opened by POST; so is a mount, which these blobs may be instead of being
        // sent a second time.
        assert!(requests(cost, "POST") >= blobs, "{name}: {cost:#}");
        assert!(cost["peak-memory"].as_u64() > Some(0), "{name}: {cost:#}");
    }
    // Each blob is sent once, and there is a manifest for each platform of each artifact, and an
    // index.
    let manifests = requests(cost(&report, "cold"), "PUT") - blobs;
    assert!(
        (artifacts..3 * artifacts).contains(&manifests),
        "{manifests}"
    );
    let bars = report["bars"].as_array().unwrap();
    assert_eq!(bars.len(), 12, "{report:#}");
    for bar in bars {
        assert_eq!(
            bar["met"].as_bool(),
            Some(bar["measured"].as_f64() <= bar["at-most"].as_f64())
        );
    }
    for name in ["again", "set-again"] {
        let again = cost(&report, name);
        assert!(requests(again, "HEAD") >= artifacts, "{again:#}");
        assert_eq!((requests(again, "POST"), requests(again, "PUT")), (0, 0));
    }
    // The vendor's loop has nothing to do only as far as blobs go: it puts each manifest once more.
    for name in ["loop", "parallel"] {
        let cost = cost(&report, name);
        assert!(
            requests(cost, "PUT") >= blobs + artifacts,
            "{name}: {cost:#}"
        );
    }
    let again = cost(&report, "loop-again");
    assert_eq!(requests(again, "POST"), 0, "{again:#}");
    assert_eq!(cost(&report, "inflate")["requests"], serde_json::json!({}));
    assert!(!sandbox.path("bundles/bench").exists());
}

#[test]
#[cfg_attr(without_docker_registry, ignore = "docker-registry is not on PATH")]
fn who_is_not_installed_is_named_and_a_bundle_that_was_kept_is_not_made_again() {
    let sandbox = Sandbox::new(BENCH);
    let registry = std::env::split_paths(&path())
        .map(|folder| folder.join("docker-registry"))
        .find(|program| program.is_file())
        .unwrap();
    sandbox.install(registry.to_str().unwrap(), "docker-registry");
    let arguments = "bench --size 1MB --archives 2 --only again,loop,curls --keep";
    let text = sandbox.run(arguments).success().whole();
    text.has("missing: skopeo is not installed");
    text.has("missing: curl is not installed");
    text.has("nothing to do, requests: ");
    text.has("making a bundle");
    let text = sandbox.run(arguments).success().whole();
    text.lacks("making a bundle");
}

#[test]
#[cfg_attr(without_docker_registry, ignore = "docker-registry is not on PATH")]
fn at_a_distance_each_shape_is_measured_beside_its_floor_and_the_base() {
    let mut sandbox = Sandbox::new(BENCH);
    sandbox.variable("PATH", &path());
    let options = "bench --rtt 20ms --rate 100Mbit --format json --only cold,cold-base,near,again,lock --against";
    let mut arguments: Vec<&str> = options.split(' ').collect();
    arguments.push(BENCH);
    for (shape, archives, blobs) in [
        ("--shape few-large --size 1MB --archives 2", 2, 6),
        (
            "--shape many-small --size 1MB --archives 5 --blobs 50",
            5,
            50,
        ),
    ] {
        let shape: Vec<&str> = shape.split(' ').collect();
        let report = report(&sandbox, &[&arguments[..], &shape[..]].concat());
        assert_eq!(report["bundle"]["archives"], archives, "{report:#}");
        assert!(
            report["bundle"]["blobs"].as_u64() >= Some(blobs - 2),
            "{report:#}"
        );
        let floor = report["distance"]["floor-seconds"].as_f64().unwrap();
        assert!(floor > 0.07, "{report:#}");
        for name in ["cold", "cold-base"] {
            let cost = cost(&report, name);
            assert!(cost["wall-seconds"].as_f64() > Some(floor), "{cost:#}");
            assert!(cost["proxy-cpu-seconds"].as_f64() > Some(0.0), "{cost:#}");
        }
        // A round trip for a connection, and one for the first answer.
        assert!(cost(&report, "again")["wall-seconds"].as_f64() > Some(0.04));
        assert_eq!(cost(&report, "near")["proxy-cpu-seconds"], 0.0);
        assert_eq!(cost(&report, "lock")["requests"], serde_json::json!({}));
    }
}

#[test]
#[cfg_attr(without_docker_registry, ignore = "docker-registry is not on PATH")]
fn a_program_of_others_that_fails_is_named_and_the_rest_is_measured() {
    let mut sandbox = Sandbox::new(BENCH);
    sandbox.install_script(
        "crane",
        "#!/bin/sh\necho \"crane $1 is out of order\" >&2\nexit 3\n",
    );
    sandbox.variable("PATH", &format!("{}:{}", sandbox.bin(), path()));
    let options = "bench --size 1MB --archives 2 --only crane,zarf,inflate";
    let arguments: Vec<&str> = options.split(' ').collect();
    let text = sandbox.run(&arguments).success().whole();
    text.has("crane push is out of order");
    text.has("crane, xargs -P (failed: exit status: 123)");
    text.has("zarf (missing: zarf is not installed)");
    text.has("\nfloor: inflate and hash ");
}

#[test]
fn without_a_registry_to_measure_on_it_says_what_to_install() {
    let sandbox = Sandbox::new(BENCH);
    let text = sandbox.run("bench").exits_with(1).whole();
    text.has("docker-registry is not installed");
    text.has("apt-get install docker-registry");
    assert!(!sandbox.path("bundles/bench").exists());
}
