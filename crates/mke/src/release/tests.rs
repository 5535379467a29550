//! Tests of the facts of each release.

use super::*;

fn release(version: &str) -> Release {
    Release::of(&version.parse().unwrap()).unwrap()
}

#[test]
fn the_table_is_complete_and_in_order() {
    let releases = releases();
    let versions: Vec<String> = releases
        .iter()
        .map(|release| release.version().to_string())
        .collect();
    assert_eq!(
        versions,
        [
            "4.1.0", "4.1.1", "4.1.2", "4.1.3", "4.1.4", "4.1.5", "4.2.0", "4.2.1"
        ]
    );
    for release in &releases {
        assert_eq!(Release::of(release.version()).as_ref(), Ok(release));
        assert!(release.is_known());
        for download in release.mkectl() {
            let known_hash = download.sha256.is_none_or(|hash| {
                hash.len() == 64
                    && hash
                        .bytes()
                        .all(|digit| b"0123456789abcdef".contains(&digit))
            });
            assert!(known_hash, "{} {}", release.version(), download.platform);
        }
    }
}

/// Items 8, 11 to 16 and 18: each fact has a certainty (deserializing requires one) and sources
/// that fit it.
#[test]
fn every_fact_has_a_certainty_and_sources_that_fit_it() {
    use crate::table::BUILT_IN;
    use crate::table::tests::assert_sourced;

    // Walks the YAML itself, because `facts()` may omit a fact.
    let table: serde_yaml::Value = serde_yaml::from_str(include_str!("../releases.yaml")).unwrap();
    fn walk(path: &str, value: &serde_yaml::Value, count: &mut usize) {
        if let Some(sources) = value.get("source") {
            let sources: Vec<String> = serde_yaml::from_value(sources.clone()).unwrap();
            let certainty = serde_yaml::from_value(value["certainty"].clone()).unwrap();
            assert_sourced(path, &sources, certainty, &BUILT_IN.sources);
            *count += 1;
            return;
        }
        match value {
            serde_yaml::Value::Mapping(mapping) => {
                for (key, value) in mapping {
                    let key = key.as_str().unwrap();
                    if key != "sources" {
                        assert!(
                            value.is_mapping()
                                || value.is_sequence()
                                || ["version", "since", "refused", "backup-by-old-mkectl"]
                                    .contains(&key),
                            "{path}.{key} has no source"
                        );
                        walk(&format!("{path}.{key}"), value, count);
                    }
                }
            }
            serde_yaml::Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(&format!("{path}[{index}]"), item, count);
                }
            }
            _ => {}
        }
    }
    let mut count = 0;
    walk("", &table, &mut count);
    assert!(count > 90, "{count}");
    for release in releases() {
        for fact in release.facts() {
            assert!(
                !fact.sources.is_empty(),
                "{} {}",
                release.version(),
                fact.subject
            );
        }
    }
}

#[test]
fn each_release_has_its_own_name_of_bundles() {
    for (version, arch, file, has_checksum) in [
        ("4.1.0", "amd64", "mke_bundle_v4.1.0.tar.gz", false),
        ("4.1.1", "amd64", "mke_bundle_v4.1.1_amd64.tar.gz", true),
        ("4.1.5", "arm64", "mke_bundle_v4.1.5_arm64.tar.gz", true),
        (
            "4.1.5-demo",
            "amd64",
            "mke_bundle_v4.1.5-demo_amd64.tar.gz",
            true,
        ),
        (
            "4.2.1-rc.3",
            "amd64",
            "mke_bundle_v4.2.1-rc.3_amd64.tar.gz",
            true,
        ),
        ("4.9.0", "amd64", "mke_bundle_v4.9.0_amd64.tar.gz", true),
    ] {
        let release = release(version);
        assert_eq!(release.bundle_file(arch), file);
        assert_eq!(
            release.bundle_url(arch),
            format!("https://packages.mirantis.com/caas/{file}")
        );
        assert_eq!(
            release.checksum_url(arch).is_some(),
            has_checksum,
            "{version}"
        );
    }
    assert_eq!(
        release("4.1.1").checksum_url("amd64").unwrap(),
        "https://github.com/MirantisContainers/mke-release/releases/download/v4.1.1/\
         mke_bundle_v4.1.1_amd64_checksum.txt"
    );
}

