//! Follows `inherit` from an environment's file to its parents.

use std::{collections::HashSet, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    check,
    error::Error,
    findings::Findings,
    paths::{directory, is_absent, looked_for_from, relative_to},
    problem::{Problem, quote},
    yaml::{self, BYTE_ORDER_MARK, Node, Source},
};

/// The files of an environment: its own first, then its parent, and so on.
pub(crate) struct Chain {
    /// Every file that was read.
    pub(crate) files: Vec<Arc<Source>>,
    /// The documents that could be parsed, in the order of the files. Each is a mapping, or null if
    /// its file is empty.
    pub(crate) documents: Vec<Node>,
    /// Whether every file was found and parsed, so what is missing in `documents` is missing.
    pub(crate) is_complete: bool,
}

/// Reads a file and its parents, and checks each by itself.
///
/// `path` is relative to `root`.
pub(crate) fn read(
    root: &Utf8Path,
    path: &Utf8Path,
    findings: &mut Findings,
) -> Result<Chain, Error> {
    let mut chain = Chain {
        files: Vec::new(),
        documents: Vec::new(),
        is_complete: false,
    };
    let mut read = HashSet::new();
    let mut path = path.to_owned();
    loop {
        let absolute = root.join(&path);
        read.insert(canonical(&absolute)?);
        let source = Arc::new(Source {
            text: read_text(&absolute)?,
            path,
        });
        chain.files.push(Arc::clone(&source));
        let Some(document) = parse(source, findings) else {
            return Ok(chain);
        };
        if let Some(keys) = document.as_mapping() {
            check::document(keys, findings);
        }
        let parent = document.get("inherit").filter(|parent| !parent.is_null());
        let parent = parent.cloned();
        chain.documents.push(document);
        let Some(parent) = parent else {
            chain.is_complete = true;
            return Ok(chain);
        };
        // What is not even a path has been noted with the rest of the file.
        let Some(written) = parent.text().filter(|path| !path.is_empty()) else {
            return Ok(chain);
        };
        path = match resolve(root, &parent, Utf8Path::new(written), &read)? {
            Ok(path) => path,
            Err(problem) => {
                findings.add(problem);
                return Ok(chain);
            }
        };
    }
}

fn read_text(path: &Utf8Path) -> Result<String, Error> {
    let text = files::read_text(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    // Some editors begin a file with this mark. It is not part of the text that problems show.
    Ok(match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(unmarked) => unmarked.to_owned(),
        None => text,
    })
}

fn parse(source: Arc<Source>, findings: &mut Findings) -> Option<Node> {
    match yaml::parse(source) {
        Ok(document) if document.as_mapping().is_some() || document.is_null() => Some(document),
        Ok(document) => {
            let rule = format!("the document is {}, not a mapping", document.kind());
            findings.add(Problem::at(&document, rule));
            None
        }
        Err(problem) => {
            findings.add(problem);
            None
        }
    }
}

/// Finds the file that an `inherit` means, relative to the workspace root.
fn resolve(
    root: &Utf8Path,
    parent: &Node,
    written: &Utf8Path,
    read: &HashSet<Utf8PathBuf>,
) -> Result<Result<Utf8PathBuf, Problem>, Error> {
    let quoted = quote(written.as_str());
    let refuse = |rule: String| Ok(Err(Problem::at(parent, rule)));
    if written.is_absolute() {
        return Ok(Err(Problem::at(
            parent,
            format!("the path {quoted} is absolute"),
        )
        .with_help("write it relative to this file, such as `../base.yaml`")));
    }
    let Some(path) = relative_to(directory(&parent.source), written) else {
        return refuse(format!("{quoted} is outside the workspace"));
    };
    if !matches!(path.extension(), Some("yaml" | "yml")) {
        return refuse(format!("{quoted} is not the path of a YAML file"));
    }
    let file = match canonical(&root.join(&path)) {
        Err(Error::Read { source, .. }) if is_absent(&source) => {
            let rule = format!("the file {} does not exist", quote(path.as_str()));
            return Ok(Err(
                Problem::at(parent, rule).with_help(looked_for_from(&parent.source))
            ));
        }
        result => result?,
    };
    if !file.starts_with(canonical(root)?) {
        return refuse(format!(
            "{quoted} is a symbolic link to a file outside the workspace"
        ));
    }
    if let Err(error) = files::open(&file)
        && let Some(refusal) = files::Refusal::of(&error)
    {
        return refuse(format!("cannot read {quoted}: {refusal}"));
    }
    if read.contains(&file) {
        return refuse(format!(
            "{quoted} inherits from this file: the files form a cycle"
        ));
    }
    Ok(Ok(path))
}

/// Returns the one path of a file, whatever symbolic links lead to it.
fn canonical(path: &Utf8Path) -> Result<Utf8PathBuf, Error> {
    path.canonicalize_utf8().map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
