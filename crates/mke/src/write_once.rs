//! The keys whose value a cluster keeps permanently. Which keys these are, and by which rule, is in
//! the table of releases.

use std::collections::BTreeMap;

use environment::keys::parts;
use environment::yaml::{self, Mapping, Node};
use environment::{Environment, Problem};

use crate::keys::default_of;
use crate::notes::{self, Rule};
use crate::table::{WriteOnce, table};

/// What a cluster was installed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed<'a> {
    /// Where its nodes pull from: host, port and path.
    pub registry: &'a str,
    /// Its `apiServer.externalAddress`, if that was set.
    pub external_address: Option<&'a str>,
    /// The values of the other keys that it keeps, as [`write_once_values`] returned them; nothing if
    /// that is not known.
    pub write_once: Option<&'a BTreeMap<String, String>>,
}

/// Returns the values of the keys that a cluster keeps permanently, by path. The registry and the
/// external address, which have rules of their own, are not among them; neither is what is not
/// written.
pub fn write_once_values(environment: &Environment) -> BTreeMap<String, String> {
    write_once_values_of(&environment.config)
}

/// Returns the same values of a configuration's `spec`, such as that of the live configuration.
pub fn write_once_values_of(spec: &Node) -> BTreeMap<String, String> {
    let values = others().filter_map(|kept| {
        let values: Vec<String> = nodes(spec, &parts(&kept.key))
            .into_iter()
            .map(shown)
            .collect();
        (!values.is_empty()).then(|| (kept.key.clone(), values.join(", ")))
    });
    values.collect()
}

fn others() -> impl Iterator<Item = &'static WriteOnce> {
    let kept = table().write_once.iter();
    kept.filter(|kept| {
        !matches!(
            kept.key.as_str(),
            "registries" | "apiServer.externalAddress"
        )
    })
}

/// Returns what stands at a path, once for each item of a list that is not switched off.
fn nodes<'a>(node: &'a Node, path: &[(&str, bool)]) -> Vec<&'a Node> {
    let Some(((name, is_list), rest)) = path.split_first() else {
        return vec![node];
    };
    let Some(node) = node.get(name).filter(|node| !node.is_null()) else {
        return Vec::new();
    };
    if !is_list {
        return nodes(node, rest);
    }
    let items = node.as_sequence().unwrap_or_default().iter();
    let is_on = |item: &&Node| item.get("enabled").and_then(Node::text) != Some("false");
    items
        .filter(is_on)
        .flat_map(|item| nodes(item, rest))
        .collect()
}

/// Returns a value on one line. For a long one, only its presence counts.
fn shown(node: &Node) -> String {
    match node.text() {
        Some(text) if text.contains('\n') => "(given)".to_owned(),
        _ => yaml::emit(node).trim_end().to_owned(),
    }
}

/// Returns `apiServer.externalAddress`, if an environment sets it.
pub fn external_address(environment: &Environment) -> Option<String> {
    environment
        .config
        .get("apiServer")
        .and_then(|server| server.get("externalAddress"))
        .filter(|address| !address.is_null() && address.text() != Some(""))
        .map(|address| yaml::emit(address).trim_end().to_owned())
}

/// Returns the port at which clients reach the cluster: that of `apiServer.externalAddress`, 443
/// where it has none.
pub fn external_port(environment: &Environment) -> u16 {
    let address = external_address(environment).unwrap_or_default();
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    port.and_then(|(_, port)| port.parse().ok()).unwrap_or(443)
}

/// Returns every place where an environment would change what its cluster keeps permanently.
pub fn refuse_changes(environment: &Environment, installed: Installed<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let registry = environment.registry.image_url();
    if registry != installed.registry {
        problems.push(
            Problem::at(
                registry_node(environment, installed.registry),
                format!(
                    "the cluster of {} pulls from {}, but the environment names {registry}",
                    environment.name, installed.registry
                ),
            )
            .with_help(format!(
                "set it back to {}. The vendor: \"{}\". Only for a new cluster, delete the environment's receipt.yaml",
                installed.registry,
                rule("registries")
            )),
        );
    }
    if let Some(address) = installed.external_address
        && external_address(environment).is_none()
    {
        problems.push(
            Problem::at(
                api_server(environment),
                format!(
                    "the cluster of {} was installed with `apiServer.externalAddress: {address}`, which is not set here",
                    environment.name
                ),
            )
            .with_help(format!(
                "set it. The vendor: \"{}\". Only for a new cluster, delete the environment's receipt.yaml",
                rule("apiServer.externalAddress")
            )),
        );
    }
    let Some(installed) = installed.write_once else {
        return problems;
    };
    if notes::accepts(environment, Rule::WriteOnce) {
        return problems;
    }
    let now = write_once_values(environment);
    for kept in others() {
        let value = |values: &BTreeMap<String, String>| {
            let written = values.get(&kept.key).cloned();
            written.or_else(|| default_of(&kept.key).map(str::to_owned))
        };
        let (before, now) = (value(installed), value(&now));
        if before == now {
            continue;
        }
        let words = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
        let path = parts(&kept.key);
        let node = (0..path.len()).rev().find_map(|length| {
            let found = nodes(&environment.config, &path[..=length]);
            found.into_iter().next()
        });
        problems.push(
            Problem::at(
                node.unwrap_or(&environment.merged),
                format!(
                    "the cluster of {} was installed with `{}`: {}, but the environment has {}",
                    environment.name,
                    kept.key,
                    words(before.clone()),
                    words(now)
                ),
            )
            .with_help(format!(
                "set it back to {}. The vendor: \"{}\". If the cluster was changed with the vendor's help, write `accept: [{}]`",
                words(before),
                kept.rule,
                notes::name(Rule::WriteOnce)
            )),
        );
    }
    problems
}

