//! Tests of the upgrade paths between the releases of the table.

use super::*;
use crate::releases;

fn upgrade(from: &str, to: &str) -> Result<Upgrade, UpgradeError> {
    let release = Release::of(&to.parse().unwrap()).unwrap();
    release.upgrade_from(&from.parse().unwrap())
}

#[test]
fn each_pair_of_releases_has_a_known_result() {
    let releases = releases();
    let mut text = String::new();
    for to in &releases {
        for from in &releases {
            let result = match to.upgrade_from(from.version()) {
                Err(UpgradeError::Same { .. }) => "same".to_owned(),
                Err(UpgradeError::Downgrade { .. }) => "downgrade".to_owned(),
                Err(UpgradeError::NotATarget { .. }) => "not a target".to_owned(),
                Err(UpgradeError::NotASource { .. }) => "not listed".to_owned(),
                Ok(upgrade) => {
                    let ports = match upgrade.needs_gateway_node_ports {
                        true => ", with node ports",
                        false => "",
                    };
                    assert_eq!(
                        upgrade.certainty == Certainty::Documented,
                        upgrade.warnings.is_empty()
                    );
                    format!("{:?}{ports}", upgrade.certainty).to_lowercase()
                }
            };
            text.push_str(&format!(
                "{} to {}: {result}\n",
                from.version(),
                to.version()
            ));
        }
    }
    insta::assert_snapshot!(text, @r"
    4.1.0 to 4.1.0: same
    4.1.1 to 4.1.0: downgrade
    4.1.2 to 4.1.0: downgrade
    4.1.3 to 4.1.0: downgrade
    4.1.4 to 4.1.0: downgrade
    4.1.5 to 4.1.0: downgrade
    4.2.0 to 4.1.0: downgrade
    4.2.1 to 4.1.0: downgrade
    4.1.0 to 4.1.1: documented
    4.1.1 to 4.1.1: same
    4.1.2 to 4.1.1: downgrade
    4.1.3 to 4.1.1: downgrade
    4.1.4 to 4.1.1: downgrade
    4.1.5 to 4.1.1: downgrade
    4.2.0 to 4.1.1: downgrade
    4.2.1 to 4.1.1: downgrade
    4.1.0 to 4.1.2: documented
    4.1.1 to 4.1.2: documented
    4.1.2 to 4.1.2: same
    4.1.3 to 4.1.2: downgrade
    4.1.4 to 4.1.2: downgrade
    4.1.5 to 4.1.2: downgrade
    4.2.0 to 4.1.2: downgrade
    4.2.1 to 4.1.2: downgrade
    4.1.0 to 4.1.3: not a target
    4.1.1 to 4.1.3: not a target
    4.1.2 to 4.1.3: not a target
    4.1.3 to 4.1.3: same
    4.1.4 to 4.1.3: downgrade
    4.1.5 to 4.1.3: downgrade
    4.2.0 to 4.1.3: downgrade
    4.2.1 to 4.1.3: downgrade
    4.1.0 to 4.1.4: unverified
    4.1.1 to 4.1.4: unverified
    4.1.2 to 4.1.4: unverified
    4.1.3 to 4.1.4: unverified
    4.1.4 to 4.1.4: same
    4.1.5 to 4.1.4: downgrade
    4.2.0 to 4.1.4: downgrade
    4.2.1 to 4.1.4: downgrade
    4.1.0 to 4.1.5: documented
    4.1.1 to 4.1.5: documented
    4.1.2 to 4.1.5: documented, with node ports
    4.1.3 to 4.1.5: documented
    4.1.4 to 4.1.5: not listed
    4.1.5 to 4.1.5: same
    4.2.0 to 4.1.5: downgrade
    4.2.1 to 4.1.5: downgrade
    4.1.0 to 4.2.0: unverified
    4.1.1 to 4.2.0: unverified
    4.1.2 to 4.2.0: unverified, with node ports
    4.1.3 to 4.2.0: unverified
    4.1.4 to 4.2.0: unverified
    4.1.5 to 4.2.0: unverified
    4.2.0 to 4.2.0: same
    4.2.1 to 4.2.0: downgrade
    4.1.0 to 4.2.1: unverified
    4.1.1 to 4.2.1: unverified
    4.1.2 to 4.2.1: unverified, with node ports
    4.1.3 to 4.2.1: unverified
    4.1.4 to 4.2.1: unverified
    4.1.5 to 4.2.1: unverified
    4.2.0 to 4.2.1: unverified
    4.2.1 to 4.2.1: same
    ");
}

#[test]
fn a_refusal_names_its_reason_and_sources() {
    let refusal = |from, to| upgrade(from, to).unwrap_err().to_string();
    insta::assert_snapshot!(refusal("4.1.2", "4.1.3"), @"v4.1.3 is not an upgrade target: Mirantis supports only fresh installations of it, because of issues with the Envoy gateway and with offline environments (https://docs.mirantis.com/mke4/4.1.3/getting-started/offline-installation/)");
    insta::assert_snapshot!(refusal("4.1.4", "4.1.5"), @"v4.1.4 cannot be upgraded to v4.1.5; supported source versions: v4.1.0, v4.1.1, v4.1.2, v4.1.3 (https://docs.mirantis.com/mke4k/latest/upgrades/upgrading-an-mke4k-cluster/)");
    insta::assert_snapshot!(refusal("4.1.5", "4.1.2"), @"v4.1.2 is older than v4.1.5; only a backup restores an older release");
    insta::assert_snapshot!(refusal("4.1.5", "4.1.5"), @"v4.1.5 is already installed");
}

#[test]
fn unverified_paths_are_allowed_with_a_warning() {
    let warnings = |from, to| upgrade(from, to).unwrap().warnings.join("\n");
    insta::assert_snapshot!(warnings("4.1.2", "4.1.4"), @r"
    it is unverified whether the vendor supports the upgrade from v4.1.2 to v4.1.4: its list of sources is unknown
    ");
    insta::assert_snapshot!(warnings("4.1.2", "4.2.0"), @r"
    it is unverified whether the vendor supports the upgrade from v4.1.2 to v4.2.0: its list of sources is unknown
    it is expected, not documented, that the upgrade from v4.1.2 to v4.2.0 needs the gateway's node ports
    ");
    insta::assert_snapshot!(warnings("4.1.2-rc.1", "4.1.5"), @"it is unverified whether the vendor supports the upgrade from the pre-release v4.1.2-rc.1 to v4.1.5: its list names releases only");
    insta::assert_snapshot!(warnings("4.2.1", "4.3.0"), @"v4.3.0 is unknown to this version of Airlock: it is unverified whether v4.2.1 can be upgraded to it");
}

#[test]
fn only_the_first_release_cannot_write_an_archive() {
    for release in releases() {
        let is_first = release.version().to_string() == "4.1.0";
        assert_eq!(
            release.can_write_archive(),
            !is_first,
            "{}",
            release.version()
        );
    }
    assert!(
        Release::of(&Version::new(4, 9, 0))
            .unwrap()
            .can_write_archive()
    );
}

#[test]
fn monitoring_crds_are_for_upgrades_from_4_1_to_4_2() {
    for (from, to, expected) in [
        ("4.1.2", "4.1.5", false),
        ("4.1.5", "4.2.0", true),
        ("4.1.0", "4.2.1", true),
        ("4.2.0", "4.2.1", false),
    ] {
        let crds = upgrade(from, to).unwrap().monitoring_crds;
        assert_eq!(crds.is_some(), expected, "{from} to {to}");
    }
}

#[test]
fn a_pre_release_follows_the_rules_of_its_final_release() {
    assert!(matches!(
        upgrade("4.1.2", "4.1.3-rc.1"),
        Err(UpgradeError::NotATarget { .. })
    ));
    assert!(matches!(
        upgrade("4.1.5-rc.1", "4.1.5"),
        Err(UpgradeError::NotASource { .. })
    ));
    assert!(
        upgrade("4.1.2", "4.1.5-rc.1")
            .unwrap()
            .needs_gateway_node_ports
    );
}
