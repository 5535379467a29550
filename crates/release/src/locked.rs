//! Reads the committed locks of a release and of sets.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use bundle::Artifact;
use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use semver::Version;

use crate::set::{self, Loaded};
use crate::{Workspace, sha256, workspace};

/// A committed lock and its path.
#[derive(Debug)]
pub struct Locked {
    /// Path of the lock file.
    pub path: Utf8PathBuf,
    /// SHA-256 of the lock file.
    pub digest: String,
    /// Content of the lock. For an environment, it includes the artifacts of its sets.
    pub lock: Arc<bundle::Lock>,
    /// Names of the included sets, with the SHA-256 of their lock files.
    pub sets: BTreeMap<String, String>,
}

/// Reads the lock of a release.
///
/// # Errors
/// The release is not locked, or the lock cannot be read.
pub fn read(workspace: &Workspace, release: &Version) -> Result<Locked, crate::Error> {
    let name = format!("v{release}");
    let path = workspace.lock(&name, crate::workspace::DEFAULT_ARCH);
    let text =
        crate::workspace::read_if_exists(&path)?.ok_or_else(|| workspace::Error::NotLocked {
            path: workspace.shown(&path).to_owned(),
            nearest: nearest(workspace, release),
            release: name,
        })?;
    parsed(workspace, path, &text)
}

/// Returns the locked or known release that is most similar to a pre-release: the operator probably
/// mistyped it.
fn nearest(workspace: &Workspace, release: &Version) -> Option<String> {
    if release.pre.is_empty() {
        return None;
    }
    let known = mke::releases().into_iter();
    let known = known.map(|release| format!("v{}", release.version()));
    let locks = workspace.locks().unwrap_or_default();
    let locked = locks.iter().filter_map(|path| {
        let (release, _) = bundle::Lock::named(path.file_name()?)?;
        Some(release.to_owned())
    });
    let all: Vec<String> = locked.chain(known).collect();
    environment::nearest(&format!("v{release}"), all.iter().map(String::as_str)).map(str::to_owned)
}

/// Reads the lock of an environment's release, joined with the locks of its sets.
///
/// # Errors
/// The release or a set is not locked, a lock cannot be read or does not match its set, or two
/// locks have different content under one name.
pub fn of(workspace: &Workspace, environment: &Environment) -> Result<Locked, crate::Error> {
    of_release(workspace, environment, &environment.release)
}

/// Like [`of`], for a release that need not be the environment's own.
pub(crate) fn of_release(
    workspace: &Workspace,
    environment: &Environment,
    release: &Version,
) -> Result<Locked, crate::Error> {
    set::check_names(workspace, environment)?;
    let mut locked = read(workspace, release)?;
    let names = environment.set_names();
    if names.is_empty() {
        return Ok(locked);
    }
    let mut sets = Vec::new();
    let mut key = locked.digest.clone();
    for name in names {
        let (_, set) = of_set(workspace, name)?;
        key.push_str(&format!(" {} {}", set.digest, name));
        locked.sets.insert(name.to_owned(), set.digest.clone());
        sets.push(set.lock);
    }
    let key = (locked.path.clone(), key);
    let mut parsed = (workspace.parsed.0.lock()).unwrap_or_else(PoisonError::into_inner);
    locked.lock = match parsed.get(&key) {
        Some(lock) => Arc::clone(lock),
        None => {
            let lock = Arc::new(joined(&locked.lock, &sets)?);
            parsed.insert(key, Arc::clone(&lock));
            lock
        }
    };
    Ok(locked)
}

