//! Reads the file of an environment and the files that it inherits from.

use std::{collections::HashSet, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    document_check,
    error::Error,
    findings::Findings,
    paths::{base_folder_help, directory, is_absent, relative_to},
    problem::{Problem, quote},
    yaml::{self, Node, Source},
};

/// The files of an environment: `environment.yaml`, then its parent, and so on.
pub(crate) struct Chain {
    /// Every file that was read.
    pub(crate) files: Vec<Arc<Source>>,
    /// The documents of the files that could be parsed. Each is a mapping, or null for an empty
    /// file.
    pub(crate) documents: Vec<Node>,
    /// Whether every file was found and parsed. Otherwise a required key may be in a missing
    /// document.
    pub(crate) is_complete: bool,
}

/// Reads a file and its parents, and checks each file by itself.
///
/// `path` is relative to `root`, the workspace root.
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
            document_check::check(keys, findings);
        }
        let parent = document.get("inherit").filter(|parent| !parent.is_null());
        let parent = parent.cloned();
        chain.documents.push(document);
        let Some(parent) = parent else {
            chain.is_complete = true;
            return Ok(chain);
        };
        // The check of the document has reported a value that is not a path.
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
    files::read_text(path)
        .map(yaml::without_byte_order_mark)
        .map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
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

/// Returns the path of the parent that `inherit` names, relative to the workspace root.
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
                Problem::at(parent, rule).with_help(base_folder_help(&parent.source))
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

/// Returns the path of a file without symbolic links.
fn canonical(path: &Utf8Path) -> Result<Utf8PathBuf, Error> {
    path.canonicalize_utf8().map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
