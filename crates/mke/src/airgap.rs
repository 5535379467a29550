//! Refuses settings that need the internet, and warns of requirements that a bundle does not
//! contain.

use std::sync::Arc;

use environment::yaml::{self, Mapping, Node, Source};
use environment::{Environment, Problem, quote};
use semver::Version;

use crate::Release;
use crate::keys::default_of;
use crate::notes::{self, Notes, Rule, name};

/// The names of keys whose values are the source of an image or a chart.
const SOURCE_KEYS: [&str; 6] = [
    "chart",
    "image",
    "imageRegistry",
    "registry",
    "repo",
    "repository",
];

/// A requirement of an installation that bundles do not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInBundle {
    /// NVIDIA's drivers, which each node with a GPU installs from a package registry.
    NvidiaDrivers,
    /// The k0s binary for FIPS and its library on each node.
    Fips,
    /// `kubectl` and `helm` on this machine, for the upgrade of the monitoring CRDs.
    MonitoringTools,
}

impl NotInBundle {
    /// Returns the requirement as a fragment of a message.
    pub fn text(self) -> &'static str {
        match self {
            Self::NvidiaDrivers => {
                "no bundle has NVIDIA's drivers: \"you must deploy a package registry and mirror the drivers to it\", says the vendor"
            }
            Self::Fips => {
                "no bundle has what FIPS needs on each host: the packages of `libcrypto3-mirantis`, the symlink \
                 `libcrypto-k0s.so.3` and the FIPS k0s binary"
            }
            Self::MonitoringTools => {
                "no bundle has `kubectl` and `helm`, which upgrade the monitoring CRDs before this upgrade"
            }
        }
    }
}

/// Returns the requirements of an environment that bundles do not contain. `installed` is the
/// release that its cluster runs. Returns nothing if the environment accepts `not-in-bundle`.
pub fn not_in_bundle(environment: &Environment, installed: Option<&Version>) -> Vec<NotInBundle> {
    if notes::accepts(environment, Rule::NotInBundle) {
        return Vec::new();
    }
    let config = &environment.config;
    let is_true = |path: &[&str]| {
        let node = path.iter().try_fold(config, |node, key| node.get(key));
        node.and_then(Node::text) == Some("true")
    };
    let mut needed = Vec::new();
    if is_true(&["devicePlugins", "nvidiaGPU", "enabled"]) {
        needed.push(NotInBundle::NvidiaDrivers);
    }
    if is_true(&["fips", "enabled"]) {
        needed.push(NotInBundle::Fips);
    }
    let upgrade = installed.and_then(|installed| {
        let release = Release::of(&environment.release).ok()?;
        release.upgrade_from(installed).ok()
    });
    if upgrade.is_some_and(|upgrade| upgrade.monitoring_crds.is_some()) {
        needed.push(NotInBundle::MonitoringTools);
    }
    needed
}

