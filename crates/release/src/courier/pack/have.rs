//! Collects what the other side has, from receipts, a release, registry snapshots or manifests of
//! media.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use environment::Environment;
use medium::{Manifest, What};

use super::{Error, Options};
use crate::event::Event;
use crate::plan::snapshot::Snapshot;
use crate::receipt::Receipt;
use crate::workspace::Output;
use crate::{Context, locked};

/// The contents and commits that the other side has.
#[derive(Debug, Default)]
pub(super) struct Have {
    /// By environment, since each may be at a different site.
    sites: BTreeMap<String, Site>,
    /// Sources of this information, one sentence each.
    pub(super) because: Vec<String>,
}

/// The contents and commits that an environment's site has.
#[derive(Debug, Default)]
struct Site {
    /// SHA-256 of blobs in its store or registry, of blobs that it gets from an earlier medium, and
    /// of other contents.
    contents: BTreeSet<String>,
    /// Commits in its repository.
    commits: Vec<String>,
}

/// Returns what the other side has. `--since` and `--have` replace receipts.
///
/// # Errors
/// A file cannot be read, or the release is not locked.
pub(super) fn have(
    context: &Context<'_>,
    environments: &[Environment],
    options: &Options,
) -> Result<Have, crate::Error> {
    let mut have = Have::default();
    // A replacement has pieces that receipts assume to be at the site.
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
        have.add_file(context, environments, path)?;
    }
    if options.since.is_none() && options.have.is_empty() {
        have.add_returned(context, environments)?;
    }
    Ok(have)
}

impl Have {
    /// Returns whether the site of an environment has a content.
    pub(super) fn has(&self, environment: &str, sha256: &str) -> bool {
        let site = self.sites.get(environment);
        site.is_some_and(|site| site.contents.contains(sha256))
    }

    /// Returns the commits that the sites of all environments have.
    pub(super) fn commits(&self, git: &programs::Git, environments: &[Environment]) -> Vec<String> {
        let all = self.sites.values().flat_map(|site| &site.commits);
        let known: BTreeSet<&String> = all.filter(|one| git.is_ancestor(one, "HEAD")).collect();
        let is_at = |commit: &String, environment: &Environment| {
            let site = self.sites.get(&environment.name);
            let mut heads = site.into_iter().flat_map(|site| &site.commits);
            heads.any(|head| known.contains(head) && git.is_ancestor(commit, head))
        };
        known
            .iter()
            .filter(|commit| environments.iter().all(|one| is_at(commit, one)))
            .map(|commit| (*commit).clone())
            .collect()
    }

    fn add(&mut self, environment: &str, contents: impl IntoIterator<Item = String>) {
        self.site(environment).contents.extend(contents);
    }

    fn site(&mut self, environment: &str) -> &mut Site {
        self.sites.entry(environment.to_owned()).or_default()
    }

    /// Adds the contents of a file for `--have`.
    fn add_file(
        &mut self,
        context: &Context<'_>,
        environments: &[Environment],
        path: &Utf8Path,
    ) -> Result<(), crate::Error> {
        let bytes = files::read(path).map_err(|source| crate::Error::read(path, source))?;
        let of = match Manifest::parse(&bytes) {
            Ok(manifest) => {
                let of = manifest.serves.environments.clone();
                self.add_medium(&manifest);
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
                let name = read.snapshot.environment.clone();
                if let Some(environment) = environments.iter().find(|one| one.name == name) {
                    read.snapshot.check_registry(environment)?;
                }
                self.add_snapshot(context, &name, &read.snapshot)?;
                vec![name]
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

    /// Adds the contents of an earlier medium to the sites that it was packed for, and its
    /// assumptions.
    fn add_medium(&mut self, manifest: &Manifest) {
        let contents = manifest.contents.iter().map(|content| &content.sha256);
        let assumed = manifest.assumes.blobs.iter().map(|blob| &blob.sha256);
        let present: Vec<String> = contents.chain(assumed).cloned().collect();
        let commits = manifest.contents.iter();
        let commits = commits.filter_map(|content| match &content.what {
            What::Repository { commit, .. } => Some(commit),
            _ => None,
        });
        // A medium without history was packed for a site that had all of it.
        let commits: Vec<String> = commits.chain(&manifest.assumes.commits).cloned().collect();
        for environment in &manifest.serves.environments {
            self.add(environment, present.iter().cloned());
            self.site(environment).commits.extend(commits.clone());
        }
    }

    /// Adds the contents of a snapshot: blobs of tags that match a lock, and the blobs and the
    /// commit that the site reported.
    fn add_snapshot(
        &mut self,
        context: &Context<'_>,
        environment: &str,
        snapshot: &Snapshot,
    ) -> Result<(), crate::Error> {
        let mut present = snapshot.tagged_blobs(context.workspace)?;
        present.retain(|blob| !snapshot.lost.contains(blob));
        self.add(environment, present);
        self.add(environment, snapshot.blobs.iter().cloned());
        self.site(environment)
            .commits
            .extend(snapshot.commit.clone());
        Ok(())
    }

    /// Adds what sites have returned, and what later receipts record, for each environment and for
    /// others with the same registry.
    fn add_returned(
        &mut self,
        context: &Context<'_>,
        environments: &[Environment],
    ) -> Result<(), crate::Error> {
        let workspace = context.workspace;
        let names = environment::names(workspace.root()).map_err(crate::Error::Environment)?;
        let output = |name: &str| Output::below(&workspace.environment(name));
        // The latest snapshot of each registry.
        let mut returned: BTreeMap<String, Snapshot> = BTreeMap::new();
        for name in &names {
            let path = output(name).snapshot;
            if !path.exists() {
                continue;
            }
            let new = Snapshot::read(&path)?.snapshot;
            match returned.get(&new.registry) {
                Some(known) if known.taken >= new.taken => {}
                _ => drop(returned.insert(new.registry.clone(), new)),
            }
        }
        for environment in environments {
            let Some(snapshot) = returned.get(&environment.registry.image_url()) else {
                continue;
            };
            self.add_snapshot(context, &environment.name, snapshot)?;
            if !output(&environment.name).snapshot.exists() {
                context.reporter.report(Event::Warning(format!(
                    "{0} has not returned anything, but {1} with the same registry has, so what the site of {1} has is left out; if {0} \
                     is at a different site, add `--all`",
                    environment.name, snapshot.environment
                )));
            }
            self.because.push(format!(
                "the site of {} returned what it had at {}",
                snapshot.environment,
                snapshot.taken.as_deref().unwrap_or("an unknown time")
            ));
        }
        let mut locks = BTreeMap::new();
        for path in workspace.locks()? {
            let text =
                files::read_text(&path).map_err(|source| crate::Error::read(&path, source))?;
            locks.insert(bundle::Lock::digest(&text), (path, text));
        }
        for name in &names {
            let applied = Receipt::read(&output(name).receipt)?.and_then(|receipt| receipt.applied);
            let Some(applied) = applied else { continue };
            // A later snapshot is more exact than the receipt.
            let is_outdated = (returned.get(&applied.registry))
                .is_some_and(|one| one.taken.as_deref() >= Some(applied.ended.as_str()));
            let pulls: Vec<&Environment> = environments
                .iter()
                .filter(|one| one.registry.image_url() == applied.registry && !is_outdated)
                .collect();
            // If the lock was replaced since, its blobs are unknown.
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

/// Returns the SHA-256 of every blob of a lock.
fn hashes(lock: &bundle::Lock) -> Vec<String> {
    let blobs = lock.blobs().into_keys();
    blobs
        .map(|digest| digest.trim_start_matches("sha256:").to_owned())
        .collect()
}
