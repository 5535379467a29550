//! The values under `config` that represent something else: `{ $env: NAME }`, `{ $file: path }` and
//! `{ $merge: [...], $by: key }`.
//!
//! A reference is kept as it is in everything that is written into the repository. Only [`resolve`]
//! puts the value in its place, for a file that is removed again. Nothing here reads a variable or
//! a file: the caller does.

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    findings::Findings,
    grammar,
    nearest::nearest,
    paths,
    problem::{Problem, Problems, quote},
    yaml::{Mapping, Node, Value},
};

/// The keys of all forms.
const KEYS: [&str; 4] = ["$env", "$file", "$merge", "$by"];

/// What a value is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// An environment variable.
    Variable(String),
    /// A file: an absolute path, or one below the workspace root.
    File(Utf8PathBuf),
}

/// Returns what a value refers to, if it is a reference.
pub fn reference(node: &Node) -> Option<Reference> {
    let keys = node.as_mapping().filter(|keys| keys.len() == 1)?;
    if let Some(name) = keys.get("$env") {
        return name.text().map(|name| Reference::Variable(name.to_owned()));
    }
    let written = Utf8Path::new(keys.get("$file")?.text()?);
    let directory = paths::directory(&node.source);
    Some(Reference::File(
        paths::relative_to(directory, written).unwrap_or_else(|| directory.join(written)),
    ))
}

/// Returns every reference in a value, in its order.
pub fn references(node: &Node) -> Vec<Reference> {
    if let Some(reference) = reference(node) {
        return vec![reference];
    }
    match &node.value {
        Value::Scalar(_) => Vec::new(),
        Value::Sequence(items) => items.iter().flat_map(references).collect(),
        Value::Mapping(keys) => keys
            .iter()
            .flat_map(|(_, value)| references(value))
            .collect(),
    }
}

/// Puts values in the place of their references, and returns them beside the result, for masking.
///
/// A value is always a text. The line breaks that end a text of one line are not part of it, since
/// editors and `echo` add them.
///
/// # Errors
///
/// Every reference that `read` had no value for, with what it says: a lower-case fragment; every
/// text of several lines below a key such as `password`, whose value has one line; every text with
/// characters that are not seen.
pub fn resolve(
    mut node: Node,
    read: &dyn Fn(&Reference) -> Result<SecretString, String>,
) -> Result<(Node, Vec<SecretString>), Problems> {
    let mut secrets = Vec::new();
    let mut problems = Vec::new();
    fill(&mut node, "", read, &mut secrets, &mut problems);
    if problems.is_empty() {
        Ok((node, secrets))
    } else {
        Err(Problems(problems))
    }
}

fn fill(
    node: &mut Node,
    key: &str,
    read: &dyn Fn(&Reference) -> Result<SecretString, String>,
    secrets: &mut Vec<SecretString>,
    problems: &mut Vec<Problem>,
) {
    if let Some(reference) = reference(node) {
        let value = read(&reference).and_then(|secret| {
            let text = secret.expose_secret();
            if let Some(rule) = redaction::hidden_rule(text) {
                return Err(rule);
            }
            let line = text.trim_end_matches(['\r', '\n']);
            match line.contains(['\r', '\n']) {
                false if line.is_empty() => Err("is empty".to_owned()),
                false => Ok(SecretString::from(line)),
                true if has_one_line(key) => {
                    Err(format!("has several lines, but {} has one", quote(key)))
                }
                true => Ok(secret),
            }
        });
        match value {
            Ok(secret) => {
                let text = secret.expose_secret();
                node.value = match text.contains('\n') {
                    true => Node::literal(text).value,
                    false => Node::string(text).value,
                };
                secrets.push(secret);
            }
            Err(rule) => {
                let rule = match reference {
                    Reference::Variable(name) => format!("the variable {} {rule}", quote(&name)),
                    Reference::File(path) => format!("the file {} {rule}", quote(path.as_str())),
                };
                problems.push(Problem::at(node, rule));
            }
        }
        return;
    }
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => {
            for item in items {
                fill(item, key, read, secrets, problems);
            }
        }
        Value::Mapping(keys) => {
            for (key, value) in keys.pairs_mut() {
                fill(
                    value,
                    key.text().unwrap_or_default(),
                    read,
                    secrets,
                    problems,
                );
            }
        }
    }
}

/// Returns whether the value of such a key has one line. Certificates and keys have several.
fn has_one_line(key: &str) -> bool {
    const WORDS: &[&str] = &["pass", "secret", "token", "user"];
    let key = key.to_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// A list that is to be merged into the one that is inherited.
pub(crate) struct Patch<'node> {
    pub(crate) items: &'node [Node],
    /// The key that identifies items, with dots between its parts.
    pub(crate) by: &'node str,
}

/// Returns the list that is to be merged, if a value is one.
pub(crate) fn patch(node: &Node) -> Option<Patch<'_>> {
    Some(Patch {
        items: node.get("$merge")?.as_sequence()?,
        by: node.get("$by")?.text()?,
    })
}

