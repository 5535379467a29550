//! Finds tags in an environment's registry that no release needs, and removes them by a reviewed
//! plan.
//!
//! Candidates are the tags of locks that receipts of this environment name, now or in git's
//! history. A tag stays if any environment on the same registry requires its lock, runs it, ran it
//! before or failed to deploy it. The registry's own garbage collection frees the bytes.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use environment::Environment;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::{ImageIndex, MediaType};

use crate::transfer::connect::connect;
use crate::transfer::look::{ping, unusable};
use crate::workspace::{FileKind, read_if_exists, write_named};
use crate::{Context, RegistryError, Workspace, receipt, sha256};

mod history;
mod propose;
mod file;
mod remove;

mod error;

pub use error::{Error, NotRemoved, OutdatedReason};
pub use file::{ComputedFrom, KeptLock, PrunePlan, Remove, Stays};
pub use remove::{Pruned, prune};

use history::History;
use propose::{Holding, Proposal, TagTarget, candidates, propose};

/// Maximum number of concurrent requests.
const REPOSITORIES_AT_ONCE: usize = 8;

/// Maximum number of tags that a note names.
const NAMES: usize = 10;

/// Which tags are candidates for removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Tags of locks from which a recorded deploy pushed something.
    Pushed,
    /// Also tags of locks whose artifacts a recorded deploy found present, as after `push`.
    Found,
}

/// Computes a plan of what may be removed. Removes nothing.
///
/// # Errors
/// - A lock or an environment cannot be read, so it is unknown what is needed.
/// - The registry cannot be read.
pub async fn plan(
    context: &Context<'_>,
    environment: &Environment,
    scope: Scope,
) -> Result<PrunePlan, crate::Error> {
    let mut history = history::gather(context, environment, scope).await?;
    let proposal = look(context, environment, &history).await?;
    let unclaimed = unclaimed(context, environment, &history, &proposal).await?;
    history.notes.extend(unclaimed);
    build_plan(context, environment, scope, &history, proposal)
}

/// Returns a note for each lock of the workspace that no receipt names, if the registry has tags of
/// it. The receipt of that deploy was not committed, so it is unknown whether Airlock pushed the
/// tags.
async fn unclaimed(
    context: &Context<'_>,
    environment: &Environment,
    history: &History,
    proposal: &Proposal,
) -> Result<Vec<String>, crate::Error> {
    let mut notes = Vec::new();
    if history.unclaimed.is_empty() {
        return Ok(notes);
    }
    let registry = connect(context, environment, context.credentials(environment)?)?;
    let registry = &registry;
    let failed = |source| unusable(environment, source);
    for (path, lock) in &history.unclaimed {
        let candidates = lock.artifacts.iter().filter(|artifact| {
            let repository = environment.registry.repository(&artifact.repository);
            let tag = (repository, artifact.tag.clone());
            let is_removed = |removal: &propose::Removal| {
                removal.repository == tag.0 && removal.tags.contains(&tag.1)
            };
            let is_listed = |stay: &Stays| stay.repository == tag.0 && stay.tag == tag.1;
            !history.kept.tags.contains(&tag)
                && !proposal.remove.iter().any(is_removed)
                && !proposal.stay.iter().any(is_listed)
        });
        let held: Vec<String> = futures_util::stream::iter(candidates)
            .map(|artifact| async move {
                let repository = environment.registry.repository(&artifact.repository);
                let found = match registry.head_manifest(&repository, &artifact.tag).await {
                    Err(error) if !is_about_repository(&error) => return Err(error),
                    found => found.ok().flatten(),
                };
                let is_held =
                    found.is_some_and(|found| found.digest.as_ref() == Some(&artifact.digest));
                Ok(is_held.then(|| artifact.reference()))
            })
            .buffered(REPOSITORIES_AT_ONCE)
            .try_filter_map(|held| async move { Ok(held) })
            .try_collect()
            .await
            .map_err(failed)?;
        if held.is_empty() {
            continue;
        }
        let mut names = held[..held.len().min(NAMES)].join(", ");
        if held.len() > NAMES {
            names.push_str(&format!(" and {} more", held.len() - NAMES));
        }
        let of = match &lock.set {
            Some(set) => format!("the set {set}"),
            None => lock.release.clone(),
        };
        notes.push(format!(
            "{} of {of} {} in the registry: no receipt here or in git's history records their deploy from {path}: {names}; commit the receipt of that deploy and run `prune` again, or delete them with the registry's own tools",
            environment::count(held.len(), "artifact"),
            match held.len() {
                1 => "stays",
                _ => "stay",
            },
        ));
    }
    Ok(notes)
}

/// Writes a plan to a new file, or over an earlier plan.
///
/// # Errors
/// `path` has a different kind of file, or cannot be written.
pub fn write(plan: &PrunePlan, workspace: &Workspace, path: &Utf8Path) -> Result<(), crate::Error> {
    write_named(workspace, path, FileKind::PrunePlan, &plan.to_yaml(path)?)
}

/// Reads a plan.
///
/// # Errors
/// The file cannot be read, or [`Error::File`] or [`Error::Refused`] if it is not a plan of this
/// format.
pub fn read(path: &Utf8Path) -> Result<PrunePlan, crate::Error> {
    let text = files::read_text(path).map_err(|source| crate::Error::read(path, source))?;
    PrunePlan::parse(&text, path)
}

async fn recompute(
    context: &Context<'_>,
    environment: &Environment,
    scope: Scope,
    history: &History,
) -> Result<PrunePlan, crate::Error> {
    let proposal = look(context, environment, history).await?;
    build_plan(context, environment, scope, history, proposal)
}