/// Returns the value that makes the registry another one.
fn registry_node<'a>(environment: &'a Environment, installed: &str) -> &'a Node {
    let registry = environment.merged.get("registry");
    let below = |key: &str| registry.and_then(|registry| registry.get(key));
    let has_same_address = installed
        .strip_prefix(&environment.registry.address)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    has_same_address
        .then(|| below("project"))
        .flatten()
        .or_else(|| below("address"))
        .or(registry)
        .unwrap_or(&environment.merged)
}

/// Returns the vendor's rule for a key.
fn rule(key: &str) -> &'static str {
    let kept = table().write_once.iter().find(|kept| kept.key == key);
    kept.map_or("", |kept| &kept.rule)
}

/// Returns the key below which the external address is missing, or the nearest one around it.
fn api_server(environment: &Environment) -> &Node {
    let config = environment
        .merged
        .as_mapping()
        .and_then(|keys| keys.pair("config"));
    let server = config
        .and_then(|(_, config)| config.as_mapping())
        .and_then(|config: &Mapping| config.pair("apiServer"));
    match (server, config) {
        (Some((key, _)), _) | (None, Some((key, _))) => key,
        (None, None) => &environment.merged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::{HOSTS, environment};

    const NETWORK: &str = "network:\n  serviceCIDR: 10.96.0.0/16\n  providers:\n\
        \x20   - {provider: calico, enabled: true, extraConfig: {cidrV4: 10.0.0.0/16}}\n\
        \x20   - {provider: kuberouter, enabled: false, extraConfig: {cidrV4: 10.1.0.0/16}}\n";

    fn refused(before: &str, now: &str) -> String {
        let kept = write_once_values(&environment(before));
        let environment = environment(now);
        let registry = environment.registry.image_url();
        let installed = Installed {
            registry: &registry,
            external_address: None,
            write_once: Some(&kept),
        };
        let problems = refuse_changes(&environment, installed);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("\n")
    }

    /// Items 15 and 17: each key of the table, not only the registry and the address.
    #[test]
    fn what_a_cluster_keeps_is_compared_with_what_it_was_installed_with() {
        let before = format!("{HOSTS}{NETWORK}");
        assert_eq!(refused(&before, &before), "");
        insta::assert_snapshot!(refused(&before, &before.replace("10.0.0.0/16", "10.2.0.0/16")), @r#"
        environments/prod/environment.yaml:8:63: the cluster of prod was installed with `network.providers[].extraConfig.cidrV4`: 10.0.0.0/16, but the environment has 10.2.0.0/16; set it back to 10.0.0.0/16. The vendor: "Contact Mirantis Support if you need to modify it once your cluster has been deployed". If the cluster was changed with the vendor's help, write `accept: [write-once]`
        "#);
        // What is switched off may change, and a default equals its value.
        assert_eq!(
            refused(&before, &before.replace("10.1.0.0/16", "10.3.0.0/16")),
            ""
        );
        assert_eq!(
            refused(
                &before,
                &before.replace("  serviceCIDR: 10.96.0.0/16\n", "")
            ),
            ""
        );
        let moved = refused(
            HOSTS,
            &format!("{HOSTS}network: {{serviceCIDR: 10.200.0.0/16}}\n"),
        );
        assert!(moved.contains("was installed with `network.serviceCIDR`: 10.96.0.0/16, but the environment has 10.200.0.0/16"), "{moved}");
        assert!(
            moved.contains("Once set, the serviceCIDR value is immutable"),
            "{moved}"
        );
        let folder = refused(
            HOSTS,
            &format!("{HOSTS}k8sProviderSpecs: {{dataDir: /data/k0s}}\n"),
        );
        assert!(
            folder.contains("`k8sProviderSpecs.dataDir`: /var/lib/k0s"),
            "{folder}"
        );
        let values = before.replace(
            "cidrV4: 10.0.0.0/16",
            "cidrV4: 10.0.0.0/16, values.yaml: \"a\\nb\"",
        );
        let values = refused(&before, &values);
        assert!(
            values.contains(r#""values.yaml"`: nothing, but the environment has (given)"#),
            "{values}"
        );
    }

    #[test]
    fn a_change_that_the_vendor_helped_with_can_be_accepted() {
        let kept = write_once_values(&environment(HOSTS));
        let mut environment =
            environment(&format!("{HOSTS}network: {{serviceCIDR: 10.200.0.0/16}}\n"));
        environment.accept.push(Node::string("write-once"));
        let registry = environment.registry.image_url();
        let installed = Installed {
            registry: &registry,
            external_address: None,
            write_once: Some(&kept),
        };
        assert_eq!(refuse_changes(&environment, installed), []);
    }
}
