//! Restores what a registry lost, from the store or the bundle.
//!
//! The findings come from a verification. Blobs are restored first, then the manifests that refer
//! to them, then the tags, so the registry never serves incomplete artifacts. At the end, the
//! repaired artifacts are verified again as a node does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bundle::{Artifact, Lock};
use environment::Environment;
use futures_util::StreamExt as _;
use registry::BlobOutcome;

use super::served::nodes_of;
use super::{Depth, Finding, FindingKind};
use crate::event::{Event, Step};
use crate::observe::PushObserver;
use crate::transfer::connect::{StoreSource, connect_to_push, target};
use crate::transfer::look::{ping, unusable};
use crate::transfer::push::{self, Delivery, Sent};
use crate::transfer::{fetch, present, set, stream};
use crate::{Context, Error, RegistryError, verify};

/// Maximum number of concurrent repairs.
const REPAIRS_AT_ONCE: usize = 6;

/// Counts of restored content.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Number of tags set.
    pub tags: usize,
    /// Number of manifests put by their digests.
    pub manifests: usize,
    /// Number of blobs sent.
    pub sent_blobs: usize,
    /// Bytes of the blobs sent.
    pub sent_bytes: u64,
    /// Number of blobs that the registry mounted from a different repository.
    pub mounted_blobs: usize,
}

/// A finding, with its artifact in the lock.
struct Gap<'a> {
    finding: &'a Finding,
    artifact: &'a Artifact,
    place: Place,
}

/// What is restored, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Blob,
    /// A manifest that an index lists.
    Child,
    /// The manifest that a tag refers to, by its digest.
    Root,
    Tag,
}

/// Restores content that was found missing, moved or different. Blobs that the store lacks are read
/// from the bundle, or from other repositories of the registry.
///
/// # Errors
/// Nodes pull from a different registry than the environment's, the bundle is not available, the
/// registry refuses a request, or [`verify::Error::NotRepaired`] if it still serves different
/// content.
pub async fn repair(
    context: &Context<'_>,
    environment: &Environment,
    lock: &Lock,
    findings: &[Finding],
) -> Result<Repaired, Error> {
    if findings.is_empty() {
        return Ok(Repaired::default());
    }
    let nodes = nodes_of(context, environment)?;
    nodes.require_own(environment)?;
    let gaps: Vec<Gap<'_>> = findings
        .iter()
        .filter_map(|finding| gap(lock, finding))
        .collect();
    let store = stocked(context, environment, lock, findings).await?;
    let source = StoreSource(store);
    let registry = connect_to_push(context, environment)?;
    let address = &environment.registry.address;
    let pong = ping(context, &registry, address).await;
    pong.map_err(|source| unusable(environment, source))?;
    context.reporter.report(Event::Started {
        step: Step::Push,
        what: format!("what is missing in {}", environment.registry.image_url()),
        bytes: Some(unique_bytes(findings)),
    });
    let _pushing = context.tool.signals.push_begins();
    let observer = PushObserver::new(context.reporter);
    let site = Site {
        registry,
        environment,
        lock,
        findings,
        source,
        observer,
    };
    let mut repaired = Repaired::default();
    for place in [Place::Blob, Place::Child, Place::Root, Place::Tag] {
        let fitting = gaps.iter().filter(|gap| gap.place == place);
        let site = &site;
        let restoring: Vec<_> = fitting
            .map(|gap| async move { (gap, site.restore(gap).await) })
            .collect();
        let outcomes: Vec<_> = futures_util::stream::iter(restoring)
            .buffer_unordered(REPAIRS_AT_ONCE)
            .collect()
            .await;
        let mut failed: BTreeMap<String, Arc<RegistryError>> = BTreeMap::new();
        for (gap, outcome) in outcomes {
            match outcome {
                Ok(restored) => repaired.count(gap, restored),
                Err(source @ RegistryError::Stopped) => return Err(unusable(environment, source)),
                Err(error) => {
                    failed.insert(gap.finding.artifact.clone(), Arc::new(error));
                }
            }
        }
        if let Some(source) = site.registry.refuses_writes() {
            return Err(unusable(environment, source));
        }
        // Later places refer to the content that failed.
        if !failed.is_empty() {
            return Err(push::Error::Failed {
                address: address.clone(),
                total: named(findings).len(),
                sent: Sent {
                    uploaded_bytes: repaired.sent_bytes,
                    uploaded_blobs: repaired.sent_blobs as u64,
                    mounted_blobs: repaired.mounted_blobs as u64,
                    ..Sent::default()
                },
                failed: failed.into_iter().collect(),
            }
            .into());
        }
    }
    context.reporter.report(Event::Finished {
        step: Step::Push,
        what: repaired.to_string(),
    });
    let names = named(findings);
    let depth = match findings
        .iter()
        .any(|one| one.kind == FindingKind::WrongDigest)
    {
        true => Depth::Bytes,
        false => Depth::Full,
    };
    let again: Vec<_> = lock
        .artifacts
        .iter()
        .filter(|artifact| names.contains(artifact.reference().as_str()))
        .map(|artifact| (artifact, depth))
        .collect();
    let examined = nodes.examine_once(context, &again).await?;
    if !examined.findings.is_empty() {
        return Err(verify::Error::NotRepaired {
            environment: environment.name.clone(),
            address: environment.registry.image_url(),
            findings: examined.findings,
        }
        .into());
    }
    Ok(repaired)
}

