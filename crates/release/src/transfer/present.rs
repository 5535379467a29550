//! The proof that lets tags be set, and the search in registries for blobs that the store lacks.
//!
//! Inside the air gap, the store may have only the blobs that the registry lacked when the medium
//! was packed. Each digest of the lock must then be in one of two places:
//!
//! - in the store, where it was hashed when it was written,
//! - or in the registry, which confirms it during this run.

use std::collections::{BTreeMap, BTreeSet};

use bundle::{Artifact, Lock};
use futures_util::StreamExt as _;
use oci_spec::image::Digest;

use crate::proof::Proven;
use crate::transfer::fetch::{self, MissingDigest, open_store};
use crate::transfer::look::MAX_CONCURRENT_LOOKUPS;
use crate::transfer::push::Delivery;
use crate::transfer::set;
use crate::{Context, Error, disk};

mod site;

use site::{Found, Site, needs};

/// Each digest of the lock is in the store, or was confirmed by a registry during this run. Only
/// `prove` creates one:
///
/// ```compile_fail,E0451
/// let proof = release::transfer::present::AllPresent { proven: todo!(), is_compared: true };
/// ```
#[derive(Debug)]
pub struct AllPresent {
    /// Has no environment if the store has everything: then the proof holds for each registry.
    proven: Proven,
    /// Whether everything in the store was hashed during this run.
    is_compared: bool,
}

/// Blobs that the store lacks and that one registry confirmed during this run. Only a search
/// creates one.
#[derive(Debug)]
pub(crate) struct RegistryContent {
    /// Name of the registry's environment.
    environment: String,
    /// Repositories that hold a blob, by digest.
    blobs: BTreeMap<String, BTreeSet<String>>,
    /// Digests of the artifacts whose tags are correct.
    tagged: BTreeSet<String>,
}

impl RegistryContent {
    /// Returns each blob with each repository that holds it.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.blobs.iter().flat_map(|(digest, repositories)| {
            let digest = bundle::sha256_digest(digest).ok();
            let each = repositories.iter();
            each.filter_map(move |one| Some((one.as_str(), digest.clone()?)))
        })
    }
}

impl AllPresent {
    /// Proves that each digest of the lock is in the store, or in what a registry holds.
    ///
    /// # Errors
    /// [`disk::Error::StoreLost`] if a digest is in neither.
    pub(crate) fn prove(
        context: &Context<'_>,
        lock: &Lock,
        store: &bundle::Store,
        held: Option<&RegistryContent>,
    ) -> Result<Self, Error> {
        let is_held = |digest: &Digest| {
            let digest = digest.as_ref();
            held.is_some_and(|held| held.blobs.contains_key(digest) || held.tagged.contains(digest))
        };
        let mut missing = store.missing(lock).into_iter();
        if let Some(lost) = missing.find(|blob| !is_held(&blob.digest)) {
            let path = context.workspace.store();
            return Err(Error::Disk(disk::Error::StoreLost {
                path: context.workspace.shown(&path).to_owned(),
                digest: lost.digest.to_string(),
            }));
        }
        Ok(Self {
            proven: Proven::new(lock, held.map(|held| held.environment.as_str())),
            is_compared: store.has_hashed(lock),
        })
    }

    /// Returns whether everything in the store was hashed during this run. Otherwise only sizes
    /// were compared.
    pub(crate) fn is_compared(&self) -> bool {
        self.is_compared
    }

    /// Returns whether the proof holds for the registry of an environment.
    ///
    /// # Errors
    /// [`crate::proof::Mismatch`] if the proof is of a different lock.
    pub(crate) fn holds_for(&self, wanted: &Proven) -> Result<bool, Error> {
        self.proven.covers("AllPresent", wanted)
    }
}

/// What a search may read from registries into the store. Content is hashed as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Nothing, for a plan.
    Nothing,
    /// Manifests, and blobs that only a different registry has.
    Needed,
    /// Also blobs that only other repositories of the same registry have, because it does not mount
    /// them.
    Unmountable,
}

