//! Compares releases and sets by their locks: artifacts added, removed and changed, and the bytes
//! to push.

use std::collections::{BTreeMap, BTreeSet};

use bundle::{Artifact, Lock};
use environment::yaml::Node;
use mke::Change;
use semver::Version;
use serde::Serialize;

use crate::locked::{self, Locked};
use crate::{Context, Error, Workspace, set};

/// The differences between two locks: of releases, of sets, or two versions of one lock.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Releases {
    /// Name of the first lock, such as `v4.1.3`, `platform` or `platform of HEAD`.
    pub old: String,
    /// Name of the second lock, such as `v4.1.5` or `platform`.
    pub new: String,
    /// Artifacts that only the second lock has.
    pub added: Vec<Entry>,
    /// Artifacts that only the first lock has.
    pub removed: Vec<Entry>,
    /// Artifacts that the second lock has with a different tag or content.
    pub changed: Vec<Changed>,
    /// Number of equal artifacts.
    pub unchanged: usize,
    /// Bytes that a push of the second sends to a registry that has the first: each blob counted
    /// once, without manifests.
    pub blob_bytes: u64,
    /// Number of these blobs.
    pub blobs: usize,
    /// Bytes of the manifests to push, each counted once.
    pub manifest_bytes: u64,
    /// Total bytes of the second lock, with manifests, each blob counted once.
    pub unique_bytes: u64,
    /// Facts of the releases that differ.
    pub facts: Vec<Fact>,
    /// Differences between the defaults of the releases, if both are stored. The version is left
    /// out.
    pub defaults: Vec<Change>,
}

/// An artifact of one of the releases.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Repository, without the registry.
    pub repository: String,
    /// Tag of the artifact.
    pub tag: String,
    /// `image`, `chart` or `artifact`.
    pub kind: String,
    /// Digest of its manifest, `sha256:<hex>`.
    pub digest: String,
    /// Size in bytes, with manifests, each blob counted once.
    pub size: u64,
    /// Size in bytes of the blobs that the other release lacks, with manifests, each counted once.
    pub bytes: u64,
}

/// An artifact that differs between the releases.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changed {
    /// Repository, without the registry.
    pub repository: String,
    /// `image`, `chart` or `artifact`.
    pub kind: String,
    /// Tag in the first release.
    pub old: String,
    /// Tag in the second release. If it equals `old`, the content differs.
    pub new: String,
    /// Digest in the first release, `sha256:<hex>`.
    pub old_digest: String,
    /// Digest in the second release, `sha256:<hex>`.
    pub new_digest: String,
    /// Size in bytes in the second release, with manifests, each blob counted once.
    pub size: u64,
    /// Size in bytes of the blobs that the first release lacks, with manifests, each counted once.
    pub bytes: u64,
}

/// A fact that differs between the releases.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fact {
    /// Subject of the fact.
    pub subject: &'static str,
    /// Value of the first release, if known.
    pub old: Option<String>,
    /// Value of the second release, if known.
    pub new: Option<String>,
}

/// A changed value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Update {
    /// Name of the value.
    pub subject: &'static str,
    /// Value before.
    pub old: String,
    /// Value now.
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

/// Compares a lock with its file at a revision. A file that is missing there counts as empty.
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
    let existed = text.is_some();
    let before = match text {
        Some(text) => Lock::parse(&text, path)?,
        None => Lock {
            artifacts: Vec::new(),
            ..Lock::clone(&now.lock)
        },
    };
    let name = match (existed, now.lock.name()) {
        (true, name) => format!("{name} of {revision}"),
        (false, name) if revision == "HEAD" => format!("nothing ({name} is not yet committed)"),
        (false, name) => format!("nothing ({revision} has no {name})"),
    };
    Ok(locks(&before, name, &now.lock))
}

/// Compares two locks. `old` is the name of the first one.
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

/// Compares the artifacts of two releases in one repository.
fn compare(
    one: &[&Artifact],
    other: &[&Artifact],
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    releases: &mut Releases,
) {
    let mut removed: Vec<&Artifact> = Vec::new();
    for old in one {
        match other.iter().find(|new| new.tag == old.tag) {
            Some(new) if new.digest == old.digest => releases.unchanged += 1,
            Some(new) => releases.changed.push(changed(old, new, before)),
            None => removed.push(old),
        }
    }
    let added: Vec<&Artifact> = other
        .iter()
        .copied()
        .filter(|new| !one.iter().any(|old| old.tag == new.tag))
        .collect();
    // A single pair is a new version. Among several, the replaced one is unknown.
    if let ([old], [new]) = (&removed[..], &added[..]) {
        releases.changed.push(changed(old, new, before));
        return;
    }
    let removed = removed.into_iter().map(|old| entry(old, after));
    releases.removed.extend(removed);
    let added = added.into_iter().map(|new| entry(new, before));
    releases.added.extend(added);
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

/// Compares the stored defaults of two releases. Returns no changes if one has none.
fn defaults(workspace: &Workspace, old: &Version, new: &Version) -> Result<Vec<Change>, Error> {
    let spec = |keys| Node::mapping([("spec", keys)]);
    let one = crate::config::defaults::kept(workspace, old)?;
    let other = crate::config::defaults::kept(workspace, new)?;
    Ok(match (one, other) {
        (Some(one), Some(other)) => mke::compare(&spec(one), &spec(other)),
        _ => Vec::new(),
    })
}

/// Returns the bytes of an artifact's blobs that are not in `known`.
fn bytes(artifact: &Artifact, known: &BTreeMap<String, u64>) -> u64 {
    let own: BTreeMap<&str, u64> = artifact
        .blobs()
        .map(|(digest, size)| (digest.as_ref(), size))
        .filter(|(digest, _)| !known.contains_key(*digest))
        .collect();
    own.values().sum()
}

/// Returns the facts of the table that differ between two releases.
fn facts(old: &Version, new: &Version) -> Result<Vec<Fact>, Error> {
    let of = |version: &Version| -> Result<BTreeMap<&'static str, String>, Error> {
        let release = mke::Release::of(version)?;
        let mut facts: BTreeMap<&'static str, String> = BTreeMap::new();
        for fact in release.facts() {
            // Names and addresses are patterns, so a different version alone is not a difference.
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