impl Repaired {
    fn count(&mut self, gap: &Gap<'_>, restored: BlobOutcome) {
        match (gap.place, restored) {
            (Place::Tag, _) => self.tags += 1,
            (Place::Child | Place::Root, _) => self.manifests += 1,
            (Place::Blob, BlobOutcome::Uploaded) => {
                self.sent_blobs += 1;
                self.sent_bytes += gap.finding.size;
            }
            (Place::Blob, BlobOutcome::Mounted) => self.mounted_blobs += 1,
            (Place::Blob, BlobOutcome::Present) => {}
        }
    }
}

impl std::fmt::Display for Repaired {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "restored: {}, {}, {} sent, {} mounted",
            environment::count(self.tags, "tag"),
            environment::count(self.manifests, "manifest"),
            environment::count(self.sent_blobs, "blob"),
            self.mounted_blobs
        )
    }
}

/// Returns the artifact of a finding, and what has to be restored. The lock must be the one that
/// the findings were made from.
fn gap<'a>(lock: &'a Lock, finding: &'a Finding) -> Option<Gap<'a>> {
    let artifact = lock
        .artifacts
        .iter()
        .find(|artifact| artifact.reference() == finding.artifact)?;
    let manifest = artifact
        .manifests
        .iter()
        .find(|manifest| manifest.digest.as_ref() == finding.digest);
    let place = match (finding.kind.is_of_tag(), manifest) {
        (true, _) => Place::Tag,
        (false, Some(manifest)) if manifest.digest == artifact.digest => Place::Root,
        (false, Some(_)) => Place::Child,
        (false, None) => Place::Blob,
    };
    Some(Gap {
        finding,
        artifact,
        place,
    })
}

/// Target and source of a repair.
struct Site<'a> {
    registry: registry::Registry,
    environment: &'a Environment,
    lock: &'a Lock,
    findings: &'a [Finding],
    source: StoreSource,
    observer: PushObserver<'a>,
}

