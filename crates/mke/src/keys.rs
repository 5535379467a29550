//! The keys of `MkeConfig.spec` that are known, as a tree made of the table in `keys.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use semver::Version;
use serde::Deserialize;

use crate::Certainty;
use crate::kind::Kind;

/// The keys below `spec`. They are read once.
pub(crate) static KEYS: LazyLock<Key> = LazyLock::new(|| {
    let table = read().expect("keys.yaml is part of the program and read by its tests");
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
    /// How well the key is known.
    pub(crate) certainty: Certainty,
    /// The names of the documents that say so.
    pub(crate) sources: Vec<String>,
    /// What to warn of when it is written.
    pub(crate) cautions: Vec<Caution>,
}

/// A warning about a key that is known.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Caution {
    /// The values that it is about; empty for all.
    #[serde(default)]
    values: Vec<String>,
    since: Option<Version>,
    until: Option<Version>,
    /// What is to know, to stand behind the key and its value.
    pub(crate) what: String,
    /// What to do.
    pub(crate) help: String,
    /// How well it is known.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests require it"))]
    certainty: Certainty,
    /// The names of the documents that say so.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests require it"))]
    source: Vec<String>,
}

impl Key {
    /// Returns the key at a path of keys with dots between them; items of lists have no path.
    pub(crate) fn at(&self, path: &str) -> Option<&Key> {
        parts(path)
            .into_iter()
            .try_fold(self, |key, (name, is_list)| {
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

/// Returns the parts of a path, each with whether it is a list whose items are meant.
pub(crate) fn parts(path: &str) -> Vec<(&str, bool)> {
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (part, after) = match rest
            .strip_prefix('"')
            .and_then(|quoted| quoted.split_once('"'))
        {
            Some((part, after)) => (part, after.strip_prefix('.').unwrap_or(after)),
            None => rest.split_once('.').unwrap_or((rest, "")),
        };
        parts.push(match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        });
        rest = after;
    }
    parts
}

impl Caution {
    /// Whether it is about a value in a release.
    pub(crate) fn is_about(&self, value: Option<&str>, release: &Version) -> bool {
        let is_of_release = self.since.as_ref().is_none_or(|since| since <= release)
            && self.until.as_ref().is_none_or(|until| release <= until);
        let is_of_value = self.values.is_empty()
            || value.is_some_and(|value| self.values.iter().any(|known| known == value));
        is_of_release && is_of_value
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

fn read() -> Result<Table, serde_yaml::Error> {
    serde_yaml::from_str(include_str!("keys.yaml"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests compare it"))]
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
    certainty: Certainty,
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
    certainty: Option<Certainty>,
    #[serde(default)]
    cautions: Vec<Caution>,
}

fn tree(table: Table) -> Key {
    /// Every release that can be installed offline.
    const FIRST: Version = Version::new(4, 1, 0);
    let mut root = Key::default();
    for group in table.groups {
        for row in group.keys {
            let mut place = &mut root;
            for (name, is_list) in parts(&row.key) {
                place = place.fields.entry(name.to_owned()).or_default();
                if is_list {
                    place = place.item.get_or_insert_default();
                }
            }
            let sources = row.source.unwrap_or_else(|| group.source.clone());
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
                certainty: row.certainty.unwrap_or(group.certainty),
                sources,
                cautions: row.cautions,
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

    #[test]
    fn a_part_with_a_dot_in_it_is_in_quotes() {
        assert_eq!(parts("a.b[].c"), [("a", false), ("b", true), ("c", false)]);
        assert_eq!(
            parts(r#"a."b.c".d"#),
            [("a", false), ("b.c", false), ("d", false)]
        );
        assert_eq!(parts(r#"a[]."b.c""#), [("a", true), ("b.c", false)]);
        assert_eq!(parts(""), []);
    }

    /// Items 16 and 17: every fact has a certainty (the reading requires it) and a source that has an address, and what is called
    /// documented is in a text of the vendor.
    #[test]
    fn every_key_has_a_certainty_and_sources_that_fit_it() {
        let table = read().unwrap();
        let mut count = 0;
        for group in &table.groups {
            for row in &group.keys {
                let own = row.source.as_ref().unwrap_or(&group.source);
                let certainty = row.certainty.unwrap_or(group.certainty);
                let cautions = row.cautions.iter();
                let facts = cautions.map(|caution| (&caution.source, caution.certainty));
                for (sources, certainty) in facts.chain([(own, certainty)]) {
                    crate::table::tests::assert_sourced(
                        &row.key,
                        sources,
                        certainty,
                        &table.sources,
                    );
                    count += 1;
                }
            }
        }
        assert!(count > 250, "{count}");
    }
}
