//! Finds what a workspace still lacks after a replacement, which has only some pieces of a medium.

use medium::{Medium, What};

use crate::event::Event;
use crate::transfer::fetch::open_store;
use crate::transfer::program::{StoredProgram, platform};
use crate::{Context, Workspace};

/// Returns what the medium's locks require, and neither the medium nor the workspace has. Warns
/// about it.
///
/// # Errors
/// A lock or the store cannot be read.
pub(super) fn lacking(context: &Context<'_>, medium: &Medium) -> Result<Vec<String>, crate::Error> {
    let mut lacking = files(context.workspace, medium)?;
    let (blobs, bytes) = blobs(context.workspace, medium)?;
    if blobs > 0 {
        lacking.push(format!(
            "{} of {}",
            environment::count(blobs, "blob"),
            bytesize::ByteSize(bytes).display().si()
        ));
    }
    if !lacking.is_empty() {
        context.reporter.report(Event::Warning(format!(
            "this medium replaces a part of an earlier one, and the workspace still lacks {}; unpack the earlier medium, too",
            lacking.join(", ")
        )));
    }
    Ok(lacking)
}

/// Returns the locks that a medium was packed for, if the workspace has them unchanged.
fn served(workspace: &Workspace, medium: &Medium) -> Result<Vec<bundle::Lock>, crate::Error> {
    let mut locks = Vec::new();
    for path in workspace.locks()? {
        let served = &medium.manifest().serves.locks;
        if let Some(one) = served.iter().find(|one| workspace.shown(&path) == one.path) {
            let text =
                files::read_text(&path).map_err(|source| crate::Error::read(&path, source))?;
            // A replaced lock lists different blobs.
            if bundle::Lock::digest(&text) == one.sha256 {
                locks.push(bundle::Lock::parse(&text, workspace.shown(&path))?);
            }
        }
    }
    Ok(locks)
}

/// Returns the number and the bytes of the blobs that are neither in the store nor assumed to be at
/// the site.
fn blobs(workspace: &Workspace, medium: &Medium) -> Result<(usize, u64), crate::Error> {
    let store = open_store(workspace)?;
    let assumed = &medium.manifest().assumes.blobs;
    let mut missing = std::collections::BTreeMap::new();
    for lock in served(workspace, medium)? {
        for blob in store.missing(&lock) {
            let sha256 = blob.digest.digest();
            if !assumed.iter().any(|one| one.sha256 == sha256) {
                missing.insert(sha256.to_owned(), blob.size);
            }
        }
    }
    Ok((missing.len(), missing.values().sum()))
}

/// Returns the missing program and mkectl. A medium with a program leaves out only what the site
/// has.
fn files(workspace: &Workspace, medium: &Medium) -> Result<Vec<String>, crate::Error> {
    let mut contents = medium.manifest().contents.iter();
    if contents.any(|content| matches!(content.what, What::Program { .. })) {
        return Ok(Vec::new());
    }
    let mut lacking = Vec::new();
    if !workspace.root().join(super::place::PROGRAM).exists() {
        lacking.push("the program".to_owned());
    }
    for lock in served(workspace, medium)? {
        let here = platform();
        if let Some(locked) = lock.mkectl.iter().find(|one| one.platform == here)
            && !StoredProgram::of(workspace, &lock, locked).program.exists()
        {
            lacking.push(format!("mkectl {}", lock.release));
        }
    }
    Ok(lacking)
}
