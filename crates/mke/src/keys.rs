//! The keys of `MkeConfig.spec` that are known, as a tree made of the table in `keys.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use semver::Version;
use serde::Deserialize;

use crate::kind::Kind;

/// The keys below `spec`. They are read once.
pub(crate) static KEYS: LazyLock<Key> = LazyLock::new(|| {
    let table: Table = serde_yaml::from_str(include_str!("keys.yaml"))
        .expect("keys.yaml is part of the program and read by its tests");
    tree(table)
});

/// A place where a value can stand.
#[derive(Debug, Default)]
pub(crate) struct Key {
    /// What is known of the value. Nothing, for a mapping that is only there for the keys below it.
    pub(crate) rule: Option<Rule>,
    /// The keys below, if it is a mapping.
    pub(crate) fields: BTreeMap<String, Key>,
    /// What each item is, if it is a list.
    pub(crate) item: Option<Box<Key>>,
}

/// What is known of a value.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
    /// What a number is at least and at most.
    pub(crate) range: (Option<i64>, Option<i64>),
    /// The only values that there are; empty for any.
    pub(crate) values: Vec<String>,
    /// What MKE takes where nothing is written.
    pub(crate) default: Option<String>,
    /// Whether the value is a secret, which does not belong in a file.
    pub(crate) is_secret: bool,
    /// The first and the last release that know the key.
    pub(crate) releases: (Version, Option<Version>),
    /// The names of the documents that say so.
    pub(crate) sources: Vec<String>,
}

impl Key {
    /// Returns the key at a path of keys with dots between them; items of lists have no path.
    fn at(&self, path: &str) -> Option<&Key> {
        path.split('.').try_fold(self, |key, part| {
            let (name, is_list) = match part.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (part, false),
            };
            let key = key.fields.get(name)?;
            if is_list {
                key.item.as_deref()
            } else {
                Some(key)
            }
        })
    }

    /// Whether keys that are not in [`Key::fields`] may stand below it.
    pub(crate) fn is_open(&self) -> bool {
        self.rule
            .as_ref()
            .is_some_and(|rule| rule.kind == Kind::Map)
    }
}

impl Rule {
    /// Whether a release knows the key.
    pub(crate) fn is_known_to(&self, release: &Version) -> bool {
        let (since, until) = &self.releases;
        since <= release && until.as_ref().is_none_or(|until| release <= until)
    }
}

/// Returns what MKE takes where nothing is written at a path.
pub(crate) fn default_of(path: &str) -> Option<&'static str> {
    KEYS.at(path)?.rule.as_ref()?.default.as_deref()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    sources: BTreeMap<String, String>,
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Group {
    /// For readers of the table.
    #[expect(dead_code, reason = "it is a remark")]
    about: String,
    source: Vec<String>,
    since: Option<Version>,
    keys: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Row {
    key: String,
    r#type: Kind,
    min: Option<i64>,
    max: Option<i64>,
    #[serde(default)]
    values: Vec<String>,
    default: Option<String>,
    #[serde(default)]
    secret: bool,
    since: Option<Version>,
    until: Option<Version>,
    source: Option<Vec<String>>,
}

fn tree(table: Table) -> Key {
    /// Every release that can be installed offline.
    const FIRST: Version = Version::new(4, 1, 0);
    let mut root = Key::default();
    for group in table.groups {
        for row in group.keys {
            let mut place = &mut root;
            for part in row.key.split('.') {
                let (name, is_list) = match part.strip_suffix("[]") {
                    Some(name) => (name, true),
                    None => (part, false),
                };
                place = place.fields.entry(name.to_owned()).or_default();
                if is_list {
                    place = place.item.get_or_insert_default();
                }
            }
            let sources = row.source.unwrap_or_else(|| group.source.clone());
            debug_assert!(
                sources.iter().all(|name| table.sources.contains_key(name)),
                "{} has a source without an address",
                row.key
            );
            place.rule = Some(Rule {
                kind: row.r#type,
                range: (row.min, row.max),
                values: row.values,
                default: row.default,
                is_secret: row.secret,
                releases: (
                    row.since.or(group.since.clone()).unwrap_or(FIRST),
                    row.until,
                ),
                sources,
            });
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_and_every_default_is_one_of_its_own_type() {
        fn walk(path: &str, key: &Key) {
            if let Some(rule) = &key.rule {
                let (since, until) = &rule.releases;
                assert!(
                    until.as_ref().is_none_or(|until| since <= until),
                    "{path}: no release has it"
                );
                assert!(!rule.sources.is_empty(), "{path}");
                if let Some(default) = &rule.default {
                    let node =
                        environment::yaml::parse(std::sync::Arc::new(environment::yaml::Source {
                            path: "keys.yaml".into(),
                            text: default.clone(),
                        }))
                        .unwrap();
                    assert_eq!(crate::kind::fault(rule, &node), None, "{path}");
                }
            }
            for (name, key) in &key.fields {
                walk(&format!("{path}.{name}"), key);
            }
            if let Some(item) = &key.item {
                walk(&format!("{path}[]"), item);
            }
        }
        walk("", &KEYS);
        assert!(KEYS.fields.len() > 20);
        assert_eq!(default_of("network.serviceCIDR"), Some("10.96.0.0/16"));
        assert_eq!(default_of("hosts[].ssh.port"), Some("22"));
        assert_eq!(default_of("hosts[].ssh.prot"), None);
    }
}
