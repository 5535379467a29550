//! Reads tables of keys. A table lists the keys that a document may have, with their types.
//!
//! Two tables exist: `keys.yaml` beside this file, for `environment.yaml`, and a table of the crate
//! `mke`, for the cluster's configuration. The types of values, the JSON Schema and the reference
//! page of both are in the modules below.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use semver::Version;
use serde::Deserialize;

pub(crate) mod kind;
mod reference_page;
mod schema;

pub use kind::{Fault, Kind, config_value_fault, networks, port_range};
pub use reference_page::reference_page;
pub use schema::schema;

/// The keys of `environment.yaml`.
pub(crate) static KEYS: LazyLock<Key> = LazyLock::new(|| {
    let table = Table::read(include_str!("keys.yaml"));
    table
        .expect("keys.yaml is part of the program and read by its tests")
        .tree()
});

/// A key, or the items of a list: a place of a document that may have a value.
#[derive(Debug, Default)]
pub struct Key {
    /// The row of the table. `None` for a mapping without a row, which only groups other keys.
    pub rule: Option<Rule>,
    /// If the value is a mapping: its keys, in the order of the table.
    pub fields: Vec<(String, Key)>,
    /// If the value is a list: its items.
    pub item: Option<Box<Key>>,
}

/// A row of the table: the type of a value and its limits.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    key: String,
    /// The type of the value.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The minimum of a number, or the minimum length of a list.
    pub min: Option<i64>,
    /// The maximum of a number.
    pub max: Option<i64>,
    /// The allowed values; empty if any value is allowed.
    #[serde(default)]
    pub values: Vec<String>,
    /// The value if the key is not set.
    pub default: Option<String>,
    /// The description in the schema and on the reference page.
    pub about: Option<String>,
    /// The fix if the value is wrong or missing.
    pub help: Option<String>,
    /// Whether the key must be set.
    #[serde(default)]
    pub required: bool,
    /// Whether the value is a secret, or may be a secret by mistake.
    #[serde(default, rename = "secret")]
    pub is_secret: bool,
    /// The first release with the key; `None` without a lower limit.
    pub since: Option<Version>,
    /// The last release with the key; `None` without an upper limit.
    pub until: Option<Version>,
    /// How reliable the row is. `None` for keys of `environment.yaml`.
    pub certainty: Option<Certainty>,
    /// The names of the source documents.
    #[serde(default, rename = "source")]
    pub sources: Vec<String>,
    /// Warnings to show if the key is set.
    #[serde(default)]
    pub cautions: Vec<Caution>,
}

/// How reliable a statement about the vendor's software is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// The vendor's documentation confirms the statement.
    Documented,
    /// Earlier and later releases imply the statement, or third parties report it.
    Inferred,
    /// Sources contradict each other, or do not mention the subject.
    Unverified,
    /// A real bundle or a real mkectl confirms the statement.
    Observed,
}

/// A warning about a key that the table has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Caution {
    /// The values to warn of; empty for all values.
    #[serde(default)]
    values: Vec<String>,
    since: Option<Version>,
    until: Option<Version>,
    /// The text of the warning, which follows the key and its value.
    pub what: String,
    /// The fix.
    pub help: String,
    /// How reliable the warning is.
    pub certainty: Certainty,
    /// The names of the source documents.
    pub source: Vec<String>,
}

/// A table of keys, as parsed from its file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Table {
    /// The addresses of source documents, by name.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
    groups: Vec<Group>,
}

/// Rows, and defaults for the columns that a row does not set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Group {
    #[expect(dead_code, reason = "it is a comment for readers of the table")]
    about: String,
    #[serde(default)]
    source: Vec<String>,
    certainty: Option<Certainty>,
    since: Option<Version>,
    keys: Vec<Rule>,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not a table.
    pub fn read(text: &str) -> Result<Table, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }

    /// Returns the keys as a tree. A row inherits missing sources, certainty and release from its
    /// group.
    pub fn tree(self) -> Key {
        let mut root = Key::default();
        for group in self.groups {
            for mut rule in group.keys {
                let mut place = &mut root;
                for (name, is_list) in parts(&rule.key) {
                    place = place.field_mut(name);
                    if is_list {
                        place = place.item.get_or_insert_default();
                    }
                }
                if rule.sources.is_empty() {
                    rule.sources.clone_from(&group.source);
                }
                rule.certainty = rule.certainty.or(group.certainty);
                rule.since = rule.since.or_else(|| group.since.clone());
                place.rule = Some(rule);
            }
        }
        root
    }
}

impl Key {
    /// Returns the key of a name directly below this key.
    pub fn field(&self, name: &str) -> Option<&Key> {
        let mut fields = self.fields.iter();
        fields.find_map(|(field, key)| (field == name).then_some(key))
    }

    fn field_mut(&mut self, name: &str) -> &mut Key {
        let position = self.fields.iter().position(|(field, _)| field == name);
        let index = position.unwrap_or_else(|| {
            self.fields.push((name.to_owned(), Key::default()));
            self.fields.len() - 1
        });
        &mut self.fields[index].1
    }

    /// Returns the names of the keys directly below this key.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the key at a path, such as `hosts[].ssh.port`.
    pub fn at(&self, path: &str) -> Option<&Key> {
        parts(path)
            .into_iter()
            .try_fold(self, |key, (name, is_list)| {
                let key = key.field(name)?;
                if is_list {
                    key.item.as_deref()
                } else {
                    Some(key)
                }
            })
    }

    /// Returns whether the mapping may have keys that are not in [`Key::fields`].
    pub fn allows_unknown_keys(&self) -> bool {
        self.rule
            .as_ref()
            .is_some_and(|rule| rule.kind == Kind::Map)
    }
}

impl Rule {
    /// Returns the values to suggest: without the empty value and the values that a later release
    /// removed.
    pub(crate) fn current_values(&self) -> impl Iterator<Item = &str> {
        let is_removed = |value: &String| {
            (self.cautions.iter())
                .any(|caution| caution.since.is_some() && caution.values.contains(value))
        };
        (self.values.iter())
            .filter(move |value| !value.is_empty() && !is_removed(value))
            .map(String::as_str)
    }

    /// Returns whether a release has the key.
    pub fn is_in(&self, release: &Version) -> bool {
        is_in_range(release, self.since.as_ref(), self.until.as_ref())
    }
}

impl Certainty {
    /// All levels.
    pub const ALL: [Self; 4] = [
        Self::Documented,
        Self::Inferred,
        Self::Unverified,
        Self::Observed,
    ];

    /// Returns the name that tables use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Inferred => "inferred",
            Self::Unverified => "unverified",
            Self::Observed => "observed",
        }
    }
}

impl Caution {
    /// Returns whether the warning applies to a value in a release.
    pub fn applies_to(&self, value: Option<&str>, release: &Version) -> bool {
        let has_value = self.values.is_empty()
            || value.is_some_and(|value| self.values.iter().any(|listed| listed == value));
        has_value && is_in_range(release, self.since.as_ref(), self.until.as_ref())
    }
}

/// Returns whether a release is from `since` to `until`, both included.
fn is_in_range(release: &Version, since: Option<&Version>, until: Option<&Version>) -> bool {
    since.is_none_or(|since| since <= release) && until.is_none_or(|until| release <= until)
}

/// Returns the path of the key `name` below `path`.
pub(crate) fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// Splits a path into its keys. The boolean is true for `key[]`: the path continues in the items of
/// that list. A key that contains a dot is in double quotes.
pub fn parts(path: &str) -> Vec<(&str, bool)> {
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

#[cfg(test)]
mod tests;
