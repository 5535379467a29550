//! Whether the vendor supports the way from one release to another, and what has to be known for
//! it.
//!
//! The vendor lists the sources of each target on a page of its own (DOCS-SRC, UPG-412, UPG-415),
//! and not every release is a target. What is on no page is allowed with a warning; what
//! contradicts one is refused with the vendor's reason.

use environment::{Environment, Problem};
use semver::Version;

use crate::release::{fact, sources, version_core};
use crate::table::{MonitoringCrds, Row};
use crate::{Certainty, Fact, Release};

/// A way from one release to another that the vendor supports, or that nothing is known against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// How well it is known that the vendor supports it.
    pub certainty: Certainty,
    /// The documents that say so, or that are silent.
    pub sources: Vec<String>,
    /// The chart whose CRDs the vendor suggests to apply first (MONCRD).
    pub monitoring_crds: Option<&'static MonitoringCrds>,
    /// Whether `--gateway-http-node-port` and `--gateway-https-node-port` have to be given
    /// (UPG-415, LB-420).
    pub needs_gateway_node_ports: bool,
    /// What is unverified about it, a fragment each.
    pub warnings: Vec<String>,
}

/// Why there is no way from one release to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// It is the same release.
    #[error("v{version} is already installed")]
    Same {
        /// The release.
        version: Version,
    },
    /// The target is the older one. No page of the vendor has a way back but to restore a backup.
    #[error("v{to} is older than v{from}; only a backup restores an older release")]
    Downgrade {
        /// The present release.
        from: Version,
        /// What is wanted.
        to: Version,
    },
    /// The vendor supports no upgrade to the target.
    #[error("v{to} is not an upgrade target: {reason} ({})", sources.join(", "))]
    NotATarget {
        /// What is wanted.
        to: Version,
        /// What the vendor says.
        reason: &'static str,
        /// Where it says so.
        sources: Vec<String>,
    },
    /// The vendor lists the sources of the target, and this one is not among them.
    #[error("v{from} cannot be upgraded to v{to}; supported source versions: {listed} ({})", sources.join(", "))]
    NotASource {
        /// The present release.
        from: Version,
        /// What is wanted.
        to: Version,
        /// The sources that are listed.
        listed: String,
        /// Where they are.
        sources: Vec<String>,
    },
}

impl Release {
    /// Returns what is known of the upgrade to this release from a different release of MKE 4k.
    ///
    /// Of a release that is not in the table nothing is known, so every way to it from an older one
    /// is allowed and warned of. The vendor lists releases only: a pre-release of a listed source
    /// is warned of, too.
    ///
    /// # Errors
    ///
    /// The vendor does not support it.
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
    /// Returns whether the mkectl of this release writes an archive of its cluster to a local file.
    /// It is assumed of a release that is not in the table.
    pub fn writes_archive(&self) -> bool {
        !self.is_known() || self.row().upgrade.archive.value.is_some()
    }
}

impl Upgrade {
    /// Returns the gateway's node ports of an environment, for HTTP and HTTPS, where this way asks
    /// for them.
    ///
    /// # Errors
    ///
    /// It asks for them, and `gatewayMKEIngress.nodePorts` does not have both.
    pub fn gateway_node_ports(
        &self,
        environment: &Environment,
    ) -> Result<Option<(u16, u16)>, Problem> {
        match self.needs_gateway_node_ports {
            true => gateway_node_ports(environment).map(Some),
            false => Ok(None),
        }
    }
}

/// Returns the gateway's node ports of an environment, for HTTP and HTTPS, which it must have.
///
/// # Errors
///
/// `gatewayMKEIngress.nodePorts` does not have both.
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

/// Returns what the table says about a release as the target of an upgrade.
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