impl Site<'_> {
    async fn restore(&self, gap: &Gap<'_>) -> Result<BlobOutcome, RegistryError> {
        let target = target(self.environment, gap.artifact);
        let (repository, digest) = (&target.repository, &gap.finding.digest);
        if gap.place == Place::Blob {
            let mut blobs = target.manifests.iter().flat_map(|manifest| &manifest.blobs);
            let Some(blob) = blobs.find(|blob| blob.digest.as_ref() == digest) else {
                unreachable!("a finding is of the lock that it was made of");
            };
            let holders = self.holders(digest);
            let holders: Vec<&str> = holders.iter().map(String::as_str).collect();
            return self
                .registry
                .restore_blob(repository, blob, &holders, &self.source, &self.observer)
                .await;
        }
        let mut manifests = target.manifests.iter();
        let Some(manifest) = manifests.find(|one| one.digest.as_ref() == digest) else {
            unreachable!("a finding is of the lock that it was made of");
        };
        let reference = match gap.place {
            Place::Tag => target.tag.as_str(),
            _ => manifest.digest.as_ref(),
        };
        self.registry
            .restore_manifest(
                repository,
                reference,
                manifest,
                &self.source,
                &self.observer,
            )
            .await
            .map(|()| BlobOutcome::Uploaded)
    }

    /// Returns the repositories that should hold a blob and were not found to lack it.
    fn holders(&self, digest: &str) -> BTreeSet<String> {
        let lacking: BTreeSet<&str> = self
            .findings
            .iter()
            .filter(|finding| finding.digest == digest)
            .map(|finding| finding.repository.as_str())
            .collect();
        self.lock
            .artifacts
            .iter()
            .filter(|artifact| {
                let mut blobs = artifact.manifests.iter().flat_map(|one| &one.blobs);
                blobs.any(|blob| blob.digest.as_ref() == digest)
            })
            .map(|artifact| self.environment.registry.repository(&artifact.repository))
            .filter(|repository| !lacking.contains(repository.as_str()))
            .collect()
    }
}

/// Fills the store with everything that is to be restored, and returns it. Damaged and missing
/// blobs are read from the bundle, or from other repositories of the registry.
async fn stocked(
    context: &Context<'_>,
    environment: &Environment,
    lock: &Lock,
    findings: &[Finding],
) -> Result<bundle::Store, Error> {
    let store = fetch::open_store(context.workspace)?;
    let failed = |source| Error::store(context.workspace, source);
    let mut is_whole = true;
    for finding in findings {
        let Ok(digest) = bundle::sha256_digest(&finding.digest) else {
            unreachable!("a finding is of the lock that it was made of");
        };
        match tokio::task::block_in_place(|| store.verify_blob(&digest, finding.size)) {
            Ok(()) => {}
            Err(bundle::StoreError::Missing { .. }) => is_whole = false,
            Err(bundle::StoreError::Corrupt { .. } | bundle::StoreError::Size { .. }) => {
                store.discard(&digest).map_err(failed)?;
                is_whole = false;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    if is_whole {
        return Ok(store);
    }
    let delivery = Delivery {
        environment,
        artifacts: lock.artifacts.iter().collect(),
        present: Vec::new(),
        pull_refusal: None,
    };
    let is_download = matches!(
        fetch::source(context.workspace, lock)?,
        fetch::Source::Download(_)
    ) || set::need::is_needed(lock, &store);
    if is_download && present::may_be_partial(context, &store, &delivery) {
        let wanted = findings.iter().map(|one| one.digest.as_str()).collect();
        match present::read_back(context, lock, &delivery, &wanted).await {
            Err(Error::Fetch(_)) if !context.offline => {}
            read => return read.map(|()| store),
        }
    }
    stream::fetch(context, lock).await?;
    Ok(store)
}

fn named(findings: &[Finding]) -> BTreeSet<&str> {
    findings
        .iter()
        .map(|finding| finding.artifact.as_str())
        .collect()
}

/// Returns the bytes to restore, each digest counted once.
fn unique_bytes(findings: &[Finding]) -> u64 {
    let sizes: BTreeMap<&str, u64> = findings
        .iter()
        .map(|finding| (finding.digest.as_str(), finding.size))
        .collect();
    sizes.values().sum()
}
