//! Checks the values under `config` against the keys that are known, and mentions those that are
//! not.
//!
//! A key that this version of the tool does not know may be a typo or the newest feature: it is
//! passed on, and mentioned once with the known key that is most like it.

use std::collections::BTreeSet;

use camino::Utf8Path;
use environment::keys::{self, Key, Rule};
use environment::yaml::{Mapping, Node};
use environment::{Environment, Problem, Secrets, nearest, quote};
use semver::Version;

use crate::Release;
use crate::keys::KEYS;
use crate::notes::Notes;

/// Checks every value under `config`.
pub(crate) fn check(config: &Mapping, release: &Release, notes: &mut Notes) {
    note_secrets(config, notes);
    let version = release.version();
    let mut walk = Walk {
        // A pre-release has the keys of the release that it leads to.
        release: Some(Version::new(version.major, version.minor, version.patch)),
        mentioned: BTreeSet::new(),
        notes,
    };
    walk.fields(&KEYS, "", config);
}

/// Loads an environment like [`environment::load`]. If it is wrong, the keys of `config` and the
/// columns of the inventory that resemble known ones are among the problems.
///
/// # Errors
/// Those of [`environment::load`].
pub fn load(root: &Utf8Path, name: &str) -> Result<Environment, environment::Error> {
    environment::load_with(root, name, &near_misses)
}

/// Returns the keys and columns that are unknown to every release and resemble a known one, and the
/// secrets beside them.
pub fn near_misses(config: &Node, rows: &[Node]) -> (Vec<Problem>, Secrets) {
    let mut notes = Notes::default();
    if let Some(config) = config.as_mapping() {
        note_secrets(config, &mut notes);
        let mut walk = Walk {
            release: None,
            mentioned: BTreeSet::new(),
            notes: &mut notes,
        };
        walk.fields(&KEYS, "", config);
    }
    notes.problems.clear();
    crate::inventory::check_columns(rows, &mut notes);
    notes.problems.append(&mut notes.near_misses);
    (notes.problems, notes.secrets)
}

/// Notes what may be a secret, for the lines that a problem shows.
fn note_secrets(config: &Mapping, notes: &mut Notes) {
    for node in crate::secrets(config) {
        notes.secrets.add(node);
    }
}

struct Walk<'a> {
    /// The release; none if it could not be read. Then every release's keys are known.
    release: Option<Version>,
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
            match key.field(text) {
                Some(known) => match self.unaware(known) {
                    Some((release, rule)) => self.of_another_release(name, &path, &release, rule),
                    None => self.value(known, &path, value),
                },
                None if is_left_to_others(&path) => {}
                // It may have any key, but one that resembles a known one is probably a slip.
                None if key.is_open()
                    && nearest(text, key.fields.iter().map(|(name, _)| name.as_str()))
                        .is_none() => {}
                None => self.unknown(key, name, value, &path),
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
                self.add_secret(node);
            }
            if let Some(fault) = keys::fault(rule, node) {
                let problem = if is_written_secret {
                    // Neither the value nor its fix, which may repeat it.
                    Problem::at(node, format!("`{path}` has an invalid value"))
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
            self.cautions(rule, path, node);
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

    /// Warns of what is known against a key or its value.
    fn cautions(&mut self, rule: &Rule, path: &str, node: &Node) {
        let Some(release) = self
            .release
            .clone()
            .filter(|_| !self.notes.is_default(node))
        else {
            return;
        };
        let text = node.text().filter(|_| !rule.is_secret);
        for caution in &rule.cautions {
            if !caution.is_about(text, &release)
                || !self.mentioned.insert(format!("{path} {}", caution.what))
            {
                continue;
            }
            let value = text.map_or_else(String::new, |text| format!(" is {}", quote(text)));
            let problem = Problem::at(node, format!("`{path}`{value}, {}", caution.what));
            self.notes.warn(problem.with_help(caution.help.as_str()));
        }
    }

    fn wrong_collection(&mut self, path: &str, node: &Node, wanted: &str) {
        self.notes.problems.push(
            Problem::at(node, format!("`{path}` is {}, not a {wanted}", node.kind())).with_help(
                match wanted {
                    "list" => "write each item on its own line after `- `",
                    _ => "write keys below it",
                },
            ),
        );
    }

    /// Notes a secret. The keys of a mapping are shown, because one of them may be a misspelt
    /// `$env`.
    fn add_secret(&mut self, node: &Node) {
        match node.as_mapping() {
            Some(mapping) => mapping.iter().for_each(|(_, value)| self.add_secret(value)),
            None => self.notes.secrets.add(node),
        }
    }

    /// Returns the release and the rule of a key, if the release does not know it.
    fn unaware<'key>(&self, key: &'key Key) -> Option<(Version, &'key Rule)> {
        let (release, rule) = (self.release.as_ref()?, key.rule.as_ref()?);
        (!rule.is_known_to(release)).then(|| (release.clone(), rule))
    }

    fn unknown(&mut self, parent: &Key, name: &Node, value: &Node, path: &str) {
        // What the release's own mkectl prints, it knows.
        let by_mkectl = self.notes.is_default(name);
        if by_mkectl || !self.mentioned.insert(path.to_owned()) {
            return;
        }
        let text = name.text().unwrap_or_default();
        let meant = meant(text, parent);
        let help = meant
            .as_ref()
            .map(|(meant, _)| format!("did you mean `{meant}`?"));
        let problem = |rule: String| Problem {
            help: help.clone(),
            ..Problem::at(name, rule)
        };
        if let Some((_, is_secret)) = meant {
            // It stops nothing by itself, also beside what does.
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

    fn of_another_release(&mut self, name: &Node, path: &str, release: &Version, rule: &Rule) {
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

/// Returns whether another module says what is wrong with such a key.
fn is_left_to_others(path: &str) -> bool {
    matches!(path, "apiVersion" | "kind" | "metadata" | "spec")
}

/// Returns the key that was probably meant, and whether its value is a secret: the most similar key
/// beside it, or the same key one level below.
fn meant(text: &str, parent: &Key) -> Option<(String, bool)> {
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
