//! Finds blobs that need not be sent: mount candidates, which other environments have in the same
//! registry, and blobs that earlier releases may have left in the target repository.
//!
//! Staging and prod often are two projects of one registry. Candidates come from the receipt and
//! the lock of the other environment. The registry decides whether it mounts them.

use std::collections::{HashMap, HashSet};

use environment::Environment;
use oci_spec::image::Digest;

use crate::receipt::Receipt;
use crate::workspace::{DEFAULT_ARCH, Output};
use crate::{Context, locked};

/// Returns, for each blob of the artifacts, a repository of a different environment in the same
/// registry that should hold it.
///
/// Environments that cannot be read are skipped, because this run does not depend on them.
pub(crate) fn of(
    context: &Context<'_>,
    environment: &Environment,
    artifacts: &[&bundle::Artifact],
) -> Vec<(String, Digest)> {
    let wanted = wanted(artifacts);
    let mut candidates = HashMap::new();
    let names = environment::names(context.workspace.root()).unwrap_or_default();
    for name in names.iter().filter(|name| **name != environment.name) {
        let Some((other, lock)) = applied(context, environment, name) else {
            continue;
        };
        for artifact in &lock.artifacts {
            let repository = other.registry.repository(&artifact.repository);
            for (digest, _) in artifact.blobs() {
                if wanted.contains(digest) {
                    candidates.insert(digest.clone(), repository.clone());
                }
            }
        }
    }
    candidates
        .into_iter()
        .map(|(digest, repository)| (repository, digest))
        .collect()
}

/// Returns the blobs of the artifacts that a different committed lock has as well, with the
/// repositories where an earlier push may have left them.
///
/// Locks that cannot be read are skipped, because this run does not depend on them.
pub(crate) fn expected(
    context: &Context<'_>,
    environment: &Environment,
    artifacts: &[&bundle::Artifact],
) -> Vec<(String, Digest)> {
    let wanted = wanted(artifacts);
    let workspace = context.workspace;
    let ours = workspace.lock(&format!("v{}", environment.release), DEFAULT_ARCH);
    let others = workspace.locks().unwrap_or_default();
    let locks: Vec<bundle::Lock> = (others.iter())
        .filter(|path| **path != ours)
        .filter_map(|path| bundle::Lock::read(path).ok())
        .collect();
    let mut expected = Vec::new();
    for artifact in locks.iter().flat_map(|lock| &lock.artifacts) {
        let repository = environment.registry.repository(&artifact.repository);
        let blobs = artifact.blobs().map(|(digest, _)| digest);
        expected.extend(
            blobs
                .filter(|digest| wanted.contains(digest))
                .map(|digest| (repository.clone(), digest.clone())),
        );
    }
    expected
}

/// Returns the digests of the artifacts.
fn wanted<'a>(artifacts: &[&'a bundle::Artifact]) -> HashSet<&'a Digest> {
    artifacts
        .iter()
        .flat_map(|artifact| artifact.blobs())
        .map(|(digest, _)| digest)
        .collect()
}

/// Returns a different environment with the lock of its deployed release, if it uses a different
/// project of the same registry.
fn applied(
    context: &Context<'_>,
    environment: &Environment,
    name: &str,
) -> Option<(Environment, std::sync::Arc<bundle::Lock>)> {
    let ours = &environment.registry;
    let other = mke::load(context.workspace.root(), name).ok()?;
    if other.registry.address != ours.address || other.registry.project == ours.project {
        return None;
    }
    let output = Output::below(&context.workspace.environment(name));
    let receipt = Receipt::read(&output.receipt).ok()??;
    let release = receipt.applied?.release;
    let version = release.strip_prefix('v')?.parse().ok()?;
    let locked = locked::of_release(context.workspace, &other, &version)
        .or_else(|_| locked::read(context.workspace, &version));
    Some((other, locked.ok()?.lock))
}
