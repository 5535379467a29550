//! Tests of what a push makes of what `preflight` measured, by the requests that reach the
//! registry.

use support::faulty::{Fault, FaultyRegistry, Kind, Mounts, Quirks, always, quirks};

use super::{describe, sandbox};

/// One request carries no more than this, in bytes.
const LIMIT: u64 = 1 << 20;

fn narrow() -> Quirks {
    quirks!(body_limit: Some(LIMIT), mounts: Mounts::Refused(405))
}

/// Writes a profile as `preflight` keeps it.
#[expect(
    clippy::disallowed_methods,
    reason = "the command that reads the file looks at the clock"
)]
fn keep(sandbox: &support::Sandbox, address: &str, profile: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let file = format!("bundles/registries/{}.json", address.replace(':', "_"));
    sandbox.write(
        &file,
        &format!(
            "{{\"version\": 1, \"registry\": \"{address}\", \"measured\": {now}, \"profile\": {profile}}}"
        ),
    );
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_push_meets_no_413_and_asks_for_no_mount_that_is_refused() {
    let sandbox = sandbox();
    let without = FaultyRegistry::start(narrow(), &[], 1).await;
    describe(&sandbox, "without", &without.address, None);
    sandbox.run("push without").success();
    assert!(without.too_large() > 0);
    assert!(without.count_of(Kind::Mount) > 0);

    let with = FaultyRegistry::start(narrow(), &[], 1).await;
    describe(&sandbox, "with", &with.address, None);
    sandbox.run("preflight with").success();
    assert!(with.is_empty());
    let (too_large, mounts) = (with.too_large(), with.count_of(Kind::Mount));
    sandbox.run("push with").success();
    assert_eq!(with.too_large() - too_large, 0);
    assert_eq!(with.count_of(Kind::Mount) - mounts, 0);
    assert_eq!(with.tags(), without.tags());
    let file = format!("bundles/registries/{}.json", with.address.replace(':', "_"));
    let kept: serde_json::Value = serde_json::from_str(&sandbox.read(&file)).unwrap();
    assert_eq!(kept["profile"]["largest-request"], LIMIT);
    assert_eq!(kept["profile"]["mounts"], false);
    assert_eq!(kept["profile"]["chunks"], true);
    assert_eq!(kept["profile"]["deletes"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_wrong_makes_no_push_fail_and_is_forgotten() {
    let sandbox = sandbox();
    let no_parts = always(
        &[Kind::SendPart],
        Fault::Answer {
            status: 405,
            code: "UNSUPPORTED",
        },
    );
    for (name, quirks, rules) in [
        // Parts are refused now, and whole blobs are taken.
        ("no-parts", Quirks::default(), vec![no_parts]),
        // Less is accepted in one request than was measured.
        ("narrower", quirks!(body_limit: Some(300_000)), vec![]),
    ] {
        let registry = FaultyRegistry::start(quirks, &rules, 1).await;
        describe(&sandbox, name, &registry.address, None);
        let profile = format!("{{\"largest-request\": {LIMIT}, \"chunks\": true}}");
        let file = keep(&sandbox, &registry.address, &profile);
        sandbox.run(&["push", name]).success();
        assert!(!registry.tags().is_empty());
        assert!(!sandbox.path(&file).exists(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_right_or_costs_nothing_stays() {
    let sandbox = sandbox();
    for (name, profile) in [
        ("no-mounts", "{\"mounts\": false}"),
        (
            "no-chunks",
            "{\"chunks\": false, \"largest-request\": 1024}",
        ),
        ("nothing", "{}"),
    ] {
        let registry = FaultyRegistry::start(Quirks::default(), &[], 1).await;
        describe(&sandbox, name, &registry.address, None);
        let file = keep(&sandbox, &registry.address, profile);
        sandbox.run(&["push", name]).success();
        let mounts = registry.count_of(Kind::Mount);
        assert_eq!(mounts == 0, name == "no-mounts", "{name}: {mounts}");
        if name == "no-chunks" {
            assert_eq!(registry.count_of(Kind::SendPart), 0);
        }
        assert!(sandbox.path(&file).exists(), "{name}");
    }
}
