//! Checks addresses and ports across keys: ranges must not overlap, and node ports must be in their
//! range.

use std::net::IpAddr;

use environment::Problem;
use environment::keys::{networks, port_range};
use environment::yaml::{Mapping, Node};
use ipnet::IpNet;
use semver::Version;

use crate::Release;
use crate::keys::default_of;
use crate::notes::Notes;

/// Checks the address ranges and node ports of a cluster, and the addresses of its hosts.
pub(crate) fn check(config: &Mapping, hosts: &[Node], release: &Release, notes: &mut Notes) {
    let ranges = ranges(config);
    check_overlaps(&ranges, notes);
    check_hosts(&ranges, hosts, notes);
    check_node_ports(config, release, notes);
}

/// A range of addresses that the cluster assigns.
struct Range<'a> {
    path: &'static str,
    /// The node with the range. `None` for the default range.
    node: Option<&'a Node>,
    network: IpNet,
}

fn ranges(config: &Mapping) -> Vec<Range<'_>> {
    let mut ranges = Vec::new();
    let network = config.get("network");
    add(
        &mut ranges,
        "network.serviceCIDR",
        network.and_then(|network| network.get("serviceCIDR")),
        default_of("network.serviceCIDR"),
    );
    const PODS: &str = "network.providers[].extraConfig.cidrV4";
    let providers = network.and_then(|network| network.get("providers"));
    match providers.and_then(Node::as_sequence) {
        None => add(&mut ranges, PODS, None, default_of(PODS)),
        Some(providers) => {
            let is_enabled =
                |provider: &&Node| provider.get("enabled").and_then(Node::text) == Some("true");
            for provider in providers.iter().filter(is_enabled) {
                let pods = provider
                    .get("extraConfig")
                    .and_then(|config| config.get("cidrV4"));
                add(&mut ranges, PODS, pods, None);
            }
        }
    }
    ranges
}

fn add<'a>(
    ranges: &mut Vec<Range<'a>>,
    path: &'static str,
    node: Option<&'a Node>,
    default: Option<&str>,
) {
    let text = match node {
        Some(node) => node.text(),
        None => default,
    };
    // `config_keys` reports a range that cannot be parsed.
    for network in text.and_then(networks).unwrap_or_default() {
        ranges.push(Range {
            path,
            node,
            network,
        });
    }
}

fn check_overlaps(ranges: &[Range<'_>], notes: &mut Notes) {
    for (index, range) in ranges.iter().enumerate() {
        for other in &ranges[..index] {
            let overlaps =
                range.network.contains(&other.network) || other.network.contains(&range.network);
            let (Some(node), true) = (range.node.or(other.node), overlaps) else {
                continue;
            };
            let (here, there) = match range.node {
                Some(_) => (range, other),
                None => (other, range),
            };
            let which = match there.node {
                Some(node) => format!("in line {}", node.line()),
                None => "which is the default".to_owned(),
            };
            notes.problems.push(
                Problem::at(
                    node,
                    format!(
                        "`{}` overlaps `{}`, {which}: {}",
                        here.path, there.path, there.network
                    ),
                )
                .with_help("give each a range of its own"),
            );
        }
    }
}

fn check_hosts(ranges: &[Range<'_>], hosts: &[Node], notes: &mut Notes) {
    let mut warned = false;
    for host in hosts {
        let ssh = host.get("ssh").and_then(|ssh| ssh.get("address"));
        for node in ssh.into_iter().chain(host.get("privateAddress")) {
            let Some(address) = node.text().and_then(|text| text.parse::<IpAddr>().ok()) else {
                continue;
            };
            let Some(range) = ranges.iter().find(|range| range.network.contains(&address)) else {
                continue;
            };
            let rule = format!(
                "the host `{address}` is in `{}`, which is {}: the cluster assigns these addresses itself",
                range.path, range.network
            );
            let help = "give the cluster a range that contains no machine";
            match range.node {
                Some(_) => notes.problems.push(Problem::at(node, rule).with_help(help)),
                // The default is known from published files and may change with the release.
                None if !warned => {
                    warned = true;
                    notes.warn(Problem::at(node, format!("{rule} by default")).with_help(help));
                }
                None => {}
            }
        }
    }
}

fn check_node_ports(config: &Mapping, release: &Release, notes: &mut Notes) {
    let range_node = config
        .get("network")
        .and_then(|network| network.get("nodePortRange"));
    let text = match range_node {
        Some(node) => node.text(),
        None => default_of("network.nodePortRange"),
    };
    let Some((first, last)) = text.and_then(port_range) else {
        return;
    };
    let range = format!("{first}-{last}");
    let mut seen: Vec<(String, &Node, u16)> = Vec::new();
    for section in node_port_sections(config, release) {
        let ports = config
            .get(section)
            .and_then(|section| section.get("nodePorts"));
        for name in ["http", "https"] {
            let path = format!("{section}.nodePorts.{name}");
            let node = ports.and_then(|ports| ports.get(name));
            let written = node.and_then(Node::text);
            let Some(port) = written
                .or_else(|| default_of(&path))
                .and_then(|text| text.parse::<u16>().ok())
            else {
                continue;
            };
            let is_inside = (first..=last).contains(&port);
            match (node, range_node) {
                (Some(node), _) if !is_inside => notes.problems.push(
                    Problem::at(
                        node,
                        format!("`{path}` is {port}, outside of `network.nodePortRange`: {range}"),
                    )
                    .with_help(format!("write a port from {first} to {last}")),
                ),
                (None, Some(range_node)) if !is_inside => notes.warn(
                    Problem::at(
                        range_node,
                        format!(
                            "`network.nodePortRange` does not contain {port}, the default of `{path}`"
                        ),
                    )
                    .with_help(format!("write `{path}` too, from {first} to {last}")),
                ),
                _ => {}
            }
            let Some(node) = node else { continue };
            if let Some((other, at, _)) = seen.iter().find(|(_, _, taken)| *taken == port) {
                notes.problems.push(
                    Problem::at(
                        node,
                        format!(
                            "`{path}` is {port}, which `{other}` in line {} already uses",
                            at.line()
                        ),
                    )
                    .with_help("give each a port of its own"),
                );
            }
            seen.push((path, node, port));
        }
    }
}

/// Returns the sections with node ports. The gateway replaced the ingress controller between 4.1.0
/// and 4.1.3, according to their published files (CONF-132, TPL-413).
fn node_port_sections(config: &Mapping, release: &Release) -> Vec<&'static str> {
    let has_gateway = *release.version() >= Version::new(4, 1, 3);
    let ingress = config
        .get("ingressController")
        .and_then(|ingress| ingress.get("enabled"))
        .and_then(Node::text);
    let has_ingress = match ingress {
        Some(enabled) => enabled == "true",
        None => !has_gateway,
    };
    let mut sections = Vec::new();
    if has_gateway || config.get("gatewayMKEIngress").is_some() {
        sections.push("gatewayMKEIngress");
    }
    if has_ingress {
        sections.push("ingressController");
    }
    sections
}
