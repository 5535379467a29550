//! What cannot work where nothing outside can be reached, and what an installation needs that no
//! bundle has.

use std::sync::Arc;

use environment::yaml::{self, Mapping, Node, Source};
use environment::{Environment, Problem, quote};
use semver::Version;

use crate::Release;
use crate::keys::default_of;
use crate::notes::{self, Notes, Rule, name};

/// The names of keys whose values say where an image or a chart comes from.
const PLACES: [&str; 6] = [
    "chart",
    "image",
    "imageRegistry",
    "registry",
    "repo",
    "repository",
];

/// Something that an installation needs and that no bundle has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInBundle {
    /// The drivers of NVIDIA's processors, which each node with one installs from a package
    /// registry.
    NvidiaDrivers,
    /// The k0s binary for FIPS and its library on each node.
    Fips,
    /// `kubectl` and `helm` on this machine, for the upgrade of the monitoring CRDs.
    MonitoringTools,
}

impl NotInBundle {
    /// Returns what has to be brought, and on whose word.
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

/// Returns what the installation of an environment needs that no bundle has, where its cluster runs
/// `installed`. What the environment accepts is left out.
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
    let way = installed.and_then(|installed| {
        let release = Release::of(&environment.release).ok()?;
        release.upgrade_from(installed).ok()
    });
    if way.is_some_and(|way| way.monitoring_crds.is_some()) {
        needed.push(NotInBundle::MonitoringTools);
    }
    needed
}

/// Checks that nothing under `config` needs the internet.
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
    let items = |section: Option<&Node>| -> Vec<Node> {
        let items = section.and_then(Node::as_sequence);
        items.unwrap_or_default().to_vec()
    };
    for addon in items(config.get("addons")) {
        if addon.get("enabled").and_then(Node::text) == Some("false") {
            continue;
        }
        if let Some(node) = address_elsewhere(&addon, registry) {
            refuse_elsewhere("an add-on comes", node, node, notes);
        }
    }
    for service in items(config.get("services")) {
        refuse_places("a service comes", &service, registry, notes);
    }
    for provider in items(at(&["k0rdent", "providers"])) {
        refuse_places(
            "an image of a k0rdent provider comes",
            &provider,
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
    if let Some(node) = place_elsewhere(&inner, registry) {
        refuse_elsewhere("an image of Calico comes", &node, values, notes);
    }
}

/// Refuses the first image or chart below a node that comes from elsewhere.
fn refuse_places(what: &str, below: &Node, registry: &str, notes: &mut Notes) {
    if let Some(node) = place_elsewhere(below, registry) {
        // A place in a text of YAML has no place in the file.
        let is_here = Arc::ptr_eq(&node.source, &below.source);
        refuse_elsewhere(what, &node, if is_here { &node } else { below }, notes);
    }
}

fn refuse_elsewhere(what: &str, node: &Node, at: &Node, notes: &mut Notes) {
    let from = quote(node.text().unwrap_or_default());
    let problem = Problem::at(at, format!("{what} from {from}, which is not the registry"));
    let help = match what {
        "an add-on comes" => "take its chart from the registry, or write `enabled: false`",
        _ => "push it to the registry and write that address",
    };
    notes.refuse(Rule::OnlineAddons, problem, help);
}

/// Warns of what has to be brought beside the bundle.
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

/// Warns of telemetry that is sent: unless MKE is configured not to (the default in CONF-132 and
/// KAIROS), and always without a licence (DOCS-SRC, configuration/telemetry.md).
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

/// Finds an address with a scheme that is not on the registry's host, however deep.
fn address_elsewhere<'a>(node: &'a Node, registry: &str) -> Option<&'a Node> {
    if let Some((_, rest)) = node.text().and_then(|text| text.split_once("://")) {
        return (!is_on(rest, registry)).then_some(node);
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

/// Finds the value of a key that says where an image or a chart comes from, and names another host
/// than the registry, however deep; a text below `values` is read as YAML. A place without a host
/// says nothing.
fn place_elsewhere(node: &Node, registry: &str) -> Option<Node> {
    if let Some(items) = node.as_sequence() {
        return items
            .iter()
            .find_map(|item| place_elsewhere(item, registry));
    }
    node.as_mapping()?.iter().find_map(|(key, value)| {
        let (key, text) = (key.text()?, value.text());
        let inner = match text {
            Some(_) if key == "values" => parsed(value),
            _ => None,
        };
        match text {
            Some(text) if PLACES.contains(&key) => {
                let place = text.split_once("://").map_or(text, |(_, rest)| rest);
                let host = place.split('/').next().unwrap_or_default();
                // As in references to images; some keys have a host alone.
                let is_host = host.contains(['.', ':'])
                    && !host.starts_with('.')
                    && (place.contains('/')
                        || matches!(key, "registry" | "imageRegistry" | "repo"));
                (is_host && !is_on(place, registry)).then(|| value.clone())
            }
            _ => place_elsewhere(inner.as_ref().unwrap_or(value), registry),
        }
    })
}

/// Returns whether an address without its scheme is on a registry.
fn is_on(address: &str, registry: &str) -> bool {
    let rest = address.strip_prefix(registry);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads the text of a value as YAML.
fn parsed(node: &Node) -> Option<Node> {
    let source = Source {
        path: node.source.path.clone(),
        text: node.text()?.to_owned(),
    };
    yaml::parse(Arc::new(source)).ok()
}
