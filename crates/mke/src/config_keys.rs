//! Checks the keys and values under `config` against the table of keys.
//!
//! An unknown key may be a typo or a new feature of MKE. It is passed on unchanged, with one
//! warning that names the most similar known key.

use std::collections::BTreeSet;

use camino::Utf8Path;
use environment::keys::{self, Key, Rule};
use environment::yaml::{Mapping, Node};
use environment::{Environment, Problem, Secrets, nearest, quote};
use semver::Version;

use crate::Release;
use crate::keys::KEYS;
use crate::managed_keys::DOCUMENT_KEYS;
use crate::notes::Notes;

/// Checks the keys and values under `config`.
pub(crate) fn check(config: &Mapping, release: &Release, notes: &mut Notes) {
    note_secrets(config, notes);
    let version = release.version();
    let mut checker = Checker {
        // A pre-release has the keys of its final release.
        release: Some(Version::new(version.major, version.minor, version.patch)),
        mentioned: BTreeSet::new(),
        notes,
    };
    checker.check_fields(&KEYS, "", config);
}

/// Loads an environment like [`environment::load`]. If it has problems, the probable typos in the
/// keys of `config` and in the columns of the inventory are reported too.
///
/// # Errors
///
/// The errors of [`environment::load`].
pub fn load(root: &Utf8Path, name: &str) -> Result<Environment, environment::Error> {
    environment::load_with(root, name, &near_misses)
}

/// Returns a problem for each unknown key or column that is similar to a known one, and the secrets
/// in `config`.
pub fn near_misses(config: &Node, rows: &[Node]) -> (Vec<Problem>, Secrets) {
    let mut notes = Notes::default();
    if let Some(config) = config.as_mapping() {
        note_secrets(config, &mut notes);
        let mut checker = Checker {
            release: None,
            mentioned: BTreeSet::new(),
            notes: &mut notes,
        };
        checker.check_fields(&KEYS, "", config);
    }
    notes.problems.clear();
    crate::inventory::check_columns(rows, &mut notes);
    notes.problems.append(&mut notes.near_misses);
    (notes.problems, notes.secrets)
}

/// Notes values that may be secrets. They are masked in the lines that problems show.
fn note_secrets(config: &Mapping, notes: &mut Notes) {
    for node in crate::secrets(config) {
        notes.secrets.add(node);
    }
}

/// Checks mappings against the table of keys.
struct Checker<'a> {
    /// The release. `None` if it could not be read: then the keys of all releases are known.
    release: Option<Version>,
    /// The keys with a warning. Each gets one only, although the hosts of a list repeat their keys.
    mentioned: BTreeSet<String>,
    notes: &'a mut Notes,
}

