//! Upgrade paths from MKE 3: which ones the vendor supports, and what they require.

use environment::{Environment, Problem};
use semver::Version;

use crate::release::{sources, version_core};
use crate::table::{FromMke3, Row, table};
use crate::{Certainty, Fact, Release, upgrade};

/// An upgrade path from MKE 3 that the vendor supports or that is unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Whether the path requires the gateway's node ports (LB-420).
    pub needs_gateway_node_ports: bool,
    /// Whether the file of hosts may have private addresses and interfaces (UPGRADE-CLI).
    pub private_addresses: bool,
    /// The unverified facts about the path, a fragment each.
    pub warnings: Vec<String>,
}

/// The reasons that an MKE 3 cluster cannot be upgraded to a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The vendor supports no upgrade to the release.
    #[error("v{to} is not an upgrade target: {reason} ({})", sources.join(", "))]
    NotATarget {
        /// The target release.
        to: Version,
        /// The vendor's reason.
        reason: &'static str,
        /// The addresses of the vendor's documents.
        sources: Vec<String>,
    },
    /// The vendor does not list the version as a source.
    #[error("MKE {from} cannot be upgraded to v{to}; supported source versions: {listed} ({})", sources.join(", "))]
    NotASource {
        /// The present version.
        from: Version,
        /// The target release.
        to: Version,
        /// The supported source versions.
        listed: String,
        /// The addresses of the vendor's documents.
        sources: Vec<String>,
    },
}

/// A property of an MKE 3 cluster that prevents an upgrade from each version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mke3Unsupported {
    /// Calico keeps its data in etcd.
    #[error(
        "MKE 3 has `calico_kdd = false`: Calico uses the etcdv3 datastore, and only clusters with KDD can be upgraded (MKE3-FIX)"
    )]
    Datastore,
    /// Calico runs its eBPF data plane.
    #[error(
        "MKE 3 has `calico_ebpf_enabled = true`: clusters with Calico's eBPF data plane cannot be upgraded (MKE3-IDX)"
    )]
    Ebpf,
    /// kube-proxy does not use iptables.
    #[error(
        "MKE 3 has `kube_proxy_mode = \"{mode}\"`: only clusters with the proxier iptables can be upgraded (CNI-LIMITS)"
    )]
    Proxier {
        /// The value of `kube_proxy_mode`.
        mode: String,
    },
    /// The number of managers is even.
    #[error("MKE 3 has {count} managers: an even number is not supported (DOCS-SRC)")]
    Managers {
        /// The number of managers.
        count: usize,
    },
}

/// A syntax error in the configuration of MKE 3. It does not quote the text, which may contain
/// secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not valid TOML: {message}")]
pub struct TomlError {
    /// The line, from 1.
    pub line: usize,
    /// The parser's message, without the quoted text.
    pub message: String,
}

/// Returns a setting of MKE 3 that prevents an upgrade. `config` is the TOML that MKE 3 exports. A
/// missing setting is left to mkectl.
///
/// # Errors
///
/// The configuration is not TOML.
pub fn mke3_unsupported(config: &str) -> Result<Option<Mke3Unsupported>, TomlError> {
    let config: toml::Table = config.parse().map_err(|error: toml::de::Error| {
        let start = error.span().unwrap_or_default().start;
        TomlError {
            line: 1 + config
                .bytes()
                .take(start)
                .filter(|byte| *byte == b'\n')
                .count(),
            message: error.message().to_owned(),
        }
    })?;
    let value = |key| match find_setting(&config, key)? {
        toml::Value::String(text) => Some(text.clone()),
        value => value.as_bool().map(|value| value.to_string()),
    };
    if value("calico_kdd").as_deref() == Some("false") {
        return Ok(Some(Mke3Unsupported::Datastore));
    }
    if value("calico_ebpf_enabled").as_deref() == Some("true") {
        return Ok(Some(Mke3Unsupported::Ebpf));
    }
    let mode = value("kube_proxy_mode").filter(|mode| !["", "iptables"].contains(&mode.as_str()));
    Ok(mode.map(|mode| Mke3Unsupported::Proxier { mode }))
}

/// Finds a setting in any table. The names of the settings used here are unique.
fn find_setting<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    let mut tables = table.values().filter_map(toml::Value::as_table);
    (table.get(key)).or_else(|| tables.find_map(|table| find_setting(table, key)))
}

/// Returns an error if an environment has an even number of managers.
pub fn managers_unsupported(environment: &Environment) -> Option<Mke3Unsupported> {
    let hosts = environment
        .config
        .get("hosts")
        .and_then(|hosts| hosts.as_sequence());
    let roles = hosts
        .unwrap_or_default()
        .iter()
        .filter_map(|host| host.get("role")?.text());
    let count = roles
        .filter(|role| crate::hosts::is_controller(role))
        .count();
    (count > 0 && count % 2 == 0).then_some(Mke3Unsupported::Managers { count })
}

