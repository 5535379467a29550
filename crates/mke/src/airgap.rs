//! What cannot work where nothing outside can be reached.

use environment::yaml::{Mapping, Node};
use environment::{Environment, Problem, quote};

use crate::notes::{Notes, Rule, name};

/// Checks that nothing under `config` wants the internet.
pub(crate) fn check(environment: &Environment, config: &Mapping, notes: &mut Notes) {
    let at = |section: &str, key: &str| config.get(section).and_then(|section| section.get(key));
    let is_true = |node: &&Node| node.text() == Some("true");

    if let Some(node) = at("cloudProvider", "enabled").filter(is_true) {
        let problem = Problem::at(
            node,
            "`cloudProvider.enabled` is `true`, but across an air gap there is no cloud to ask",
        );
        notes.refuse(Rule::CloudProvider, problem, "write `false`");
    }
    if let Some(node) = at("monitoring", "enableOpscare").filter(is_true) {
        let problem = Problem::at(
            node,
            "`monitoring.enableOpscare` is `true`, but across an air gap its alerts reach nobody",
        );
        notes.refuse(Rule::OnlineAddons, problem, "write `false`");
    }
    let addons = config.get("addons").and_then(Node::as_sequence);
    for addon in addons.into_iter().flatten() {
        if addon.get("enabled").and_then(Node::text) == Some("false") {
            continue;
        }
        if let Some(node) = address_elsewhere(addon, &environment.registry.address) {
            let problem = Problem::at(
                node,
                format!(
                    "an add-on comes from {}, which is not the registry",
                    quote(node.text().unwrap_or_default())
                ),
            );
            notes.refuse(
                Rule::OnlineAddons,
                problem,
                "take its chart from the registry, or write `enabled: false`",
            );
        }
    }
    // MKE sends telemetry unless it is told not to (the default in CONF-132 and KAIROS).
    let tracking = at("tracking", "enabled");
    if tracking.is_none_or(|node| node.text() == Some("true")) && !notes.accepts(Rule::Telemetry) {
        let rule =
            "`tracking.enabled` is not `false`, so that MKE tries to send telemetry to the vendor";
        let help = format!(
            "write `tracking: {{ enabled: false }}` below `config`, or `accept: [{}]`",
            name(Rule::Telemetry)
        );
        match tracking {
            Some(node) => notes.warn(Problem::at(node, rule).with_help(help)),
            None => notes.warnings.push(format!("{rule}; {help}")),
        }
    }
}

/// Finds an address with a scheme that is not on the registry's host, however deep.
fn address_elsewhere<'a>(node: &'a Node, registry: &str) -> Option<&'a Node> {
    if let Some((_, rest)) = node.text().and_then(|text| text.split_once("://")) {
        let is_registry = rest
            .strip_prefix(registry)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        return (!is_registry).then_some(node);
    }
    let items = node.as_sequence().into_iter().flatten();
    let values = node
        .as_mapping()
        .into_iter()
        .flat_map(|mapping| mapping.iter().map(|(_, value)| value));
    items
        .chain(values)
        .find_map(|node| address_elsewhere(node, registry))
}