#[test]
fn only_the_exact_release_has_hashes_of_mkectl() {
    let downloads = release("4.1.5").mkectl();
    assert_eq!(
        downloads[0],
        Download {
            platform: "linux-x86_64",
            url: "https://github.com/MirantisContainers/mke-release/releases/download/v4.1.5/\
                  mkectl_linux_x86_64.tar.gz"
                .to_owned(),
            sha256: Some("665e8e79925ea74cdde2f6a47ae75ab9f3871f54fa1a0d9168d114b40fe6b78f"),
        }
    );
    let platforms: Vec<_> = downloads.iter().map(|download| download.platform).collect();
    assert_eq!(platforms, ["linux-x86_64", "darwin-x86_64", "darwin-arm64"]);
    assert!(downloads.iter().all(|download| download.sha256.is_some()));
    for version in ["4.1.5-rc.1", "4.2.1", "4.1.6"] {
        assert!(
            release(version)
                .mkectl()
                .iter()
                .all(|download| download.sha256.is_none()),
            "{version}"
        );
    }
}

#[test]
fn each_release_has_its_own_requirements_for_registries() {
    for (version, private_ca, anonymous, external_address) in [
        ("4.1.0", Support::No, true, false),
        ("4.1.1", Support::Yes, true, false),
        ("4.1.5-demo", Support::Yes, true, false),
        ("4.1.9", Support::Yes, true, false),
        ("4.2.0", Support::Yes, true, true),
        ("4.2.1", Support::Yes, false, true),
        ("5.0.0", Support::Yes, false, true),
    ] {
        let release = release(version);
        assert_eq!(release.private_ca(), private_ca, "{version}");
        assert_eq!(release.anonymous_pull_required(), anonymous, "{version}");
        assert_eq!(
            release.external_address_required(),
            external_address,
            "{version}"
        );
    }
}

#[test]
fn releases_without_an_offline_installation_are_refused() {
    for version in ["3.8.2", "4.0.0", "4.0.1-rc.7"] {
        let error = Release::of(&version.parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "v{version} has no documented offline installation; the first release with one is v4.1.0"
            )
        );
    }
}

#[test]
fn warnings_name_known_issues_and_unknown_releases() {
    let warnings = |version| release(version).warnings();
    for version in ["4.1.0", "4.1.1", "4.1.5", "4.1.5-demo", "4.2.0"] {
        assert_eq!(warnings(version), [""; 0], "{version}");
    }
    assert_eq!(warnings("4.1.3").len(), 2);
    assert!(warnings("4.1.3")[0].starts_with("v4.1.3: fresh installations only"));
    assert!(warnings("4.1.3")[1].contains("has the project twice, such as mke/mke"));
    assert!(warnings("4.1.4")[0].contains("removed it from the release matrix"));
    assert!(warnings("4.1.4")[0].ends_with("; install v4.1.5 instead"));
    assert!(
        warnings("4.2.1")[0]
            .starts_with("v4.2.1: its facts come from a public lab, not from the vendor: ")
    );
    for (version, stand_in) in [
        ("4.1.6", "v4.1.5"),
        ("4.3.0", "v4.2.1"),
        ("4.2.2-rc.1", "v4.2.1"),
    ] {
        assert_eq!(
            warnings(version),
            [format!(
                "v{version} is unknown to this version of Airlock; the names and rules of {stand_in} are used"
            )]
        );
    }
}

/// Item 21: operating systems and other requirements by release. Item 29: a pre-release has the
/// requirements of its release.
#[test]
fn each_release_has_its_own_requirements_for_machines() {
    for (version, system, is_supported, cgroup_2, selinux) in [
        ("4.1.0", "ubuntu 20.04", true, false, false),
        ("4.1.1", "ubuntu 20.04", false, false, false),
        ("4.1.1", "rhel 8.10", true, false, false),
        ("4.1.3", "rocky 9.4", true, false, true),
        ("4.1.5", "ubuntu 24.04", false, false, true),
        ("4.2.0", "ubuntu 24.04", true, true, true),
        ("4.2.1-rc.3", "rhel 9.6", true, true, true),
        ("5.0.0", "rhel 9.6", true, true, true),
    ] {
        let required = release(version).node_requirements();
        let is_listed = required.systems.iter().any(|listed| listed == system);
        assert_eq!(is_listed, is_supported, "{version} {system}");
        assert_eq!(
            (required.cgroup_2, required.selinux),
            (cgroup_2, selinux),
            "{version}"
        );
        assert_eq!((required.processors, required.memory), (8, 32_000_000_000));
    }
    assert_eq!(release("4.1.5").bundle_size(), 22_000_000_000);
}