/// Joins locks into one. Artifacts and bundles that several locks list appear once.
fn joined(
    release: &bundle::Lock,
    sets: &[Arc<bundle::Lock>],
) -> Result<bundle::Lock, crate::Error> {
    let mut joined = release.clone();
    let mut owners: HashMap<String, &str> = HashMap::new();
    for artifact in &release.artifacts {
        owners.insert(artifact.reference(), release.name());
    }
    for set in sets {
        for bundle in &set.bundles {
            match joined.bundles.iter().find(|one| one.url == bundle.url) {
                Some(known) if known.sha256 != bundle.sha256 => {
                    let first = sets.iter().find(|one| one.bundles.contains(known));
                    return Err(set::Error::BundleCollision {
                        url: bundle.url.clone(),
                        one: first.unwrap_or(set).name().to_owned(),
                        other: set.name().to_owned(),
                    }
                    .into());
                }
                Some(one) if one.names() == bundle.names() => {}
                _ => joined.bundles.push(bundle.clone()),
            }
        }
        for artifact in &set.artifacts {
            let reference = artifact.reference();
            let Some(owner) = owners.get(&reference) else {
                owners.insert(reference, set.name());
                joined.artifacts.push(artifact.clone());
                continue;
            };
            let mut known = joined.artifacts.iter();
            let is_other =
                |one: &&Artifact| one.reference() == reference && one.digest != artifact.digest;
            if let Some(known) = known.find(is_other) {
                let of_set = known.source.as_ref().filter(|_| *owner != release.name());
                let of_both = of_set.filter(|of| {
                    let own = artifact.source.as_ref();
                    of.subject.is_none() && own.is_some_and(|own| own.reference == of.reference)
                });
                return Err(set::Error::Collision {
                    origin: of_both.map(|of| of.reference.clone()),
                    one: (*owner).to_owned(),
                    other: set.name().to_owned(),
                    reference,
                }
                .into());
            }
        }
    }
    Ok(joined)
}

/// Reads a set and its lock.
///
/// # Errors
/// One of them is missing or not valid, or [`set::Error::Outdated`] if they differ.
pub fn of_set(workspace: &Workspace, name: &str) -> Result<(Loaded, Locked), crate::Error> {
    let loaded = set::load(workspace, name)?;
    let locked = read_set(workspace, name)?;
    let differences = set::differences(&loaded, &locked.lock);
    match differences.is_empty() {
        true => Ok((loaded, locked)),
        false => Err(set::Error::Outdated {
            set: name.to_owned(),
            path: workspace.shown(&locked.path).to_owned(),
            differences,
        }
        .into()),
    }
}

/// Reads the lock of a set.
///
/// # Errors
/// The set is not locked, or the lock cannot be read.
pub fn read_set(workspace: &Workspace, set: &str) -> Result<Locked, crate::Error> {
    let path = workspace.set_lock(set);
    let text = match bundle::set::is_name(set) {
        true => crate::workspace::read_if_exists(&path)?,
        false => None,
    };
    let text = text.ok_or_else(|| set::Error::NotLocked {
        set: set.to_owned(),
        path: workspace.shown(&path).to_owned(),
    })?;
    parsed(workspace, path, &text)
}

/// Compares the lock of a set with those of its manifests that the store has.
///
/// # Errors
/// [`set::Error::Contradiction`] if a manifest lists something else.
pub(crate) fn agrees(
    workspace: &Workspace,
    path: &Utf8Path,
    lock: &bundle::Lock,
) -> Result<(), crate::Error> {
    let store = bundle::Store::open(&workspace.store())
        .map_err(|source| crate::Error::store(workspace, source))?;
    match set::contradiction(lock, &store) {
        None => Ok(()),
        Some((artifact, manifest)) => Err(contradicts(workspace, path, artifact, manifest)),
    }
}

/// Returns the error for a manifest that contradicts a lock.
pub(crate) fn contradicts(
    workspace: &Workspace,
    path: &Utf8Path,
    artifact: &Artifact,
    manifest: String,
) -> crate::Error {
    set::Error::Contradiction {
        path: workspace.shown(path).to_owned(),
        reference: artifact.reference(),
        manifest,
    }
    .into()
}

fn parsed(workspace: &Workspace, path: Utf8PathBuf, text: &str) -> Result<Locked, crate::Error> {
    let digest = sha256(text.as_bytes());
    // The mutex is held during parsing, so each lock is parsed once.
    let mut parsed = (workspace.parsed.0.lock()).unwrap_or_else(PoisonError::into_inner);
    let key = (path.clone(), digest.clone());
    let lock = match parsed.get(&key) {
        Some(lock) => Arc::clone(lock),
        None => {
            let lock = Arc::new(bundle::Lock::parse(text, workspace.shown(&path))?);
            if lock.set.is_some() || lock.from.is_some() {
                agrees(workspace, &path, &lock)?;
            }
            parsed.insert(key, Arc::clone(&lock));
            lock
        }
    };
    Ok(Locked {
        path,
        digest,
        lock,
        sets: BTreeMap::new(),
    })
}