/// Returns the number of missing blobs that the registry has, if a push needs no download because
/// of them. Only makes lookups.
///
/// # Errors
/// The registry cannot be used, or in an offline run: [`fetch::Error::Nowhere`] if a digest is not
/// available.
pub(crate) async fn survey(
    context: &Context<'_>,
    lock: &Lock,
    delivery: &Delivery<'_>,
) -> Result<Option<usize>, Error> {
    let source = fetch::source(context.workspace, lock)?;
    let store = open_store(context.workspace)?;
    let is_incomplete =
        matches!(source, fetch::Source::Download(_)) || set::need::lacks(lock, &store);
    let is_partial = is_incomplete
        && !delivery.artifacts.is_empty()
        && may_be_partial(context, &store, delivery);
    if !is_partial {
        return Ok(None);
    }
    let on_disk = fetch::on_disk(context.workspace, lock)?;
    let search = Search {
        lock,
        store: &store,
        on_disk: &on_disk,
        others: Vec::new(),
        reads: Reads::Nothing,
    };
    match search.of(context, delivery).await {
        Ok(held) => Ok(Some(held.blobs.len())),
        Err(Error::Fetch(_)) if !context.offline => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether to search registries before a download. That is so if the store has some blobs
/// of the delivery, as after `unpack`, or if the run is offline.
pub(crate) fn may_be_partial(
    context: &Context<'_>,
    store: &bundle::Store,
    delivery: &Delivery<'_>,
) -> bool {
    context.offline || holds_any(store, delivery)
}

/// Searches the registry of each delivery for blobs that the store lacks, and reads into the store
/// what `reads` allows. `sources` are more registries that may be read from. An online run stops at
/// the first digest that is not available, since it can download the bundle.
///
/// # Errors
/// The store cannot be used. The inner errors: the registry cannot be used, or
/// [`fetch::Error::Nowhere`] if a digest is not available.
pub(crate) async fn search(
    context: &Context<'_>,
    lock: &Lock,
    deliveries: &[Delivery<'_>],
    sources: &[Delivery<'_>],
    reads: Reads,
) -> Result<Vec<Result<RegistryContent, Error>>, Error> {
    let store = open_store(context.workspace)?;
    let on_disk = fetch::on_disk(context.workspace, lock)?;
    let search = Search {
        lock,
        store: &store,
        on_disk: &on_disk,
        others: (sources.iter())
            .filter_map(|one| Site::new(context, lock, one.environment).ok())
            .collect(),
        reads,
    };
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(search.of(context, delivery).await);
    }
    Ok(outcomes)
}

/// Subject and places of a search.
struct Search<'a> {
    lock: &'a Lock,
    store: &'a bundle::Store,
    /// Digests in local bundles that were not read yet.
    on_disk: &'a BTreeSet<String>,
    /// Other registries that may be read from.
    others: Vec<Site<'a>>,
    reads: Reads,
}

impl Search<'_> {
    async fn of(
        &self,
        context: &Context<'_>,
        delivery: &Delivery<'_>,
    ) -> Result<RegistryContent, Error> {
        let Self {
            lock, store, reads, ..
        } = *self;
        let site = Site::new(context, lock, delivery.environment)?;
        let address = &site.environment.registry.address;
        let others: Vec<&Site<'_>> = (self.others.iter())
            .filter(|other| other.environment.registry.address != *address)
            .collect();
        let mut needs = needs(delivery, store);
        needs.retain(|need| !self.on_disk.contains(need.digest.as_ref()));
        let of_release = needs.iter().any(|need| need.artifact.source.is_none());
        let (count, mut lacking) = (needs.len(), Vec::new());
        let mut held = RegistryContent {
            environment: delivery.environment.name.clone(),
            blobs: BTreeMap::new(),
            tagged: tagged(lock, delivery),
        };
        if let Some(matrix) = missing_matrix(lock, store)
            && !self.on_disk.contains(&matrix.digest)
        {
            lacking.push(matrix);
        }
        let (site, others) = (&site, &others);
        let mut finding = futures_util::stream::iter(needs)
            .map(|need| async move {
                let found = site.find(&need, others, store, context, reads).await;
                (need, found)
            })
            .buffered(MAX_CONCURRENT_LOOKUPS);
        while let Some((need, found)) = finding.next().await {
            match found? {
                Found::Stored => {}
                Found::Held(repositories) => {
                    held.blobs.insert(need.digest.to_string(), repositories);
                }
                Found::Nowhere => {
                    lacking.push(need.lacking());
                    if !context.offline {
                        break;
                    }
                }
            }
        }
        if lacking.is_empty() {
            return Ok(held);
        }
        let is_empty = self.on_disk.is_empty() && !holds_any(store, delivery);
        if lacking.len() >= count && is_empty && of_release {
            // The bundle was never copied to this machine.
            return Err(fetch::offline(context.workspace, lock));
        }
        Err(site.nowhere(lacking))
    }
}

/// Reads the blobs that a repair needs, and that the store lacks, from other repositories of the
/// same registry.
///
/// # Errors
/// The registry cannot be used, or [`fetch::Error::Nowhere`] if a digest is not available.
pub(crate) async fn read_back(
    context: &Context<'_>,
    lock: &Lock,
    delivery: &Delivery<'_>,
    wanted: &BTreeSet<&str>,
) -> Result<(), Error> {
    let store = open_store(context.workspace)?;
    let site = Site::new(context, lock, delivery.environment)?;
    let mut lacking = Vec::new();
    for mut need in needs(delivery, &store) {
        if !wanted.contains(need.digest.as_ref()) {
            continue;
        }
        // These repositories lack the digest: it is to be repaired.
        need.repositories.clear();
        let found = site.find(&need, &[], &store, context, Reads::Unmountable);
        if matches!(found.await?, Found::Nowhere) {
            lacking.push(need.lacking());
        }
    }
    match lacking.is_empty() {
        true => Ok(()),
        false => Err(site.nowhere(lacking)),
    }
}

/// Returns the digests of locks that neither the store nor an environment's registry has. Only
/// makes lookups.
///
/// # Errors
/// The store or the registry cannot be used.
pub(crate) async fn nowhere(
    context: &Context<'_>,
    environment: &environment::Environment,
    locks: &[Lock],
) -> Result<BTreeSet<String>, Error> {
    let Some(first) = locks.first() else {
        return Ok(BTreeSet::new());
    };
    let store = open_store(context.workspace)?;
    let site = &Site::new(context, first, environment)?;
    let all = Delivery {
        environment,
        artifacts: locks.iter().flat_map(|lock| &lock.artifacts).collect(),
        present: Vec::new(),
        pull_refusal: None,
    };
    let store = &store;
    let mut finding = futures_util::stream::iter(needs(&all, store))
        .map(|need| async move {
            let found = site.find(&need, &[], store, context, Reads::Nothing).await;
            (need, found)
        })
        .buffered(MAX_CONCURRENT_LOOKUPS);
    let mut nowhere = BTreeSet::new();
    while let Some((need, found)) = finding.next().await {
        if matches!(found?, Found::Nowhere) {
            nowhere.insert(need.digest.digest().to_owned());
        }
    }
    Ok(nowhere)
}

fn holds_any(store: &bundle::Store, delivery: &Delivery<'_>) -> bool {
    let mut blobs = delivery.artifacts.iter().flat_map(|one| one.blobs());
    blobs.any(|(digest, size)| store.has(digest, size))
}

/// Returns the release matrix if the store lacks it. No registry has it.
pub(crate) fn missing_matrix(lock: &Lock, store: &bundle::Store) -> Option<MissingDigest> {
    let matrix = lock.release_matrix.as_ref()?;
    let digest = bundle::sha256_digest(&format!("sha256:{}", matrix.sha256)).ok()?;
    (!store.has(&digest, matrix.size)).then(|| MissingDigest {
        artifact: matrix.path.clone(),
        digest: digest.to_string(),
        size: matrix.size,
    })
}

/// Returns the digests of the artifacts whose tags are correct in the registry.
fn tagged(lock: &Lock, delivery: &Delivery<'_>) -> BTreeSet<String> {
    let is_pushed =
        |one: &&Artifact| (delivery.artifacts.iter()).any(|pushed| std::ptr::eq(*pushed, *one));
    let artifacts = lock.artifacts.iter().filter(|one| !is_pushed(one));
    let digests = artifacts.flat_map(Artifact::blobs);
    digests.map(|(digest, _)| digest.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_proof_holds_for_its_lock_and_its_registry_alone() {
        let (lab, other) = (testing::lock("lab"), testing::lock("other"));
        let of = |environment| AllPresent {
            proven: Proven::new(&lab, environment),
            is_compared: true,
        };
        let wanted = |lock, environment| Proven::new(lock, Some(environment));
        assert!(of(None).holds_for(&wanted(&lab, "prod")).unwrap());
        assert!(of(Some("prod")).holds_for(&wanted(&lab, "prod")).unwrap());
        assert!(!of(Some("lab")).holds_for(&wanted(&lab, "prod")).unwrap());
        assert!(of(None).holds_for(&wanted(&other, "prod")).is_err());
    }
}
