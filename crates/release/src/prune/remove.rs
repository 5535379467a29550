//! Executes a reviewed plan. Refuses it if anything changed since, or is needed again.

use std::collections::BTreeSet;

use super::error::{NotRemoved, OutdatedReason};
use super::file::{PrunePlan, Remove};
use super::history::{self, History};
use super::{Scope, holding_or_reason, propose, recompute};
use crate::transfer::connect::connect;
use crate::transfer::look::unusable;
use crate::{Context, Error, RegistryError, prune, shared_state};
use environment::Environment;
use registry::Removed;

/// The result of a removal.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Number of removed tags.
    pub tags: usize,
    /// Number of removed manifests, including children of indexes.
    pub manifests: usize,
    /// Number of manifests in the plan that did not exist, as after an interrupted run.
    pub gone_before: usize,
}

/// Removes the manifests of a plan. The plan is computed again first: each tag must still point at
/// the digest in the plan, and no kept lock may name it. Then `confirm` is called, before anything
/// is removed.
///
/// # Errors
/// - [`prune::Error::OtherEnvironment`] if the plan is for a different environment.
/// - [`prune::Error::Refused`] if the plan is outdated.
/// - [`prune::Error::RemovesNothing`] or [`prune::Error::NotRemoved`] if the registry did not
///   remove everything.
/// - The error of `confirm`.
pub async fn prune<E: From<Error>>(
    context: &Context<'_>,
    environment: &Environment,
    plan: &PrunePlan,
    path: &camino::Utf8Path,
    confirm: impl FnOnce() -> Result<(), E>,
) -> Result<Pruned, E> {
    if plan.environment != environment.name {
        return Err(E::from(Error::Prune(prune::Error::OtherEnvironment {
            path: path.to_owned(),
            planned: plan.environment.clone(),
            environment: environment.name.clone(),
        })));
    }
    let registry = connect(context, environment, context.credentials(environment)?)?;
    let refuse = |moved: Vec<OutdatedReason>| {
        Err(E::from(Error::Prune(prune::Error::Refused {
            environment: environment.name.clone(),
            path: path.to_owned(),
            moved,
        })))
    };
    let url = environment.registry.image_url();
    if plan.registry != url {
        return refuse(vec![OutdatedReason::Registry(plan.registry.clone(), url)]);
    }
    let scope = match plan.also_found {
        true => Scope::Found,
        false => Scope::Pushed,
    };
    let failed = |source| E::from(unusable(environment, source));
    if plan.remove.is_empty() {
        return Ok(Pruned::default());
    }
    let history = history::gather(context, environment, scope).await?;
    let now = recompute(context, environment, scope, &history).await?;
    let mut pruned = Pruned::default();
    let mut moved = Vec::new();
    let mut removals = Removals::default();
    for removal in &plan.remove {
        let proposed = now
            .remove
            .iter()
            .find(|one| one.repository == removal.repository && one.digest == removal.digest);
        match proposed {
            Some(proposed) => match unreviewed(removal, proposed) {
                None => removals.roots.push(removal),
                Some(why) => moved.push(why),
            },
            None if is_gone(&registry, removal).await.map_err(failed)? => {
                pruned.gone_before += 1;
                let left = orphaned_children(&registry, environment, &history, removal).await;
                removals.children.extend(left.map_err(failed)?);
            }
            None => moved.push(change_of(removal, &now)),
        }
    }
    if !moved.is_empty() {
        return refuse(moved);
    }
    if removals.roots.is_empty() && removals.children.is_empty() {
        return Ok(pruned);
    }
    confirm()?;
    if shared_state::all(context, environment).await? != history.states {
        return refuse(vec![OutdatedReason::Deploy]);
    }
    remove_all(&registry, environment, removals, &mut pruned).await?;
    Ok(pruned)
}

#[derive(Default)]
struct Removals<'a> {
    /// Manifests that tags point at.
    roots: Vec<&'a Remove>,
    /// Orphaned children by repository and digest: the manifest that listed them does not exist.
    children: BTreeSet<(&'a str, String)>,
}

/// Returns a tag that would be removed without review, or a child in the plan that is needed again.
fn unreviewed(reviewed: &Remove, now: &Remove) -> Option<OutdatedReason> {
    let repository = &reviewed.repository;
    if let Some(tag) = now.tags.iter().find(|tag| !reviewed.tags.contains(tag)) {
        let tag = format!("{repository}:{tag}");
        return Some(OutdatedReason::Tag(tag, reviewed.digest.clone()));
    }
    let child = reviewed
        .children
        .iter()
        .find(|child| !now.children.contains(child))?;
    Some(OutdatedReason::Child(format!("{repository}@{child}")))
}