/// Reads the candidates' repositories in the registry, and proposes what may be removed.
async fn look(
    context: &Context<'_>,
    environment: &Environment,
    history: &History,
) -> Result<Proposal, crate::Error> {
    let candidates = candidates(&history.kept, &history.past, &environment.registry);
    let registry = connect(context, environment, context.credentials(environment)?)?;
    let failed = |source| unusable(environment, source);
    if !candidates.is_empty() {
        let address = &environment.registry.address;
        ping(context, &registry, address).await.map_err(failed)?;
    }
    let registry = &registry;
    let holdings: BTreeMap<String, Result<Holding, String>> =
        futures_util::stream::iter(candidates.keys().cloned())
            .map(|repository| async move {
                let holding = holding_or_reason(registry, &repository).await;
                Ok::<_, crate::Error>((repository, holding.map_err(failed)?))
            })
            .buffer_unordered(REPOSITORIES_AT_ONCE)
            .try_collect()
            .await?;
    Ok(propose(&history.kept, &candidates, &holdings))
}

/// Returns the content of every tag of a repository, or why it is unknown. If it is unknown, all
/// tags of the repository stay.
async fn holding_or_reason(
    registry: &registry::Registry,
    repository: &str,
) -> Result<Result<Holding, String>, RegistryError> {
    match holding(registry, repository).await {
        Ok(holding) => Ok(Ok(holding)),
        Err(Unknown::Registry(error)) if is_about_repository(&error) => {
            Ok(Err(format!("its tags cannot be listed: {error}")))
        }
        Err(Unknown::Registry(error)) => Err(error),
        Err(Unknown::Index(tag)) => Ok(Err(format!("the content of the tag {tag} is unknown"))),
    }
}

/// Why the content of a repository is unknown.
enum Unknown {
    Registry(RegistryError),
    /// The manifest of this tag cannot be parsed.
    Index(String),
}

impl From<RegistryError> for Unknown {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// Returns the content of every tag of a repository, including tags that Airlock did not push.
async fn holding(registry: &registry::Registry, repository: &str) -> Result<Holding, Unknown> {
    let mut holding = Holding::new();
    for tag in registry.tags(repository).await? {
        let Some(found) = registry.head_manifest(repository, &tag).await? else {
            // Some registries list a tag whose manifest was removed.
            continue;
        };
        let is_plain = matches!(found.media_type, Some(MediaType::ImageManifest))
            || found.media_type.as_ref().is_some_and(|kind| {
                kind.to_string() == "application/vnd.docker.distribution.manifest.v2+json"
            });
        let held = match found.digest {
            Some(digest) if is_plain => TagTarget {
                digest: digest.to_string(),
                children: BTreeSet::new(),
            },
            _ => {
                let fetched = registry.get_manifest(repository, &tag).await?;
                let Some(children) = children(&fetched) else {
                    return Err(Unknown::Index(tag));
                };
                TagTarget {
                    digest: fetched.digest.to_string(),
                    children,
                }
            }
        };
        holding.insert(tag, held);
    }
    Ok(holding)
}

/// Returns the digests that an index lists, none for an image manifest, and `None` if the manifest
/// cannot be parsed.
fn children(fetched: &registry::Fetched) -> Option<BTreeSet<String>> {
    if let Ok(index) = ImageIndex::from_reader(fetched.bytes.as_ref()) {
        let children = index.manifests().iter();
        return Some(children.map(|child| child.digest().to_string()).collect());
    }
    oci_spec::image::ImageManifest::from_reader(fetched.bytes.as_ref())
        .ok()
        .map(|_| BTreeSet::new())
}

/// Returns whether an error concerns one repository only. If so, that repository is left unchanged.
fn is_about_repository(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Forbidden { .. }
            | RegistryError::Rejected { .. }
            | RegistryError::Protocol { .. }
            | RegistryError::DigestMismatch { .. }
            | RegistryError::NotFound { .. }
    )
}

fn build_plan(
    context: &Context<'_>,
    environment: &Environment,
    scope: Scope,
    history: &History,
    proposal: Proposal,
) -> Result<PrunePlan, crate::Error> {
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for past in &history.past {
        for artifact in &past.lock.artifacts {
            let repository = environment.registry.repository(&artifact.repository);
            let is_removed = proposal.remove.iter().any(|removal| {
                removal.repository == repository && removal.digest == artifact.digest.as_ref()
            });
            let blobs = artifact.blobs().filter(|_| is_removed);
            sizes.extend(
                blobs
                    .map(|(digest, size)| (digest.to_string(), size))
                    .filter(|(digest, _)| !history.kept.digests.contains(digest)),
            );
        }
    }
    let receipt =
        crate::workspace::Output::below(&context.workspace.environment(&environment.name)).receipt;
    let receipt = read_if_exists(&receipt)?.map(|text| sha256(text.as_bytes()));
    Ok(PrunePlan {
        version: PrunePlan::VERSION,
        environment: environment.name.clone(),
        registry: environment.registry.image_url(),
        made: receipt::now(context),
        also_found: scope == Scope::Found,
        computed_from: ComputedFrom {
            revision: history.revision.clone(),
            receipt,
            receipts: history.receipts,
            kept: history.locks.clone(),
        },
        frees_at_most: sizes.values().sum(),
        remove: proposal
            .remove
            .into_iter()
            .map(|removal| Remove {
                repository: removal.repository,
                digest: removal.digest,
                tags: removal.tags.into_iter().collect(),
                children: removal.children.into_iter().collect(),
                releases: removal.releases.into_iter().collect(),
            })
            .collect(),
        stays: proposal.stay,
        notes: history.notes.clone(),
    })
}
