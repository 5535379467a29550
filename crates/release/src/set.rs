//! Sets: images, charts, files and bundles that a cluster needs beside its release. What their locks name is fetched, pushed and
//! verified as what the lock of a release names.
//!
//! Here are their files. [`crate::transfer::set`] locks and fetches them, and [`crate::locked`] joins their locks with a release's.

use std::collections::{HashMap, HashSet};

use bundle::set::BundleItem;
use bundle::{Artifact, Lock, SetBundle};
use camino::Utf8PathBuf;

use crate::workspace::read_if_there;
use crate::{Error as AnyError, Workspace};

mod agree;
mod error;

pub(crate) use agree::contradiction;

pub use bundle::HelmError;
pub use bundle::set::SetError;
pub use error::{Error, Moved};

/// A set's file, read and checked.
#[derive(Debug)]
pub struct Loaded {
    /// The set's name.
    pub name: String,
    /// Its file, relative to the workspace.
    pub path: Utf8PathBuf,
    /// What it says.
    pub set: bundle::set::Set,
    /// What it lists.
    pub entries: Vec<bundle::set::Entry>,
}

/// Reads the file of a set.
///
/// # Errors
/// It does not exist or is not a set, or an environment has the same name.
pub fn load(workspace: &Workspace, name: &str) -> Result<Loaded, AnyError> {
    let file = workspace.set(name);
    let path = workspace.shown(&file).to_owned();
    if !bundle::set::is_name(name) {
        let name = redaction::without_login(name);
        return Err(Error::Name { name }.into());
    }
    let Some(text) = read_if_there(&file)? else {
        return Err(Error::Missing {
            name: name.to_owned(),
            path,
            known: names(workspace)?,
        }
        .into());
    };
    if environment::names(workspace.root())?
        .iter()
        .any(|one| one == name)
    {
        return Err(Error::NameOfEnvironment {
            name: name.to_owned(),
            path,
        }
        .into());
    }
    let set = bundle::set::Set::parse(&text, &path).map_err(Error::Invalid)?;
    let entries = set.entries(&path).map_err(Error::Invalid)?;
    Ok(Loaded {
        name: name.to_owned(),
        path,
        set,
        entries,
    })
}

/// Returns whether the workspace has a set of this name.
pub fn exists(workspace: &Workspace, name: &str) -> bool {
    bundle::set::is_name(name)
        && (workspace.set(name).is_file() || workspace.set_lock(name).is_file())
}

/// Returns the names of the workspace's sets, sorted.
///
/// # Errors
/// `bundles/` cannot be listed.
pub fn names(workspace: &Workspace) -> Result<Vec<String>, AnyError> {
    let files = workspace.files_with(bundle::set::Set::SUFFIX)?;
    let names = files.iter().filter_map(|path| {
        let name = path.file_name()?.strip_suffix(bundle::set::Set::SUFFIX)?;
        bundle::set::is_name(name).then(|| name.to_owned())
    });
    Ok(names.collect())
}

/// Returns the artifacts of a set's lock by their place, which an entry of the set's file has too.
pub(crate) fn by_place(lock: &Lock) -> HashMap<String, &Artifact> {
    let artifacts = lock.artifacts.iter();
    artifacts.map(|one| (one.reference(), one)).collect()
}

/// Returns how a lock differs from the file of its set.
pub(crate) fn differences(loaded: &Loaded, lock: &Lock) -> Vec<String> {
    let mut differences = differences_of_entries(loaded, lock);
    let is_of = |item: &BundleItem, locked: &SetBundle| {
        locked.is_of(item)
            && locked.key.is_some() == item.key.is_some()
            && item.accepts(&locked.sha256)
    };
    for item in &loaded.set.bundles {
        if !lock.bundles.iter().any(|locked| is_of(item, locked)) {
            differences.push(format!("{} is not locked", item.url));
        }
    }
    for locked in &lock.bundles {
        if !loaded.set.bundles.iter().any(|item| is_of(item, locked)) {
            differences.push(format!(
                "the entry of {} was changed or removed after it was locked",
                locked.url
            ));
        }
    }
    differences
}

/// Returns how the artifacts that no bundle has differ from the entries.
fn differences_of_entries(loaded: &Loaded, lock: &Lock) -> Vec<String> {
    let artifacts = by_place(lock);
    let entries = loaded.entries.iter();
    let entries: HashMap<String, _> = entries.map(|entry| (entry.place(), entry)).collect();
    // The manifests whose signatures are carried, each with its repository.
    let signed = loaded.entries.iter().filter(|entry| entry.signatures);
    let signed = signed.filter_map(|entry| artifacts.get(&entry.place()));
    let signed: HashSet<_> = signed
        .flat_map(|one| one.manifests.iter().map(|it| (&one.repository, &it.digest)))
        .collect();
    let is_unlisted = |artifact: &&Artifact| {
        let subject = artifact
            .source
            .as_ref()
            .and_then(|one| one.subject.as_ref());
        if subject.is_some_and(|subject| signed.contains(&(&artifact.repository, subject))) {
            return false;
        }
        let entry = entries.get(&artifact.reference());
        entry.is_none_or(|entry| !artifact.is_of(entry))
    };
    let unlocked = loaded.entries.iter().filter(|entry| {
        let artifact = artifacts.get(&entry.place());
        artifact.is_none_or(|artifact| !artifact.is_of(entry))
    });
    let unlocked = unlocked.map(|entry| format!("{} is not locked", entry.origin));
    let own = lock.artifacts.iter().filter(|one| one.archive.is_empty());
    let unlisted = own.filter(is_unlisted);
    let unlisted = unlisted.map(|artifact| {
        let source = artifact.source.as_ref();
        let reference = source.map_or_else(|| artifact.reference(), |one| one.reference.clone());
        format!("the entry of {reference} was changed or removed after it was locked")
    });
    unlocked.chain(unlisted).collect()
}
