//! Checks both ends of the way: the bundle against its lock, and the registry as a node sees it.
//!
//! A plan asks for each tag: a request an artifact. [`registry()`] confirms what a push did. [`served()`] looks at everything,
//! through the URLs in `mke4.yaml`, and [`repair()`] puts back what it found missing.

use camino::Utf8Path;
use environment::Environment;

use crate::Context;
use crate::event::{Event, Step};
use crate::look::Planned;
use crate::push::Sent;

mod complete;
mod error;
mod examine;
mod finding;
mod nodes;
mod repair;
mod served;
mod textfile;
mod watch;

pub use complete::tell_what_is_unlocked;
pub(crate) use complete::{by_charts, listed, unlocked, unserved};
pub use error::Error;
pub use finding::{Finding, FindingKind, is_below_right_tags};
pub use repair::{Repaired, repair};
pub use served::{Served, served};
pub use textfile::write_textfile;
pub use watch::{Round, State, look_once, watch};

/// Every digest of the lock was confirmed in the registry during this run, through the eyes of a node.
/// Only [`registry()`], [`Served::confirmed`] and a look at all tags make one.
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
    /// The same, and every byte is read and hashed.
    Bytes,
}

/// What nodes are to get, and how much of it a plan has confirmed.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// What its registry has to serve.
    pub lock: &'a bundle::Lock,
    /// What each artifact of the lock needed.
    pub planned: &'a [Planned],
    /// The text of `mke4.yaml` that mkectl is about to be given: it names where nodes will pull from.
    pub config: &'a str,
    /// Its file.
    pub file: &'a Utf8Path,
}

/// Looks at the registry as a node does, after a push: in full at what was sent, and at the tags that the plan has not confirmed already.
///
/// # Errors
/// Something that the lock names is not served, or not to nodes.
pub async fn registry(
    context: &Context<'_>,
    expected: &Expected<'_>,
    sent: &Sent,
) -> Result<Confirmed, crate::Error> {
    let in_full = after_push(context, expected, sent, Depth::Full).await?;
    Ok(Confirmed {
        artifacts: expected.lock.artifacts.len(),
        in_full,
    })
}

/// Looks at the tags that the plan has not confirmed already as a node does, after a push that goes on to no cluster.
///
/// The push has heard of each blob and manifest, by the registry's own answer, that it is there, and a tag tells whether nodes may pull.
/// So it makes no [`Confirmed`].
///
/// # Errors
/// A tag is not served, or not to nodes.
pub async fn pushed_tags(
    context: &Context<'_>,
    expected: &Expected<'_>,
    sent: &Sent,
) -> Result<(), crate::Error> {
    after_push(context, expected, sent, Depth::Tag)
        .await
        .map(drop)
}

/// Looks at what was sent as far as `depth` says, and returns how many artifacts were looked at in full.
async fn after_push(
    context: &Context<'_>,
    expected: &Expected<'_>,
    sent: &Sent,
    depth: Depth,
) -> Result<usize, crate::Error> {
    let unconfirmed: Vec<_> = expected
        .lock
        .artifacts
        .iter()
        .zip(expected.planned)
        .filter(|(_, planned)| **planned != Planned::Confirmed)
        .map(|(artifact, planned)| match planned {
            Planned::Missing | Planned::Different => (artifact, depth),
            Planned::Confirmed | Planned::Unconfirmed => (artifact, Depth::Tag),
        })
        .collect();
    debug_assert!(sent.artifacts <= unconfirmed.len());
    confirm(context, expected, &unconfirmed).await?;
    Ok(unconfirmed
        .iter()
        .filter(|(_, depth)| *depth == Depth::Full)
        .count())
}

/// Looks at every tag of a lock as a node does, whatever was confirmed before.
///
/// # Errors
/// Something that the lock names is not served, or not to nodes.
pub(crate) async fn tags(
    context: &Context<'_>,
    expected: &Expected<'_>,
) -> Result<Confirmed, crate::Error> {
    let all: Vec<_> = expected
        .lock
        .artifacts
        .iter()
        .map(|artifact| (artifact, Depth::Tag))
        .collect();
    confirm(context, expected, &all).await?;
    Ok(Confirmed {
        artifacts: all.len(),
        in_full: 0,
    })
}

/// Looks at artifacts through the URLs in the expected configuration.
async fn confirm(
    context: &Context<'_>,
    &Expected {
        environment,
        config,
        file,
        ..
    }: &Expected<'_>,
    artifacts: &[(&bundle::Artifact, Depth)],
) -> Result<(), crate::Error> {
    if artifacts.is_empty() {
        return Ok(());
    }
    context.reporter.report(Event::Started {
        step: Step::Confirm,
        what: format!(
            "{} as a node pulls them",
            environment::count(artifacts.len(), "artifact")
        ),
        bytes: None,
    });
    let nodes = nodes::Nodes::of(context, environment, config, file)?;
    nodes.knock().await?;
    let examined = examine::examine(&nodes, artifacts, context.reporter).await?;
    if !examined.findings.is_empty() {
        return Err(Error::NotConfirmed {
            environment: environment.name.clone(),
            address: environment.registry.image_url(),
            findings: examined.findings,
        }
        .into());
    }
    context.reporter.report(Event::Finished {
        step: Step::Confirm,
        what: format!(
            "{} served to nodes",
            environment::count_are(artifacts.len(), "artifact")
        ),
    });
    Ok(())
}
