//! Merges the machines of an inventory and those of `config.hosts` into the hosts of `mke4.yaml`.

use environment::yaml::{Mapping, Node, Scalar, Style, Value};
use environment::{Environment, Problem, merge, nearest, quote};

use crate::notes::Notes;

/// The columns, and the paths of their values in a host.
const COLUMNS: [(&str, &[&str]); 9] = [
    ("role", &["role"]),
    ("address", &["ssh", "address"]),
    ("user", &["ssh", "user"]),
    ("port", &["ssh", "port"]),
    ("keyPath", &["ssh", "keyPath"]),
    ("hostname", &["hostname"]),
    ("privateAddress", &["privateAddress"]),
    ("privateInterface", &["privateInterface"]),
    (ZONE, &[]),
];

/// The column that becomes a label of the node.
const ZONE: &str = "zone";

/// Returns the `hosts` of an environment, with the machines of its inventory. The problems of the
/// inventory are ignored here; [`render`](crate::render()) reports them.
pub fn hosts(environment: &Environment) -> Vec<Node> {
    let empty = Mapping::new();
    let config = environment.config.as_mapping().unwrap_or(&empty);
    let config = with_hosts(environment, config, &mut Notes::new(environment));
    let hosts = config.get("hosts").and_then(Node::as_sequence);
    hosts.unwrap_or_default().to_vec()
}

/// Returns the configuration with the machines of the inventory in its `hosts`.
///
/// A host of `config` overrides the machine of the inventory with the same address. The other hosts
/// of `config` follow the inventory.
pub(crate) fn with_hosts(
    environment: &Environment,
    config: &Mapping,
    notes: &mut Notes,
) -> Mapping {
    let mut config = config.clone();
    if environment.inventory.is_empty() {
        return config;
    }
    check_columns(&environment.inventory, notes);
    let given = config.get("hosts").filter(|hosts| !hosts.is_null());
    let given = match given.map(Node::as_sequence) {
        Some(Some(hosts)) => hosts.to_vec(),
        // `config_keys` refuses a value that is not a list.
        Some(None) => return config,
        None => Vec::new(),
    };
    let mut given: Vec<Option<Node>> = given.into_iter().map(Some).collect();
    let mut hosts = Vec::new();
    for row in &environment.inventory {
        let mut host = host_of_row(row);
        let address = row.get("address").and_then(Node::text);
        for over in &mut given {
            let is_same = |over: &Node| {
                let ssh = over.get("ssh").and_then(|ssh| ssh.get("address"));
                address.is_some() && ssh.and_then(Node::text) == address
            };
            if over.as_ref().is_some_and(is_same)
                && let Some(over) = over.take()
            {
                host = Node {
                    // Problems of the host are reported at its row of the inventory.
                    source: std::sync::Arc::clone(&row.source),
                    span: row.span.clone(),
                    ..merge(host, over)
                };
            }
        }
        if let Some(zone) = row.get(ZONE).filter(|zone| !zone.is_null()) {
            check_zone(zone, notes);
            add_zone_label(&mut host, zone);
        }
        hosts.push(host);
    }
    if let Some(zone) = environment.inventory.iter().find_map(|row| row.get(ZONE)) {
        let rule = "zones become labels through k0s's flag `--labels`, which is unverified for MKE";
        notes.warn(
            Problem::at(zone, rule)
                .with_help("check the nodes' labels after the first installation"),
        );
    }
    hosts.extend(given.into_iter().flatten());
    config.insert(Node::string("hosts"), Node::sequence(hosts));
    config
}

/// Checks the names of the columns.
pub(crate) fn check_columns(rows: &[Node], notes: &mut Notes) {
    let mut seen = std::collections::BTreeSet::new();
    for row in rows {
        for (column, _) in row.as_mapping().into_iter().flat_map(Mapping::iter) {
            let name = column.text().unwrap_or_default();
            if COLUMNS.iter().any(|(known, _)| *known == name) || !seen.insert(name) {
                continue;
            }
            let known = COLUMNS.map(|(known, _)| known);
            let help = match nearest(name, known) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("the columns are {}", known.map(quote).join(", ")),
            };
            let rule = format!("unknown column {} in the inventory", quote(name));
            notes
                .problems
                .push(Problem::at(column, rule).with_help(help));
        }
    }
}

/// Returns the host of a row, with the place of the row.
fn host_of_row(row: &Node) -> Node {
    let place = |value: Mapping| Node {
        value: Value::Mapping(value),
        source: std::sync::Arc::clone(&row.source),
        span: row.span.clone(),
    };
    let mut host = Mapping::new();
    let mut ssh = Mapping::new();
    for (column, path) in COLUMNS {
        let Some(cell) = row.get(column).filter(|cell| !cell.is_null()) else {
            continue;
        };
        match path {
            ["ssh", key] => ssh.insert(Node::string(*key), typed(column, cell)),
            [key] => host.insert(Node::string(*key), typed(column, cell)),
            _ => None,
        };
    }
    host.insert(Node::string("ssh"), place(ssh));
    place(host)
}

/// Returns a cell with the type of its column. All cells of a CSV file are strings, but a port is a
/// number.
fn typed(column: &str, cell: &Node) -> Node {
    match cell.as_scalar() {
        Some(scalar) if column == "port" => Node {
            value: Value::Scalar(Scalar {
                style: Style::Plain,
                ..scalar.clone()
            }),
            ..cell.clone()
        },
        _ => cell.clone(),
    }
}

/// Checks that a zone is a value of a Kubernetes label.
fn check_zone(zone: &Node, notes: &mut Notes) {
    let text = zone.text().unwrap_or_default();
    let has_valid_ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !has_valid_ends || text.len() > 63 || !text.chars().all(is_allowed) {
        let rule = format!(
            "the zone {} is not a value of a Kubernetes label",
            quote(text)
        );
        let help = "write up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at \
                    both ends";
        notes.problems.push(Problem::at(zone, rule).with_help(help));
    }
}

/// Adds the Kubernetes label of a zone to a host, with a flag of k0s. Does nothing if the flags of
/// the host already set labels.
fn add_zone_label(host: &mut Node, zone: &Node) {
    const FLAG: &str = "--labels";
    let label = Node {
        source: std::sync::Arc::clone(&zone.source),
        span: zone.span.clone(),
        ..Node::string(format!(
            "{FLAG}=topology.kubernetes.io/zone={}",
            zone.text().unwrap_or_default()
        ))
    };
    let Some(host) = host.as_mapping_mut() else {
        return;
    };
    match host.get_mut("installFlags").map(|flags| &mut flags.value) {
        Some(Value::Sequence(flags)) => {
            let has_labels = |flag: &Node| flag.text().is_some_and(|text| text.starts_with(FLAG));
            if !flags.iter().any(has_labels) {
                flags.push(label);
            }
        }
        // `config_keys` refuses a value that is not a list.
        Some(_) => {}
        None => {
            host.insert(Node::string("installFlags"), Node::sequence([label]));
        }
    }
}

#[cfg(test)]
mod tests;
