//! Reads an environment from its files.

use std::sync::Arc;

use camino::Utf8Path;

use crate::{
    document_check,
    environment::{Environment, Registry},
    error::Error,
    findings::Findings,
    grammar, inherit, inventory,
    keys::KEYS,
    mask::Secrets,
    merge::{merge, without_nulls, without_patches},
    nearest::nearest,
    paths,
    problem::{Problem, Problems, quote},
    read::{Read as _, Reader},
    yaml::{Mapping, Node, Source, Value},
};

/// The folder below the workspace root that holds the environments.
const ENVIRONMENTS: &str = "environments";

/// The file in an environment's folder that describes the environment.
const FILE: &str = "environment.yaml";

/// Returns the names of all environments, sorted: the folders below `environments` that contain or
/// may contain an `environment.yaml`.
///
/// `root` is the workspace root. The result includes names that are not valid: [`load`] reports the
/// problem with such a name.
///
/// # Errors
///
/// Returns [`Error::Read`] if the folder cannot be read. If the folder does not exist, the result
/// is empty.
pub fn names(root: &Utf8Path) -> Result<Vec<String>, Error> {
    let directory = root.join(ENVIRONMENTS);
    let cannot_read = |source| Error::Read {
        path: directory.clone(),
        source,
    };
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if paths::is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(cannot_read(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(cannot_read)?;
        if may_be_environment(&entry.path()) {
            // A name that is not UTF-8 is invalid, but must not hide the other environments.
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Returns whether a folder is or may be an environment.
///
/// A folder may be one if it denies access, is a link to a disk that is not mounted, or contains
/// only a receipt. `prune` must not delete artifacts of such an environment.
fn may_be_environment(folder: &std::path::Path) -> bool {
    let may_exist = |path: &std::path::Path| {
        let metadata = path.symlink_metadata();
        metadata.map_or_else(|error| !paths::is_absent(&error), |_| true)
    };
    let is_dangling =
        || folder.is_symlink() && (folder.metadata()).is_err_and(|error| paths::is_absent(&error));
    may_exist(&folder.join(FILE)) || may_exist(&folder.join("receipt.yaml")) || is_dangling()
}

/// Reads an environment and the files that it inherits from, and checks it.
///
/// `root` is the workspace root. Problems name files by their paths relative to it.
///
/// # Errors
///
/// Returns [`Error::Wrong`] with all problems of the files, or a different error if the files
/// cannot be read.
pub fn load(root: &Utf8Path, name: &str) -> Result<Environment, Error> {
    load_with(root, name, &|_, _| Default::default())
}

/// A function that checks the `config` of one file and the rows of the inventory. It knows the keys
/// of the cluster's configuration. It returns problems, and the secrets to mask in them.
pub type Hints<'a> = &'a dyn Fn(&Node, &[Node]) -> (Vec<Problem>, Secrets);

/// Reads an environment like [`load`]. If the files have problems, the result also has the problems
/// that `hints` finds in the `config` of each file. The operator can then fix all problems in one
/// run.
///
/// # Errors
///
/// Returns the same errors as [`load`].
pub fn load_with(root: &Utf8Path, name: &str, hints: Hints<'_>) -> Result<Environment, Error> {
    grammar::environment_name(name)?;
    let path = Utf8Path::new(ENVIRONMENTS).join(name).join(FILE);
    if !may_be_environment(root.join(ENVIRONMENTS).join(name).as_std_path()) {
        let known = names(root)?;
        return Err(Error::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
            known,
        });
    }

    let mut findings = Findings::default();
    let chain = inherit::read(root, &path, &mut findings)?;
    let configs: Vec<Node> = chain
        .documents
        .iter()
        .filter_map(|document| document.get("config").cloned())
        .collect();
    let merged = merge_all(chain.documents);
    if let Some(merged) = &merged {
        if let (true, Some(keys)) = (chain.is_complete, merged.as_mapping()) {
            document_check::report_missing_keys(keys, &chain.files[0], &mut findings);
        }
        check_rehearsal(merged, &mut findings);
    }
    let mut files = chain.files;
    let inventory = match merged.as_ref().and_then(|merged| merged.get("inventory")) {
        Some(node) => inventory::read(root, node, &mut findings)?,
        None => None,
    };
    let rows = match inventory {
        Some(inventory) => {
            files.push(inventory.source);
            inventory.rows
        }
        None => Vec::new(),
    };
    let environment = merged.as_ref().and_then(|merged| {
        let mut reader = Reader {
            root,
            name,
            merged,
            findings: &mut findings,
        };
        Environment::read(&KEYS, Some(merged), &mut reader)
    });
    match (environment, merged) {
        (Some(environment), Some(merged)) if findings.problems.is_empty() => Ok(Environment {
            name: name.to_owned(),
            directory: root.join(ENVIRONMENTS).join(name),
            inventory: rows,
            files,
            merged,
            ..environment
        }),
        _ => {
            for (index, config) in configs.iter().enumerate() {
                let rows = if index == 0 { rows.as_slice() } else { &[] };
                let (problems, secrets) = hints(config, rows);
                findings.problems.extend(problems);
                findings.secrets.extend(secrets);
            }
            Err(Error::Wrong(sorted_problems(findings, &files)))
        }
    }
}

/// Merges the documents of a chain. The first document is the environment's own.
fn merge_all(documents: Vec<Node>) -> Option<Node> {
    let mut merged = documents
        .into_iter()
        .rev()
        .map(|document| match document.value {
            Value::Mapping(_) => document,
            // The document of an empty file is null.
            _ => Node {
                value: Value::Mapping(Mapping::new()),
                ..document
            },
        })
        .reduce(merge)
        .map(without_nulls)?;
    if let Some(keys) = merged.as_mapping_mut() {
        keys.remove("inherit");
        if let Some(config) = keys.get_mut("config") {
            *config = without_patches(std::mem::take(config));
        }
    }
    Some(merged)
}

/// Reports a rehearsal whose registry address is not on this machine or has no port. The embedded
/// registry listens on that address.
fn check_rehearsal(merged: &Node, findings: &mut Findings) {
    const HELP: &str = "write an address such as `127.0.0.1:5443`, or remove `rehearsal: true`";
    let rehearsal = merged.get("rehearsal").and_then(Node::text);
    let is_rehearsal = rehearsal.is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let address = merged.get("registry").and_then(|node| node.get("address"));
    let Some(node) = address.filter(|_| is_rehearsal) else {
        return;
    };
    let Some(address) = node.text().filter(|text| grammar::address(text).is_ok()) else {
        return;
    };
    let registry = Registry {
        address: address.to_owned(),
        ..Registry::default()
    };
    let rule = if !registry.is_loopback() {
        format!(
            "a rehearsal's registry runs on this machine, but {} is another one",
            quote(address)
        )
    } else if registry.port().is_none() {
        format!(
            "a rehearsal's registry needs a port, but {} names none",
            quote(address)
        )
    } else {
        return;
    };
    findings.add(Problem::at(node, rule).with_help(HELP));
}

/// Sorts problems by file and place, and masks the secrets in their sources.
fn sorted_problems(findings: Findings, files: &[Arc<Source>]) -> Problems {
    let Findings {
        mut problems,
        secrets,
    } = findings;
    problems.sort_by_key(|problem| {
        let file = files
            .iter()
            .position(|file| file.path == problem.source.path);
        (file, problem.span.start)
    });
    secrets.mask(&mut problems);
    Problems(problems)
}

#[cfg(test)]
pub(crate) mod tests;
