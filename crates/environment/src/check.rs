//! Checks what a file says against the keys there are and what their values may be.
//!
//! Each file of a chain is checked by itself, to find a mistake in a parent even if a child hides
//! it.

use std::{ops::Range, sync::Arc};

use crate::{
    findings::Findings,
    form,
    keys::{KEYS, Key, Kind, kind::own_fault},
    nearest::nearest,
    problem::{Problem, quote},
    yaml::{Mapping, Node, Source},
};

/// Sections whose keys people write at the top level, or in another section.
const SECTIONS: [&str; 2] = ["registry", "facts"];

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

/// Checks one file's document, which is a mapping. What is below `config` is checked for references
/// and lists only.
pub(crate) fn document(document: &Mapping, findings: &mut Findings) {
    fields(&KEYS, "", document, findings);
    if let Some(config) = document.get("config") {
        form::check(config, findings);
    }
}

fn fields(key: &Key, path: &str, mapping: &Mapping, findings: &mut Findings) {
    for (name, node) in mapping.iter() {
        let text = name.text().unwrap_or_default();
        match key.field(text) {
            None => unknown(name, node, key, path, findings),
            // It removes what a parent says.
            Some(_) if node.is_null() => {}
            Some(known) => value(known, &below(path, text), node, findings),
        }
    }
}

fn value(key: &Key, path: &str, node: &Node, findings: &mut Findings) {
    if let (Some(mapping), false) = (node.as_mapping(), key.fields.is_empty()) {
        return fields(key, path, mapping, findings);
    }
    let Some(fault) = own_fault(key, path, node) else {
        return;
    };
    let may_be_secret = key.rule.as_ref().is_some_and(|rule| {
        let is_address = rule.kind == Kind::RegistryAddress;
        let has_more = |text: &str| text.contains(['@', '?', '#']);
        rule.is_secret || (is_address && node.text().is_some_and(has_more))
    });
    if may_be_secret {
        findings.secrets.add(node);
    }
    findings.add(Problem {
        help: fault.help,
        ..Problem::at(node, fault.rule)
    });
}

/// Notes what no file of the chain says although one must.
pub(crate) fn required(merged: &Mapping, file: &Arc<Source>, findings: &mut Findings) {
    missing(&KEYS, "", merged, (file, 0..0), findings);
}

/// Notes what is missing in a mapping, whose own key is at `place`.
fn missing(
    key: &Key,
    path: &str,
    mapping: &Mapping,
    place: (&Arc<Source>, Range<usize>),
    findings: &mut Findings,
) {
    for (name, field) in &key.fields {
        let path = below(path, name);
        let is_required = field.rule.as_ref().is_some_and(|rule| rule.required);
        let help = |key: &Key| key.rule.as_ref()?.help.clone();
        match mapping.pair(name) {
            Some((written, node)) => {
                if let Some(mapping) = node.as_mapping() {
                    let place = (&written.source, written.span.clone());
                    // A key that is misspelt is not missing as well.
                    if is_required
                        || mapping
                            .iter()
                            .all(|(name, _)| field.field(name.text().unwrap_or_default()).is_some())
                    {
                        missing(field, &path, mapping, place, findings);
                    }
                }
            }
            // Nor is one at this level.
            None if is_required && is_misspelt(name, key, mapping) => {}
            None if is_required && !field.fields.is_empty() && help(field).is_none() => {
                missing(field, &path, &Mapping::new(), place.clone(), findings);
            }
            None if is_required => {
                findings.add(Problem {
                    source: Arc::clone(place.0),
                    span: place.1.clone(),
                    rule: format!("`{path}` is missing"),
                    help: help(field).or_else(|| help(key)),
                    is_warning: false,
                });
            }
            None => {}
        }
    }
}

/// Returns whether an unknown key of a mapping was probably meant as this one.
fn is_misspelt(name: &str, key: &Key, mapping: &Mapping) -> bool {
    mapping.iter().any(|(written, _)| {
        let written = written.text().unwrap_or_default();
        key.field(written).is_none() && nearest(written, key.names()) == Some(name)
    })
}

/// Returns the path of a key below another.
fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// Notes a key that there is not.
fn unknown(name: &Node, value: &Node, key: &Key, parent: &str, findings: &mut Findings) {
    let text = name.text().unwrap_or_default();
    let nearest = nearest(text, key.names());
    note_secrets(name, value, findings);
    if nearest.is_none() && is_secret_like(text) {
        let rule = format!("{} does not belong in a file", quote(text));
        return findings.add(Problem::at(name, rule).with_help(
            "files contain the names of secrets, not secrets: write `push-credentials: { env: NAME }` below `registry`",
        ));
    }
    let rule = match parent {
        "" => format!("unknown key {}", quote(text)),
        parent => format!("unknown key {} in `{parent}`", quote(text)),
    };
    let has = |section: &&str| {
        let section = KEYS.field(section);
        section.is_some_and(|section| section.field(text).is_some())
    };
    let section = SECTIONS
        .into_iter()
        .filter(|place| *place != parent)
        .find(has);
    let help = match (nearest, section) {
        _ if KEYS.field(text).is_some() => format!("{} belongs at the top level", quote(text)),
        (_, Some(section)) => format!("{} belongs below `{section}`", quote(text)),
        (Some(nearest), None) => format!("did you mean `{nearest}`?"),
        (None, None) => {
            let known: Vec<String> = key.names().map(|key| format!("`{key}`")).collect();
            let known = match known.as_slice() {
                [only] => format!("the only key is {only}"),
                known => format!("the keys are {}", known.join(", ")),
            };
            match parent {
                "" => format!("{known}; settings of the cluster belong below `config`"),
                _ => known,
            }
        }
    };
    findings.add(Problem::at(name, rule).with_help(help));
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
