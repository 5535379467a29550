//! Tests of reading observations, and of their effect on the facts of a release.

use semver::Version;

use super::*;
use crate::release::releases;

const RELEASE: Version = Version::new(4, 2, 0);

fn observed() -> Observations {
    let exception = Exception {
        archive: "mke/bundles/tools_v1.tar".to_owned(),
        problem: ARCHIVE_PROBLEM.to_owned(),
        reference: None,
        roots: BTreeMap::new(),
        root: None,
        skip: Some("not an OCI archive".to_owned()),
    };
    let bundle = ObservedBundle {
        file: "mke-4.2.0.tgz".to_owned(),
        size: 7,
        sha256: "ab".repeat(32),
        top_folder: "mke/bundles".to_owned(),
        kinds: [("image".to_owned(), 2)].into(),
        media_types: [(
            "application/vnd.docker.distribution.manifest.v2+json".to_owned(),
            2,
        )]
        .into(),
        platforms: vec!["linux/amd64".to_owned()],
        release_matrix: None,
        other_files: 0,
        checksum_form: Some("HASH  FILE".to_owned()),
        exceptions: vec![exception],
    };
    Observations {
        release: "v4.2.0".to_owned(),
        bundles: [("amd64".to_owned(), bundle)].into(),
        mkectl: Some(ObservedMkectl {
            version: "Version: v4.2.0".to_owned(),
            sha256: BTreeMap::new(),
            help: [(
                "apply".to_owned(),
                "Flags:\n  --chart-registry-username string\n".to_owned(),
            )]
            .into(),
        }),
    }
}

#[test]
fn only_the_written_format_is_read_back() {
    let text = observed().to_yaml();
    assert_eq!(Observations::parse(&text, &RELEASE).unwrap(), observed());
    let refused = |text: &str, part: &str| {
        let error = Observations::parse(text, &RELEASE).unwrap_err();
        let shown = match &error {
            ObservationsError::Syntax(source) => source.to_string(),
            error => error.to_string(),
        };
        assert!(shown.contains(part), "{shown}");
    };
    refused(
        &text.replace("v4.2.0", "v4.2.1"),
        "about v4.2.1, not about v4.2.0",
    );
    refused(&text.replace("top-folder", "folder"), "unknown field");
    refused(
        &text.replace("linux/amd64", "\"linux/\\e[31m\""),
        "control characters",
    );
}

#[test]
fn observations_override_the_table_and_facts_override_them() {
    let release = Release::of(&RELEASE).unwrap();
    assert!(release.anonymous_pull_required());
    let release = release.with_observations(observed());
    assert_eq!(release.bundle_file("amd64"), "mke-4.2.0.tgz");
    assert_eq!(
        release.bundle_file("arm64"),
        "mke_bundle_v4.2.0_arm64.tar.gz"
    );
    assert!(!release.anonymous_pull_required());
    let facts = release.facts();
    let certainty = |subject: &str| {
        let found = facts.iter().find(|fact| fact.subject == subject).unwrap();
        assert_eq!(
            found.certainty == Certainty::Observed,
            found.sources == ["environments/facts/v4.2.0.yaml"]
        );
        found.certainty
    };
    for subject in ["bundle", "top folder", "archive names", "anonymous pull"] {
        assert_eq!(certainty(subject), Certainty::Observed, "{subject}");
    }
    assert_ne!(certainty("private CA"), Certainty::Observed);
    // An environment's `facts` override observations.
    let facts = environment::Facts {
        anonymous_pull: Some(true),
        ..environment::Facts::default()
    };
    assert!(release.with_facts(facts).anonymous_pull_required());
}

#[test]
fn contradictions_name_both_sides() {
    let mut observed = observed();
    let subjects = |observed: &Observations| -> Vec<&str> {
        let found = observed.contradictions();
        for found in &found {
            assert_ne!(found.known, found.observed, "{}", found.subject);
        }
        found.into_iter().map(|found| found.subject).collect()
    };
    assert_eq!(
        subjects(&observed),
        [
            "bundle",
            "top folder",
            "archive names",
            "media types",
            "anonymous pull"
        ]
    );
    let bundle = observed.bundles.get_mut("amd64").unwrap();
    bundle.file = "mke_bundle_v4.2.0_amd64.tar.gz".to_owned();
    bundle.top_folder = "bundles".to_owned();
    bundle.media_types = [("application/vnd.oci.image.index.v1+json".to_owned(), 1)].into();
    bundle.exceptions.clear();
    observed.mkectl.as_mut().unwrap().help.clear();
    assert_eq!(subjects(&observed), Vec::<&str>::new());
}

#[test]
fn a_different_hash_of_mkectl_is_a_contradiction() {
    let known = releases()
        .into_iter()
        .find(|release| {
            let downloads = release.mkectl();
            downloads.iter().any(|download| download.sha256.is_some())
        })
        .unwrap();
    let observed = Observations {
        release: format!("v{}", known.version()),
        mkectl: Some(ObservedMkectl {
            version: String::new(),
            sha256: [("linux-x86_64".to_owned(), "cd".repeat(32))].into(),
            help: BTreeMap::new(),
        }),
        ..Observations::default()
    };
    assert_eq!(observed.contradictions()[0].subject, "mkectl");
}

#[test]
fn an_exception_needs_the_missing_key_or_skip() {
    let exception = |problem: &str| Exception {
        archive: "a.tar".to_owned(),
        problem: problem.to_owned(),
        reference: None,
        roots: BTreeMap::new(),
        root: None,
        skip: None,
    };
    for (problem, missing) in [(NAME_PROBLEM, "reference"), (ROOTS_PROBLEM, "root")] {
        let error = exception(problem).decided().unwrap_err().to_string();
        assert!(error.contains(missing), "{error}");
        let skipped = Exception {
            skip: Some("known elsewhere".to_owned()),
            ..exception(problem)
        };
        assert!(skipped.decided().is_ok());
    }
}

#[test]
fn checksum_form_depends_on_the_first_line() {
    let hash = "0f".repeat(32);
    for (text, form) in [
        (hash.clone(), "HASH"),
        (format!("{hash}  x.tar.gz\n"), "HASH  FILE"),
        (format!("{hash} *x.tar.gz\r\n"), "HASH *FILE"),
        (format!("SHA256 (x) = {hash}\n"), "SHA256 (FILE) = HASH"),
        ("nothing".to_owned(), "other"),
        (String::new(), "other"),
    ] {
        assert_eq!(checksum_form(&text), form, "{text}");
    }
}
