//! Checks what a file says against the keys there are and what their values may be.
//!
//! Each file of a chain is checked by itself, to find a mistake in a parent even if a child hides it.

use semver::Version;

use crate::{
    findings::Findings,
    form,
    grammar::{self, Fault},
    inventory, mke3,
    nearest::nearest,
    operation,
    problem::{Problem, quote},
    promotion,
    yaml::{Mapping, Node, Style},
};

/// The keys of the document.
const DOCUMENT: &[&str] = &[
    "inherit",
    "release",
    "registry",
    "protected",
    "rehearsal",
    "mkectl",
    operation::ADMIN_PASSWORD,
    operation::APPLY_TIMEOUT,
    operation::BACKUPS,
    operation::RELEASE_MATRIX,
    operation::KUBECONFIG,
    mke3::MKE3,
    promotion::REQUIRES,
    "record-operator",
    "accept",
    "facts",
    "inventory",
    "config",
];

/// The keys below `registry`.
const REGISTRY: &[&str] = &[
    "address",
    "project",
    "ca",
    "push-credentials",
    "pull-credentials",
];

/// The keys below `registry` that say where credentials are.
pub(crate) const CREDENTIALS: [&str; 2] = ["push-credentials", "pull-credentials"];

/// The keys below each of them.
const OF_CREDENTIALS: &[&str] = &["env"];

/// The keys below `facts`.
const FACTS: &[&str] = &["private-ca", "anonymous-pull", "external-address"];

/// What to write under `registry.push-credentials` and `registry.pull-credentials`.
pub(crate) const CREDENTIALS_HELP: &str = "files hold the names of secrets, never secrets: \
    write `{ env: NAME }` for the variables NAME_USERNAME and NAME_PASSWORD";

/// Parts of keys under which people put secrets.
const SECRET_WORDS: &[&str] = &[
    "user",
    "pass",
    "token",
    "secret",
    "auth",
    "login",
    "credential",
];

/// Checks one file's document, which is a mapping, down to where `config` begins.
pub(crate) fn document(document: &Mapping, findings: &mut Findings) {
    for (key, value) in document.iter() {
        let name = key.text().unwrap_or_default();
        if !DOCUMENT.contains(&name) {
            unknown(key, value, DOCUMENT, "", findings);
        } else if value.is_null() {
            // It removes what a parent says.
        } else {
            match name {
                "inherit" => findings.note(path(value, name)),
                "release" => findings.note(release(value)),
                "registry" => registry(value, findings),
                "protected" | "rehearsal" | "record-operator" => {
                    findings.note(boolean(value, name));
                }
                promotion::REQUIRES => findings.problems.extend(promotion::check(value)),
                "mkectl"
                | operation::BACKUPS
                | operation::RELEASE_MATRIX
                | operation::KUBECONFIG => findings.note(path(value, name)),
                mke3::MKE3 => check_mke3(value, findings),
                operation::ADMIN_PASSWORD => admin_password(value, findings),
                operation::APPLY_TIMEOUT => findings.note(operation::apply_timeout(value)),
                "accept" => accept(value, findings),
                "facts" => facts(value, findings),
                "inventory" => inventory::check(value, findings),
                _ => {
                    findings.note(mapping(value, name));
                    form::check(value, findings);
                }
            }
        }
    }
}

/// Reads `release`.
pub(crate) fn release(node: &Node) -> Result<Version, Problem> {
    let text = text(node, "release")?;
    grammar::release(text).map_err(|fault| problem(node, fault))
}

/// Reads `registry.address`.
pub(crate) fn address(node: &Node) -> Result<&str, Problem> {
    let text = text(node, "registry.address")?;
    match grammar::address(text) {
        Ok(()) => Ok(text),
        Err(fault) => Err(problem(node, fault)),
    }
}

/// Reads `registry.project`.
pub(crate) fn project(node: &Node) -> Result<&str, Problem> {
    let text = text(node, "registry.project")?;
    match grammar::project(text) {
        Ok(()) => Ok(text),
        Err(fault) => Err(problem(node, fault)),
    }
}

/// Reads a path, which is not interpreted yet.
pub(crate) fn path<'node>(node: &'node Node, name: &str) -> Result<&'node str, Problem> {
    let text = text(node, name)?;
    if text.is_empty() {
        return Err(Problem::at(node, format!("`{name}` is empty"))
            .with_help("write a path, or remove the key"));
    }
    Ok(text)
}

