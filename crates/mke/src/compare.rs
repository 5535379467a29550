//! What differs between two `mke4.yaml`, by meaning: a host is the same host wherever it is in the
//! list, and what decides most comes first.

use std::collections::BTreeSet;

use environment::yaml::{self, Mapping, Node, Style, Value};
use serde::Serialize;

use crate::keys::KEYS;

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// What it is about.
    pub area: Area,
    /// Where it is: `spec.hosts[10.0.0.1].role`. Hosts are named by their address, other items by
    /// their `name`, and those without one by their place from 0.
    pub path: String,
    /// What was there, on one line; none if it is new.
    pub old: Option<String>,
    /// The new value, on one line; none if it was removed.
    pub new: Option<String>,
}

/// What a value is about, the weightiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// Which release is installed.
    Version,
    /// Where nodes pull from.
    Registry,
    /// Where clients find the cluster.
    ApiServer,
    /// The machines.
    Hosts,
    /// The cluster's networks.
    Network,
    /// Everything else.
    Other,
}

/// What the names of keys have in them that hold secrets.
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

/// How the names of keys end that say where a secret is.
const PLACES: [&str; 5] = ["name", "path", "file", "ref", "url"];

/// What replaces a value that may be a secret.
const COVERED: &str = "(not shown)";

/// Compares two documents. The order of keys, of hosts and of named items says nothing, and neither
/// does the way in which a value is quoted. Values under keys that are named like secrets are not
/// shown.
pub fn compare(old: &Node, new: &Node) -> Vec<Change> {
    let mut changes = Vec::new();
    walk(&Place::default(), old, new, &mut changes);
    changes.sort_by_key(|change| change.area);
    changes
}

/// Returns the values that may be secrets, by the same rule as [`compare()`]: in a whole document,
/// or in what is below its `spec`. Truth values and references are not secrets.
pub fn secrets(document: &Mapping) -> Vec<&Node> {
    let mut found = Vec::new();
    Place::default().secrets(document, &mut found);
    found
}

/// Returns the secrets within a text: what follows `--token=`, `DB_PASSWORD=` and `Bearer `.
pub fn secrets_within(text: &str) -> Vec<&str> {
    let named = text.split_whitespace().filter_map(|word| {
        let ends = word.match_indices('=').map(|(at, _)| word.split_at(at));
        let mut secrets = ends.filter(|(names, _)| {
            let name = plain(names.rsplit('=').next().unwrap_or_default());
            SECRETS.iter().any(|end| name.ends_with(end))
        });
        secrets.next().map(|(_, value)| &value[1..])
    });
    let mut words = text.split_whitespace();
    let bearer = words
        .by_ref()
        .find(|word| word.eq_ignore_ascii_case("bearer"));
    // In prose, a word without digits follows.
    let token = bearer.and_then(|_| words.next());
    let token = token.filter(|token| token.contains(|digit: char| digit.is_ascii_digit()));
    named
        .chain(token)
        .filter(|secret| !secret.is_empty() && !is_truth(secret))
        .collect()
}

/// Returns the name of a key in lower case, without what joins its words.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '_'], "")
}

fn is_truth(text: &str) -> bool {
    ["true", "false"].contains(&text.to_ascii_lowercase().as_str())
}

/// The path of a value.
#[derive(Debug, Clone, Default)]
struct Place {
    path: String,
    /// The last key on the way.
    key: String,
}

