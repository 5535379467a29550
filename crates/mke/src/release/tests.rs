//! The table, row by row.

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
        // A source that is not in the list of sources would be missing here.
        for fact in release.facts() {
            assert!(
                !fact.sources.is_empty(),
                "{} {}",
                release.version(),
                fact.subject
            );
        }
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
    let named = TABLE.releases.iter().flat_map(|row| {
        row.bundle
            .source
            .iter()
            .chain(&row.checksum.source)
            .chain(&row.private_ca.source)
            .chain(&row.anonymous_pull_required.source)
            .chain(&row.external_address_required.source)
            .chain(&row.mkectl.source)
            .chain(row.faults.iter().flat_map(|fault| &fault.source))
            .chain(&row.upgrade.from.source)
            .chain(
                row.upgrade
                    .rollback_backup
                    .iter()
                    .flat_map(|known| &known.source),
            )
            .chain(&row.upgrade.archive.source)
            .chain(
                row.upgrade
                    .monitoring_crds
                    .iter()
                    .flat_map(|known| &known.source),
            )
            .chain(
                row.upgrade
                    .gateway_node_ports_from
                    .iter()
                    .flat_map(|known| &known.source),
            )
    });
    let named = named.chain(TABLE.write_once.iter().flat_map(|kept| &kept.source));
    for source in named {
        assert!(TABLE.sources.contains_key(source), "{source}");
    }
}

#[test]
fn bundles_are_named_as_each_release_names_them() {
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
fn mkectl_is_known_by_its_hash_only_for_the_very_release() {
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
fn registries_are_asked_for_what_each_release_needs() {
    for (version, private_ca, anonymous, external_address) in [
        ("4.1.0", Support::Unverified, true, false),
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
                "v{version} has no documented offline installation; v4.1.0 is the first release that has"
            )
        );
    }
}

#[test]
fn warnings_name_faults_and_what_is_unverified() {
    let warnings = |version| release(version).warnings();
    for version in ["4.1.0", "4.1.1", "4.1.5", "4.1.5-demo"] {
        assert_eq!(warnings(version), [""; 0], "{version}");
    }
    assert_eq!(warnings("4.1.3").len(), 2);
    assert!(warnings("4.1.3")[0].starts_with("v4.1.3: fresh installations only"));
    assert!(warnings("4.1.3")[1].contains("doubles the project, such as mke/mke"));
    assert!(warnings("4.1.4")[0].contains("removed it from the release matrix"));
    assert!(warnings("4.1.4")[0].ends_with("; install v4.1.5 instead"));
    assert!(warnings("4.2.0")[0].contains("unverified whether nodes can pull with credentials"));
    for (version, stand_in) in [
        ("4.1.6", "v4.1.5"),
        ("4.3.0", "v4.2.1"),
        ("4.2.2-rc.1", "v4.2.1"),
    ] {
        assert_eq!(
            warnings(version),
            [format!(
                "v{version} is not known to this version of the tool; the names and rules of {stand_in} are taken \
                 for it"
            )]
        );
    }
}