/// Checks that no setting under `config` needs the internet.
pub(crate) fn check(environment: &Environment, config: &Mapping, notes: &mut Notes) {
    let registry = &environment.registry.address;
    let at = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(config.get(first)?, |node, key| node.get(key))
    };
    let is_true = |node: &&Node| node.text() == Some("true");

    if let Some(node) = at(&["cloudProvider", "enabled"]).filter(is_true) {
        let problem = Problem::at(
            node,
            "`cloudProvider.enabled` is `true`, but an air-gapped site cannot reach a cloud",
        );
        notes.refuse(Rule::CloudProvider, problem, "write `false`");
    }
    if let Some(node) = at(&["monitoring", "enableOpscare"]).filter(is_true) {
        let problem = Problem::at(
            node,
            "`monitoring.enableOpscare` is `true`, but its alerts cannot leave an air-gapped site",
        );
        notes.refuse(Rule::OnlineAddons, problem, "write `false`");
    }
    if let Some(node) = at(&["backup", "storage_provider", "type"])
        && node.text() == Some("External")
    {
        let problem = Problem::at(
            node,
            "`backup.storage_provider.type` is `External`, and the only storage of this type is AWS S3",
        );
        notes.refuse(Rule::OnlineAddons, problem, "write `InCluster`");
    }
    fn items(section: Option<&Node>) -> &[Node] {
        section.and_then(Node::as_sequence).unwrap_or_default()
    }
    for addon in items(config.get("addons")) {
        if addon.get("enabled").and_then(Node::text) == Some("false") {
            continue;
        }
        if let Some(node) = external_url(addon, registry) {
            refuse_external("an add-on comes", node, node, notes);
        }
    }
    for service in items(config.get("services")) {
        refuse_external_source("a service comes", service, registry, notes);
    }
    for provider in items(at(&["k0rdent", "providers"])) {
        refuse_external_source(
            "an image of a k0rdent provider comes",
            provider,
            registry,
            notes,
        );
    }
    let root = at(&["kubelet", "kubeletRootDir"]).and_then(Node::text);
    let root = root.or_else(|| default_of("kubelet.kubeletRootDir"));
    for provider in items(at(&["network", "providers"])) {
        let values = provider
            .get("extraConfig")
            .and_then(|config| config.get("values.yaml"));
        if let Some(values) =
            values.filter(|values| values.text().is_some_and(|text| !text.is_empty()))
        {
            check_calico(values, root.unwrap_or_default(), registry, notes);
        }
    }
    check_not_in_bundle(config, notes);
    if !environment.rehearsal {
        check_telemetry(config, notes);
    }
}

/// Checks the values of the Tigera operator's chart.
fn check_calico(values: &Node, kubelet_root: &str, registry: &str, notes: &mut Notes) {
    const KEY: &str = "`network.providers[].extraConfig.\"values.yaml\"`";
    let expected = format!("kubeletVolumePluginPath: {kubelet_root}");
    let first = values.text().and_then(|text| text.lines().next());
    if first.map(str::trim_end) != Some(expected.as_str()) {
        notes.problems.push(
            Problem::at(
                values,
                format!(
                    "the first line of {KEY} is not `{expected}`, which the installation requires"
                ),
            )
            .with_help(
                "begin with exactly this line; its path is that of `kubelet.kubeletRootDir`",
            ),
        );
        return;
    }
    let Some(inner) = parsed(values) else {
        let problem = Problem::at(values, format!("{KEY} is not YAML"));
        notes
            .problems
            .push(problem.with_help("write the values of the Tigera operator's chart"));
        return;
    };
    if let Some(node) = external_source(&inner, registry) {
        refuse_external("an image of Calico comes", &node, values, notes);
    }
}

/// Refuses the first image or chart below a node that does not come from the registry.
fn refuse_external_source(what: &str, below: &Node, registry: &str, notes: &mut Notes) {
    if let Some(node) = external_source(below, registry) {
        // A node of YAML within a string has no place in the file.
        let has_place = Arc::ptr_eq(&node.source, &below.source);
        refuse_external(what, &node, if has_place { &node } else { below }, notes);
    }
}

/// Refuses the source in `node`. The problem is reported at the place of `at`.
fn refuse_external(what: &str, node: &Node, at: &Node, notes: &mut Notes) {
    let from = quote(node.text().unwrap_or_default());
    let problem = Problem::at(at, format!("{what} from {from}, which is not the registry"));
    let help = match what {
        "an add-on comes" => "take its chart from the registry, or write `enabled: false`",
        _ => "push it to the registry and write that address",
    };
    notes.refuse(Rule::OnlineAddons, problem, help);
}

/// Warns of requirements that bundles do not contain.
fn check_not_in_bundle(config: &Mapping, notes: &mut Notes) {
    if notes.accepts(Rule::NotInBundle) {
        return;
    }
    let plugin = config
        .get("devicePlugins")
        .and_then(|plugins| plugins.get("nvidiaGPU"));
    for (section, key, needed) in [
        (
            plugin,
            "devicePlugins.nvidiaGPU.enabled",
            NotInBundle::NvidiaDrivers,
        ),
        (config.get("fips"), "fips.enabled", NotInBundle::Fips),
    ] {
        let enabled = section.and_then(|section| section.get("enabled"));
        if let Some(node) = enabled.filter(|node| node.text() == Some("true")) {
            let problem = Problem::at(node, format!("`{key}` is `true`, but {}", needed.text()));
            let help = format!(
                "prepare the nodes; when that is done, write `accept: [{}]`",
                name(Rule::NotInBundle)
            );
            notes.warn(problem.with_help(help));
        }
    }
}

