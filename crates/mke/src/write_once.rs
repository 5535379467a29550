//! What nobody can change once a cluster is there. Which keys that are, and by which rule, stands in the table of releases.

use environment::yaml::{self, Mapping, Node};
use environment::{Environment, Problem};

use crate::table::TABLE;

/// What a cluster was installed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed<'a> {
    /// Where its nodes pull from: host, port and path.
    pub registry: &'a str,
    /// Its `apiServer.externalAddress`, if that was set.
    pub external_address: Option<&'a str>,
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

/// Returns the port at which clients reach the cluster: that of `apiServer.externalAddress`, 443 where it has none.
pub fn external_port(environment: &Environment) -> u16 {
    let address = external_address(environment).unwrap_or_default();
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    port.and_then(|(_, port)| port.parse().ok()).unwrap_or(443)
}

/// Returns every place where an environment would change what its cluster keeps for good: the registry (OFF-411, UPG-412,
/// UPG-415), and that there is an external address (CONF-135).
pub fn refuse_changes(environment: &Environment, installed: Installed<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let registry = environment.registry.image_url();
    if registry != installed.registry {
        problems.push(
            Problem::at(
                registry_node(environment, installed.registry),
                format!(
                    "the cluster of {} pulls from {}, and this says {registry}",
                    environment.name, installed.registry
                ),
            )
            .with_help(format!(
                "set it back to {}: \"{}\", says the vendor. For a new cluster delete the environment's receipt.yaml",
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
                    "the cluster of {} was installed with `apiServer.externalAddress: {address}`, and here it is not set",
                    environment.name
                ),
            )
            .with_help(format!(
                "set it; {}. For a new cluster delete the environment's receipt.yaml",
                rule("apiServer.externalAddress")
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

/// Returns what the table says that nobody can do to a key.
fn rule(key: &str) -> &'static str {
    let kept = TABLE.write_once.iter().find(|kept| kept.key == key);
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
