//! How `mkectl` is run for an environment: how long it may take, and who gets the password that it generates.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::findings::unknown_key;
use crate::problem::Problem;
use crate::span::span;
use crate::yaml::Node;

/// The key that says who gets the administrator's password.
pub(crate) const ADMIN_PASSWORD: &str = "admin-password";

/// The key that limits the time of `mkectl apply`.
pub(crate) const APPLY_TIMEOUT: &str = "apply-timeout";

/// The key that says where the backups before upgrades go.
pub(crate) const BACKUPS: &str = "backups";

/// The key that names a release matrix, for a bundle that has none.
pub(crate) const RELEASE_MATRIX: &str = "release-matrix";

/// The key that names the kubeconfig of the cluster.
pub(crate) const KUBECONFIG: &str = "kubeconfig";

/// What to write under `admin-password`.
const HELP: &str = "write `{ file: PATH }`, or `{ command: [PROGRAM, ARGUMENT] }` for a program that reads it, or `ask` to be shown it on the \
    terminal";

/// What stands in the place of a mapping where the terminal shows it.
const ASK: &str = "ask";

/// How `mkectl` is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// Who gets the administrator's password, which mkectl prints once; a file of the tool's choice where nothing is said.
    pub admin_password: Option<AdminPassword>,
    /// How long `mkectl apply` may take, and a backup or an upgrade in its place; as long as it likes where nothing is said.
    pub apply_timeout: Option<Duration>,
    /// The folder that the backups before upgrades go to; one of the tool's choice where nothing is said.
    pub backups: Option<Utf8PathBuf>,
    /// The vendor's release matrix, for a release whose bundle has none. Whether it is there has not been checked.
    pub release_matrix: Option<Utf8PathBuf>,
    /// The kubeconfig of the environment's cluster. The file may not exist yet.
    pub kubeconfig: Option<Utf8PathBuf>,
}

/// Who gets the administrator's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminPassword {
    /// A file, which only its owner may read.
    File(Utf8PathBuf),
    /// Whoever sits at the terminal, after a question. It is in a file until they say that they have it.
    Ask,
    /// A program and its arguments. It reads the password from its standard input.
    Command(Vec<String>),
}

/// Checks `admin-password` in one file.
pub(crate) fn check_admin_password(node: &Node) -> Vec<Problem> {
    if node.text() == Some(ASK) {
        return Vec::new();
    }
    let Some(keys) = node.as_mapping() else {
        // Perhaps it is the password.
        let rule = format!("`{ADMIN_PASSWORD}` is {}, not a mapping", node.kind());
        return vec![Problem::at(node, rule).with_help(HELP)];
    };
    let mut problems = Vec::new();
    for (key, value) in keys.iter() {
        let name = key.text().unwrap_or_default();
        let is_right = match name {
            _ if value.is_null() => true,
            "file" => value.text().is_some_and(|path| !path.is_empty()),
            "command" => words(value).is_some_and(|words| !words.is_empty()),
            _ => {
                problems.push(unknown_key(key, &["file", "command"], ADMIN_PASSWORD, HELP));
                continue;
            }
        };
        if !is_right {
            let wanted = match name {
                "file" => "a path",
                _ => "a list of a program and its arguments",
            };
            let rule = format!("`{ADMIN_PASSWORD}.{name}` is not {wanted}");
            problems.push(Problem::at(value, rule).with_help(HELP));
        }
    }
    problems
}

/// Reads `admin-password` of the merged document, where `path` finds the file that a value means.
pub(crate) fn admin_password(
    node: &Node,
    path: impl Fn(&Node, &str) -> Utf8PathBuf,
) -> Result<Option<AdminPassword>, Problem> {
    if node.text() == Some(ASK) {
        return Ok(Some(AdminPassword::Ask));
    }
    let file = node
        .get("file")
        .and_then(|file| Some(path(file, file.text()?)));
    let command = node.get("command").and_then(words);
    match (file, command) {
        (Some(_), Some(_)) => Err(Problem::at(
            node,
            format!("`{ADMIN_PASSWORD}` names a file and a command"),
        )
        .with_help("keep one of them; `null` removes what a parent says")),
        (Some(file), None) => Ok(Some(AdminPassword::File(file))),
        (None, Some(command)) => Ok(Some(AdminPassword::Command(command))),
        (None, None) => Ok(None),
    }
}

/// Reads `apply-timeout`.
pub(crate) fn apply_timeout(node: &Node) -> Result<Duration, Problem> {
    span(node, APPLY_TIMEOUT)
}

/// Returns a list of texts.
fn words(node: &Node) -> Option<Vec<String>> {
    node.as_sequence()?
        .iter()
        .map(|word| word.text().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests;
