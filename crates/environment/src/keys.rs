//! The engine of tables of keys: what may be under each key of a document, as a tree.
//!
//! There are two tables: that of `environment.yaml`, which is `keys.yaml` beside this file, and
//! that of the cluster's configuration, which the crate `mke` has. The types of values, the JSON
//! Schema and the reference page are made for both here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use semver::Version;
use serde::Deserialize;

pub(crate) mod kind;
mod reference;
mod schema;

pub use kind::{Fault, Kind, fault, networks, port_range};
pub use reference::reference;
pub use schema::schema;

/// The keys of `environment.yaml`. They are read once.
pub(crate) static KEYS: LazyLock<Key> = LazyLock::new(|| {
    let table = Table::read(include_str!("keys.yaml"));
    table
        .expect("keys.yaml is part of the program and read by its tests")
        .tree()
});

/// A place where a value can be.
#[derive(Debug, Default)]
pub struct Key {
    /// What is known of the value. Nothing, for a mapping that is only there for the keys below it.
    pub rule: Option<Rule>,
    /// The keys below, if it is a mapping, in the order of the table.
    pub fields: Vec<(String, Key)>,
    /// What each item is, if it is a list.
    pub item: Option<Box<Key>>,
}

/// What is known of a value: a row of the table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    key: String,
    /// The type of the value.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What a number is at least, or how many items a list has.
    pub min: Option<i64>,
    /// What a number is at most.
    pub max: Option<i64>,
    /// The only values that there are; empty for any.
    #[serde(default)]
    pub values: Vec<String>,
    /// What is taken where nothing is written.
    pub default: Option<String>,
    /// What it is, for readers of the schema and the reference page.
    pub about: Option<String>,
    /// What to write instead, if the value is wrong or missing.
    pub help: Option<String>,
    /// Whether something must be written.
    #[serde(default)]
    pub required: bool,
    /// Whether the value is a secret, which does not belong in a file, or may be one by mistake.
    #[serde(default, rename = "secret")]
    pub is_secret: bool,
    /// The first release that knows the key; nothing for all.
    pub since: Option<Version>,
    /// The last release that knows the key.
    pub until: Option<Version>,
    /// How well the key is known. Nothing for keys of our own.
    pub certainty: Option<Certainty>,
    /// The names of the documents that say so.
    #[serde(default, rename = "source")]
    pub sources: Vec<String>,
    /// What to warn of when it is written.
    #[serde(default)]
    pub cautions: Vec<Caution>,
}

/// How well something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// It was read in the vendor's own text.
    Documented,
    /// It follows from the releases before and after, or was seen to work by others.
    Inferred,
    /// Sources differ or are silent.
    Unverified,
    /// It was seen in a real bundle or a real mkectl.
    Observed,
}

/// A warning about a key that is known.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Caution {
    /// The values that it is about; empty for all.
    #[serde(default)]
    values: Vec<String>,
    since: Option<Version>,
    until: Option<Version>,
    /// A note for readers, to follow the key and its value.
    pub what: String,
    /// What to do.
    pub help: String,
    /// How well it is known.
    pub certainty: Certainty,
    /// The names of the documents that say so.
    pub source: Vec<String>,
}

/// A table of keys as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Table {
    /// The addresses of documents by their names.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
    groups: Vec<Group>,
}

/// Rows, and what holds for those of them that do not say otherwise.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Group {
    #[expect(dead_code, reason = "it is a remark for readers of the table")]
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
    /// Returns what is wrong with the text.
    pub fn read(text: &str) -> Result<Table, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }

    /// Returns the tree of its keys.
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
    /// Returns the key below it that has a name.
    pub fn field(&self, name: &str) -> Option<&Key> {
        let mut fields = self.fields.iter();
        fields.find_map(|(own, key)| (own == name).then_some(key))
    }

    fn field_mut(&mut self, name: &str) -> &mut Key {
        let known = self.fields.iter().position(|(own, _)| own == name);
        let index = known.unwrap_or_else(|| {
            self.fields.push((name.to_owned(), Key::default()));
            self.fields.len() - 1
        });
        &mut self.fields[index].1
    }

    /// Returns the names of the keys below it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the key at a path of keys with dots between them; items of lists have no path.
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

    /// Returns whether keys that are not in [`Key::fields`] may be below it.
    pub fn is_open(&self) -> bool {
        self.rule
            .as_ref()
            .is_some_and(|rule| rule.kind == Kind::Map)
    }
}

impl Rule {
    /// Returns the values to suggest: all but the empty one and those that a later release dropped.
    pub(crate) fn current_values(&self) -> impl Iterator<Item = &str> {
        let dropped = |value: &String| {
            (self.cautions.iter())
                .any(|caution| caution.since.is_some() && caution.values.contains(value))
        };
        (self.values.iter())
            .filter(move |value| !value.is_empty() && !dropped(value))
            .map(String::as_str)
    }

    /// Returns whether a release knows the key.
    pub fn is_known_to(&self, release: &Version) -> bool {
        self.since.as_ref().is_none_or(|since| since <= release)
            && self.until.as_ref().is_none_or(|until| release <= until)
    }
}

impl Certainty {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Documented,
        Self::Inferred,
        Self::Unverified,
        Self::Observed,
    ];

    /// Returns its name.
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
    /// Returns whether it is about a value in a release.
    pub fn is_about(&self, value: Option<&str>, release: &Version) -> bool {
        let is_of_release = self.since.as_ref().is_none_or(|since| since <= release)
            && self.until.as_ref().is_none_or(|until| release <= until);
        let is_of_value = self.values.is_empty()
            || value.is_some_and(|value| self.values.iter().any(|known| known == value));
        is_of_release && is_of_value
    }
}

/// Returns the parts of a path, each with whether it is a list whose items are meant.
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
