//! The keys of a configuration that identify its cluster. The configuration is the live one, which
//! `mkectl config get` prints, or a rendered one.
//!
//! Unknown keys and values of unexpected types are ignored, so each release can be read.

use std::collections::BTreeSet;

use environment::yaml::Node;
use semver::Version;

/// The keys of a configuration that identify its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The release.
    pub version: Option<Version>,
    /// The registry that its nodes pull images from: host, port and path.
    pub registry: Option<String>,
    /// The address of the cluster for clients.
    pub external_address: Option<String>,
    /// The SSH addresses of its machines.
    pub hosts: BTreeSet<String>,
}

impl ClusterConfig {
    /// Reads a configuration.
    pub fn of(document: &Node) -> Self {
        let at = |path: &[&str]| -> Option<&Node> {
            path.iter().try_fold(document, |node, key| node.get(key))
        };
        let text = |path: &[&str]| {
            at(path)
                .and_then(Node::text)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let hosts = at(&["spec", "hosts"]).and_then(Node::as_sequence);
        let address = |host: &Node| host.get("ssh")?.get("address")?.text().map(str::to_owned);
        Self {
            version: text(&["spec", "version"])
                .and_then(|version| version.strip_prefix('v')?.parse().ok()),
            registry: text(&["spec", "registries", "imageRegistry", "url"]),
            external_address: text(&["spec", "apiServer", "externalAddress"]),
            hosts: hosts
                .unwrap_or_default()
                .iter()
                .filter_map(address)
                .collect(),
        }
    }

    /// Returns whether both may belong to the same cluster: they have a machine or the address for
    /// clients in common, or one of them has neither.
    pub fn may_be_same_cluster(&self, other: &Self) -> bool {
        let is_anonymous =
            |config: &Self| config.hosts.is_empty() && config.external_address.is_none();
        let has_address = self.external_address.is_some();
        is_anonymous(self)
            || is_anonymous(other)
            || !self.hosts.is_disjoint(&other.hosts)
            || has_address && self.external_address == other.external_address
    }

    /// Returns whether both have machines but none in common.
    pub fn has_disjoint_hosts(&self, other: &Self) -> bool {
        !self.hosts.is_empty() && !other.hosts.is_empty() && self.hosts.is_disjoint(&other.hosts)
    }

    /// Returns a short description of the cluster, which begins with a verb.
    pub fn summary(&self) -> String {
        let version = match &self.version {
            Some(version) => format!("v{version}"),
            None => "an unknown release".to_owned(),
        };
        let registry = match &self.registry {
            Some(registry) => format!(" and pulls from {registry}"),
            None => String::new(),
        };
        let place = match (&self.external_address, self.hosts.first()) {
            (Some(address), _) => format!(" at {address}"),
            (None, Some(host)) => format!(" on {host}"),
            (None, None) => String::new(),
        };
        format!("runs {version}{place}{registry}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use environment::yaml::{self, Source};

    use super::*;

    fn config(text: &str) -> ClusterConfig {
        let source = Arc::new(Source {
            path: "config".into(),
            text: text.to_owned(),
        });
        ClusterConfig::of(&yaml::parse(source).unwrap())
    }

    #[test]
    fn clusters_are_identified_by_their_machines_and_addresses() {
        let cluster = config(
            "spec:\n  version: v4.1.5\n  apiServer: { externalAddress: mke.lab }\n  hosts:\n  - ssh: { address: 10.0.0.1 }\n  \
             - ssh: { address: 10.0.0.2 }\n  registries: { imageRegistry: { url: r.lab/mke } }\n",
        );
        assert_eq!(
            cluster.summary(),
            "runs v4.1.5 at mke.lab and pulls from r.lab/mke"
        );
        for (other, is_same) in [
            // The cluster has one machine replaced and a new address.
            (
                "spec: { hosts: [{ ssh: { address: 10.0.0.2 } }], apiServer: { externalAddress: other } }",
                true,
            ),
            (
                "spec: { hosts: [{ ssh: { address: 10.9.9.9 } }], apiServer: { externalAddress: mke.lab } }",
                true,
            ),
            (
                "spec: { hosts: [{ ssh: { address: 10.9.9.9 } }], apiServer: { externalAddress: other } }",
                false,
            ),
            ("spec: { hosts: [{ ssh: { address: 10.9.9.9 } }] }", false),
            ("spec: { version: latest }", true),
            ("{}", true),
        ] {
            let other = config(other);
            assert_eq!(cluster.may_be_same_cluster(&other), is_same, "{other:?}");
            assert_eq!(other.may_be_same_cluster(&cluster), is_same, "{other:?}");
            assert_eq!(other.version, None);
        }
        assert_eq!(config("{}").summary(), "runs an unknown release");
    }
}
