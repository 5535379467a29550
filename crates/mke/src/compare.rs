//! The differences between two `mke4.yaml`, by meaning. A host is identified by its address, not by
//! its position in the list. The most important changes come first.

use std::collections::BTreeSet;

use environment::yaml::{self, Mapping, Node, Style, Value};
use serde::Serialize;

use crate::keys::KEYS;

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// The area of the configuration.
    pub area: Area,
    /// The path of the value, such as `spec.hosts[10.0.0.1].role`. Hosts are named by their
    /// address, other items by their `name` or else by their index from 0.
    pub path: String,
    /// The old value on one line. `None` if the value is new.
    pub old: Option<String>,
    /// The new value on one line. `None` if the value was removed.
    pub new: Option<String>,
}

/// The area of the configuration that a value belongs to, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// The release.
    Version,
    /// The registries that nodes pull from.
    Registry,
    /// The API server, with the address for clients.
    ApiServer,
    /// The machines.
    Hosts,
    /// The cluster's networks.
    Network,
    /// Everything else.
    Other,
}

/// Parts of the names of keys that hold secrets.
const SECRETS: [&str; 8] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "privatekey",
    "apikey",
    "accesskey",
    "credential",
];

/// Endings of the names of keys that refer to a secret instead of holding it.
const REFERENCES: [&str; 5] = ["name", "path", "file", "ref", "url"];

/// The replacement for a value that may be a secret.
const MASKED: &str = "(not shown)";

/// Compares two documents. The order of keys, hosts and named items does not matter, nor does the
/// quoting of a value. Values that may be secrets are masked.
pub fn compare(old: &Node, new: &Node) -> Vec<Change> {
    let mut changes = Vec::new();
    walk(&ValuePath::default(), old, new, &mut changes);
    changes.sort_by_key(|change| change.area);
    changes
}

/// Returns the values that may be secrets, by the same rule as [`compare()`]. `document` is a whole
/// document or its `spec`. Booleans and references are not secrets.
pub fn secrets(document: &Mapping) -> Vec<&Node> {
    let mut found = Vec::new();
    ValuePath::default().secrets(document, &mut found);
    found
}

/// Returns the secrets within a text, such as the values after `--token=`, `DB_PASSWORD=` and
/// `Bearer `.
pub fn secrets_within(text: &str) -> Vec<&str> {
    let named = text.split_whitespace().filter_map(|word| {
        let mut pairs = word
            .match_indices('=')
            .map(|(at, _)| (&word[..at], &word[at + 1..]));
        pairs.find_map(|(names, value)| {
            let name = normalized(names.rsplit('=').next().unwrap_or_default());
            SECRETS
                .iter()
                .any(|secret| name.ends_with(secret))
                .then_some(value)
        })
    });
    let mut words = text.split_whitespace();
    let bearer = words.find(|word| word.eq_ignore_ascii_case("bearer"));
    let token = bearer.and_then(|_| words.next());
    // In prose, the next word has no digits.
    let token = token.filter(|token| token.contains(|digit: char| digit.is_ascii_digit()));
    named
        .chain(token)
        .filter(|secret| !secret.is_empty() && !is_boolean(secret))
        .collect()
}

/// Returns the name of a key in lower case, without hyphens and underscores.
fn normalized(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '_'], "")
}

fn is_boolean(text: &str) -> bool {
    ["true", "false"].contains(&text.to_ascii_lowercase().as_str())
}

/// The path of a value.
#[derive(Debug, Clone, Default)]
struct ValuePath {
    path: String,
    /// The last key of the path.
    key: String,
}

