//! `releases`: what is known of each release, how well, and from where.

use support::Sandbox;

use crate::AIRLOCK;

#[test]
fn the_table_shows_what_is_not_documented_as_such() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!("table", sandbox.run(&["releases"]).whole());
}

#[test]
fn one_release_is_shown_with_its_sources() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!("v4.1.5", sandbox.run(&["releases", "v4.1.5"]).whole());
}

#[test]
fn machines_get_certainties_and_sources() {
    let sandbox = Sandbox::new(AIRLOCK);
    let result = |arguments: &[&str]| {
        let run = sandbox.run(arguments).success();
        let value: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        value["result"].clone()
    };
    let rows = result(&["releases", "--format", "json"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows[0]["release"], "v4.1.0");
    assert_eq!(rows[0]["private-ca"]["value"], "unsupported");
    assert_eq!(rows[0]["private-ca"]["certainty"], "inferred");
    // All facts have one of the certainties.
    for row in rows {
        let release = row["release"].as_str().unwrap();
        let one = result(&["releases", release, "--format", "json"]);
        let facts = one["facts"].as_array().unwrap();
        let certainties = one["certainties"].as_object().unwrap();
        let counts = certainties.values().map(|count| count.as_u64().unwrap());
        assert_eq!(counts.sum::<u64>(), facts.len() as u64, "{release}");
        assert_eq!(row["certainties"], one["certainties"], "{release}");
    }

    let one = result(&["releases", "v4.2.1", "--format", "json"]);
    assert_eq!(one["is-known"], true);
    for fact in one["facts"].as_array().unwrap() {
        assert!(!fact["sources"].as_array().unwrap().is_empty(), "{fact}");
        let value = fact["value"].as_str().unwrap();
        assert!(!value.contains('{'), "a pattern is not filled: {value}");
    }
    assert_eq!(one["facts"][0]["value"], "mke_bundle_v4.2.1_amd64.tar.gz");
    assert_eq!(one["mkectl"][0]["platform"], "linux-x86_64");
}

#[test]
fn a_release_that_came_later_is_a_guess_and_one_that_was_before_is_refused() {
    let sandbox = Sandbox::new(AIRLOCK);
    let later = sandbox.run(&["releases", "v4.9.0"]).success();
    assert!(
        later
            .stdout
            .contains("warning: v4.9.0 is unknown to this version of Airlock"),
        "{}",
        later.stdout
    );
    assert!(later.stdout.contains("mke_bundle_v4.9.0_amd64.tar.gz"));
    insta::assert_snapshot!(sandbox.run(&["releases", "v4.0.1"]).whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: v4.0.1 has no documented offline installation; the first release with one is v4.1.0
    "#);
    insta::assert_snapshot!(sandbox.run(&["releases", "4.1.5"]).whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: `4.1.5` is not a release; expected a version such as v4.1.5
    "#);
}
