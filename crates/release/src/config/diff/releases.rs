//! Compares releases and sets by their locks: what was added, removed and changed, and how much
//! must be sent.

use std::collections::{BTreeMap, BTreeSet};

use bundle::{Artifact, Lock};
use environment::yaml::Node;
use mke::Change;
use semver::Version;
use serde::Serialize;

use crate::locked::{self, Locked};
use crate::{Context, Error, Workspace, set};

/// What differs between the locks of two releases or sets, or between two states of one lock.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Releases {
    /// The one, `v4.1.3`, `platform` or `platform of HEAD`.
    pub old: String,
    /// The other, `v4.1.5` or `platform`.
    pub new: String,
    /// The artifacts that only the other has.
    pub added: Vec<Entry>,
    /// The artifacts that only the one has.
    pub removed: Vec<Entry>,
    /// The artifacts that the other has with another tag or different content.
    pub changed: Vec<Changed>,
    /// How many artifacts are the same.
    pub unchanged: usize,
    /// Bytes of the blobs that a registry which holds the one lacks of the other, each counted
    /// once: what a push sends.
    pub blob_bytes: u64,
    /// How many blobs that are.
    pub blobs: usize,
    /// Bytes of the manifests that it lacks, each counted once.
    pub manifest_bytes: u64,
    /// Bytes of the other release in all, manifests included, each blob counted once.
    pub unique_bytes: u64,
    /// What is known of the releases themselves, where that differs.
    pub facts: Vec<Fact>,
    /// What the two mkectl would configure differently, where both were asked when they were
    /// locked. The version is left out.
    pub defaults: Vec<Change>,
}

/// An artifact of one of the releases.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Its repository.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// `image`, `chart` or `artifact`.
    pub kind: String,
    /// Its digest.
    pub digest: String,
    /// Its bytes, manifests included, each blob counted once.
    pub size: u64,
    /// Its bytes that the other release has not, manifests included, each blob counted once.
    pub bytes: u64,
}

/// An artifact of both releases that is not the same in both.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changed {
    /// Its repository.
    pub repository: String,
    /// `image`, `chart` or `artifact`.
    pub kind: String,
    /// Its tag in the one release.
    pub old: String,
    /// Its tag in the other. Where it is the same, the content differs.
    pub new: String,
    /// Its digest in the one.
    pub old_digest: String,
    /// Its digest in the other.
    pub new_digest: String,
    /// Its bytes in the other, manifests included, each blob counted once.
    pub size: u64,
    /// Its bytes that the one release has not, manifests included, each blob counted once.
    pub bytes: u64,
}

/// What is known of releases, where that differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fact {
    /// What it is about.
    pub subject: &'static str,
    /// What is known of the one; none if nothing is.
    pub old: Option<String>,
    /// What is known of the other.
    pub new: Option<String>,
}

/// A value that is not what it was.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Update {
    /// What it is.
    pub subject: &'static str,
    /// What it was.
    pub old: String,
    /// What it is now.
    pub new: String,
}

impl Update {
    pub(super) fn new(subject: &'static str, old: String, new: String) -> Self {
        Self { subject, old, new }
    }
}

impl Releases {
    /// Returns whether anything differs.
    pub fn differs(&self) -> bool {
        !(self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty())
    }
}

/// Compares two locked releases.
///
/// # Errors
/// One of them is not locked, or its lock cannot be read.
pub fn releases(workspace: &Workspace, old: &Version, new: &Version) -> Result<Releases, Error> {
    let one = locked::read(workspace, old)?.lock;
    let other = locked::read(workspace, new)?.lock;
    Ok(Releases {
        facts: facts(old, new)?,
        defaults: defaults(workspace, old, new)?,
        ..locks(&one, one.name().to_owned(), &other)
    })
}

/// Compares two locked sets.
///
/// # Errors
/// One of them is not locked, or its lock cannot be read.
pub fn sets(workspace: &Workspace, old: &str, new: &str) -> Result<Releases, Error> {
    let one = locked::read_set(workspace, old)?.lock;
    let other = locked::read_set(workspace, new)?.lock;
    Ok(locks(&one, one.name().to_owned(), &other))
}

/// Compares a lock with what its file was at a revision. One that was missing there had no
/// artifacts.
///
/// # Errors
/// The revision is unknown, or the lock that it has cannot be read.
pub fn since(context: &Context<'_>, now: &Locked, revision: &str) -> Result<Releases, Error> {
    let path = context.workspace.shown(&now.path);
    let text = programs::Git::of(context.workspace.root(), &context.tool.variables)
        .and_then(|git| git.at(revision, path))
        .map_err(|source| set::Error::History {
            path: path.to_owned(),
            revision: revision.to_owned(),
            source,
        })?;
    let is_there = text.is_some();
    let before = match text {
        Some(text) => Lock::parse(&text, path)?,
        None => Lock {
            artifacts: Vec::new(),
            ..Lock::clone(&now.lock)
        },
    };
    let name = match (is_there, now.lock.name()) {
        (true, name) => format!("{name} of {revision}"),
        (false, name) if revision == "HEAD" => format!("nothing ({name} is not yet committed)"),
        (false, name) => format!("nothing ({revision} has no {name})"),
    };
    Ok(locks(&before, name, &now.lock))
}

