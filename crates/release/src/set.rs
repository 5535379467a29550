//! Sets: images, charts, files and bundles that a cluster needs beside its release. Their locked
//! content is fetched, pushed and verified like that of a release.
//!
//! This module reads the files of sets. [`crate::transfer::set`] locks and fetches sets, and
//! [`crate::locked`] joins their locks with that of a release.

use std::collections::{BTreeSet, HashMap};

use bundle::set::{BundleItem, Entry, Origin, Reference};
use bundle::{Artifact, Lock, SetBundle, Source};
use camino::Utf8PathBuf;
use environment::{Environment, Problem, Problems};

use crate::workspace::read_if_exists;
use crate::{Error as AnyError, Workspace};

mod agree;
mod error;

pub(crate) use agree::contradiction;

pub use bundle::HelmError;
pub use bundle::set::{SetError, SetProblem};
pub use error::{Error, Moved};

/// Suffixes of signature tags, after the digest of the signed manifest: none for the tag that
/// replaces the referrers API, or those of cosign.
pub(crate) const SIGNATURE_TAGS: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// The checked file of a set.
#[derive(Debug)]
pub struct Loaded {
    /// Name of the set.
    pub name: String,
    /// Path of the file, relative to the workspace.
    pub path: Utf8PathBuf,
    /// Content of the file.
    pub set: bundle::set::Set,
    /// Images, charts and files that it lists. Bundles are only in `set`.
    pub entries: Vec<bundle::set::Entry>,
}

