//! Upgrade paths between releases of MKE 4k: which ones the vendor supports, and what they require.
//!
//! The vendor lists the source releases of each target on a separate page (DOCS-SRC, UPG-412,
//! UPG-415), and not every release is a target. A path to a target without a known list is allowed
//! with a warning. A path that contradicts a list is refused.

use environment::{Environment, Problem};
use semver::Version;

use crate::release::{fact, sources, version_core};
use crate::table::{MonitoringCrds, Row};
use crate::{Certainty, Fact, Release};

/// An upgrade path that the vendor supports or that is unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The certainty that the vendor supports the path.
    pub certainty: Certainty,
    /// The addresses of the documents about the path.
    pub sources: Vec<String>,
    /// The chart with the CRDs that the vendor suggests to apply first (MONCRD).
    pub monitoring_crds: Option<&'static MonitoringCrds>,
    /// Whether the path requires `--gateway-http-node-port` and `--gateway-https-node-port`
    /// (UPG-415, LB-420).
    pub needs_gateway_node_ports: bool,
    /// The unverified facts about the path, a fragment each.
    pub warnings: Vec<String>,
}

/// The reasons that a release cannot be upgraded to a different one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Both releases are the same.
    #[error("v{version} is already installed")]
    Same {
        /// The release.
        version: Version,
    },
    /// The target is older. The vendor documents restoring a backup as the only way back.
    #[error("v{to} is older than v{from}; only a backup restores an older release")]
    Downgrade {
        /// The present release.
        from: Version,
        /// The target release.
        to: Version,
    },
    /// The vendor supports no upgrade to the target.
    #[error("v{to} is not an upgrade target: {reason} ({})", sources.join(", "))]
    NotATarget {
        /// The target release.
        to: Version,
        /// The vendor's reason.
        reason: &'static str,
        /// The addresses of the vendor's documents.
        sources: Vec<String>,
    },
    /// The vendor does not list the release as a source.
    #[error("v{from} cannot be upgraded to v{to}; supported source versions: {listed} ({})", sources.join(", "))]
    NotASource {
        /// The present release.
        from: Version,
        /// The target release.
        to: Version,
        /// The supported source releases.
        listed: String,
        /// The addresses of the vendor's documents.
        sources: Vec<String>,
    },
}

impl Release {
    /// Returns the upgrade path from a release of MKE 4k to this release.
    ///
    /// A path to a release without a row is allowed with a warning if `from` is older. The vendor
    /// lists final releases only, so a pre-release of a listed source is allowed with a warning,
    /// too.
    ///
    /// # Errors
    ///
    /// The vendor does not support the path.
    pub fn upgrade_from(&self, from: &Version) -> Result<Upgrade, UpgradeError> {
        let to = self.version();
        match from.cmp_precedence(to) {
            std::cmp::Ordering::Equal => {
                return Err(UpgradeError::Same {
                    version: to.clone(),
                });
            }
            std::cmp::Ordering::Greater => {
                return Err(UpgradeError::Downgrade {
                    from: from.clone(),
                    to: to.clone(),
                });
            }
            std::cmp::Ordering::Less => {}
        }
        let facts = &self.row().upgrade;
        if !self.is_known() {
            return Ok(Upgrade {
                certainty: Certainty::Unverified,
                sources: sources(&facts.from.source),
                monitoring_crds: None,
                needs_gateway_node_ports: false,
                warnings: vec![format!(
                    "v{to} is unknown to this version of Airlock: it is unverified whether v{from} can be upgraded to it"
                )],
            });
        }
        if let Some(reason) = &facts.refused {
            return Err(UpgradeError::NotATarget {
                to: to.clone(),
                reason,
                sources: sources(&facts.from.source),
            });
        }
        let mut warnings = Vec::new();
        let mut certainty = facts.from.certainty;
        match &facts.from.value {
            None => warnings.push(format!(
                "it is unverified whether the vendor supports the upgrade from v{from} to v{to}: its list of sources is unknown"
            )),
            Some(listed) if !listed.contains(&version_core(from)) => {
                return Err(UpgradeError::NotASource {
                    from: from.clone(),
                    to: to.clone(),
                    listed: match listed.as_slice() {
                        [] => "none".to_owned(),
                        listed => names(listed),
                    },
                    sources: sources(&facts.from.source),
                });
            }
            Some(_) if !from.pre.is_empty() => {
                certainty = Certainty::Unverified;
                warnings.push(format!(
                    "it is unverified whether the vendor supports the upgrade from the pre-release v{from} to v{to}: its list \
                     names releases only"
                ));
            }
            Some(_) => {}
        }
        let needs_gateway_node_ports =
            facts
                .gateway_node_ports_from
                .as_ref()
                .is_some_and(|known| {
                    let is_needed = known.value.contains(&version_core(from));
                    if is_needed && known.certainty != Certainty::Documented {
                        warnings.push(format!(
                            "it is expected, not documented, that the upgrade from v{from} to v{to} needs the gateway's node ports"
                        ));
                    }
                    is_needed
                });
        let monitoring_crds = (facts.monitoring_crds.as_ref())
            .map(|known| &known.value)
            .filter(|crds| crds.from.matches(&version_core(from)));
        Ok(Upgrade {
            certainty,
            sources: sources(&facts.from.source),
            monitoring_crds,
            needs_gateway_node_ports,
            warnings,
        })
    }
}

