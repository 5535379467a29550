//! Surveys of bundles that the reader would refuse.

use serde_json::{Value, json};

use super::*;
use crate::testing::{File, file, gunzip, gzip, make, small_recipe, tar, untar};
use crate::{Rule, Rules, Silent, read_observed};

/// Returns the small bundle after `change` to its files.
fn changed(change: impl Fn(&mut Vec<File>)) -> Vec<u8> {
    let mut files = untar(&gunzip(&make(&small_recipe())));
    change(&mut files);
    gzip(&tar(&files))
}

fn position(files: &[File], part: &str) -> usize {
    let found = files.iter().position(|file| file.path.contains(part));
    found.expect("a file of that name")
}

/// Adds a second root, that of a different image, to the archive of pause, and names both.
fn two_roots(files: &mut [File]) {
    let node = untar(&files[position(files, "node")].bytes);
    let pause = position(files, "pause");
    let mut members = untar(&files[pause].bytes);
    let index = |members: &[File]| -> Value {
        serde_json::from_slice(&members[position(members, "index.json")].bytes).unwrap()
    };
    let mut both = index(&members);
    let mut other = index(&node)["manifests"][0].clone();
    other["annotations"] = json!({ "org.opencontainers.image.ref.name": "other" });
    let roots = both["manifests"].as_array_mut().unwrap();
    roots[0]["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1.0" });
    roots.push(other);
    let place = position(&members, "index.json");
    members[place].bytes = both.to_string().into_bytes();
    for member in node {
        if !members.iter().any(|there| there.path == member.path) {
            members.push(member);
        }
    }
    files[pause].bytes = tar(&members);
}

#[test]
fn reports_findings_and_continues_after_a_broken_archive() {
    let bundle = changed(|files| {
        two_roots(files);
        for file in files.iter_mut() {
            file.path = format!("mke/{}", file.path);
        }
        let dex = position(files, "dex");
        files[dex].path = "mke/bundles/charts/dex_0.3.0.tar".to_owned();
        files.insert(
            0,
            file("mke/bundles/tools_v1.tar", tar(&[file("x", "docker")])),
        );
        files.push(file("mke/bundles/readme.txt", "text"));
    });
    let survey = survey(bundle.as_slice(), &Silent).unwrap();
    assert_eq!(survey.size, bundle.len() as u64);
    assert_eq!(
        survey.release_matrix.as_deref(),
        Some("mke/bundles/release-matrix.json")
    );
    assert_eq!(survey.other_files, 1);
    let lines: Vec<String> = (survey.archives.iter())
        .map(|archive| {
            let names = archive.roots.iter().filter_map(|root| root.name.clone());
            format!(
                "{} {} {} [{}] {}",
                base_name(&archive.path),
                archive
                    .name
                    .as_ref()
                    .map_or_else(|_| "?".to_owned(), Name::to_string),
                archive
                    .kind
                    .map_or_else(|| "?".to_owned(), |kind| kind.to_string()),
                names.collect::<Vec<_>>().join(" "),
                archive.fault.is_some(),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "tools_v1.tar ? ? [] true",
            "calico&node@v1.0.tar calico/node:v1.0 image [] false",
            "pause@v1.0.tar pause:v1.0 image [v1.0 other] false",
            "dex_0.3.0.tar ? chart [] false",
        ]
    );
}

#[test]
fn rules_replace_missing_names_and_roots() {
    let bundle = changed(|files| {
        two_roots(files);
        let dex = position(files, "dex");
        files[dex].path = "bundles/charts/dex_0.3.0.tar".to_owned();
        files.push(file("bundles/tools_v1.tar", tar(&[file("x", "docker")])));
    });
    let found = survey(bundle.as_slice(), &Silent).unwrap();
    let root = found.archives[1].roots[0].digest.clone();
    let rules = Rules {
        archives: [
            (
                "bundles/charts/dex_0.3.0.tar".to_owned(),
                Rule::Read {
                    name: Some(Name::new("charts/dex", "0.3.0").unwrap()),
                    root: None,
                },
            ),
            (
                "bundles/images/pause@v1.0.tar".to_owned(),
                Rule::Read {
                    name: None,
                    root: Some(root.clone()),
                },
            ),
            (
                "bundles/tools_v1.tar".to_owned(),
                Rule::Skip {
                    reason: "not an OCI archive".to_owned(),
                },
            ),
        ]
        .into(),
        of_set: None,
    };
    let read = |rules: &Rules| read_observed(bundle.as_slice(), &mut Inspection, rules, &Silent);
    let contents = read(&rules).unwrap();
    let references: Vec<String> = contents
        .artifacts
        .iter()
        .map(crate::Artifact::reference)
        .collect();
    assert_eq!(
        references,
        ["calico/node:v1.0", "pause:v1.0", "charts/dex:0.3.0"]
    );
    assert_eq!(contents.artifacts[1].digest, root);
    assert_eq!(contents.skipped[0].archive, "bundles/tools_v1.tar");
    // Without its rule, each of the three is refused.
    for path in rules.archives.keys() {
        let mut fewer = rules.clone();
        fewer.archives.remove(path);
        assert!(read(&fewer).is_err(), "{path}");
    }

    // The lock implies the rules. A bundle without a skipped archive differs from the lock.
    let lock = crate::Lock::from_contents(
        &semver::Version::new(4, 1, 5),
        "amd64",
        "bundle.tar.gz",
        "https://packages.example.com/bundle.tar.gz",
        Vec::new(),
        contents,
    );
    let lock = crate::Lock::parse(&lock.to_yaml(), "x.lock.yaml".into()).unwrap();
    crate::read(bundle.as_slice(), &mut Inspection, Some(&lock), &Silent).unwrap();
    let mut files = untar(&gunzip(&bundle));
    files.retain(|file| !file.path.contains("tools"));
    let shorter = gzip(&tar(&files));
    assert!(matches!(
        crate::read(shorter.as_slice(), &mut Inspection, Some(&lock), &Silent),
        Err(ReadError::Missing { archive }) if archive == "bundles/tools_v1.tar"
    ));
}

#[test]
fn a_bundle_that_is_cut_is_an_error() {
    let bundle = make(&small_recipe());
    assert!(survey(&bundle[..bundle.len() / 2], &Silent).is_err());
}
