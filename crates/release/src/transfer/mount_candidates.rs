//! Finds mount candidates: blobs that other environments have in the same registry.
//!
//! Staging and prod often are two projects of one registry. Candidates come from the files of the other environment, which record
//! its last deploy. The registry decides whether it mounts them.

use std::collections::{HashMap, HashSet};

use environment::Environment;
use oci_spec::image::Digest;

use crate::receipt::Receipt;
use crate::workspace::Output;
use crate::{Context, locked};

/// Returns, for each blob of the artifacts, a repository of another environment in the same registry that should hold it.
///
/// An environment that cannot be read has nothing to offer, and is not what this run is about.
pub(crate) fn offers(
    context: &Context<'_>,
    environment: &Environment,
    artifacts: &[&bundle::Artifact],
) -> Vec<(String, Digest)> {
    let wanted: HashSet<&Digest> = artifacts
        .iter()
        .flat_map(|artifact| artifact.blobs())
        .map(|(digest, _)| digest)
        .collect();
    let mut offers = HashMap::new();
    let names = environment::names(context.workspace.root()).unwrap_or_default();
    for name in names.iter().filter(|name| **name != environment.name) {
        let Some((neighbour, lock)) = applied(context, environment, name) else {
            continue;
        };
        for artifact in &lock.artifacts {
            let repository = neighbour.registry.repository(&artifact.repository);
            for (digest, _) in artifact.blobs() {
                if wanted.contains(digest) {
                    offers.insert(digest.clone(), repository.clone());
                }
            }
        }
    }
    offers
        .into_iter()
        .map(|(digest, repository)| (repository, digest))
        .collect()
}

/// Returns another environment and the lock of what it has, if that is in the same registry and in another project of it.
fn applied(
    context: &Context<'_>,
    environment: &Environment,
    name: &str,
) -> Option<(Environment, std::sync::Arc<bundle::Lock>)> {
    let ours = &environment.registry;
    let neighbour = mke::load(context.workspace.root(), name).ok()?;
    if neighbour.registry.address != ours.address || neighbour.registry.project == ours.project {
        return None;
    }
    let output = Output::below(&context.workspace.environment(name));
    let receipt = Receipt::read(&output.receipt).ok()??;
    let release = receipt.applied?.release;
    let version = release.strip_prefix('v')?.parse().ok()?;
    let locked = locked::read(context.workspace, &version).ok()?;
    Some((neighbour, locked.lock))
}