/// Reads `protected`, `rehearsal` or `record-operator`.
pub(crate) fn boolean(node: &Node, name: &str) -> Result<bool, Problem> {
    let rule = |what: &str| Problem::at(node, format!("`{name}` is {what}, not a boolean"));
    let help = "write `true` or `false`";
    let Some(scalar) = node.as_scalar() else {
        return Err(rule(node.kind()).with_help(help));
    };
    let text = scalar.text.as_str();
    let is_string = match scalar.tag.as_deref() {
        None => scalar.style != Style::Plain,
        Some(tag) => tag != "tag:yaml.org,2002:bool",
    };
    if !is_string {
        match text {
            "true" => return Ok(true),
            "false" => return Ok(false),
            _ => {}
        }
    }
    let meant = match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "0" => Some(false),
        _ => None,
    };
    Err(match meant {
        Some(meant) if is_string && text == meant.to_string() => {
            rule("a string").with_help(format!("write {} without quotes", quote(text)))
        }
        // YAML 1.1 takes such words for booleans and YAML 1.2 does not, so that nobody can be sure of them.
        Some(meant) => rule(&quote(text)).with_help(format!("write `{meant}`")),
        None => rule(&quote(text)).with_help(help),
    })
}

/// Reads `registry.push-credentials` or `registry.pull-credentials`: the name of the environment variables.
pub(crate) fn credentials(node: &Node) -> Option<&str> {
    node.get("env")
        .and_then(Node::text)
        .filter(|name| grammar::is_variable_name(name))
}

fn admin_password(node: &Node, findings: &mut Findings) {
    if node.as_mapping().is_none() && !operation::check_admin_password(node).is_empty() {
        // Whatever this is, it may be the password, and is not repeated.
        findings.secrets.add(node);
    }
    for problem in operation::check_admin_password(node) {
        findings.add(problem);
    }
}

/// Reads a value below `facts`: whether the word for yes stands there.
pub(crate) fn fact(node: &Node, name: &str) -> Result<bool, Problem> {
    let (yes, no) = match name {
        "private-ca" => ("supported", "unsupported"),
        _ => ("required", "optional"),
    };
    let name = format!("facts.{name}");
    let text = text(node, &name)?;
    if text == yes || text == no {
        return Ok(text == yes);
    }
    let rule = format!("`{name}` is {}, not `{yes}` or `{no}`", quote(text));
    Err(match nearest(text, [yes, no]) {
        Some(nearest) => Problem::at(node, rule).with_help(format!("did you mean `{nearest}`?")),
        None => Problem::at(node, rule),
    })
}

/// Checks `accept`, whose names are the affair of whoever has the rules.
fn accept(node: &Node, findings: &mut Findings) {
    let Some(items) = node.as_sequence() else {
        let rule = format!("`accept` is {}, not a list", node.kind());
        let help = "write the names of rules in brackets, such as `accept: [even-controllers]`";
        return findings.add(Problem::at(node, rule).with_help(help));
    };
    for item in items {
        findings.note(text(item, "accept"));
    }
}

fn facts(node: &Node, findings: &mut Findings) {
    let keys = match mapping(node, "facts") {
        Ok(keys) => keys,
        Err(problem) => {
            let help = "write what you know better than the table of releases, such as \
                `facts: { private-ca: supported }`";
            return findings.add(problem.with_help(help));
        }
    };
    for (key, value) in keys.iter() {
        let name = key.text().unwrap_or_default();
        if !FACTS.contains(&name) {
            unknown(key, value, FACTS, "facts", findings);
        } else if !value.is_null() {
            findings.note(fact(value, name));
        }
    }
}

fn registry(node: &Node, findings: &mut Findings) {
    let keys = match mapping(node, "registry") {
        Ok(keys) => keys,
        Err(problem) => {
            return findings.add(problem.with_help("`address` and the others stand below it"));
        }
    };
    for (key, value) in keys.iter() {
        let name = key.text().unwrap_or_default();
        if !REGISTRY.contains(&name) {
            unknown(key, value, REGISTRY, "registry", findings);
        } else if value.is_null() {
            // It removes what a parent says.
        } else {
            match name {
                "address" => {
                    if value
                        .text()
                        .is_some_and(|text| text.contains(['@', '?', '#']))
                    {
                        findings.secrets.add(value);
                    }
                    findings.note(address(value));
                }
                "project" => findings.note(project(value)),
                "ca" => findings.note(path(value, "registry.ca")),
                name => check_credentials(value, &format!("registry.{name}"), findings),
            }
        }
    }
}

