//! Checks a document against the table of keys.
//!
//! Each file of a chain is checked by itself. A mistake in a parent is therefore found even if a
//! child overrides the key.

use std::{ops::Range, sync::Arc};

use crate::{
    findings::Findings,
    form,
    keys::{KEYS, Key, Kind, join, kind::environment_value_fault},
    nearest::nearest,
    problem::{Problem, quote, quoted_list},
    yaml::{Mapping, Node, Source},
};

/// Sections whose keys operators put at the top level or in a different section by mistake.
const SECTIONS: [&str; 2] = ["registry", "facts"];

/// Words in the names of keys that have secrets as values.
const SECRET_WORDS: &[&str] = &[
    "user",
    "pass",
    "token",
    "secret",
    "auth",
    "login",
    "credential",
];

/// Checks the document of one file. Below `config`, only references and merged lists are checked.
pub(crate) fn check(document: &Mapping, findings: &mut Findings) {
    check_mapping(&KEYS, "", document, findings);
    if let Some(config) = document.get("config") {
        form::check(config, findings);
    }
}

fn check_mapping(key: &Key, path: &str, mapping: &Mapping, findings: &mut Findings) {
    for (name, node) in mapping.iter() {
        let text = name.text().unwrap_or_default();
        match key.field(text) {
            None => report_unknown_key(name, node, key, path, findings),
            // A null removes the value of a parent.
            Some(_) if node.is_null() => {}
            Some(known) => check_value(known, &join(path, text), node, findings),
        }
    }
}

fn check_value(key: &Key, path: &str, node: &Node, findings: &mut Findings) {
    if let (Some(mapping), false) = (node.as_mapping(), key.fields.is_empty()) {
        return check_mapping(key, path, mapping, findings);
    }
    let Some(fault) = environment_value_fault(key, path, node) else {
        return;
    };
    let may_be_secret = key.rule.as_ref().is_some_and(|rule| {
        let is_address = rule.kind == Kind::RegistryAddress;
        // User information and queries may contain passwords and tokens.
        let has_login_or_query = |text: &str| text.contains(['@', '?', '#']);
        rule.is_secret || (is_address && node.text().is_some_and(has_login_or_query))
    });
    if may_be_secret {
        findings.secrets.add(node);
    }
    findings.add(Problem {
        help: fault.help,
        ..Problem::at(node, fault.rule)
    });
}

/// Reports the required keys that no file of the chain sets. `file` is the file to report them in.
pub(crate) fn report_missing_keys(merged: &Mapping, file: &Arc<Source>, findings: &mut Findings) {
    report_missing_below(&KEYS, "", merged, (file, 0..0), findings);
}

/// Reports the required keys that are missing in a mapping. The key of the mapping is at `place`.
fn report_missing_below(
    key: &Key,
    path: &str,
    mapping: &Mapping,
    place: (&Arc<Source>, Range<usize>),
    findings: &mut Findings,
) {
    for (name, field) in &key.fields {
        let path = join(path, name);
        let is_required = field.rule.as_ref().is_some_and(|rule| rule.required);
        let help = |key: &Key| key.rule.as_ref()?.help.clone();
        match mapping.pair(name) {
            Some((name, node)) => {
                if let Some(mapping) = node.as_mapping() {
                    let place = (&name.source, name.span.clone());
                    // In an optional mapping, an unknown key may be a misspelt required key.
                    if is_required
                        || mapping
                            .iter()
                            .all(|(name, _)| field.field(name.text().unwrap_or_default()).is_some())
                    {
                        report_missing_below(field, &path, mapping, place, findings);
                    }
                }
            }
            // A misspelt key is already reported as unknown.
            None if is_required && is_misspelt(name, key, mapping) => {}
            None if is_required && !field.fields.is_empty() && help(field).is_none() => {
                report_missing_below(field, &path, &Mapping::new(), place.clone(), findings);
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

/// Returns whether a mapping has an unknown key that is probably a misspelling of `name`.
fn is_misspelt(name: &str, key: &Key, mapping: &Mapping) -> bool {
    mapping.iter().any(|(written, _)| {
        let written = written.text().unwrap_or_default();
        key.field(written).is_none() && nearest(written, key.names()) == Some(name)
    })
}

/// Reports a key that is not in the table.
fn report_unknown_key(name: &Node, value: &Node, key: &Key, parent: &str, findings: &mut Findings) {
    let text = name.text().unwrap_or_default();
    let nearest = nearest(text, key.names());
    record_secrets(name, value, findings);
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
    let has_key = |section: &&str| {
        let section = KEYS.field(section);
        section.is_some_and(|section| section.field(text).is_some())
    };
    let section = SECTIONS
        .into_iter()
        .filter(|section| *section != parent)
        .find(has_key);
    let help = match (nearest, section) {
        _ if KEYS.field(text).is_some() => format!("{} belongs at the top level", quote(text)),
        (_, Some(section)) => format!("{} belongs below `{section}`", quote(text)),
        (Some(nearest), None) => format!("did you mean `{nearest}`?"),
        (None, None) => {
            let names = quoted_list(key.names(), ", ");
            match (parent, key.fields.len()) {
                ("", _) => {
                    format!("the keys are {names}; settings of the cluster belong below `config`")
                }
                (_, 1) => format!("the only key is {names}"),
                _ => format!("the keys are {names}"),
            }
        }
    };
    findings.add(Problem::at(name, rule).with_help(help));
}

/// Records the values that are secrets according to the names of their keys.
fn record_secrets(key: &Node, value: &Node, findings: &mut Findings) {
    if key.text().is_some_and(is_secret_like) {
        findings.secrets.add(value);
        return;
    }
    for (key, value) in value.as_mapping().into_iter().flat_map(Mapping::iter) {
        record_secrets(key, value, findings);
    }
}

/// Returns whether a key of this name probably has a secret as value.
fn is_secret_like(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}
