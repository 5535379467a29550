//! What the other side has already, according to receipts, a release, registry snapshots or manifests of media.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use environment::Environment;
use medium::{Manifest, What};

use super::{Error, Options};
use crate::plan::snapshot::Snapshot;
use crate::receipt::Receipt;
use crate::workspace::Output;
use crate::{Context, locked};

/// What the other side has.
#[derive(Debug, Default)]
pub(super) struct Have {
    /// The blobs that each environment's registry has or gets without this medium, by SHA-256.
    pub(super) blobs: BTreeMap<String, BTreeSet<String>>,
    /// The commits of its repository.
    pub(super) commits: Vec<String>,
    /// The contents of earlier media, by SHA-256.
    pub(super) contents: BTreeSet<String>,
    /// Where that is known from.
    pub(super) because: Vec<String>,
}

/// Finds out what the other side has. Options replace receipts.
///
/// # Errors
/// A file cannot be read, or the release is not locked.
pub(super) fn have(
    context: &Context<'_>,
    environments: &[Environment],
    options: &Options,
) -> Result<Have, crate::Error> {
    let mut have = Have::default();
    // A replacement is for what the other side was to get already.
    if options.everything || !options.only.is_empty() {
        return Ok(have);
    }
    if let Some(release) = &options.since {
        let lock = locked::read(context.workspace, release)?.lock;
        have.because
            .push(format!("--since: the other side has v{release}"));
        for environment in environments {
            have.add(&environment.name, hashes(&lock));
        }
    }
    for path in &options.have {
        have.listed(context, environments, path)?;
    }
    if options.since.is_none() && options.have.is_empty() {
        have.received(context, environments)?;
    }
    Ok(have)
}

impl Have {
    fn add(&mut self, environment: &str, blobs: impl IntoIterator<Item = String>) {
        self.blobs
            .entry(environment.to_owned())
            .or_default()
            .extend(blobs);
    }

    /// Adds what a file lists.
    fn listed(
        &mut self,
        context: &Context<'_>,
        environments: &[Environment],
        path: &Utf8Path,
    ) -> Result<(), crate::Error> {
        let bytes = files::read(path).map_err(|source| crate::Error::io("read", path, source))?;
        let of = match Manifest::parse(&bytes) {
            Ok(manifest) => {
                let of = manifest.serves.environments.clone();
                self.carried(&manifest, environments);
                of
            }
            Err(source) => {
                let Ok(read) = Snapshot::read(path) else {
                    return Err(Error::Have {
                        path: path.to_owned(),
                        source,
                    }
                    .into());
                };
                let blobs = in_registry(context, &read.snapshot)?;
                self.add(&read.snapshot.environment, blobs);
                vec![read.snapshot.environment]
            }
        };
        let is_packed = |name: &String| environments.iter().any(|one| one.name == *name);
        if !of.iter().any(is_packed) {
            return Err(Error::OtherEnvironment {
                path: path.to_owned(),
                of,
            }
            .into());
        }
        let name = path.file_name().unwrap_or(path.as_str());
        self.because
            .push(format!("--have {name}: what {} has", of.join(", ")));
        Ok(())
    }

    /// Adds what an earlier medium carried, and what was assumed for it.
    fn carried(&mut self, manifest: &Manifest, environments: &[Environment]) {
        let contents = manifest.contents.iter();
        let carried: BTreeSet<String> = contents.map(|content| content.sha256.clone()).collect();
        let assumed = manifest.assumes.blobs.iter();
        let assumed: Vec<String> = assumed.map(|blob| blob.sha256.clone()).collect();
        // What was unpacked is in the store of all environments over there.
        for environment in environments {
            self.add(&environment.name, carried.iter().cloned());
        }
        for environment in &manifest.serves.environments {
            self.add(environment, assumed.iter().cloned());
        }
        self.contents.extend(carried);
        self.commits.extend(
            manifest
                .contents
                .iter()
                .filter_map(|content| match &content.what {
                    What::Repository { commit, .. } => Some(commit.clone()),
                    _ => None,
                }),
        );
    }

    /// Adds what receipts record: of an environment, and of others with the same registry.
    fn received(
        &mut self,
        context: &Context<'_>,
        environments: &[Environment],
    ) -> Result<(), crate::Error> {
        let workspace = context.workspace;
        let mut locks = BTreeMap::new();
        for path in workspace.locks()? {
            let text = files::read_text(&path)
                .map_err(|source| crate::Error::io("read", &path, source))?;
            locks.insert(bundle::Lock::digest(&text), (path, text));
        }
        for name in environment::names(workspace.root()).map_err(crate::Error::Environment)? {
            let output = Output::below(&workspace.environment(&name));
            let applied = Receipt::read(&output.receipt)?.and_then(|receipt| receipt.applied);
            let Some(applied) = applied else { continue };
            let pulls: Vec<&Environment> = environments
                .iter()
                .filter(|one| one.registry.image_url() == applied.registry)
                .collect();
            // A lock that was replaced since lists different blobs.
            let Some((path, text)) = locks.get(&applied.lock).filter(|_| !pulls.is_empty()) else {
                continue;
            };
            let mut of_sets = applied.sets.values().filter_map(|digest| locks.get(digest));
            let mut known = vec![bundle::Lock::parse(text, workspace.shown(path))?];
            for (path, text) in of_sets.by_ref() {
                known.push(bundle::Lock::parse(text, workspace.shown(path))?);
            }
            self.because
                .push(format!("the receipt of {name} records {}", applied.release));
            for environment in pulls {
                for lock in &known {
                    self.add(&environment.name, hashes(lock));
                }
            }
        }
        Ok(())
    }
}

/// Returns the blobs that a registry has according to a snapshot: those of tags that are what a lock names.
fn in_registry(context: &Context<'_>, snapshot: &Snapshot) -> Result<Vec<String>, crate::Error> {
    let tags: BTreeMap<&str, &str> = snapshot
        .tags
        .iter()
        .map(|tag| (tag.artifact.as_str(), tag.found.as_str()))
        .collect();
    let mut blobs = Vec::new();
    for path in context.workspace.locks()? {
        for artifact in bundle::Lock::read(&path)?.artifacts {
            if tags.get(artifact.reference().as_str()) == Some(&artifact.digest.as_ref()) {
                blobs.extend(
                    artifact
                        .blobs()
                        .map(|(digest, _)| digest.digest().to_owned()),
                );
            }
        }
    }
    Ok(blobs)
}

/// Returns the SHA-256 of every blob of a lock.
fn hashes(lock: &bundle::Lock) -> Vec<String> {
    let blobs = lock.blobs().into_keys();
    blobs
        .map(|digest| digest.trim_start_matches("sha256:").to_owned())
        .collect()
}