/// Returns why a manifest of the plan is no longer proposed.
fn change_of(removal: &Remove, now: &PrunePlan) -> OutdatedReason {
    let stays = now
        .stays
        .iter()
        .find(|stay| stay.repository == removal.repository && removal.tags.contains(&stay.tag));
    let name = name(removal);
    match stays {
        Some(stay) => OutdatedReason::Stays(name, stay.why.clone()),
        None => OutdatedReason::Needed(name),
    }
}

async fn is_gone(registry: &registry::Registry, removal: &Remove) -> Result<bool, RegistryError> {
    for reference in removal.tags.iter().chain([&removal.digest]) {
        let found = registry.head_manifest(&removal.repository, reference);
        if found.await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the existing children of a removed manifest that may be removed too.
async fn orphaned_children<'a>(
    registry: &registry::Registry,
    environment: &Environment,
    history: &History,
    gone: &'a Remove,
) -> Result<Vec<(&'a str, String)>, RegistryError> {
    let repository = gone.repository.as_str();
    let Ok(holding) = holding_or_reason(registry, repository).await? else {
        return Ok(Vec::new());
    };
    let (kept, past) = (&history.kept, &history.past);
    let mut left = Vec::new();
    for child in propose::orphaned_children(kept, past, &environment.registry, gone, &holding) {
        if registry.head_manifest(repository, &child).await?.is_some() {
            left.push((repository, child));
        }
    }
    Ok(left)
}

/// Removes manifests one after the other, so a registry that does not support that is noticed at
/// the first one.
///
/// All indexes are removed before any child, because several indexes may list the same child. So no
/// index is ever served without its children. After an interruption, the same plan can be repeated.
async fn remove_all(
    registry: &registry::Registry,
    environment: &Environment,
    removals: Removals<'_>,
    pruned: &mut Pruned,
) -> Result<(), Error> {
    let address = &environment.registry.address;
    let Removals {
        roots,
        mut children,
    } = removals;
    let mut needed = BTreeSet::new();
    let mut failed = Vec::new();
    for removal in &roots {
        let listed = removal.children.iter().cloned();
        let listed = listed.map(|child| (removal.repository.as_str(), child));
        let why = match remove(registry, removal).await {
            Ok(Outcome::Removed(manifests)) => {
                pruned.tags += removal.tags.len();
                pruned.manifests += manifests;
                children.extend(listed);
                continue;
            }
            Ok(Outcome::Unsupported) => {
                return Err(prune::Error::RemovesNothing {
                    address: address.clone(),
                    removed: pruned.tags,
                }
                .into());
            }
            Err(why) => why,
        };
        needed.extend(listed);
        failed.push((name(removal), why));
    }
    for (repository, child) in children.difference(&needed) {
        let removed = match parsed(child) {
            Ok(digest) => registry.remove_manifest(repository, &digest).await,
            Err(error) => Err(error),
        };
        match removed {
            Ok(Removed::Gone) => pruned.manifests += 1,
            Ok(Removed::NotThere) => {}
            Ok(Removed::Unsupported) => {
                return Err(prune::Error::RemovesNothing {
                    address: address.clone(),
                    removed: pruned.tags,
                }
                .into());
            }
            Err(error) => failed.push((format!("{repository}@{child}"), error.into())),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(prune::Error::NotRemoved {
        address: address.clone(),
        removed: pruned.tags,
        total: roots.iter().map(|removal| removal.tags.len()).sum(),
        failed,
    }
    .into())
}

enum Outcome {
    /// Number of removed manifests.
    Removed(usize),
    Unsupported,
}

/// Removes a manifest with its tags, but not its children.
async fn remove(registry: &registry::Registry, removal: &Remove) -> Result<Outcome, NotRemoved> {
    let Remove {
        repository,
        digest,
        tags,
        ..
    } = removal;
    // The tag may have moved while other manifests were removed.
    for tag in tags {
        let found = registry.head_manifest(repository, tag).await?;
        let found = found.and_then(|found| found.digest);
        if let Some(found) = found.filter(|found| found.as_ref() != digest) {
            return Err(NotRemoved::TagMoved(tag.clone(), found.to_string()));
        }
    }
    let manifests = match registry
        .remove_manifest(repository, &parsed(digest)?)
        .await?
    {
        Removed::Unsupported => return Ok(Outcome::Unsupported),
        Removed::Gone => 1,
        Removed::NotThere => 0,
    };
    for tag in tags {
        // Most registries remove a manifest's tags with it. The others need a request for each tag.
        if registry.head_manifest(repository, tag).await?.is_some()
            && registry.remove_tag(repository, tag).await? == Removed::Unsupported
        {
            return Ok(Outcome::Unsupported);
        }
    }
    Ok(Outcome::Removed(manifests))
}

fn name(removal: &Remove) -> String {
    format!("{}:{}", removal.repository, removal.tags.join(","))
}

fn parsed(digest: &str) -> Result<oci_spec::image::Digest, RegistryError> {
    bundle::sha256_digest(digest).map_err(|_| RegistryError::Name {
        kind: "digest",
        name: digest.to_owned(),
    })
}