/// Warns if MKE sends telemetry. It does by default (CONF-132, KAIROS), and always without a
/// licence (DOCS-SRC, configuration/telemetry.md).
fn check_telemetry(config: &Mapping, notes: &mut Notes) {
    if notes.accepts(Rule::Telemetry) {
        return;
    }
    let tracking = config
        .get("tracking")
        .and_then(|tracking| tracking.get("enabled"));
    let license = config.get("license");
    let has_license = license.is_some_and(|license| {
        let token = license.get("token");
        let is_token = |node: &Node| !node.is_null() && node.text() != Some("");
        token.is_some_and(is_token) || license.get("secretRef").is_some()
    });
    let accept = format!("or `accept: [{}]`", name(Rule::Telemetry));
    let (rule, help) = match tracking.and_then(Node::text) {
        None | Some("true") => (
            "`tracking.enabled` is not `false`, so MKE tries to send telemetry to the vendor",
            format!("write `tracking: {{ enabled: false }}` below `config`, {accept}"),
        ),
        Some("false") if !has_license => (
            "`tracking.enabled: false` has no effect without a licence: MKE tries to send telemetry to the vendor",
            format!("write `license: {{ token: {{ $env: NAME }} }}` below `config`, {accept}"),
        ),
        Some(_) => return,
    };
    match tracking {
        Some(node) => notes.warn(Problem::at(node, rule).with_help(help)),
        None => notes.warnings.push(format!("{rule}; {help}")),
    }
}

/// Finds a URL at any depth below a node that is not on the registry.
fn external_url<'a>(node: &'a Node, registry: &str) -> Option<&'a Node> {
    if let Some((_, rest)) = node.text().and_then(|text| text.split_once("://")) {
        return (!is_on_registry(rest, registry)).then_some(node);
    }
    let items = node.as_sequence().into_iter().flatten();
    let values = node
        .as_mapping()
        .into_iter()
        .flat_map(|mapping| mapping.iter().map(|(_, value)| value));
    items
        .chain(values)
        .find_map(|node| external_url(node, registry))
}

/// Finds the source of an image or a chart at any depth below a node that is on a different host
/// than the registry. A string below `values` is parsed as YAML. A source without a host is
/// ignored.
fn external_source(node: &Node, registry: &str) -> Option<Node> {
    if let Some(items) = node.as_sequence() {
        return items
            .iter()
            .find_map(|item| external_source(item, registry));
    }
    node.as_mapping()?.iter().find_map(|(key, value)| {
        let (key, text) = (key.text()?, value.text());
        let inner = match text {
            Some(_) if key == "values" => parsed(value),
            _ => None,
        };
        match text {
            Some(text) if SOURCE_KEYS.contains(&key) => {
                let source = text.split_once("://").map_or(text, |(_, rest)| rest);
                let host = source.split('/').next().unwrap_or_default();
                // As in image references, a host contains a dot or a port. Some keys may have a
                // host only.
                let is_host = host.contains(['.', ':'])
                    && !host.starts_with('.')
                    && (source.contains('/')
                        || matches!(key, "registry" | "imageRegistry" | "repo"));
                (is_host && !is_on_registry(source, registry)).then(|| value.clone())
            }
            _ => external_source(inner.as_ref().unwrap_or(value), registry),
        }
    })
}

/// Returns whether an address without scheme is on the registry.
fn is_on_registry(address: &str, registry: &str) -> bool {
    let rest = address.strip_prefix(registry);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Parses the string of a node as YAML.
fn parsed(node: &Node) -> Option<Node> {
    let source = Source {
        path: node.source.path.clone(),
        text: node.text()?.to_owned(),
    };
    yaml::parse(Arc::new(source)).ok()
}
