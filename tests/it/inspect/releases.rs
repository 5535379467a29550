//! `releases`: the facts of each release, their certainty and their sources.

use support::{Sandbox, Text as _};

use crate::AIRLOCK;

#[test]
fn the_table_marks_undocumented_facts() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("releases").whole(), @"
    exit code: 0
    --- stdout
    RELEASE  CHECKSUM  PRIVATE CA     ANONYMOUS PULL  EXTERNAL ADDRESS  MKECTL HASHES  ISSUES
    v4.1.0   no        unsupported ~  required        optional ~                    3       0
    v4.1.1   yes       supported      required        optional ~                    3       0
    v4.1.2   yes ~     supported ~    required ~      optional ~                    3       0
    v4.1.3   yes ~     supported ~    required        optional ~                    3       2
    v4.1.4   yes ~     supported ~    required ~      optional ~                    3       1
    v4.1.5   yes ~     supported ~    required ~      optional ~                    3       0
    v4.2.0   yes ~     supported ~    required ~      required                      3       0
    v4.2.1   yes ~     supported      optional        required ~                    0       1

    ~ inferred, ? unverified, all else documented; over all releases 257 facts: 126 documented, 91 inferred, 40 unverified
    `cargo xtask releases v4.1.5` shows all facts about one, with their sources
    --- stderr
    ");
}

#[test]
fn one_release_is_shown_with_its_sources() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!("v4.1.5", sandbox.run("releases v4.1.5").whole());
}

#[test]
fn json_output_has_certainties_and_sources() {
    let sandbox = Sandbox::new(AIRLOCK);
    let result = |arguments: &[&str]| {
        let run = sandbox.run(arguments).success();
        let value = run.json();
        value["result"].clone()
    };
    let rows = result(&["releases", "--format", "json"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows[0]["release"], "v4.1.0");
    assert_eq!(rows[0]["private-ca"]["value"], "unsupported");
    assert_eq!(rows[0]["private-ca"]["certainty"], "inferred");
    // Every fact has one of the certainties.
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
fn facts_of_a_later_release_are_assumed_and_an_earlier_release_is_refused() {
    let sandbox = Sandbox::new(AIRLOCK);
    let later = sandbox.run("releases v4.9.0").success();
    later.prints("warning: v4.9.0 is unknown to this version of Airlock");
    later.prints("mke_bundle_v4.9.0_amd64.tar.gz");
    insta::assert_snapshot!(sandbox.run("releases v4.0.1").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: v4.0.1 has no documented offline installation; the first release with one is v4.1.0
    "#);
    insta::assert_snapshot!(sandbox.run("releases 4.1.5").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: `4.1.5` is not a release; expected a version such as v4.1.5
    hint: did you mean `v4.1.5`?
    "#);
}

/// Facts of a release that Airlock does not ship facts of.
const OVERLAY: &str = "\
sources: { NOTES: https://docs.example.com/4.2.2 }
releases:
  - version: 4.2.2
    anonymous-pull-required: { value: false, certainty: documented, source: [NOTES] }
    mkectl:
      certainty: documented
      source: [NOTES/hashes]
      sha256: { linux-x86_64: 8816a0e91b5d9385c62729571c2479edcd670967d9e55b752324c77f7866d714 }
    upgrade:
      from: { value: [4.2.1], certainty: documented, source: [NOTES] }
  - version: 4.2.1
    external-address-required: { value: true, certainty: documented, source: [NOTES] }
";

#[test]
fn a_team_adds_a_release_without_building() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let refused = sandbox.run("new lab --release v4.2.2");
    assert_ne!(refused.code, Some(0), "{}", refused.whole());
    sandbox.run("new lab --defaults").success();
    let path = "environments/lab/environment.yaml";
    let text = sandbox
        .read(path)
        .replace("release: v4.2.0", "release: v4.2.2");
    sandbox.write(path, &text);
    let unknown = "is unknown to this version of Airlock";
    let run = sandbox.run("render lab").success();
    run.reports(unknown);
    let run = sandbox.run("releases --check").success();
    run.prints("environments/releases.yaml does not exist");

    sandbox.write("environments/releases.yaml", OVERLAY);
    insta::assert_snapshot!(sandbox.run("releases --check").whole(), @"
    exit code: 0
    --- stdout
    no errors in environments/releases.yaml
    adds v4.2.2
    changes v4.2.1
    --- stderr
    ");
    // Every command that reads the facts finds the release.
    let commands: [&[&str]; 8] = [
        &["releases"],
        &["releases", "v4.2.2"],
        &["render", "lab"],
        &["check", "lab"],
        &["status"],
        &["preflight", "lab"],
        &["diff", "lab"],
        &["rehearse", "demo"],
    ];
    for command in commands {
        let text = sandbox.run(command).whole();
        assert!(!text.contains(unknown), "{command:?}: {text}");
    }
    let facts = sandbox.run("releases v4.2.2").success().stdout;
    for text in [
        "mke_bundle_v4.2.2_amd64.tar.gz",
        "https://docs.example.com/4.2.2/hashes",
        "SHA-256 8816a0e91b5d",
    ] {
        assert!(facts.contains(text), "{text}: {facts}");
    }
    sandbox.run("new next").success();
    let written = sandbox.read("environments/next/environment.yaml");
    written.has("release: v4.2.2\n");
}

#[test]
fn errors_in_a_file_of_facts_have_their_positions() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let wrong = OVERLAY
        .replace("sha256: { linux-x86_64: 88", "sha256: { linux-x86_64: zz")
        .replace("external-address-required", "external-adress-required")
        .replace("[4.2.1]", "[newest]");
    sandbox.write("environments/releases.yaml", &wrong);
    insta::assert_snapshot!(sandbox.run("releases --check").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: `zz16a0e91b5d9385c62729571c2479edcd670967d9e55b752324c77f7866…` is not a SHA-256
     --> environments/releases.yaml:8:31
      |
    8 |       sha256: { linux-x86_64: zz16a0e91b5d9385c62729571c2479edcd670967d9e55b752324c77f7866d714 }
      |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    error: value[0]: unexpected character 'n' while parsing major version number
      --> environments/releases.yaml:10:13
       |
    10 |       from: { value: [newest], certainty: documented, source: [NOTES] }
       |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    error: unknown key `external-adress-required`
      --> environments/releases.yaml:12:5
       |
    12 |     external-adress-required: { value: true, certainty: documented, source: [NOTES] }
       |     ^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: did you mean `external-address-required`?

    3 problems
    ");
    sandbox.run("check").exits_with(3);
    // Commands that need no facts work, and the support archive records the error.
    sandbox.run("store").success();
    sandbox
        .run("support demo --out demo.tar.gz")
        .success()
        .prints("problems.json");

    sandbox.write(
        "environments/releases.yaml",
        &OVERLAY.replace(
            "external-address-required: { value: true",
            "anonymous-pull-required: { value: true",
        ),
    );
    insta::assert_snapshot!(sandbox.run("releases --check").whole(), @"
    exit code: 0
    --- stdout
    no errors in environments/releases.yaml
    adds v4.2.2
    changes v4.2.1
    --- stderr
    environments/releases.yaml:12:30: warning: `anonymous-pull-required` differs from the documented fact of the table (DOCS-421, APPLY-421)
    ");
}