impl Release {
    /// Returns whether the mkectl of this release can write a backup archive to a local file. A
    /// release without a row is assumed to do so.
    pub fn can_write_archive(&self) -> bool {
        !self.is_known() || self.row().upgrade.archive.value.is_some()
    }
}

impl Upgrade {
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
            .then(|| gateway_node_ports(environment))
            .transpose()
    }
}

/// Returns the required node ports of an environment's gateway, for HTTP and HTTPS.
///
/// # Errors
///
/// `gatewayMKEIngress.nodePorts` does not set both.
pub(crate) fn gateway_node_ports(environment: &Environment) -> Result<(u16, u16), Problem> {
    let config = &environment.config;
    let port = |name: &str| -> Option<u16> {
        let ports = config.get("gatewayMKEIngress")?.get("nodePorts")?;
        ports.get(name)?.text()?.parse().ok()
    };
    if let (Some(http), Some(https)) = (port("http"), port("https")) {
        return Ok((http, https));
    }
    let written = environment.merged.get("release");
    let rule = "this upgrade requires the gateway's node ports, but `config.gatewayMKEIngress.nodePorts` does not set both";
    Err(
            Problem::at(written.unwrap_or(&environment.merged), rule.to_owned()).with_help(
                "write `gatewayMKEIngress: { nodePorts: { http: 33000, https: 33001 } }` below `config`, with ports that the load balancer forwards and nothing else uses",
            ),
        )
}

/// Returns the facts of the table about upgrades to a release, and about its backups.
pub(crate) fn facts(row: &'static Row) -> Vec<Fact> {
    let upgrade = &row.upgrade;
    let from = match (&upgrade.refused, &upgrade.from.value) {
        (Some(reason), _) => format!("none: {reason}"),
        (None, None) => "not known".to_owned(),
        (None, Some(listed)) if listed.is_empty() => "none".to_owned(),
        (None, Some(listed)) => names(listed),
    };
    let mut facts = vec![fact(
        "upgrade from",
        from,
        upgrade.from.certainty,
        &upgrade.from.source,
    )];
    let rollback = upgrade.rollback_backup.as_ref();
    facts.extend(rollback.map(|known| known.to_fact("rollback backup", String::clone)));
    facts.push(upgrade.archive.to_fact("backup archive", |command| {
        let command = command.as_deref();
        command.map_or_else(
            || "none".to_owned(),
            |command| format!("{command} --name FILE"),
        )
    }));
    facts.extend(upgrade.monitoring_crds.as_ref().map(|known| {
        known.to_fact("monitoring CRDs", |crds| {
            format!(
                "to be applied before an upgrade from {}: those of {} {}",
                crds.from, crds.chart, crds.version
            )
        })
    }));
    facts.extend(upgrade.gateway_node_ports_from.as_ref().map(|known| {
        known.to_fact("gateway ports", |from| {
            format!(
                "required in an upgrade from {}: --gateway-http-node-port, --gateway-https-node-port, --gateway-listener-port",
                names(from)
            )
        })
    }));
    facts
}

fn names(versions: &[Version]) -> String {
    let names: Vec<String> = versions
        .iter()
        .map(|version| format!("v{version}"))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
