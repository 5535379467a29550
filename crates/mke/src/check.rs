//! Checks the values under `config` against the keys that are known, and mentions those that are not.
//!
//! A key that this version of the tool does not know may be a typo or the newest feature: it is passed on, and mentioned
//! once with the known key that is most like it.

use std::collections::BTreeSet;

use environment::yaml::{Mapping, Node};
use environment::{Problem, nearest, quote};
use semver::Version;

use crate::Release;
use crate::keys::{KEYS, Key};
use crate::kind;
use crate::notes::Notes;

/// Checks every value under `config`.
pub(crate) fn check(config: &Mapping, release: &Release, notes: &mut Notes) {
    let mut walk = Walk {
        // A pre-release has the keys of the release that it leads to.
        release: Version::new(
            release.version().major,
            release.version().minor,
            release.version().patch,
        ),
        mentioned: BTreeSet::new(),
        notes,
    };
    walk.fields(&KEYS, "", config);
}

struct Walk<'a> {
    release: Version,
    /// The unknown keys that were mentioned. A list of hosts repeats its keys.
    mentioned: BTreeSet<String>,
    notes: &'a mut Notes,
}

impl Walk<'_> {
    fn fields(&mut self, key: &Key, path: &str, mapping: &Mapping) {
        for (name, value) in mapping.iter() {
            let text = name.text().unwrap_or_default();
            let path = match path {
                "" => text.to_owned(),
                path => format!("{path}.{text}"),
            };
            match key.fields.get(text) {
                Some(known) => match &known.rule {
                    Some(rule) if !rule.is_known_to(&self.release) => {
                        self.of_another_release(name, &path, rule.releases.clone());
                    }
                    _ => self.value(known, &path, value),
                },
                None if key.is_open() || is_left_to_others(&path) => {}
                None => self.unknown(key, name, &path),
            }
        }
    }

    fn value(&mut self, key: &Key, path: &str, node: &Node) {
        if node.is_null() {
            return;
        }
        if let Some(rule) = &key.rule {
            let is_written_secret = rule.is_secret && environment::reference(node).is_none();
            if is_written_secret {
                self.notes.secrets.add(node);
            }
            if let Some(fault) = kind::fault(rule, node) {
                let problem = if is_written_secret {
                    // Neither the value nor its cure, which may repeat it.
                    Problem::at(node, format!("`{path}` is not what belongs there"))
                        .with_help("write `{ $env: NAME }` or `{ $file: path }` in its place")
                } else {
                    Problem::at(node, format!("`{path}` is {}", fault.is)).with_help(fault.help)
                };
                match fault.is_warning {
                    true => self.notes.warn(problem),
                    false => self.notes.problems.push(problem),
                }
                return;
            }
            if environment::reference(node).is_some() {
                return;
            }
            if rule.is_secret && node.text().is_some_and(|text| !text.is_empty()) {
                // The value is not repeated: the message is shown and kept.
                self.notes.warn(
                    Problem::at(
                        node,
                        format!("`{path}` is a secret, and files are committed"),
                    )
                    .with_help("write `{ $env: NAME }` or `{ $file: path }` in its place"),
                );
            }
        }
        if let Some(item) = &key.item {
            match node.as_sequence() {
                Some(items) => {
                    for node in items {
                        self.value(item, &format!("{path}[]"), node);
                    }
                }
                None => self.wrong_collection(path, node, "list"),
            }
        } else if !key.fields.is_empty() {
            match node.as_mapping() {
                Some(mapping) => self.fields(key, path, mapping),
                None => self.wrong_collection(path, node, "mapping"),
            }
        }
    }

    fn wrong_collection(&mut self, path: &str, node: &Node, wanted: &str) {
        self.notes.problems.push(
            Problem::at(
                node,
                format!("`{path}` is {} where a {wanted} belongs", node.kind()),
            )
            .with_help(match wanted {
                "list" => "write each item on a line of its own behind `- `",
                _ => "write keys below it",
            }),
        );
    }

    fn unknown(&mut self, parent: &Key, name: &Node, path: &str) {
        // What the release's own mkectl prints, it knows.
        let by_mkectl = self.notes.is_default(name);
        if by_mkectl || !self.mentioned.insert(path.to_owned()) {
            return;
        }
        let text = name.text().unwrap_or_default();
        let siblings = parent.fields.keys().map(String::as_str);
        let problem = Problem::at(
            name,
            format!(
                "{} is unknown to v{} and passed on as it is",
                quote(path),
                self.release
            ),
        );
        let problem = match nearest(text, siblings).or_else(|| nearest_case(text, parent)) {
            Some(nearest) => problem.with_help(format!("did you mean `{nearest}`?")),
            None => problem,
        };
        self.notes.warn(problem);
    }

    fn of_another_release(
        &mut self,
        name: &Node,
        path: &str,
        (since, until): (Version, Option<Version>),
    ) {
        if self.notes.is_default(name) || !self.mentioned.insert(path.to_owned()) {
            return;
        }
        let (what, help) = match until {
            Some(until) if until < self.release => (
                format!("v{until} is the last release that knows it"),
                "remove it, unless this release documents it",
            ),
            _ => (
                format!("v{since} is the first release that knows it"),
                "remove it, or install that release",
            ),
        };
        self.notes.warn(
            Problem::at(
                name,
                format!(
                    "`{path}` is unknown to v{} and passed on as it is: {what}",
                    self.release
                ),
            )
            .with_help(help),
        );
    }
}

/// Whether another module says what is wrong with such a key.
fn is_left_to_others(path: &str) -> bool {
    matches!(path, "apiVersion" | "kind" | "metadata" | "spec")
}

/// Finds a key that differs in case alone.
fn nearest_case<'key>(text: &str, parent: &'key Key) -> Option<&'key str> {
    let mut names = parent.fields.keys();
    names
        .find(|name| name.eq_ignore_ascii_case(text))
        .map(String::as_str)
}

#[cfg(test)]
mod tests;
