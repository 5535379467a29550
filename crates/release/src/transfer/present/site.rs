//! A registry that may have blobs that the store lacks.

use std::collections::{BTreeMap, BTreeSet};

use bundle::{Artifact, BlobSink as _, Lock};
use environment::Environment;
use oci_spec::image::Digest;
use registry::Registry;

use super::Reads;
use crate::event::Event;
use crate::transfer::connect::connect;
use crate::transfer::fetch::{self, MissingDigest};
use crate::transfer::look::{is_refusal, unusable};
use crate::transfer::mount_candidates;
use crate::transfer::push::Delivery;
use crate::{Context, Error, chain};

/// A digest that the store lacks, and the repositories of one registry that should get it.
pub(super) struct Need<'a> {
    pub(super) digest: &'a Digest,
    pub(super) size: u64,
    is_manifest: bool,
    pub(super) artifact: &'a Artifact,
    pub(super) repositories: BTreeSet<String>,
}

/// A registry to search.
pub(super) struct Site<'a> {
    pub(super) environment: &'a Environment,
    registry: Registry,
    /// Repositories that may hold a digest, the most likely one first.
    holders: BTreeMap<String, Vec<String>>,
}

/// Where a needed digest is.
pub(super) enum Found {
    /// In these repositories of its registry.
    Held(BTreeSet<String>),
    /// In the store: it was read during this search.
    Stored,
    Nowhere,
}

/// Returns each digest once that a delivery needs and the store lacks.
pub(super) fn needs<'a>(delivery: &Delivery<'a>, store: &bundle::Store) -> Vec<Need<'a>> {
    let mut needs: BTreeMap<&str, Need<'a>> = BTreeMap::new();
    for &artifact in &delivery.artifacts {
        let repository = delivery
            .environment
            .registry
            .repository(&artifact.repository);
        for (digest, size) in artifact.blobs() {
            if store.has(digest, size) {
                continue;
            }
            let need = needs.entry(digest.as_ref()).or_insert_with(|| Need {
                digest,
                size,
                is_manifest: artifact.manifests.iter().any(|one| one.digest == *digest),
                artifact,
                repositories: BTreeSet::new(),
            });
            need.repositories.insert(repository.clone());
        }
    }
    needs.into_values().collect()
}

impl Need<'_> {
    pub(super) fn lacking(&self) -> MissingDigest {
        MissingDigest {
            artifact: self.artifact.reference(),
            digest: self.digest.to_string(),
            size: self.size,
        }
    }
}

impl<'a> Site<'a> {
    pub(super) fn new(
        context: &Context<'_>,
        lock: &Lock,
        environment: &'a Environment,
    ) -> Result<Self, Error> {
        let registry = connect(context, environment, context.credentials(environment)?)?;
        let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |digest: String, repository: String| {
            let known = holders.entry(digest).or_default();
            if !known.contains(&repository) {
                known.push(repository);
            }
        };
        let earlier = context.workspace.locks().unwrap_or_default();
        // An unreadable lock of a different release does not matter here.
        let earlier: Vec<Lock> = (earlier.iter())
            .filter_map(|path| Lock::read(path).ok())
            .collect();
        for artifact in (std::iter::once(lock).chain(&earlier)).flat_map(|one| &one.artifacts) {
            let repository = environment.registry.repository(&artifact.repository);
            for (digest, _) in artifact.blobs() {
                add(digest.to_string(), repository.clone());
            }
        }
        let all: Vec<&Artifact> = lock.artifacts.iter().collect();
        for (repository, digest) in mount_candidates::of(context, environment, &all) {
            add(digest.to_string(), repository);
        }
        Ok(Self {
            environment,
            registry,
            holders,
        })
    }

    /// Returns the error for digests that are not available.
    pub(super) fn nowhere(&self, lacking: Vec<MissingDigest>) -> Error {
        Error::Fetch(fetch::Error::Nowhere {
            environment: self.environment.name.clone(),
            registry: self.environment.registry.image_url(),
            lacking,
        })
    }

    fn holders(&self, need: &Need<'_>) -> &[String] {
        let holders = self.holders.get(need.digest.as_ref());
        holders.map_or(&[], Vec::as_slice)
    }

