//! The `mkectl` crate before the stand-in of each release: which commands it builds, and what it understands of the answers.

use std::fmt::Write as _;

use camino::Utf8Path;
use mkectl::{Mkectl, Needed, NodePorts, Upgrade, Variables};

use crate::FAKE_MKECTL;

const RELEASES: &[&str] = &[
    "4.1.0", "4.1.1", "4.1.2", "4.1.3", "4.1.4", "4.1.5", "4.2.0", "4.2.1",
];

fn of(release: &str) -> Mkectl {
    let mut variables = Variables::default();
    variables.set("FAKE_MKECTL_VERSION", format!("v{release}"));
    Mkectl::at(FAKE_MKECTL, variables).unwrap()
}

#[test]
fn each_release_is_given_the_flags_that_it_lists() {
    let config = Utf8Path::new("mke4.yaml");
    let mut all = String::new();
    for release in RELEASES {
        let mkectl = of(release);
        let version = mkectl.version().unwrap();
        assert_eq!(version.to_string(), *release);
        let root = mkectl.help(&[]).unwrap();
        let upgrade = Upgrade {
            release: &version,
            release_matrix: Some(Utf8Path::new("release-matrix.json")),
            backup: Some(Utf8Path::new("before.tar")),
            config_out: Some(Utf8Path::new("after.yaml")),
            gateway_node_ports: Some(NodePorts {
                http: 33000,
                https: 33001,
            }),
        };
        writeln!(all, "v{release}").unwrap();
        for command in [
            mkectl.apply(config, &mkectl.help(&["apply"]).unwrap()),
            mkectl.upgrade(config, &upgrade, &mkectl.help(&["upgrade"]).unwrap()),
            mkectl.backup(config, "backup.tar", &root),
            mkectl.restore(Utf8Path::new("hosts.yaml"), "backup.tar", &root),
        ] {
            writeln!(all, "  {}", command.arguments.join(" ")).unwrap();
            // What is built, the release understands.
            if command.arguments[0] != "apply" {
                let log = tempfile::NamedTempFile::new().unwrap();
                let log = Utf8Path::from_path(log.path()).unwrap().to_owned();
                let (_sender, signals) = std::sync::mpsc::channel();
                let finished = mkectl::run(&command, &log, &Nobody, signals).unwrap();
                assert!(
                    finished.exit.is_success(),
                    "{release}: {:?}",
                    finished.last_lines
                );
            }
        }
    }
    insta::assert_snapshot!("commands_by_release", all);
}

#[test]
fn a_configuration_is_read_however_a_release_prints_it() {
    for release in RELEASES {
        let mkectl = of(release);
        let initial = mkectl.init().unwrap();
        assert!(
            initial.ends_with(&format!("version: v{release}\n")),
            "{initial}"
        );
        assert_eq!(mkectl.config_get().unwrap(), initial, "{release}");
    }
}

#[test]
fn what_an_offline_installation_needs_is_asked_where_it_can_be() {
    for release in RELEASES {
        let mkectl = of(release);
        let is_known = mkectl.help(&[]).unwrap().has_command("airgap");
        assert_eq!(is_known, *release >= "4.1.3", "{release}");
        let images = mkectl.airgap(Needed::Images);
        if !is_known {
            assert!(matches!(images, Err(mkectl::Error::Failed { .. })));
            continue;
        }
        assert_eq!(
            images.unwrap(),
            [
                "registry.mirantis.com/k0rdent-enterprise/kcm-controller:1.2.3",
                "registry.mirantis.com/mke/calico/node:v3.30.200"
            ]
        );
        assert_eq!(
            mkectl.airgap(Needed::Charts).unwrap(),
            ["registry.mirantis.com/k0rdent-enterprise/charts/k0rdent-enterprise:1.2.3"]
        );
    }
}

/// Hears of nothing.
struct Nobody;

impl mkectl::Observer for Nobody {
    fn event(&self, _: mkectl::Event<'_>) {}
}