/// Checks the forms in one file's `config`.
pub(crate) fn check(node: &Node, findings: &mut Findings) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| check(item, findings)),
        Value::Mapping(keys) => {
            check_keys(keys, findings);
            for (_, value) in keys.iter() {
                check(value, findings);
            }
        }
    }
}

fn check_keys(keys: &Mapping, findings: &mut Findings) {
    for (key, value) in keys.iter() {
        let name = key.text().unwrap_or_default();
        let mut note = |node: &Node, rule: String, help: &str| {
            findings.add(Problem::at(node, rule).with_help(help));
        };
        match name {
            "$env" | "$file" if keys.len() > 1 => note(
                key,
                format!("`{name}` cannot be combined with other keys"),
                "a reference is the whole value: write `{ $env: NAME }` or `{ $file: path }`",
            ),
            "$env" if !value.text().is_some_and(grammar::is_variable_name) => {
                // Whatever this is, it may be the secret itself.
                findings.secrets.add(value);
                let rule = "this is not the name of an environment variable";
                findings.add(
                    Problem::at(value, rule)
                        .with_help("write capital letters, digits and underscores"),
                );
            }
            "$file" if value.is_null() || value.text().is_none_or(str::is_empty) => note(
                value,
                "`$file` has no path".to_owned(),
                "write its path, relative to this file",
            ),
            "$merge" | "$by" if keys.len() != 2 || !is_patch(keys) => note(
                key,
                format!("`{name}` is incomplete"),
                "write `{ $merge: [...], $by: ssh.address }`: a list, and the key that identifies its items",
            ),
            "$merge" => check_items(value, keys, findings),
            _ if name.starts_with('$') && !KEYS.contains(&name) => {
                // One that is like none of ours is the vendor's affair.
                if let Some(nearest) = nearest(name, KEYS) {
                    note(
                        key,
                        format!("unknown form {}", quote(name)),
                        &format!("did you mean `{nearest}`?"),
                    );
                }
            }
            _ => {}
        }
    }
}

fn is_patch(keys: &Mapping) -> bool {
    let is_list = |node: &Node| node.as_sequence().is_some();
    keys.get("$merge").is_some_and(is_list)
        && keys
            .get("$by")
            .is_some_and(|by| by.text().is_some_and(|by| !by.is_empty()))
}

fn check_items(list: &Node, keys: &Mapping, findings: &mut Findings) {
    let by = keys.get("$by").and_then(Node::text).unwrap_or_default();
    for item in list.as_sequence().unwrap_or_default() {
        if identity(item, by).is_none() {
            let rule = format!("this item has no {}, the key to merge by", quote(by));
            findings
                .add(Problem::at(item, rule).with_help("add it, or name a different key in `$by`"));
        }
    }
}

/// Returns what identifies an item of a list: the text at a path with dots between its keys.
pub(crate) fn identity<'node>(item: &'node Node, by: &str) -> Option<&'node str> {
    by.split('.')
        .try_fold(item, |node, key| node.get(key))?
        .text()
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;
    use crate::yaml;

    fn resolved(key: &str, value: &str) -> Result<String, Vec<String>> {
        let source = yaml::Source {
            path: Utf8PathBuf::from("environment.yaml"),
            text: format!("dex: {{ {key}: {{ $env: DEX }} }}\n"),
        };
        let node = yaml::parse(source.into()).unwrap();
        let (node, secrets) =
            super::resolve(node, &|_| Ok(SecretString::from(value))).map_err(|problems| {
                problems
                    .0
                    .into_iter()
                    .map(|found| found.rule)
                    .collect::<Vec<_>>()
            })?;
        let filled = node
            .as_mapping()
            .and_then(|dex| dex.get("dex")?.as_mapping()?.get(key));
        let filled = filled.and_then(Node::text).unwrap().to_owned();
        assert_eq!(secrets.len(), 1);
        assert_eq!(secrets[0].expose_secret(), filled);
        Ok(filled)
    }

    // case 2.4
    #[test]
    fn a_line_end_is_not_part_of_a_value_of_one_line() {
        for end in ["", "\n", "\r\n", "\r", "\n\n", "\r\n\r\n"] {
            assert_eq!(
                resolved("clientSecret", &format!("pw{end}")).as_deref(),
                Ok("pw")
            );
        }
        let pem = "-----BEGIN KEY-----\nabc\n-----END KEY-----\n";
        assert_eq!(resolved("privateKey", pem).as_deref(), Ok(pem));
        for (value, rule) in [
            (
                "p\nw\n",
                "the variable `DEX` has several lines, but `clientSecret` has one",
            ),
            (
                "p\rw",
                "the variable `DEX` has several lines, but `clientSecret` has one",
            ),
            ("\r\n", "the variable `DEX` is empty"),
            (
                "\u{feff}pw\n",
                "the variable `DEX` contains a byte order mark: save it as UTF-8 without one",
            ),
            (
                "p\u{202e}w",
                "the variable `DEX` contains U+202E, a control character or an invisible one",
            ),
            (
                "p\0w",
                "the variable `DEX` contains U+0000, a control character or an invisible one",
            ),
        ] {
            assert_eq!(resolved("clientSecret", value), Err(vec![rule.to_owned()]));
        }
    }
}