impl Place {
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
            place.secrets_of_value(value, found);
        }
    }

    fn secrets_of_value<'a>(&self, node: &'a Node, found: &mut Vec<&'a Node>) {
        match &node.value {
            Value::Mapping(mapping) => self.secrets(mapping, found),
            Value::Sequence(items) => {
                for item in items {
                    self.secrets_of_value(item, found);
                }
            }
            Value::Scalar(scalar) => {
                let is_word = scalar.style == Style::Plain && is_truth(&scalar.text);
                let is_secret = self.is_of_a_secret() || !secrets_within(&scalar.text).is_empty();
                if !node.is_null() && !is_word && is_secret {
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

    /// Returns a value that is here on one line, as it would be in a file; secrets are masked.
    fn shown(&self, node: &Node) -> String {
        match &node.value {
            Value::Scalar(scalar) => {
                let is_secret = self.is_of_a_secret() || !secrets_within(&scalar.text).is_empty();
                if !node.is_null() && !scalar.text.is_empty() && is_secret {
                    return COVERED.to_owned();
                }
                match scalar.text.trim_end().lines().count() {
                    0 | 1 => canonical(node),
                    lines => format!("({lines} lines)"),
                }
            }
            Value::Sequence(items) => {
                let items: Vec<String> = items.iter().map(|item| self.shown(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Mapping(mapping) => {
                let pairs: Vec<String> = mapping
                    .iter()
                    .map(|(key, value)| {
                        let key = key.text().unwrap_or_default();
                        format!("{key}: {}", self.key(key).shown(value))
                    })
                    .collect();
                match pairs.is_empty() {
                    true => "{}".to_owned(),
                    false => format!("{{ {} }}", pairs.join(", ")),
                }
            }
        }
    }

    /// Returns whether what is here is a secret, by what is known of the key, or may be one, by how
    /// it is named. The name of a Kubernetes secret and the path of a key are none.
    fn is_of_a_secret(&self) -> bool {
        let path = self.path.strip_prefix("spec.").unwrap_or(&self.path);
        let is_known = KEYS
            .at(path)
            .and_then(|key| key.rule.as_ref())
            .is_some_and(|rule| rule.is_secret);
        let key = plain(&self.key);
        let is_a_place = PLACES.iter().any(|end| key.ends_with(end));
        is_known || (!is_a_place && SECRETS.iter().any(|word| key.contains(word)))
    }

    fn change(&self, old: Option<&Node>, new: Option<&Node>) -> Change {
        let shown = |node: &Node| self.shown(node);
        Change {
            area: self.area(),
            path: self.path.clone(),
            old: old.map(shown),
            new: new.map(shown),
        }
    }
}

fn walk(place: &Place, old: &Node, new: &Node, changes: &mut Vec<Change>) {
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
            lists(place, before, after, changes);
        }
        (Value::Scalar(before), Value::Scalar(after))
            if before.tag == after.tag && canonical(old) == canonical(new) => {}
        _ => changes.push(place.change(Some(old), Some(new))),
    }
}

/// Compares two lists, by the names of their items where all have one.
fn lists(place: &Place, old: &[Node], new: &[Node], changes: &mut Vec<Change>) {
    let names = |items: &[Node]| -> Option<Vec<String>> {
        let names: Vec<String> = items.iter().map(name).collect::<Option<_>>()?;
        let unique: BTreeSet<&String> = names.iter().collect();
        (unique.len() == names.len()).then_some(names)
    };
    let (before, after) = match (names(old), names(new)) {
        (Some(before), Some(after)) => (before, after),
        _ => (numbers(old), numbers(new)),
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

/// Returns what an item of a list is known by: a host by its address, others by their `name`.
fn name(item: &Node) -> Option<String> {
    item.get("ssh")
        .and_then(|ssh| ssh.get("address"))
        .or_else(|| item.get("name"))
        .and_then(Node::text)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

fn numbers(items: &[Node]) -> Vec<String> {
    (0..items.len()).map(|number| number.to_string()).collect()
}

/// Returns a single value in the one way of writing that all equal values share.
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
    fn the_weightiest_comes_first() {
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
    fn a_host_is_known_by_its_address() {
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
    fn hosts_with_one_address_are_distinguished_by_their_place() {
        let old = "spec: { hosts: [{ role: a, ssh: { address: x } }, { role: b, ssh: { address: x } }] }\n";
        let new = "spec: { hosts: [{ role: a, ssh: { address: x } }, { role: c, ssh: { address: x } }] }\n";
        assert_eq!(changes(old, new), ["Hosts spec.hosts[1].role: b > c"]);
    }

    #[test]
    fn order_and_quotes_say_nothing_and_types_do() {
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
    fn secrets_are_covered_everywhere() {
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
    fn what_the_table_calls_a_secret_is_covered_whatever_its_name() {
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
    fn text_of_many_lines_is_counted() {
        assert_eq!(
            changes("a: |\n  x\n  y\n", "a: |\n  x\n  z\n"),
            ["Other a: (2 lines) > (2 lines)"]
        );
    }
}