/// Reads the file of a set.
///
/// # Errors
/// [`Error::Name`], [`Error::Missing`], [`Error::NameOfEnvironment`], or [`Error::Invalid`] if the
/// file does not parse.
pub fn load(workspace: &Workspace, name: &str) -> Result<Loaded, AnyError> {
    let file = workspace.set(name);
    let path = workspace.shown(&file).to_owned();
    if !bundle::set::is_name(name) {
        let name = redaction::without_login(name);
        return Err(Error::Name { name }.into());
    }
    let Some(text) = read_if_exists(&file)? else {
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

/// Returns whether the workspace has a set of this name, or at least its lock.
pub fn exists(workspace: &Workspace, name: &str) -> bool {
    bundle::set::is_name(name)
        && (workspace.set(name).is_file() || workspace.set_lock(name).is_file())
}

/// Checks that each set that an environment names exists.
///
/// # Errors
/// [`crate::workspace::Error::Configuration`], with each missing set at its place in
/// `environment.yaml`.
pub(crate) fn check_names(
    workspace: &Workspace,
    environment: &Environment,
) -> Result<(), AnyError> {
    let mut problems = Vec::new();
    for node in &environment.sets {
        let Some(name) = node.text() else { continue };
        if !bundle::set::is_name(name) || workspace.set(name).exists() {
            continue;
        }
        let path = workspace.set(name);
        let rule = format!(
            "`{name}` is not a set: `{}` does not exist",
            workspace.shown(&path)
        );
        let known = names(workspace)?;
        let help = match known.as_slice() {
            [] => "docs/sets.md has an example of a set".to_owned(),
            known => format!("sets of this workspace: {}", known.join(", ")),
        };
        problems.push(Problem::at(node, rule).with_help(help));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(crate::workspace::Error::Configuration(Problems(problems)).into()),
    }
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

/// Returns the artifacts of a set's lock by `repository:tag`, the same key as [`Entry::place`].
pub(crate) fn by_place(lock: &Lock) -> HashMap<String, &Artifact> {
    let artifacts = lock.artifacts.iter();
    artifacts.map(|one| (one.reference(), one)).collect()
}

/// Returns the message for an entry whose locked origin differs from its origin in the set's file,
/// which happens when a lock is edited.
pub(crate) fn changed_origin(entry: &Entry) -> String {
    format!("{} is locked from a different origin", entry.origin)
}

/// Returns whether an artifact is the signature of another artifact whose entry has `signatures:
/// true`. Its origin and its tag must be those of that entry's signatures. `artifacts` are those of
/// the lock, by place.
pub(crate) fn is_signature(
    artifact: &Artifact,
    loaded: &Loaded,
    artifacts: &HashMap<String, &Artifact>,
) -> bool {
    let Some(source) = &artifact.source else {
        return false;
    };
    let subject = source.subject.as_ref();
    let tag = subject.map(|subject| subject.to_string().replace(':', "-"));
    let suffix = tag.and_then(|tag| artifact.tag.strip_prefix(&tag));
    let has_tag = suffix.is_some_and(|suffix| SIGNATURE_TAGS.contains(&suffix));
    let is_from = |reference: &Reference| {
        let at = Reference {
            tag: Some(artifact.tag.clone()),
            digest: None,
            ..reference.clone()
        };
        *source
            == Source {
                reference: at.to_string(),
                url: None,
                platforms: Vec::new(),
                signatures: false,
                subject: source.subject.clone(),
                full_index: None,
                alias: false,
            }
    };
    let mut signed = loaded.entries.iter().filter(|entry| entry.signatures);
    has_tag
        && signed.any(|entry| match &entry.origin {
            Origin::Registry(reference) => {
                let signed = artifacts.get(&entry.place());
                signed.is_some_and(|one| artifact.is_about(one)) && is_from(reference)
            }
            _ => false,
        })
}

/// Describes each difference between a lock and the file of its set.
pub(crate) fn differences(loaded: &Loaded, lock: &Lock) -> Vec<String> {
    let mut differences = entry_differences(loaded, lock);
    let is_of = |item: &BundleItem, locked: &SetBundle| {
        locked.is_of(item)
            && locked.key.is_some() == item.key.is_some()
            && item.accepts(&locked.sha256)
    };
    let (listed, locked) = (&loaded.set.bundles, &lock.bundles);
    let unlocked = listed.iter().filter(|item| {
        let mut locked = locked.iter();
        !locked.any(|locked| is_of(item, locked))
    });
    let unlisted = locked.iter().filter(|locked| {
        let mut listed = listed.iter();
        !listed.any(|item| is_of(item, locked))
    });
    differences.extend(describe(
        unlocked.map(|item| item.url.to_string()).collect(),
        unlisted.map(|locked| locked.url.clone()).collect(),
        &listed.iter().map(|item| item.url.to_string()).collect(),
    ));
    differences
}

/// Describes each entry that is not locked, was changed, or was removed. All names are origins.
fn describe(
    unlocked: BTreeSet<String>,
    unlisted: BTreeSet<String>,
    listed: &BTreeSet<String>,
) -> Vec<String> {
    let new = unlocked.difference(&unlisted);
    let new = new.map(|one| format!("{one} is not locked"));
    let old = unlisted.iter().map(|one| match listed.contains(one) {
        true => format!("the entry of {one} was changed after it was locked"),
        false => format!("the entry of {one} was removed from the set after it was locked"),
    });
    new.chain(old).collect()
}

/// Describes the differences of all entries that are not bundles.
fn entry_differences(loaded: &Loaded, lock: &Lock) -> Vec<String> {
    let artifacts = by_place(lock);
    let entries = loaded.entries.iter();
    let entries: HashMap<String, _> = entries.map(|entry| (entry.place(), entry)).collect();
    let is_unlisted = |artifact: &&Artifact| {
        let source = artifact.source.as_ref();
        if source.is_some_and(|source| source.subject.is_some()) {
            return !is_signature(artifact, loaded, &artifacts);
        }
        let entry = entries.get(&artifact.reference());
        entry.is_none_or(|entry| !artifact.is_for(entry))
    };
    let locked = |entry: &Entry| {
        let found = artifacts.get(&entry.place());
        found.filter(|one| one.is_for(entry))
    };
    let unlocked = loaded
        .entries
        .iter()
        .filter(|entry| locked(entry).is_none());
    let elsewhere = loaded.entries.iter().filter_map(|entry| {
        let artifact = locked(entry)?;
        let own = entry.alias_of.as_ref().and_then(|own| artifacts.get(own));
        let is_same = own.is_none_or(|own| own.manifests == artifact.manifests);
        (!artifact.is_of(entry) || !is_same).then(|| changed_origin(entry))
    });
    let own = lock.artifacts.iter().filter(|one| one.archive.is_empty());
    let unlisted = own.filter(is_unlisted);
    let unlisted = unlisted.map(|artifact| {
        // A signature is reported as the entry that it signs.
        let signed = lock.artifacts.iter().find(|one| artifact.is_about(one));
        let source = signed.unwrap_or(artifact).source.as_ref();
        source.map_or_else(|| artifact.reference(), |one| one.reference.clone())
    });
    let mut differences = describe(
        unlocked.map(|entry| entry.origin.to_string()).collect(),
        unlisted.collect(),
        &(loaded.entries.iter())
            .map(|entry| entry.origin.to_string())
            .collect(),
    );
    differences.extend(elsewhere);
    differences
}
