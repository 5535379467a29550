//! Checks the machines of a cluster: required keys, roles, and values that machines must not share.
//! The table of keys has the types of the values.

use std::collections::BTreeMap;

use environment::yaml::Node;
use environment::{Problem, quote};

use crate::notes::{Notes, Rule};

/// The roles of hosts.
pub(crate) const ROLES: [&str; 3] = ["controller+worker", "worker", "single"];

/// Returns whether a host of this role runs the control plane.
pub(crate) fn is_controller(role: &str) -> bool {
    matches!(role, "controller+worker" | "single")
}

/// Checks the `hosts` of a configuration.
pub(crate) fn check(hosts: &[Node], notes: &mut Notes) {
    if hosts.is_empty() {
        notes.warnings.push(
            "`config.hosts` lists no machine; an installation requires at least one".to_owned(),
        );
        return;
    }
    let roles: Vec<Option<&str>> = hosts.iter().map(|host| role(host, notes)).collect();
    check_roles(hosts, &roles, notes);
    let mut unique = Unique::default();
    let mut without_key = Vec::new();
    for host in hosts.iter().filter(|host| host.as_mapping().is_some()) {
        check_ssh(host, &mut unique, &mut without_key, notes);
        for key in ["privateAddress", "hostname"] {
            if let Some(node) = host.get(key) {
                unique.check(key, node, notes);
            }
        }
        for (key, example) in [("hostname", "worker-1"), ("privateInterface", "eth1")] {
            check_word(host.get(key), key, example, notes);
        }
    }
    check_keys(&without_key, notes);
}

/// Returns the role of a host, or notes a problem.
fn role<'a>(host: &'a Node, notes: &mut Notes) -> Option<&'a str> {
    if host.as_mapping().is_none() {
        notes.problems.push(
            Problem::at(host, format!("a host is {}, not a mapping", host.kind()))
                .with_help("write `role` and `ssh` below it"),
        );
        return None;
    }
    let Some(node) = host.get("role") else {
        notes
            .problems
            .push(Problem::at(host, "a host has no `role`").with_help(role_help()));
        return None;
    };
    let role = node.text().filter(|role| ROLES.contains(role));
    if role.is_none() {
        notes.problems.push(
            Problem::at(
                node,
                format!("`{}` is not a role", node.text().unwrap_or(node.kind())),
            )
            .with_help(role_help()),
        );
    }
    role
}

/// Checks the roles of all hosts together. Does nothing if a role is not valid.
fn check_roles(hosts: &[Node], roles: &[Option<&str>], notes: &mut Notes) {
    let Some(roles) = roles.iter().copied().collect::<Option<Vec<&str>>>() else {
        return;
    };
    fn place(host: &Node) -> &Node {
        host.get("role").unwrap_or(host)
    }
    let controllers: Vec<&Node> = hosts
        .iter()
        .zip(&roles)
        .filter(|(_, role)| is_controller(role))
        .map(|(host, _)| host)
        .collect();
    if controllers.is_empty() {
        notes.problems.push(
            Problem::at(&hosts[0], "no host is a controller")
                .with_help("give at least one the role `controller+worker`"),
        );
        return;
    }
    let single = roles.iter().position(|role| *role == "single");
    if let Some(index) = single
        && hosts.len() > 1
    {
        notes.problems.push(
            Problem::at(
                place(&hosts[index]),
                format!(
                    "a `single` host is a cluster by itself, but there are {} hosts",
                    hosts.len()
                ),
            )
            .with_help("give it the role `controller+worker`, or remove the others"),
        );
    } else if controllers.len().is_multiple_of(2) {
        let count = controllers.len();
        let last = controllers[count - 1];
        let problem = Problem::at(
            place(last),
            format!(
                "there are {count} controllers; they tolerate no more failures than {} would",
                count - 1
            ),
        );
        notes.refuse(
            Rule::EvenControllers,
            problem,
            "use an odd number of controllers",
        );
    }
}

fn check_ssh<'a>(
    host: &'a Node,
    unique: &mut Unique<'a>,
    without_key: &mut Vec<&'a Node>,
    notes: &mut Notes,
) {
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
    check_login(ssh, "ssh", notes);
    if let Some(bastion) = ssh
        .get("bastion")
        .filter(|node| node.as_mapping().is_some())
    {
        check_login(bastion, "ssh.bastion", notes);
        if bastion.get("keyPath").is_none_or(Node::is_null) {
            without_key.push(bastion);
        }
    }
    if ssh.get("keyPath").is_none_or(Node::is_null) {
        without_key.push(ssh);
    }
    if let Some(address) = ssh.get("address") {
        unique.check("address", address, notes);
    }
}