impl ValuePath {
    fn key(&self, key: &str) -> Self {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path if key.contains(['.', '[']) => format!("{path}[{key}]"),
            path => format!("{path}.{key}"),
        };
        Self {
            path,
            key: key.to_owned(),
        }
    }

    fn item(&self, name: &str) -> Self {
        Self {
            path: format!("{}[{name}]", self.path),
            key: self.key.clone(),
        }
    }

    fn secrets<'a>(&self, mapping: &'a Mapping, found: &mut Vec<&'a Node>) {
        for (key, value) in mapping.iter() {
            let place = self.key(key.text().unwrap_or_default());
            place.secrets_in_value(value, found);
        }
    }

    fn secrets_in_value<'a>(&self, node: &'a Node, found: &mut Vec<&'a Node>) {
        match &node.value {
            Value::Mapping(mapping) => self.secrets(mapping, found),
            Value::Sequence(items) => {
                for item in items {
                    self.secrets_in_value(item, found);
                }
            }
            Value::Scalar(scalar) => {
                let is_boolean = scalar.style == Style::Plain && is_boolean(&scalar.text);
                if !node.is_null() && !is_boolean && self.is_secret(&scalar.text) {
                    found.push(node);
                }
            }
        }
    }

    fn area(&self) -> Area {
        let below = self.path.strip_prefix("spec.").unwrap_or_default();
        match below.split(['.', '[']).next().unwrap_or_default() {
            "version" => Area::Version,
            "registries" | "airgap" => Area::Registry,
            "apiServer" => Area::ApiServer,
            "hosts" => Area::Hosts,
            "network" => Area::Network,
            _ => Area::Other,
        }
    }

    /// Returns the value at this path as one line of YAML, with secrets masked.
    fn display(&self, node: &Node) -> String {
        match &node.value {
            Value::Scalar(scalar) => {
                if !node.is_null() && !scalar.text.is_empty() && self.is_secret(&scalar.text) {
                    return MASKED.to_owned();
                }
                match scalar.text.trim_end().lines().count() {
                    0 | 1 => canonical(node),
                    lines => format!("({lines} lines)"),
                }
            }
            Value::Sequence(items) => {
                let items: Vec<String> = items.iter().map(|item| self.display(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Mapping(mapping) => {
                let pairs: Vec<String> = mapping
                    .iter()
                    .map(|(key, value)| {
                        let key = key.text().unwrap_or_default();
                        format!("{key}: {}", self.key(key).display(value))
                    })
                    .collect();
                match pairs.is_empty() {
                    true => "{}".to_owned(),
                    false => format!("{{ {} }}", pairs.join(", ")),
                }
            }
        }
    }

    /// Returns whether a scalar at this path may be a secret: the table of keys or the name of the
    /// key indicates one, or the text contains one. The name of a Kubernetes secret and the path of
    /// a private key are not secrets.
    fn is_secret(&self, text: &str) -> bool {
        let path = self.path.strip_prefix("spec.").unwrap_or(&self.path);
        let is_known = KEYS
            .at(path)
            .and_then(|key| key.rule.as_ref())
            .is_some_and(|rule| rule.is_secret);
        let key = normalized(&self.key);
        let is_reference = REFERENCES.iter().any(|ending| key.ends_with(ending));
        is_known
            || (!is_reference && SECRETS.iter().any(|word| key.contains(word)))
            || !secrets_within(text).is_empty()
    }

    fn change(&self, old: Option<&Node>, new: Option<&Node>) -> Change {
        let display = |node: &Node| self.display(node);
        Change {
            area: self.area(),
            path: self.path.clone(),
            old: old.map(display),
            new: new.map(display),
        }
    }
}

fn walk(place: &ValuePath, old: &Node, new: &Node, changes: &mut Vec<Change>) {
    match (&old.value, &new.value) {
        (Value::Mapping(before), Value::Mapping(after)) => {
            for (key, old) in before.iter() {
                let key = key.text().unwrap_or_default();
                let place = place.key(key);
                match after.get(key) {
                    Some(new) => walk(&place, old, new, changes),
                    None => changes.push(place.change(Some(old), None)),
                }
            }
            for (key, new) in after.iter() {
                let key = key.text().unwrap_or_default();
                if before.get(key).is_none() {
                    changes.push(place.key(key).change(None, Some(new)));
                }
            }
        }
        (Value::Sequence(before), Value::Sequence(after)) => {
            walk_sequences(place, before, after, changes);
        }
        (Value::Scalar(before), Value::Scalar(after))
            if before.tag == after.tag && canonical(old) == canonical(new) => {}
        _ => changes.push(place.change(Some(old), Some(new))),
    }
}

/// Compares two lists: by the names of their items if these are unique, otherwise by index.
fn walk_sequences(place: &ValuePath, old: &[Node], new: &[Node], changes: &mut Vec<Change>) {
    let names = |items: &[Node]| -> Option<Vec<String>> {
        let names: Vec<String> = items.iter().map(item_name).collect::<Option<_>>()?;
        let unique: BTreeSet<&String> = names.iter().collect();
        (unique.len() == names.len()).then_some(names)
    };
    let (before, after) = match (names(old), names(new)) {
        (Some(before), Some(after)) => (before, after),
        _ => (indexes(old), indexes(new)),
    };
    for (name, old) in before.iter().zip(old) {
        let place = place.item(name);
        match after.iter().position(|candidate| candidate == name) {
            Some(at) => walk(&place, old, &new[at], changes),
            None => changes.push(place.change(Some(old), None)),
        }
    }
    for (name, new) in after.iter().zip(new) {
        if !before.contains(name) {
            changes.push(place.item(name).change(None, Some(new)));
        }
    }
}

/// Returns the name of an item of a list: the address of a host, the `name` of any other item.
fn item_name(item: &Node) -> Option<String> {
    item.get("ssh")
        .and_then(|ssh| ssh.get("address"))
        .or_else(|| item.get("name"))
        .and_then(Node::text)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

fn indexes(items: &[Node]) -> Vec<String> {
    (0..items.len()).map(|index| index.to_string()).collect()
}

/// Returns a scalar in canonical form, which is the same for equal values.
fn canonical(node: &Node) -> String {
    let Some(scalar) = node.as_scalar() else {
        return String::new();
    };
    match scalar.style {
        Style::Plain if node.is_null() => "null".to_owned(),
        Style::Plain => scalar.text.clone(),
        _ => yaml::emit(&Node::string(scalar.text.clone()))
            .trim_end()
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use environment::yaml::Source;

    use super::*;

    fn changes(old: &str, new: &str) -> Vec<String> {
        let parse = |text: &str| {
            yaml::parse(Arc::new(Source {
                path: "mke4.yaml".into(),
                text: text.to_owned(),
            }))
            .unwrap()
        };
        compare(&parse(old), &parse(new))
            .into_iter()
            .map(|change| {
                let side = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
                format!(
                    "{:?} {}: {} > {}",
                    change.area,
                    change.path,
                    side(change.old),
                    side(change.new)
                )
            })
            .collect()
    }

    #[test]
    fn secrets_are_found_below_spec_and_without_it() {
        let config = "license: { token: one }\ncertificates: { key: two, path: a }\n\
                      foo: [{ apiToken: three, tokenPath: b, hasToken: true, password: ~ }]\n\
                      bar: { password: { $env: NAME } }\nsecrets: [four]\n\
                      hosts: [{ installFlags: ['--env=DB_PASSWORD=five', '--token=six', '--token-file=c', '--token=true'] }]\n\
                      baz: { apiKey: seven, api-key: eight, note: Bearer nine-9, text: a bearer token }\n";
        let found = |text: &str| -> Vec<String> {
            let source = Source {
                path: "mke4.yaml".into(),
                text: text.to_owned(),
            };
            let document = yaml::parse(Arc::new(source)).unwrap();
            let found = secrets(document.as_mapping().unwrap()).into_iter();
            found.filter_map(Node::text).map(str::to_owned).collect()
        };
        assert_eq!(
            found(config),
            [
                "one",
                "two",
                "three",
                "four",
                "--env=DB_PASSWORD=five",
                "--token=six",
                "seven",
                "eight",
                "Bearer nine-9",
            ]
        );
        assert_eq!(secrets_within("--env=DB_PASSWORD=a=b"), ["a=b"]);
        assert_eq!(secrets_within("x --client-secret=a Bearer b2"), ["a", "b2"]);
        let below = config.replace('\n', "\n  ");
        assert_eq!(found(&format!("spec:\n  {below}")), found(config));
    }

    #[test]
    fn the_most_important_changes_come_first() {
        let old = "spec:\n  etcd: { quota: 8GB }\n  hosts: []\n  version: v4.1.3\n";
        let new = "spec:\n  etcd: { quota: 9GB }\n  hosts: [{ ssh: { address: a } }]\n  version: v4.1.5\n  \
                   registries: { imageRegistry: { url: r } }\n";
        assert_eq!(
            changes(old, new),
            [
                "Version spec.version: v4.1.3 > v4.1.5",
                "Registry spec.registries: - > { imageRegistry: { url: r } }",
                "Hosts spec.hosts[a]: - > { ssh: { address: a } }",
                "Other spec.etcd.quota: 8GB > 9GB",
            ]
        );
    }

    #[test]
    fn a_host_is_identified_by_its_address() {
        let old = "spec:\n  hosts:\n  - { role: worker, ssh: { address: 10.0.0.1 } }\n  \
                   - { role: worker, ssh: { address: 10.0.0.2 } }\n";
        let new = "spec:\n  hosts:\n  - { role: single, ssh: { address: 10.0.0.2 } }\n  \
                   - { role: worker, ssh: { address: 10.0.0.3 } }\n";
        assert_eq!(
            changes(old, new),
            [
                "Hosts spec.hosts[10.0.0.1]: { role: worker, ssh: { address: 10.0.0.1 } } > -",
                "Hosts spec.hosts[10.0.0.2].role: worker > single",
                "Hosts spec.hosts[10.0.0.3]: - > { role: worker, ssh: { address: 10.0.0.3 } }",
            ]
        );
    }

    #[test]
    fn hosts_with_the_same_address_are_identified_by_their_index() {
        let old = "spec: { hosts: [{ role: a, ssh: { address: x } }, { role: b, ssh: { address: x } }] }\n";
        let new = "spec: { hosts: [{ role: a, ssh: { address: x } }, { role: c, ssh: { address: x } }] }\n";
        assert_eq!(changes(old, new), ["Hosts spec.hosts[1].role: b > c"]);
    }

    #[test]
    fn order_and_quotes_do_not_matter_but_types_do() {
        assert_eq!(
            changes("{ a: x, b: \"z\" }\n", "b: z\na: 'x'\n"),
            [""; 0],
            "the same values"
        );
        assert_eq!(
            changes(
                "{ a: \"on\", b: 1.10, c: ~ }\n",
                "{ a: on, b: 1.1, c: '' }\n"
            ),
            [
                "Other a: \"on\" > on",
                "Other b: 1.10 > 1.1",
                "Other c: null > \"\""
            ]
        );
    }

    #[test]
    fn secrets_are_masked_at_each_level() {
        let old = "idp: { clientSecret: planted-1, clientSecretName: dex }\n";
        let new = "idp: { clientSecret: planted-2, clientSecretName: other }\nsmtp: { password: planted-3 }\n";
        assert_eq!(
            changes(old, new),
            [
                "Other idp.clientSecret: (not shown) > (not shown)",
                "Other idp.clientSecretName: dex > other",
                "Other smtp: - > { password: (not shown) }",
            ]
        );
    }

    #[test]
    fn secrets_of_the_table_of_keys_are_masked_whatever_their_name() {
        assert_eq!(
            changes(
                "spec: { authentication: { ldap: { bindPW: planted-1 } } }\n",
                "spec: { certificates: { key: planted-2 }, other: { key: shown } }\n",
            ),
            [
                "Other spec.authentication: { ldap: { bindPW: (not shown) } } > -",
                "Other spec.certificates: - > { key: (not shown) }",
                "Other spec.other: - > { key: shown }",
            ]
        );
    }

    #[test]
    fn a_text_of_several_lines_is_shown_as_their_number() {
        assert_eq!(
            changes("a: |\n  x\n  y\n", "a: |\n  x\n  z\n"),
            ["Other a: (2 lines) > (2 lines)"]
        );
    }
}