    /// Searches for a digest in this registry, then in the others.
    pub(super) async fn find(
        &self,
        need: &Need<'_>,
        others: &[&Site<'_>],
        store: &bundle::Store,
        context: &Context<'_>,
        reads: Reads,
    ) -> Result<Found, Error> {
        let mut held = BTreeSet::new();
        for repository in &need.repositories {
            if self.has(repository, need, reads).await? {
                held.insert(repository.clone());
            }
        }
        if held.is_empty() {
            let elsewhere = self.holders(need).iter();
            for repository in elsewhere.filter(|one| !need.repositories.contains(*one)) {
                if self.has(repository, need, reads).await? {
                    held.insert(repository.clone());
                    break;
                }
            }
        }
        let is_needed = match reads {
            Reads::Nothing => false,
            Reads::Needed => need.is_manifest,
            Reads::Unmountable => need.is_manifest || held != need.repositories,
        };
        if !held.is_empty() && !is_needed {
            return Ok(Found::Held(held));
        }
        for repository in &held {
            if self.read(repository, need, store, context).await? {
                return Ok(Found::Stored);
            }
        }
        for other in others {
            for repository in other.holders(need) {
                // Errors of a registry that is only read from do not stop this push.
                let is_there = match reads {
                    Reads::Nothing => other.has(repository, need, reads).await,
                    _ => other.read(repository, need, store, context).await,
                };
                if is_there.unwrap_or(false) {
                    return Ok(Found::Stored);
                }
            }
        }
        Ok(Found::Nowhere)
    }

    /// Returns whether a repository holds the digest with the expected size.
    async fn has(&self, repository: &str, need: &Need<'_>, reads: Reads) -> Result<bool, Error> {
        let digest = need.digest;
        let fits = |size: Option<u64>| size.is_none_or(|size| size == need.size);
        let registry = &self.registry;
        let found = if need.is_manifest {
            let found = registry.head_manifest(repository, digest.as_ref()).await;
            found.map(|found| found.is_some_and(|found| fits(found.size)))
        } else if reads == Reads::Unmountable {
            // The registry confirmed the blob before and then did not mount it, perhaps because of
            // a cache. So one byte of it is read.
            let blob = registry::Blob {
                digest: digest.clone(),
                size: need.size,
            };
            registry.serves(repository, &blob, &()).await
        } else {
            let found = registry.find_blob(repository, digest).await;
            found.map(|found| found.is_some_and(|found| fits(found.size)))
        };
        match found {
            // Some registries refuse requests for content that they lack.
            Err(error) if is_refusal(&error) => Ok(false),
            found => found.map_err(|source| unusable(self.environment, source)),
        }
    }

    /// Reads a digest into the store. Returns whether the repository served it. Content with a
    /// different digest is discarded.
    async fn read(
        &self,
        repository: &str,
        need: &Need<'_>,
        store: &bundle::Store,
        context: &Context<'_>,
    ) -> Result<bool, Error> {
        let stored = |source| Error::store(context.workspace, source);
        let mut writer = Box::new(store.writer(need.digest, need.size).map_err(stored)?);
        let outcome = match need.is_manifest {
            true => {
                let fetched = self.registry.get_manifest(repository, need.digest.as_ref());
                match fetched.await {
                    Ok(fetched) => writer.write(&fetched.bytes).map_err(stored).map(|()| None),
                    Err(error) => Ok(Some(error)),
                }
            }
            false => self.read_blob(repository, need, &mut writer, &stored).await,
        };
        match outcome? {
            None => {
                writer.commit().map_err(stored)?;
                Ok(true)
            }
            Some(registry::Error::NotFound { .. }) => Ok(false),
            Some(error) if is_refusal(&error) => Ok(false),
            Some(error @ registry::Error::DigestMismatch { .. }) => {
                context.reporter.report(Event::Warning(format!(
                    "{} is not read from {}: {}",
                    need.digest,
                    self.environment.registry.address,
                    chain(&error)
                )));
                Ok(false)
            }
            Some(source) => Err(unusable(self.environment, source)),
        }
    }

    /// Reads a blob. Returns the registry's error if it was not served.
    async fn read_blob(
        &self,
        repository: &str,
        need: &Need<'_>,
        writer: &mut bundle::BlobWriter,
        stored: &(impl Fn(bundle::StoreError) -> Error + Sync),
    ) -> Result<Option<registry::Error>, Error> {
        let reading = self.registry.get_blob(repository, need.digest, need.size);
        let mut reader = match reading.await {
            Ok(reader) => reader,
            Err(error) => return Ok(Some(error)),
        };
        loop {
            match reader.next().await {
                Ok(Some(bytes)) => writer.write(&bytes).map_err(stored)?,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            }
        }
    }
}