fn check_mke3(node: &Node, findings: &mut Findings) {
    let keys = match mapping(node, mke3::MKE3) {
        Ok(keys) => keys,
        Err(problem) => return findings.add(problem),
    };
    for (key, value) in keys.iter() {
        match key.text().unwrap_or_default() {
            name if !mke3::KEYS.contains(&name) => {
                unknown(key, value, mke3::KEYS, mke3::MKE3, findings);
            }
            _ if value.is_null() => {}
            "version" => findings.note(mke3::version(value)),
            "credentials" => check_credentials(value, "mke3.credentials", findings),
            _ => findings.note(path(value, "mke3.config")),
        }
    }
}

/// Checks `registry.push-credentials`, `registry.pull-credentials` or `mke3.credentials`.
fn check_credentials(node: &Node, place: &str, findings: &mut Findings) {
    let Some(keys) = node.as_mapping() else {
        findings.secrets.add(node);
        let rule = format!("`{place}` is {}, not `{{ env: NAME }}`", node.kind());
        return findings.add(Problem::at(node, rule).with_help(CREDENTIALS_HELP));
    };
    for (key, value) in keys.iter() {
        let name = key.text().unwrap_or_default();
        if name != "env" {
            unknown(key, value, OF_CREDENTIALS, place, findings);
        } else if !value.is_null() && !value.text().is_some_and(grammar::is_variable_name) {
            // Whatever this is, it may be a secret, and is not repeated.
            findings.secrets.add(value);
            let rule = "this is not the name of an environment variable";
            findings.add(Problem::at(value, rule).with_help(format!(
                "{CREDENTIALS_HELP}, in capital letters, digits and underscores"
            )));
        }
    }
}

/// Notes a key that there is not.
fn unknown(key: &Node, value: &Node, known: &[&str], parent: &str, findings: &mut Findings) {
    let name = key.text().unwrap_or_default();
    let nearest = nearest(name, known.iter().copied());
    note_secrets(key, value, findings);
    if nearest.is_none() && is_secret_like(name) {
        let rule = format!("{} does not belong in a file", quote(name));
        return findings.add(Problem::at(key, rule).with_help(
            "files hold the names of secrets, never secrets: \
            write `push-credentials: { env: NAME }` below `registry`",
        ));
    }
    let rule = match parent {
        "" => format!("unknown key {}", quote(name)),
        parent => format!("unknown key {} in `{parent}`", quote(name)),
    };
    let elsewhere = [("", DOCUMENT), ("registry", REGISTRY), ("facts", FACTS)]
        .into_iter()
        .find(|(place, keys)| *place != parent && keys.contains(&name));
    let help = match (nearest, elsewhere) {
        (_, Some(("", _))) => format!("{} belongs at the top level", quote(name)),
        (_, Some((place, _))) => format!("{} belongs below `{place}`", quote(name)),
        (Some(nearest), None) => format!("did you mean `{nearest}`?"),
        (None, None) => {
            let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
            let known = match known.as_slice() {
                [only] => format!("the only key is {only}"),
                known => format!("the keys are {}", known.join(", ")),
            };
            match parent {
                "" => format!("{known}; what is for the cluster belongs below `config`"),
                _ => known,
            }
        }
    };
    findings.add(Problem::at(key, rule).with_help(help));
}

/// Notes the values under a key, and below it, which its name says are secrets.
fn note_secrets(key: &Node, value: &Node, findings: &mut Findings) {
    if key.text().is_some_and(is_secret_like) {
        findings.secrets.add(value);
        return;
    }
    for (key, value) in value.as_mapping().into_iter().flat_map(Mapping::iter) {
        note_secrets(key, value, findings);
    }
}

/// Returns whether people put secrets under such a key.
fn is_secret_like(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn mapping<'node>(node: &'node Node, name: &str) -> Result<&'node Mapping, Problem> {
    node.as_mapping()
        .ok_or_else(|| Problem::at(node, format!("`{name}` is {}, not a mapping", node.kind())))
}

fn text<'node>(node: &'node Node, name: &str) -> Result<&'node str, Problem> {
    match node.as_scalar() {
        Some(scalar) if !scalar.is_null() => Ok(&scalar.text),
        _ => Err(Problem::at(
            node,
            format!("`{name}` is {}, not a text", node.kind()),
        )),
    }
}

fn problem(node: &Node, fault: Fault) -> Problem {
    Problem {
        help: fault.help,
        ..Problem::at(node, fault.rule)
    }
}
