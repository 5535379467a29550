//! The machines of a cluster, as far as their description can be wrong without `mkectl` being asked.

use std::collections::BTreeMap;

use environment::Problem;
use environment::yaml::{Mapping, Node};

use crate::owned::Notes;

/// What a host can be.
pub(crate) const ROLES: [&str; 3] = ["controller+worker", "worker", "single"];

/// Whether a host of this role runs the control plane.
pub(crate) fn is_controller(role: &str) -> bool {
    matches!(role, "controller+worker" | "single")
}

/// Checks `config.hosts`. Keys that are not known here are the vendor's affair.
pub(crate) fn check(config: &Mapping, notes: &mut Notes) {
    let hosts = match config.get("hosts") {
        Some(node) if !node.is_null() => match node.as_sequence() {
            Some(hosts) => hosts,
            None => {
                notes.problems.push(Problem::at(
                    node,
                    format!(
                        "`hosts` is {} where a list of machines belongs",
                        node.kind()
                    ),
                ));
                return;
            }
        },
        _ => &[],
    };
    if hosts.is_empty() {
        notes.warnings.push(
            "`config.hosts` names no machine, and without one nothing can be installed".to_owned(),
        );
        return;
    }

    let mut addresses = BTreeMap::new();
    let mut roles_are_known = true;
    let mut has_controller = false;
    for host in hosts {
        match role(host, notes) {
            Some(role) => has_controller |= is_controller(role),
            None => roles_are_known = false,
        }
        check_ssh(host, &mut addresses, notes);
    }
    if roles_are_known && !has_controller {
        notes.problems.push(
            Problem::at(&hosts[0], "no host is a controller")
                .with_help("give at least one the role `controller+worker`"),
        );
    }
}

/// Returns a host's role if it is one.
fn role<'a>(host: &'a Node, notes: &mut Notes) -> Option<&'a str> {
    if host.as_mapping().is_none() {
        notes.problems.push(Problem::at(
            host,
            format!("a host is {} where a mapping belongs", host.kind()),
        ));
        return None;
    }
    let Some(node) = host.get("role") else {
        notes
            .problems
            .push(Problem::at(host, "a host has no `role`").with_help(roles()));
        return None;
    };
    let role = node.text().filter(|role| ROLES.contains(role));
    if role.is_none() {
        notes.problems.push(
            Problem::at(
                node,
                format!("`{}` is not a role", node.text().unwrap_or(node.kind())),
            )
            .with_help(roles()),
        );
    }
    role
}

fn check_ssh<'a>(host: &'a Node, addresses: &mut BTreeMap<&'a str, usize>, notes: &mut Notes) {
    if host.as_mapping().is_none() {
        return;
    }
    let Some(ssh) = host.get("ssh").filter(|ssh| ssh.as_mapping().is_some()) else {
        notes.problems.push(
            Problem::at(
                host.get("ssh").unwrap_or(host),
                "a host has no `ssh` mapping",
            )
            .with_help("write `ssh: { address: 10.0.0.1, user: root, keyPath: ... }`"),
        );
        return;
    };
    for key in ["address", "user"] {
        let is_given = ssh.get(key).is_some_and(|node| {
            !node.is_null() && node.text().is_some_and(|text| !text.is_empty())
        });
        if !is_given {
            notes.problems.push(Problem::at(
                ssh.get(key).unwrap_or(ssh),
                format!("a host has no `ssh.{key}`"),
            ));
        }
    }
    if let Some(port) = ssh.get("port")
        && port
            .text()
            .and_then(|text| text.parse::<u16>().ok())
            .is_none_or(|port| port == 0)
    {
        notes
            .problems
            .push(Problem::at(port, "`ssh.port` is no number from 1 to 65535"));
    }
    if let Some(node) = ssh.get("address")
        && let Some(address) = node.text()
        && let Some(line) = addresses.insert(address, node.line())
    {
        notes.problems.push(Problem::at(
            node,
            format!("`{address}` is the address of the host in line {line} too"),
        ));
    }
}

fn roles() -> String {
    let [first, second, third] = ROLES;
    format!("roles are `{first}`, `{second}` and `{third}`")
}