impl Release {
    /// Returns the upgrade path from an MKE 3 version to this release. A release without a row uses
    /// the row before it, with a warning.
    ///
    /// # Errors
    ///
    /// The vendor does not support the path.
    pub fn migrate_from(&self, from: &Version) -> Result<Migration, MigrationError> {
        let to = self.version();
        let upgrade = &self.row().upgrade;
        if self.is_known()
            && let Some(reason) = &upgrade.refused
        {
            return Err(MigrationError::NotATarget {
                to: to.clone(),
                reason,
                sources: sources(&upgrade.from.source),
            });
        }
        let row = row_of(to);
        if !row.versions.value.matches(&version_core(from)) {
            return Err(MigrationError::NotASource {
                from: from.clone(),
                to: to.clone(),
                listed: row.versions.value.to_string(),
                sources: sources(&row.versions.source),
            });
        }
        let mut warnings = Vec::new();
        if !self.is_known() || row.versions.certainty != Certainty::Documented {
            warnings.push(format!(
                "it is unverified whether MKE {from} can be upgraded to v{to}"
            ));
        }
        Ok(Migration {
            needs_gateway_node_ports: row.gateway_node_ports.value,
            private_addresses: row.private_addresses.value,
            warnings,
        })
    }
}

impl Migration {
    /// Returns the gateway's node ports of an environment, for HTTP and HTTPS, if this path
    /// requires them.
    ///
    /// # Errors
    ///
    /// The path requires them, but `gatewayMKEIngress.nodePorts` does not set both.
    pub fn gateway_node_ports(
        &self,
        environment: &Environment,
    ) -> Result<Option<(u16, u16)>, Problem> {
        (self.needs_gateway_node_ports)
            .then(|| upgrade::gateway_node_ports(environment))
            .transpose()
    }
}

/// Returns the last row whose `since` is not after a release.
fn row_of(release: &Version) -> &'static FromMke3 {
    let wanted = version_core(release);
    let rows = &table().from_mke3;
    rows.iter()
        .rfind(|row| row.since <= wanted)
        .unwrap_or(&rows[0])
}

/// Returns the facts of the table about upgrades from MKE 3 to a release.
pub(crate) fn facts(release: &Row) -> Vec<Fact> {
    if release.upgrade.refused.is_some() {
        return Vec::new();
    }
    let row = row_of(&release.version);
    let mut facts = vec![
        row.versions
            .to_fact("from MKE 3", |versions| versions.to_string()),
    ];
    if row.gateway_node_ports.value {
        facts.push(row.gateway_node_ports.to_fact("from MKE 3", |_| {
            "the gateway's node ports are required".to_owned()
        }));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::releases;
    use crate::table::BUILT_IN;

    #[test]
    fn unsupported_settings_are_refused() {
        let config = |lines: &str| format!("[auth]\n  kube = \"x\"\n[cluster_config]\n{lines}");
        for (lines, expected) in [
            (
                "  calico_kdd = true\n  calico_ebpf_enabled = false\n  kube_proxy_mode = \"iptables\"\n",
                None,
            ),
            ("", None),
            ("  calico_kdd = false\n", Some(Mke3Unsupported::Datastore)),
            (
                "  calico_ebpf_enabled = true # since 3.6\n",
                Some(Mke3Unsupported::Ebpf),
            ),
            (
                "  kube_proxy_mode = \"ipvs\"\n",
                Some(Mke3Unsupported::Proxier {
                    mode: "ipvs".to_owned(),
                }),
            ),
            (
                "  kube_proxy_mode = \"disabled\"\n",
                Some(Mke3Unsupported::Proxier {
                    mode: "disabled".to_owned(),
                }),
            ),
            (
                "  \"calico_kdd\" = false\n",
                Some(Mke3Unsupported::Datastore),
            ),
        ] {
            assert_eq!(mke3_unsupported(&config(lines)), Ok(expected), "{lines}");
        }
        for text in [
            "cluster_config.calico_kdd = false",
            "cluster_config = { calico_kdd = false }",
        ] {
            assert_eq!(
                mke3_unsupported(text),
                Ok(Some(Mke3Unsupported::Datastore)),
                "{text}"
            );
        }
        let broken = mke3_unsupported("[auth]\npassword = planted-secret\n").unwrap_err();
        assert_eq!(broken.line, 2);
        assert!(!broken.to_string().contains("planted"), "{broken}");
    }

    #[test]
    fn each_release_accepts_the_source_versions_of_the_vendor() {
        let mut table = String::new();
        for release in releases() {
            let to = release.version().to_string();
            for from in ["3.7.14", "3.7.15", "3.8.0", "3.9.1"] {
                let migration = match release.migrate_from(&from.parse().unwrap()) {
                    Ok(migration) => format!(
                        "ports {}, private {}",
                        migration.needs_gateway_node_ports, migration.private_addresses
                    ),
                    Err(MigrationError::NotATarget { .. }) => "no target".to_owned(),
                    Err(MigrationError::NotASource { .. }) => "no source".to_owned(),
                };
                table.push_str(&format!("{from} to {to}: {migration}\n"));
            }
        }
        insta::assert_snapshot!("migrations", table);
        let later = Release::of(&Version::new(4, 9, 0)).unwrap();
        let migration = later.migrate_from(&Version::new(3, 9, 0)).unwrap();
        assert_eq!(migration.warnings.len(), 1);
        assert!(BUILT_IN.from_mke3.is_sorted_by_key(|row| &row.since));
        for row in &BUILT_IN.from_mke3 {
            for known in [
                &row.versions.source,
                &row.gateway_node_ports.source,
                &row.private_addresses.source,
            ] {
                assert!(
                    known
                        .iter()
                        .all(|name| crate::release::address(&BUILT_IN.sources, name).is_some()),
                    "{known:?}"
                );
            }
        }
    }
}
