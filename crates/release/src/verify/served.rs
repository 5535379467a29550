//! Reads all locked content from the registry as a node does, for the command `verify`.

use camino::Utf8PathBuf;
use environment::Environment;

use super::examine::bytes_to_read;
use super::nodes::NodeRegistries;
use super::{Depth, Finding, report_end, report_start};
use crate::config::render;
use crate::event::Event;
use crate::workspace::{Output, read_if_exists};
use crate::{Context, Error, chain, verify};

/// Result of a verification.
#[derive(Debug)]
pub struct Served {
    /// Registry and project that images are pulled from, without scheme.
    pub images: String,
    /// Registry and project that charts are pulled from, without scheme.
    pub charts: String,
    /// Number of verified artifacts.
    pub artifacts: usize,
    /// Number of requested manifests.
    pub manifests: usize,
    /// Number of requested blobs. A blob counts once for each repository that should have it.
    pub blobs: usize,
    /// Number of bytes that were read and hashed.
    pub read_bytes: u64,
    /// Differences from the lock, in its order, without duplicates.
    pub findings: Vec<Finding>,
}

impl Served {
    /// Checks that there are no findings.
    ///
    /// # Errors
    /// [`verify::Error::NotConfirmed`] if there are findings.
    pub fn require_all(self, environment: &Environment) -> Result<(), Error> {
        match self.findings.is_empty() {
            true => Ok(()),
            false => Err(verify::Error::NotConfirmed {
                environment: environment.name.clone(),
                address: self.images,
                findings: self.findings,
            }
            .into()),
        }
    }
}

/// Verifies all content of a lock as nodes do, through the URLs in the environment's `mke4.yaml`.
/// That file is what the cluster was given. If it does not exist, the rendered one is used.
///
/// # Errors
/// A registry cannot be used or refuses nodes. Missing or different content is a finding and not an
/// error.
pub async fn served(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    depth: Depth,
) -> Result<Served, Error> {
    let nodes = nodes_of(context, environment)?;
    let own = nodes.require_own(environment);
    if let Err(elsewhere) = &own {
        context.reporter.report(Event::Warning(chain(elsewhere)));
    }
    match (
        verify_at(context, environment, &nodes, lock, depth).await,
        own,
    ) {
        // A registry other than the environment's is not reachable: the file has to be corrected.
        (Err(Error::Connect(_)), Err(elsewhere)) => Err(elsewhere),
        (served, _) => served,
    }
}

/// Returns the registries that nodes of an environment pull from.
pub(super) fn nodes_of(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<NodeRegistries, Error> {
    let (path, text) = configuration(context, environment)?;
    NodeRegistries::of(context, environment, &text, &path)
}

/// Verifies all content of a lock.
async fn verify_at(
    context: &Context<'_>,
    environment: &Environment,
    nodes: &NodeRegistries,
    lock: &bundle::Lock,
    depth: Depth,
) -> Result<Served, Error> {
    nodes.ping(context).await?;
    let all: Vec<_> = (lock.artifacts.iter())
        .map(|artifact| (artifact, depth))
        .collect();
    let bytes = (depth == Depth::Bytes).then(|| bytes_to_read(nodes, &all));
    report_start(context, all.len(), bytes);
    let examined = nodes.examine(context, environment, &all).await?;
    report_end(context, all.len(), &examined.findings);
    let (images, charts) = nodes.urls();
    Ok(Served {
        images: images.to_owned(),
        charts: charts.to_owned(),
        artifacts: all.len(),
        manifests: examined.manifests,
        blobs: examined.blobs,
        read_bytes: examined.read_bytes,
        findings: examined.findings,
    })
}

/// Returns the path and the content of an environment's `mke4.yaml`, rendered if it does not exist.
fn configuration(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<(Utf8PathBuf, String), Error> {
    let path = Output::below(&context.workspace.environment(&environment.name)).config;
    let text = match read_if_exists(&path)? {
        Some(text) => text,
        None => {
            context.reporter.report(Event::Warning(format!(
                "{} does not exist; the registry of environment.yaml is read",
                context.workspace.shown(&path)
            )));
            let release = context.workspace.release(&environment.release)?;
            let mut environment = environment.clone();
            render::render(context.workspace, &mut environment, &release)?.text
        }
    };
    Ok((path, text))
}