impl Checker<'_> {
    fn check_fields(&mut self, key: &Key, path: &str, mapping: &Mapping) {
        for (name, value) in mapping.iter() {
            let text = name.text().unwrap_or_default();
            let path = match path {
                "" => text.to_owned(),
                path => format!("{path}.{text}"),
            };
            match key.field(text) {
                Some(known) => match self.unsupported_rule(known) {
                    Some((release, rule)) => {
                        self.warn_of_other_release(name, &path, &release, rule)
                    }
                    None => self.check_value(known, &path, value),
                },
                // `render` refuses these keys.
                None if DOCUMENT_KEYS.contains(&path.as_str()) => {}
                // An open mapping may have any key, but one similar to a known key is probably a
                // typo.
                None if key.allows_unknown_keys() && nearest(text, key.names()).is_none() => {}
                None => self.note_unknown(key, name, value, &path),
            }
        }
    }

    fn check_value(&mut self, key: &Key, path: &str, node: &Node) {
        if node.is_null() {
            return;
        }
        if let Some(rule) = &key.rule {
            let is_written_secret = rule.is_secret && environment::reference(node).is_none();
            if is_written_secret {
                self.add_secret(node);
            }
            if let Some(fault) = keys::config_value_fault(rule, node) {
                let problem = if is_written_secret {
                    // The usual message and help may repeat the value.
                    Problem::at(node, format!("`{path}` has an invalid value"))
                        .with_help("write `{ $env: NAME }` or `{ $file: path }` in its place")
                } else {
                    Problem::at(node, format!("`{path}` is {}", fault.description))
                        .with_help(fault.help)
                };
                match fault.is_warning {
                    true => self.notes.warn(problem),
                    false => self.notes.problems.push(problem),
                }
                return;
            }
            self.warn_of_cautions(rule, path, node);
            if environment::reference(node).is_some() {
                return;
            }
            if rule.is_secret && node.text().is_some_and(|text| !text.is_empty()) {
                // The message does not contain the value, because messages are stored.
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
                        self.check_value(item, &format!("{path}[]"), node);
                    }
                }
                None => self.note_wrong_collection(path, node, "list"),
            }
        } else if !key.fields.is_empty() {
            match node.as_mapping() {
                Some(mapping) => self.check_fields(key, path, mapping),
                None => self.note_wrong_collection(path, node, "mapping"),
            }
        }
    }

    /// Warns of the cautions for a key or its value.
    fn warn_of_cautions(&mut self, rule: &Rule, path: &str, node: &Node) {
        let Some(release) = self
            .release
            .clone()
            .filter(|_| !self.notes.is_default(node))
        else {
            return;
        };
        let text = node.text().filter(|_| !rule.is_secret);
        for caution in &rule.cautions {
            if !caution.applies_to(text, &release)
                || !self.mentioned.insert(format!("{path} {}", caution.what))
            {
                continue;
            }
            let value = text.map_or_else(String::new, |text| format!(" is {}", quote(text)));
            let problem = Problem::at(node, format!("`{path}`{value}, {}", caution.what));
            self.notes.warn(problem.with_help(caution.help.as_str()));
        }
    }

    fn note_wrong_collection(&mut self, path: &str, node: &Node, wanted: &str) {
        self.notes.problems.push(
            Problem::at(node, format!("`{path}` is {}, not a {wanted}", node.kind())).with_help(
                match wanted {
                    "list" => "write each item on its own line after `- `",
                    _ => "write keys below it",
                },
            ),
        );
    }

    /// Notes a secret. The keys of a mapping are not masked, because one of them may be a misspelt
    /// `$env`.
    fn add_secret(&mut self, node: &Node) {
        match node.as_mapping() {
            Some(mapping) => mapping.iter().for_each(|(_, value)| self.add_secret(value)),
            None => self.notes.secrets.add(node),
        }
    }

    /// Returns the release and the rule of a key that the release does not know.
    fn unsupported_rule<'key>(&self, key: &'key Key) -> Option<(Version, &'key Rule)> {
        let (release, rule) = (self.release.as_ref()?, key.rule.as_ref()?);
        (!rule.is_in(release)).then(|| (release.clone(), rule))
    }

    fn note_unknown(&mut self, parent: &Key, name: &Node, value: &Node, path: &str) {
        // The release knows the keys that its own mkectl prints.
        if self.notes.is_default(name) || !self.mentioned.insert(path.to_owned()) {
            return;
        }
        let text = name.text().unwrap_or_default();
        let intended = intended_key(text, parent);
        let help = intended
            .as_ref()
            .map(|(intended, _)| format!("did you mean `{intended}`?"));
        let problem = |rule: String| Problem {
            help: help.clone(),
            ..Problem::at(name, rule)
        };
        if let Some((_, is_secret)) = intended {
            // Beside errors it stays a warning.
            self.notes.near_misses.push(Problem {
                is_warning: true,
                ..problem(format!("unknown key {}", quote(path)))
            });
            if is_secret {
                self.add_secret(value);
            }
        }
        if let Some(release) = &self.release {
            let rule = format!(
                "{} is unknown to v{release} and passed on unchanged",
                quote(path)
            );
            self.notes.warn(problem(rule));
        }
    }

    fn warn_of_other_release(&mut self, name: &Node, path: &str, release: &Version, rule: &Rule) {
        if self.notes.is_default(name) || !self.mentioned.insert(path.to_owned()) {
            return;
        }
        let (what, help) = match (&rule.since, &rule.until) {
            (Some(since), _) if release < since => (
                format!("v{since} is the first release that knows it"),
                "remove it, or install that release",
            ),
            (_, Some(until)) => (
                format!("v{until} is the last release that knows it"),
                "remove it, unless this release documents it",
            ),
            _ => return,
        };
        self.notes.warn(
            Problem::at(
                name,
                format!("`{path}` is unknown to v{release} and passed on unchanged: {what}",),
            )
            .with_help(help),
        );
    }
}

/// Returns the probably intended key, and whether its value is a secret. It is the most similar key
/// of the same mapping, or the same key one level below.
fn intended_key(text: &str, parent: &Key) -> Option<(String, bool)> {
    let is_secret = |key: &Key| key.rule.as_ref().is_some_and(|rule| rule.is_secret);
    if let Some(name) = nearest(text, parent.names()) {
        return Some((name.to_owned(), parent.field(name).is_some_and(is_secret)));
    }
    let mut below = parent.fields.iter().filter_map(|(name, key)| {
        let found = key.field(text)?;
        Some((format!("{name}.{text}"), is_secret(found)))
    });
    below.next().filter(|_| below.next().is_none())
}

#[cfg(test)]
mod tests;
