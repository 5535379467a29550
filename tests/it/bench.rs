//! Tests of `bench`: each measured program does the work that is measured. The tests do not check
//! durations, which depend on the machine.

use serde_json::Value;
use support::{Arguments, Sandbox, Text as _};

use crate::BENCH;

/// Returns the report of a run, which is the last line.
fn report(sandbox: &Sandbox, arguments: impl Arguments) -> Value {
    let run = sandbox.run(arguments).success();
    let last = run.stdout.lines().last().unwrap_or_default().to_owned();
    let mut line: Value = serde_json::from_str(&last).unwrap();
    line["result"].take()
}

/// Returns the cost of a contender in the median round.
fn cost<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["measured"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name);
    &row.unwrap_or_else(|| panic!("{name} is not in {report:#}"))["median"]
}

fn requests(cost: &Value, method: &str) -> u64 {
    cost["requests"][method].as_u64().unwrap_or(0)
}

/// Returns PATH of the test process.
#[expect(
    clippy::disallowed_methods,
    reason = "the benchmark measures programs of this machine"
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
    let report = report(&sandbox, "bench --size 2MB --archives 4 --format json");
    let (blobs, artifacts) = (
        report["bundle"]["blobs"].as_u64().unwrap(),
        report["bundle"]["archives"].as_u64().unwrap(),
    );
    assert_eq!(artifacts, 4);
    assert!(blobs > 10, "{report:#}");
    for name in ["cold", "filled", "curls", "set", "copy"] {
        let cost = cost(&report, name);
        // A POST opens an upload. A mount is a POST too, and may replace a second upload of a blob.
        assert!(requests(cost, "POST") >= blobs, "{name}: {cost:#}");
        assert!(cost["peak-memory"].as_u64() > Some(0), "{name}: {cost:#}");
    }
    // Each blob is sent once. The other PUT requests are for a manifest of each platform of each
    // artifact, and for indexes.
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
    // The vendor's loop puts each manifest again, even if the registry has every blob.
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
fn missing_programs_are_named_and_a_kept_bundle_is_used_again() {
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
    let options =
        "bench --rtt 20ms --rate 100Mbit --format json --only cold,cold-base,near,again,lock";
    for (shape, archives, blobs) in [
        ("--shape few-large --size 1MB --archives 2", 2, 6),
        (
            "--shape many-small --size 1MB --archives 5 --blobs 50",
            5,
            50,
        ),
    ] {
        let arguments = format!("{options} --against {BENCH} {shape}");
        let report = report(&sandbox, arguments.as_str());
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
        // A connection takes one round trip, and the first response takes another one.
        assert!(cost(&report, "again")["wall-seconds"].as_f64() > Some(0.04));
        assert_eq!(cost(&report, "near")["proxy-cpu-seconds"], 0.0);
        assert_eq!(cost(&report, "lock")["requests"], serde_json::json!({}));
    }
}

#[test]
#[cfg_attr(without_docker_registry, ignore = "docker-registry is not on PATH")]
fn a_program_that_fails_is_named_and_the_other_programs_are_measured() {
    let mut sandbox = Sandbox::new(BENCH);
    sandbox.install_script(
        "crane",
        "#!/bin/sh\necho \"crane $1 is out of order\" >&2\nexit 3\n",
    );
    sandbox.variable("PATH", &format!("{}:{}", sandbox.bin(), path()));
    let arguments = "bench --size 1MB --archives 2 --only crane,zarf,inflate";
    let text = sandbox.run(arguments).success().whole();
    text.has("crane push is out of order");
    text.has("crane, xargs -P (failed: exit status: 123)");
    text.has("zarf (missing: zarf is not installed)");
    text.has("\nfloor: inflate and hash ");
}

#[test]
fn without_docker_registry_the_error_names_the_package() {
    let sandbox = Sandbox::new(BENCH);
    let text = sandbox.run("bench").exits_with(1).whole();
    text.has("docker-registry is not installed");
    text.has("apt-get install docker-registry");
    assert!(!sandbox.path("bundles/bench").exists());
}
