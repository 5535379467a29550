//! Reads everything in a lock from the registry as a node does, for `verify`.

use camino::Utf8PathBuf;
use environment::Environment;

use super::examine::{bytes_to_read, examine};
use super::nodes::NodeRegistries;
use super::{Depth, Finding, affected};
use crate::config::render;
use crate::event::{Event, Step};
use crate::workspace::{Output, read_if_there};
use crate::{Context, Error, chain, verify};

/// What was looked at, and what is wrong with it.
#[derive(Debug)]
pub struct Served {
    /// Where images come from, without scheme.
    pub images: String,
    /// Where charts come from, without scheme.
    pub charts: String,
    /// How many artifacts were looked at.
    pub artifacts: usize,
    /// How many manifests were asked for.
    pub manifests: usize,
    /// How many blobs were asked for, each repository's counted by itself.
    pub blobs: usize,
    /// How many bytes were read and hashed.
    pub read_bytes: u64,
    /// What is not as the lock says, in its order, each thing once.
    pub findings: Vec<Finding>,
}

impl Served {
    /// Returns if nodes get everything.
    ///
    /// # Errors
    /// Something is not as the lock says.
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

/// Looks at everything that a lock names as nodes do, through the URLs in the environment's
/// `mke4.yaml`: the existing file, since that is what the cluster was given, or where there is none
/// what would be rendered.
///
/// # Errors
/// A registry cannot be used, or refuses what nodes do. What is missing or wrong in it is not an
/// error here.
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
    match (look(context, environment, &nodes, lock, depth).await, own) {
        // The registry that does not answer is not the environment's: the file is to be corrected.
        (Err(Error::Connect(_)), Err(elsewhere)) => Err(elsewhere),
        (looked, _) => looked,
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

/// Looks at everything that a lock names.
pub(super) async fn look(
    context: &Context<'_>,
    environment: &Environment,
    nodes: &NodeRegistries,
    lock: &bundle::Lock,
    depth: Depth,
) -> Result<Served, Error> {
    nodes.knock(context).await?;
    let all: Vec<_> = lock
        .artifacts
        .iter()
        .map(|artifact| (artifact, depth))
        .collect();
    context.reporter.report(Event::Started {
        step: Step::Confirm,
        what: format!(
            "{} as a node pulls them",
            environment::count(all.len(), "artifact")
        ),
        bytes: (depth == Depth::Bytes).then(|| bytes_to_read(nodes, &all)),
    });
    let examined = nodes
        .watched(context, examine(nodes, &all, context.reporter))
        .await?;
    nodes
        .require_visible(context, environment, &all, &examined.findings)
        .await?;
    let what = match examined.findings.len() {
        0 => format!(
            "{} served to nodes",
            environment::count_are(all.len(), "artifact")
        ),
        _ => format!(
            "findings in {}",
            environment::count(affected(&examined.findings), "artifact")
        ),
    };
    context.reporter.report(Event::Finished {
        step: Step::Confirm,
        what,
    });
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

/// Returns the text of an environment's `mke4.yaml`, and where it is or would be.
fn configuration(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<(Utf8PathBuf, String), Error> {
    let path = Output::below(&context.workspace.environment(&environment.name)).config;
    let text = match read_if_there(&path)? {
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
