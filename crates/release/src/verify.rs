//! Checks both ends of the way: the bundle against its lock, and the registry as a node sees it.

use environment::Environment;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::event::{Event, Step};
use crate::plan::{Plan, Planned};
use crate::push::{Sent, connect, target};
use crate::{Context, Credentials, Error};

mod local;
mod look;

pub use local::VerifiedBundle;
pub(crate) use local::{
    discard_damaged, is_by_damage, read, read_to_its_end, report_start, stored,
};
pub use look::{Held, Seen};
pub(crate) use look::{look, look_as_node, tags};

/// How many requests are under way at once while the registry is only asked.
const QUESTIONS_AT_ONCE: usize = 16;

/// Every digest of the lock was confirmed in the registry during this run, through the eyes of a node.
/// Only [`registry()`] and [`everything`] make one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Confirmed {
    /// How many artifacts there are.
    pub artifacts: usize,
    /// How many of them were looked at in full, down to each blob.
    pub in_full: usize,
}

/// How much of an artifact is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its tag: the registry took no manifest without what it refers to, so its digest vouches for the rest.
    Tag,
    /// Its tag, each of its manifests and each of their blobs.
    Full,
}

/// Looks at the registry as a node does, after a push: in full at what was sent, and at the tags that the plan
/// has not confirmed already.
///
/// # Errors
/// Something that the lock names is not served, or not to nodes.
pub async fn registry(context: &Context<'_>, plan: &Plan, sent: &Sent) -> Result<Confirmed, Error> {
    let unconfirmed: Vec<_> = plan
        .lock
        .artifacts
        .iter()
        .zip(&plan.artifacts)
        .filter(|(_, planned)| **planned != Planned::Confirmed)
        .map(|(artifact, planned)| match planned {
            Planned::Missing | Planned::Different => (artifact, Depth::Full),
            Planned::Confirmed | Planned::Unconfirmed => (artifact, Depth::Tag),
        })
        .collect();
    debug_assert!(sent.artifacts <= unconfirmed.len());
    confirm(context, &plan.environment, &unconfirmed).await?;
    Ok(Confirmed {
        artifacts: plan.lock.artifacts.len(),
        in_full: unconfirmed
            .iter()
            .filter(|(_, depth)| *depth == Depth::Full)
            .count(),
    })
}

/// Looks at everything that a lock names as a node does, whatever was confirmed before.
///
/// # Errors
/// Something that the lock names is not served, or not to nodes.
pub async fn everything(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    depth: Depth,
) -> Result<Confirmed, Error> {
    let all: Vec<_> = lock
        .artifacts
        .iter()
        .map(|artifact| (artifact, depth))
        .collect();
    knock(&as_node(context, environment)?, environment).await?;
    confirm(context, environment, &all).await?;
    Ok(Confirmed {
        artifacts: all.len(),
        in_full: if depth == Depth::Full { all.len() } else { 0 },
    })
}

/// Asks whether the registry is there before anything is asked of it: while a request for an artifact is tried again and
/// again over a minute, a wrong address or certificate should be told at once.
async fn knock(node: &registry::Registry, environment: &Environment) -> Result<(), Error> {
    match node.ping().await {
        Err(error) if !is_refusal(&error) => Err(unusable(environment, error)),
        _ => Ok(()),
    }
}

/// Returns the client that sees what nodes see: without credentials, unless the configuration gives nodes a secret
/// to pull with. What is in that secret is not known here; the push credentials stand in for it.
fn as_node(context: &Context<'_>, environment: &Environment) -> Result<registry::Registry, Error> {
    let credentials = if mke::pulls_with_secret(environment) {
        context.credentials(environment)?
    } else {
        Credentials::Anonymous
    };
    connect(environment, credentials)
}

async fn confirm(
    context: &Context<'_>,
    environment: &Environment,
    artifacts: &[(&bundle::Artifact, Depth)],
) -> Result<(), Error> {
    if artifacts.is_empty() {
        return Ok(());
    }
    context.reporter.report(Event::Started {
        step: Step::Confirm,
        what: format!("{} artifacts as a node pulls them", artifacts.len()),
        bytes: None,
    });
    let node = as_node(context, environment)?;
    let node = &node;
    let wrong: Vec<Vec<Wrong>> = futures_util::stream::iter(artifacts)
        .map(|(artifact, depth)| confirm_artifact(node, environment, artifact, *depth))
        .buffered(QUESTIONS_AT_ONCE)
        .try_collect()
        .await?;
    let wrong: Vec<Wrong> = wrong.into_iter().flatten().collect();
    if !wrong.is_empty() {
        return Err(Error::NotConfirmed {
            address: environment.registry.image_url(),
            is_below_tags: wrong
                .iter()
                .any(|wrong| matches!(wrong, Wrong::BelowTag(_))),
            wrong: wrong
                .into_iter()
                .map(|(Wrong::Tag(text) | Wrong::BelowTag(text))| text)
                .collect(),
        });
    }
    context.reporter.report(Event::Finished {
        step: Step::Confirm,
        what: format!("{} artifacts are served to nodes", artifacts.len()),
    });
    Ok(())
}

/// Something that is not as the lock says.
enum Wrong {
    /// The tag itself: a push sets it right.
    Tag(String),
    /// What a right tag refers to, which no push looks at.
    BelowTag(String),
}

/// Returns what is wrong with an artifact in the registry; nothing if it is served whole.
async fn confirm_artifact(
    node: &registry::Registry,
    environment: &Environment,
    artifact: &bundle::Artifact,
    depth: Depth,
) -> Result<Vec<Wrong>, Error> {
    let name = artifact.reference();
    let target = target(environment, artifact);
    let mut wrong = Vec::new();
    match node.head_manifest(&target.repository, &artifact.tag).await {
        Ok(Some(found)) => match found.digest {
            Some(digest) if digest == artifact.digest => {}
            Some(digest) => wrong.push(Wrong::Tag(format!(
                "{name} is {digest}, not {}",
                artifact.digest
            ))),
            None => wrong.push(Wrong::Tag(format!(
                "{name}: the registry does not tell its digest"
            ))),
        },
        Ok(None) => wrong.push(Wrong::Tag(format!("{name} is missing"))),
        Err(error) if is_refusal(&error) => {
            return Err(Error::NotAnonymous {
                address: environment.registry.address.clone(),
                repository: target.repository,
                source: error,
            });
        }
        Err(source) => return Err(unusable(environment, source)),
    }
    if depth == Depth::Full && wrong.is_empty() {
        for manifest in &target.manifests {
            let found = node
                .head_manifest(&target.repository, manifest.digest.as_ref())
                .await
                .map_err(|source| unusable(environment, source))?;
            if found.is_none() {
                wrong.push(Wrong::BelowTag(format!(
                    "{name}: manifest {} is missing",
                    manifest.digest
                )));
            }
            for blob in &manifest.blobs {
                let there = node
                    .has_blob(&target.repository, &blob.digest)
                    .await
                    .map_err(|source| unusable(environment, source))?;
                if !there {
                    wrong.push(Wrong::BelowTag(format!(
                        "{name}: blob {} is missing",
                        blob.digest
                    )));
                }
            }
        }
    }
    Ok(wrong)
}

fn is_refusal(error: &registry::Error) -> bool {
    matches!(
        error,
        registry::Error::Unauthorized { .. } | registry::Error::Forbidden { .. }
    )
}

fn unusable(environment: &Environment, source: registry::Error) -> Error {
    Error::Registry {
        address: environment.registry.address.clone(),
        source,
    }
}
