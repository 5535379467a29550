//! Hosts of `mke4.yaml` from the rows of an inventory, with what `config.hosts` says of the same
//! machines over them.

use environment::yaml::{Mapping, Node, Scalar, Style, Value};
use environment::{Environment, Problem, merge, nearest, quote};

use crate::notes::Notes;

/// The columns, and where their values go in a host.
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

/// Returns the `hosts` of an environment, with the machines of its inventory. Faults of the
/// inventory are reported by [`render`](crate::render()).
pub fn hosts(environment: &Environment) -> Vec<Node> {
    let empty = Mapping::new();
    let config = environment.config.as_mapping().unwrap_or(&empty);
    let config = with_hosts(environment, config, &mut Notes::new(environment));
    let hosts = config.get("hosts").and_then(Node::as_sequence);
    hosts.unwrap_or_default().to_vec()
}

/// Returns the configuration with the machines of the inventory in its `hosts`, if there is an
/// inventory.
///
/// A host of `config` with the address of one in the inventory is merged over it; the others come
/// after.
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
        // What is not a list is refused with the other values.
        Some(None) => return config,
        None => Vec::new(),
    };
    let mut given: Vec<Option<Node>> = given.into_iter().map(Some).collect();
    let mut hosts = Vec::new();
    for row in &environment.inventory {
        let mut host = host(row);
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
                    // The table is where the machine is listed.
                    source: std::sync::Arc::clone(&row.source),
                    span: row.span.clone(),
                    ..merge(host, over)
                };
            }
        }
        if let Some(zone) = row.get(ZONE) {
            label(&mut host, zone);
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

/// Makes a host of a row. Its place is the row's.
fn host(row: &Node) -> Node {
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

/// A table has texts alone; a port is a number.
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

/// Gives a node the label that Kubernetes has for zones, by the flag of k0s, unless its flags have
/// labels already.
fn label(host: &mut Node, zone: &Node) {
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
        // What is not a list is refused with the other values.
        Some(_) => {}
        None => {
            host.insert(Node::string("installFlags"), Node::sequence([label]));
        }
    }
}

#[cfg(test)]
mod tests;
