//! Pushes with the profile of a registry that `preflight` has measured. The tests count the
//! requests that reach the registry.

use support::faulty::{Fault, FaultyRegistry, Kind, Mounts, Quirks, always, quirks};

use super::{describe, sandbox};

/// The largest request that the registry accepts, in bytes.
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
async fn a_push_with_a_profile_sends_no_request_that_the_registry_refuses() {
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
async fn a_push_with_an_outdated_profile_succeeds_and_deletes_it() {
    let sandbox = sandbox();
    let no_parts = always(
        &[Kind::SendPart],
        Fault::Answer {
            status: 405,
            code: "UNSUPPORTED",
        },
    );
    for (name, quirks, rules) in [
        // The registry refuses parts, and accepts whole blobs.
        ("no-parts", Quirks::default(), vec![no_parts]),
        // The limit is lower than the measured one.
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
async fn a_profile_that_causes_no_refusal_is_kept() {
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
