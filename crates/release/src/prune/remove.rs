//! Obeys a reviewed plan: removes what it names, and nothing that has moved since or that is needed again.

use environment::Environment;
use registry::Removed;

use super::file::{PrunePlan, Remove};
use super::{Reach, plan as compute};
use crate::push::connect;
use crate::{Context, Error, RegistryError, chain};

/// What came of a removal.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Tags that are gone.
    pub tags: usize,
    /// Manifests that were removed, the children of indexes included.
    pub manifests: usize,
    /// Manifests of the plan that were gone already, as after a run that was interrupted.
    pub gone_before: usize,
}

/// Removes what a plan names. Everything is computed once more before: each tag must still hold the digest that the plan names, and no lock that is
/// kept may name it.
///
/// `confirm` is asked when that is known, and before anything is removed.
///
/// # Errors
/// The plan is of another environment or registry, something has moved since, or the registry does not remove what it should.
pub async fn prune<E: From<Error>>(
    context: &Context<'_>,
    environment: &Environment,
    plan: &PrunePlan,
    path: &camino::Utf8Path,
    confirm: impl FnOnce() -> Result<(), E>,
) -> Result<Pruned, E> {
    let registry = connect(environment, context.credentials(environment)?)?;
    let refuse = |moved: Vec<String>| {
        Err(E::from(Error::PruneRefused {
            path: path.to_owned(),
            moved,
        }))
    };
    if plan.environment != environment.name {
        return refuse(vec![format!("it is for {}", plan.environment)]);
    }
    let url = environment.registry.image_url();
    if plan.registry != url {
        return refuse(vec![format!(
            "it is for the registry {}, and that of {} is {url}",
            plan.registry, environment.name
        )]);
    }
    let reach = match plan.also_found {
        true => Reach::Found,
        false => Reach::Pushed,
    };
    let now = compute(context, environment, reach).await?;
    let mut pruned = Pruned::default();
    let mut moved = Vec::new();
    let mut to_remove = Vec::new();
    for removal in &plan.remove {
        let proposed = now
            .remove
            .iter()
            .find(|one| one.repository == removal.repository && one.digest == removal.digest);
        match proposed {
            Some(proposed) => match unreviewed(removal, proposed) {
                None => to_remove.push(removal),
                Some(why) => moved.push(why),
            },
            None => match is_gone(&registry, removal).await {
                Ok(true) => pruned.gone_before += 1,
                Ok(false) => moved.push(why_not(removal, &now)),
                Err(source) => {
                    return Err(E::from(Error::Registry {
                        address: environment.registry.address.clone(),
                        source,
                    }));
                }
            },
        }
    }
    if !moved.is_empty() {
        return refuse(moved);
    }
    if to_remove.is_empty() {
        return Ok(pruned);
    }
    confirm()?;
    remove_all(&registry, environment, &to_remove, &mut pruned).await?;
    Ok(pruned)
}

/// Says what would go with a manifest that nobody has reviewed, or what the plan names that is not to go any more.
fn unreviewed(reviewed: &Remove, now: &Remove) -> Option<String> {
    let repository = &reviewed.repository;
    if let Some(tag) = now.tags.iter().find(|tag| !reviewed.tags.contains(tag)) {
        return Some(format!(
            "{repository}:{tag} points at {} now, too",
            reviewed.digest
        ));
    }
    let child = reviewed
        .children
        .iter()
        .find(|child| !now.children.contains(child))?;
    Some(format!("{repository}@{child} is needed by something else"))
}

/// Says why a manifest of the plan is no longer proposed.
fn why_not(removal: &Remove, now: &PrunePlan) -> String {
    let stays = now
        .stays
        .iter()
        .find(|stay| stay.repository == removal.repository && removal.tags.contains(&stay.tag));
    let name = name(removal);
    match stays {
        Some(stay) => format!("{name} stays: {}", stay.why),
        None => format!("{name} is none of what receipts tell of, or a lock that is kept names it"),
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

/// Removes one after the other, so that a registry which removes nothing is noticed at the first one.
async fn remove_all(
    registry: &registry::Registry,
    environment: &Environment,
    removals: &[&Remove],
    pruned: &mut Pruned,
) -> Result<(), Error> {
    let address = &environment.registry.address;
    let mut failed = Vec::new();
    for removal in removals {
        match remove(registry, removal).await {
            Ok(Outcome::Removed(manifests)) => {
                pruned.tags += removal.tags.len();
                pruned.manifests += manifests;
            }
            Ok(Outcome::Unsupported) => {
                return Err(Error::RemovesNothing {
                    address: address.clone(),
                    removed: pruned.tags,
                });
            }
            Ok(Outcome::Moved(why)) => failed.push((name(removal), why)),
            Err(error) => failed.push((name(removal), chain(&error))),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::NotRemoved {
        address: address.clone(),
        removed: pruned.tags,
        total: removals.iter().map(|removal| removal.tags.len()).sum(),
        failed,
    })
}

enum Outcome {
    /// So many manifests.
    Removed(usize),
    /// Nothing, since a tag has moved.
    Moved(String),
    Unsupported,
}

/// Removes a manifest with its tags, and then what only it listed: an index goes before its children, so that none is ever served without them.
async fn remove(registry: &registry::Registry, removal: &Remove) -> Result<Outcome, RegistryError> {
    let Remove {
        repository,
        digest,
        tags,
        children,
        ..
    } = removal;
    // It may have moved while others were removed.
    for tag in tags {
        let found = registry.head_manifest(repository, tag).await?;
        let found = found.and_then(|found| found.digest);
        if let Some(found) = found.filter(|found| found.as_ref() != digest) {
            return Ok(Outcome::Moved(format!("{tag} points at {found} now")));
        }
    }
    let root = parsed(digest)?;
    let mut manifests = 0;
    match registry.remove_manifest(repository, &root).await? {
        Removed::Unsupported => return Ok(Outcome::Unsupported),
        Removed::Gone => manifests += 1,
        Removed::NotThere => {}
    }
    for tag in tags {
        // Most registries remove a manifest's tags with it. Where one stays, it is removed by itself.
        if registry.head_manifest(repository, tag).await?.is_some()
            && registry.remove_tag(repository, tag).await? == Removed::Unsupported
        {
            return Ok(Outcome::Unsupported);
        }
    }
    for child in children {
        if registry
            .remove_manifest(repository, &parsed(child)?)
            .await?
            == Removed::Gone
        {
            manifests += 1;
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