/// Returns whether a text may be an argument of a command on a host: it has no white space and no
/// characters of shells, and does not begin with `-`. OpenSSH requires the same of a user.
pub fn is_word(text: &str) -> bool {
    let is_special = |c: char| c.is_whitespace() || c.is_control() || "'\"`;&<>|(){}$".contains(c);
    !text.starts_with('-') && !text.contains(is_special)
}

/// Checks a value that becomes an argument of commands.
fn check_word(node: Option<&Node>, path: &str, example: &str, notes: &mut Notes) {
    if let Some(node) = node
        && let Some(text) = node.text().filter(|text| !is_word(text))
    {
        let rule = format!("`{path}` is {}, which is not a name", quote(text));
        let help = format!(
            "write a name such as `{example}`, without spaces, shell characters and a leading `-`"
        );
        notes.problems.push(Problem::at(node, rule).with_help(help));
    }
}

/// Checks the path of a private key. The file itself is not read: another machine may have it.
fn check_key_path(node: &Node, path: &str, notes: &mut Notes) {
    let Some(text) = node.text() else {
        return;
    };
    if text.starts_with('-') {
        let rule = format!("`{path}.keyPath` is {}, which is an option", quote(text));
        let problem = Problem::at(node, rule).with_help("write the path of the private key");
        notes.problems.push(problem);
    } else if text.ends_with(".pub") {
        let rule = format!("`{path}.keyPath` is {}, a public key", quote(text));
        notes.warn(Problem::at(node, rule).with_help("write the path without `.pub`"));
    } else if text.starts_with('$') {
        let rule = format!(
            "`{path}.keyPath` is {}, but mkectl expands no variables in it",
            quote(text)
        );
        let help = "write `~` or the whole path, or `{ $env: NAME }`";
        notes.warn(Problem::at(node, rule).with_help(help));
    }
}

/// Checks the address, user and key of a host or bastion.
fn check_login(login: &Node, path: &str, notes: &mut Notes) {
    check_word(login.get("user"), &format!("{path}.user"), "root", notes);
    if let Some(node) = login.get("keyPath") {
        check_key_path(node, path, notes);
    }
    for (key, example) in [("address", "10.0.0.1"), ("user", "root")] {
        let is_given = login
            .get(key)
            .is_some_and(|node| !node.is_null() && node.text().is_none_or(|text| !text.is_empty()));
        if !is_given {
            notes.problems.push(
                Problem::at(
                    login.get(key).unwrap_or(login),
                    format!("a host has no `{path}.{key}`"),
                )
                .with_help(match login.source.path.extension() {
                    Some("csv") => {
                        format!("fill in the column `{key}`, or set it in `inventory.defaults`")
                    }
                    _ => format!("write `{key}: {example}`"),
                }),
            );
        }
    }
}

/// Reports once that an SSH agent must provide the keys of hosts without `keyPath`.
fn check_keys(without_key: &[&Node], notes: &mut Notes) {
    let Some(first) = without_key.first() else {
        return;
    };
    let problem = Problem::at(
        first,
        match without_key.len() {
            1 => "a host has no `keyPath`, so only an SSH agent can provide its key".to_owned(),
            count => format!(
                "{count} hosts have no `keyPath`, so only an SSH agent can provide their keys"
            ),
        },
    );
    notes.refuse(Rule::SshAgent, problem, "write the path of the private key");
}

/// The values that hosts must not share, and their places.
#[derive(Default)]
struct Unique<'a>(BTreeMap<(&'static str, &'a str), &'a Node>);

impl<'a> Unique<'a> {
    fn check(&mut self, what: &'static str, node: &'a Node, notes: &mut Notes) {
        let Some(text) = node.text().filter(|_| !node.is_null()) else {
            return;
        };
        if let Some(other) = self.0.insert((what, text), node) {
            let what = match what {
                "privateAddress" => "private address",
                what => what,
            };
            notes.problems.push(
                Problem::at(
                    node,
                    format!(
                        "`{text}` is also the {what} of the host in line {}",
                        other.line()
                    ),
                )
                .with_help("list each host once"),
            );
        }
    }
}

/// Returns a help text with the roles that each release has. `single` ended with v4.1.0.
fn role_help() -> String {
    let [first, second, _] = ROLES;
    format!("write `{first}` or `{second}`")
}
