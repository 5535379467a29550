//! The keys whose value a cluster keeps permanently. `releases.yaml` lists them with the vendor's
//! rules.

use std::collections::BTreeMap;

use environment::keys::parts;
use environment::yaml::{self, Mapping, Node};
use environment::{Environment, Problem};

use crate::keys::default_of;
use crate::notes::{self, Rule};
use crate::table::{WriteOnce, table};

/// The write-once values that a cluster was installed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed<'a> {
    /// The registry that its nodes pull from: host, port and path.
    pub registry: &'a str,
    /// Its `apiServer.externalAddress`, if that was set.
    pub external_address: Option<&'a str>,
    /// The values of the other write-once keys, as [`write_once_values`] returned them. `None` if
    /// they are unknown.
    pub write_once: Option<&'a BTreeMap<String, String>>,
}

/// Returns the values of an environment's write-once keys, by path. Unset keys are left out, and so
/// are the registry and the external address, which [`refuse_changes`] compares separately.
pub fn write_once_values(environment: &Environment) -> BTreeMap<String, String> {
    write_once_values_of(&environment.config)
}

/// Returns the same values from a `spec`, such as that of the live configuration.
pub fn write_once_values_of(spec: &Node) -> BTreeMap<String, String> {
    let values = generic_keys().filter_map(|WriteOnce { key, .. }| {
        let values: Vec<String> = nodes(spec, &parts(key))
            .into_iter()
            .map(value_text)
            .collect();
        (!values.is_empty()).then(|| (key.clone(), values.join(", ")))
    });
    values.collect()
}

/// Returns the write-once keys without the registry and the external address.
fn generic_keys() -> impl Iterator<Item = &'static WriteOnce> {
    let special = ["registries", "apiServer.externalAddress"];
    let keys = table().write_once.iter();
    keys.filter(move |write_once| !special.contains(&write_once.key.as_str()))
}

/// Returns the nodes at a path: one for each enabled item of the lists in the path.
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

/// Returns a value on one line. All values with several lines have the same text: only their
/// presence is compared.
fn value_text(node: &Node) -> String {
    match node.text() {
        Some(text) if text.contains('\n') => "(given)".to_owned(),
        _ => yaml::emit(node).trim_end().to_owned(),
    }
}

/// Returns the `apiServer.externalAddress` of an environment.
pub fn external_address(environment: &Environment) -> Option<String> {
    environment
        .config
        .get("apiServer")
        .and_then(|server| server.get("externalAddress"))
        .filter(|address| !address.is_null() && address.text() != Some(""))
        .map(|address| yaml::emit(address).trim_end().to_owned())
}

/// Returns the port of `apiServer.externalAddress`, at which clients reach the cluster. The default
/// is 443.
pub fn external_port(environment: &Environment) -> u16 {
    let address = external_address(environment).unwrap_or_default();
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    port.and_then(|(_, port)| port.parse().ok()).unwrap_or(443)
}

/// Returns a problem for each write-once value that an environment would change.
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
    let current = write_once_values(environment);
    for WriteOnce { key, rule, .. } in generic_keys() {
        let value = |values: &BTreeMap<String, String>| -> Option<String> {
            let default = || default_of(key).map(str::to_owned);
            values.get(key).cloned().or_else(default)
        };
        let (before, now) = (value(installed), value(&current));
        if before == now {
            continue;
        }
        let before = before.as_deref().unwrap_or("nothing");
        let now = now.as_deref().unwrap_or("nothing");
        let path = parts(key);
        let node = (0..path.len()).rev().find_map(|length| {
            let found = nodes(&environment.config, &path[..=length]);
            found.into_iter().next()
        });
        problems.push(
            Problem::at(
                node.unwrap_or(&environment.merged),
                format!(
                    "the cluster of {} was installed with `{key}`: {before}, but the environment has {now}",
                    environment.name
                ),
            )
            .with_help(format!(
                "set it back to {before}. The vendor: \"{rule}\". If the cluster was changed with the vendor's help, write `accept: [{}]`",
                notes::name(Rule::WriteOnce)
            )),
        );
    }
    problems
}

/// Returns the node that changes the registry: the project if the address is still the same, else
/// the address.
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
    let mut keys = table().write_once.iter();
    keys.find(|write_once| write_once.key == key)
        .map_or("", |write_once| &write_once.rule)
}

/// Returns the key to report a missing external address at: `apiServer`, or the nearest key around
/// it.
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
        let values = write_once_values(&environment(before));
        let environment = environment(now);
        let registry = environment.registry.image_url();
        let installed = Installed {
            registry: &registry,
            external_address: None,
            write_once: Some(&values),
        };
        let problems = refuse_changes(&environment, installed);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("\n")
    }

    /// Items 15 and 17: each key of the table, not only the registry and the address.
    #[test]
    fn changes_of_write_once_values_are_refused() {
        let before = format!("{HOSTS}{NETWORK}");
        assert_eq!(refused(&before, &before), "");
        insta::assert_snapshot!(refused(&before, &before.replace("10.0.0.0/16", "10.2.0.0/16")), @r#"
        environments/prod/environment.yaml:8:63: the cluster of prod was installed with `network.providers[].extraConfig.cidrV4`: 10.0.0.0/16, but the environment has 10.2.0.0/16; set it back to 10.0.0.0/16. The vendor: "Contact Mirantis Support if you need to modify it once your cluster has been deployed". If the cluster was changed with the vendor's help, write `accept: [write-once]`
        "#);
        // Disabled items may change, and an unset key equals its default.
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
        let changed = before.replace(
            "cidrV4: 10.0.0.0/16",
            "cidrV4: 10.0.0.0/16, values.yaml: \"a\\nb\"",
        );
        let values = refused(&before, &changed);
        assert!(
            values.contains(r#""values.yaml"`: nothing, but the environment has (given)"#),
            "{values}"
        );
    }

    #[test]
    fn a_change_of_a_write_once_value_can_be_accepted() {
        let values = write_once_values(&environment(HOSTS));
        let mut environment =
            environment(&format!("{HOSTS}network: {{serviceCIDR: 10.200.0.0/16}}\n"));
        environment.accept.push(Node::string("write-once"));
        let registry = environment.registry.image_url();
        let installed = Installed {
            registry: &registry,
            external_address: None,
            write_once: Some(&values),
        };
        assert_eq!(refuse_changes(&environment, installed), []);
    }
}
