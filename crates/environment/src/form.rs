//! The special forms of values below `config`: the references `{ $env: NAME }` and
//! `{ $file: path }`, and the patch `{ $merge: [...], $by: key }`.
//!
//! Files in the repository contain references, never their values. [`resolve_references`] inserts
//! the values, for a temporary file. The caller reads the variables and files.

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
const FORM_KEYS: [&str; 4] = ["$env", "$file", "$merge", "$by"];

/// The source of a value that is not in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// An environment variable.
    Variable(String),
    /// A file: an absolute path, or a path relative to the workspace root.
    File(Utf8PathBuf),
}

/// Returns the reference, if a value is one.
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

/// Returns all references in a value, in document order.
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

/// Replaces references by their values, and returns the values as well, for masking.
///
/// A value is always a string. Line breaks at the end of a single line are removed, because editors
/// and `echo` add them. `read` returns the value, or the problem as a lower-case fragment.
///
/// # Errors
///
/// Returns a problem for each reference
///
/// - that `read` returned a problem for,
/// - whose value is empty, or contains control characters or invisible characters,
/// - whose value has several lines, below a key such as `password`.
pub fn resolve_references(
    mut node: Node,
    read: &dyn Fn(&Reference) -> Result<SecretString, String>,
) -> Result<(Node, Vec<SecretString>), Problems> {
    let mut secrets = Vec::new();
    let mut problems = Vec::new();
    replace_references(&mut node, "", read, &mut secrets, &mut problems);
    if problems.is_empty() {
        Ok((node, secrets))
    } else {
        Err(Problems(problems))
    }
}

/// Replaces the references in a node. `key` is the nearest key above it.
fn replace_references(
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
                true if has_single_line(key) => {
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
                replace_references(item, key, read, secrets, problems);
            }
        }
        Value::Mapping(keys) => {
            for (key, value) in keys.pairs_mut() {
                replace_references(
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

/// Returns whether the value of a key has a single line. Certificates and private keys have
/// several.
fn has_single_line(key: &str) -> bool {
    const WORDS: &[&str] = &["pass", "secret", "token", "user"];
    let key = key.to_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// A list to merge into the inherited list.
pub(crate) struct Patch<'node> {
    pub(crate) items: &'node [Node],
    /// The path of the key that identifies an item, such as `ssh.address`.
    pub(crate) by: &'node str,
}

/// Returns the patch, if a value is one.
pub(crate) fn patch(node: &Node) -> Option<Patch<'_>> {
    Some(Patch {
        items: node.get("$merge")?.as_sequence()?,
        by: node.get("$by")?.text()?,
    })
}

/// Checks the forms in the `config` of one file.
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
        let mut report = |node: &Node, rule: String, help: &str| {
            findings.add(Problem::at(node, rule).with_help(help));
        };
        match name {
            "$env" | "$file" if keys.len() > 1 => report(
                key,
                format!("`{name}` cannot be combined with other keys"),
                "a reference is the whole value: write `{ $env: NAME }` or `{ $file: path }`",
            ),
            "$env" if !value.text().is_some_and(grammar::is_variable_name) => {
                // The operator may have written the secret itself.
                findings.secrets.add(value);
                let rule = "this is not the name of an environment variable";
                findings.add(
                    Problem::at(value, rule)
                        .with_help("write capital letters, digits and underscores"),
                );
            }
            "$file" if value.is_null() || value.text().is_none_or(str::is_empty) => report(
                value,
                "`$file` has no path".to_owned(),
                "write its path, relative to this file",
            ),
            "$merge" | "$by" if keys.len() != 2 || !is_patch(keys) => report(
                key,
                format!("`{name}` is incomplete"),
                "write `{ $merge: [...], $by: ssh.address }`: a list, and the key that identifies its items",
            ),
            "$merge" => check_patch_items(value, keys, findings),
            _ if name.starts_with('$') && !FORM_KEYS.contains(&name) => {
                // A key that is not similar to a form may be a key of the vendor.
                if let Some(nearest) = nearest(name, FORM_KEYS) {
                    report(
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

/// Checks that each item of a patch has the key that `$by` names.
fn check_patch_items(list: &Node, keys: &Mapping, findings: &mut Findings) {
    let by = keys.get("$by").and_then(Node::text).unwrap_or_default();
    for item in list.as_sequence().unwrap_or_default() {
        if identity(item, by).is_none() {
            let rule = format!("this item has no {}, the key to merge by", quote(by));
            findings
                .add(Problem::at(item, rule).with_help("add it, or name a different key in `$by`"));
        }
    }
}

/// Returns the text that identifies an item of a list: the value at the path `by`.
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
        let (node, secrets) = resolve_references(node, &|_| Ok(SecretString::from(value)))
            .map_err(|problems| {
                problems
                    .0
                    .into_iter()
                    .map(|found| found.rule)
                    .collect::<Vec<_>>()
            })?;
        let value = node
            .as_mapping()
            .and_then(|dex| dex.get("dex")?.as_mapping()?.get(key));
        let value = value.and_then(Node::text).unwrap().to_owned();
        assert_eq!(secrets.len(), 1);
        assert_eq!(secrets[0].expose_secret(), value);
        Ok(value)
    }

    #[test]
    fn line_breaks_at_the_end_of_a_single_line_are_removed() {
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