/// Compares two locks, the first of which is called `old`.
fn locks(one: &Lock, old: String, other: &Lock) -> Releases {
    let (before, after) = (one.blobs(), other.blobs());
    let manifests: BTreeSet<&str> = other
        .artifacts
        .iter()
        .flat_map(|artifact| &artifact.manifests)
        .map(|manifest| manifest.digest.as_ref())
        .collect();
    let (mut blobs, mut blob_bytes, mut manifest_bytes) = (0, 0, 0);
    for (digest, size) in after
        .iter()
        .filter(|(digest, _)| !before.contains_key(*digest))
    {
        if manifests.contains(digest.as_str()) {
            manifest_bytes += size;
        } else {
            blobs += 1;
            blob_bytes += size;
        }
    }
    let mut releases = Releases {
        old,
        new: other.name().to_owned(),
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        unchanged: 0,
        blob_bytes,
        blobs,
        manifest_bytes,
        unique_bytes: other.unique_bytes(),
        facts: Vec::new(),
        defaults: Vec::new(),
    };
    let (of_one, of_other) = (by_repository(one), by_repository(other));
    let repositories: BTreeSet<&str> = of_one.keys().chain(of_other.keys()).copied().collect();
    for repository in repositories {
        let one = of_one.get(repository).map_or(&[][..], Vec::as_slice);
        let other = of_other.get(repository).map_or(&[][..], Vec::as_slice);
        compare(one, other, &before, &after, &mut releases);
    }
    releases
}

/// Compares what two releases have in one repository.
fn compare(
    one: &[&Artifact],
    other: &[&Artifact],
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    releases: &mut Releases,
) {
    let mut gone: Vec<&Artifact> = Vec::new();
    for old in one {
        match other.iter().find(|new| new.tag == old.tag) {
            Some(new) if new.digest == old.digest => releases.unchanged += 1,
            Some(new) => releases.changed.push(changed(old, new, before)),
            None => gone.push(old),
        }
    }
    let mut come: Vec<&Artifact> = other
        .iter()
        .copied()
        .filter(|new| !one.iter().any(|old| old.tag == new.tag))
        .collect();
    // One for one is a new version. With several it is unknown which one replaces which.
    if let ([old], [new]) = (&gone[..], &come[..]) {
        releases.changed.push(changed(old, new, before));
        gone.clear();
        come.clear();
    }
    releases
        .removed
        .extend(gone.into_iter().map(|old| entry(old, after)));
    releases
        .added
        .extend(come.into_iter().map(|new| entry(new, before)));
}

fn by_repository(lock: &Lock) -> BTreeMap<&str, Vec<&Artifact>> {
    let mut repositories: BTreeMap<&str, Vec<&Artifact>> = BTreeMap::new();
    for artifact in &lock.artifacts {
        repositories
            .entry(&artifact.repository)
            .or_default()
            .push(artifact);
    }
    repositories
}

fn changed(old: &Artifact, new: &Artifact, before: &BTreeMap<String, u64>) -> Changed {
    Changed {
        repository: new.repository.clone(),
        kind: new.kind.to_string(),
        old: old.tag.clone(),
        new: new.tag.clone(),
        old_digest: old.digest.to_string(),
        new_digest: new.digest.to_string(),
        size: bytes(new, &BTreeMap::new()),
        bytes: bytes(new, before),
    }
}

fn entry(artifact: &Artifact, known: &BTreeMap<String, u64>) -> Entry {
    Entry {
        repository: artifact.repository.clone(),
        tag: artifact.tag.clone(),
        kind: artifact.kind.to_string(),
        digest: artifact.digest.to_string(),
        size: bytes(artifact, &BTreeMap::new()),
        bytes: bytes(artifact, known),
    }
}

/// Compares what is kept of the two mkectl; none if one was not asked.
fn defaults(workspace: &Workspace, old: &Version, new: &Version) -> Result<Vec<Change>, Error> {
    let spec = |keys| Node::mapping([("spec", keys)]);
    let one = crate::config::defaults::kept(workspace, old)?;
    let other = crate::config::defaults::kept(workspace, new)?;
    Ok(match (one, other) {
        (Some(one), Some(other)) => mke::compare(&spec(one), &spec(other)),
        _ => Vec::new(),
    })
}

/// Returns the bytes of an artifact that are not known yet.
fn bytes(artifact: &Artifact, known: &BTreeMap<String, u64>) -> u64 {
    let own: BTreeMap<&str, u64> = artifact
        .blobs()
        .map(|(digest, size)| (digest.as_ref(), size))
        .filter(|(digest, _)| !known.contains_key(*digest))
        .collect();
    own.values().sum()
}

/// Returns what the table says differently of two releases.
fn facts(old: &Version, new: &Version) -> Result<Vec<Fact>, Error> {
    let of = |version: &Version| -> Result<BTreeMap<&'static str, String>, Error> {
        let release = mke::Release::of(version)?;
        let mut facts: BTreeMap<&'static str, String> = BTreeMap::new();
        for fact in release.facts() {
            // Names and addresses are patterns here: the version alone makes no difference.
            facts
                .entry(fact.subject)
                .and_modify(|known| *known = format!("{known}; {}", fact.value))
                .or_insert(fact.value);
        }
        Ok(facts)
    };
    let (one, other) = (of(old)?, of(new)?);
    let subjects: BTreeSet<&'static str> = one.keys().chain(other.keys()).copied().collect();
    Ok(subjects
        .into_iter()
        .filter(|subject| one.get(subject) != other.get(subject))
        .map(|subject| Fact {
            subject,
            old: one.get(subject).cloned(),
            new: other.get(subject).cloned(),
        })
        .collect())
}
