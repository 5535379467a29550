//! Checks both ends of the way: the bundle against its lock, and the registry as a node sees it.
//!
//! A plan asks for each tag: a request an artifact. [`registry()`] confirms what a push did. [`served()`] looks at everything,
//! through the URLs in `mke4.yaml`, and [`repair()`] puts back what it found missing.

use camino::Utf8Path;
use environment::Environment;

use crate::event::{Event, Step};
use crate::plan::{Plan, Planned};
use crate::push::Sent;
use crate::{Context, Credentials, Error};

mod complete;
mod examine;
mod finding;
mod local;
mod look;
mod nodes;
mod repair;
mod served;
mod textfile;
mod watch;

pub use complete::tell_what_is_unlocked;
pub(crate) use complete::{by_charts, unlocked, unserved};
pub use finding::{Finding, FindingKind, is_below_right_tags};
pub use local::VerifiedBundle;
pub(crate) use local::{
    discard_damaged, is_by_damage, read, read_to_its_end, report_start, stored,
};
pub use look::{Held, Seen, Shut};
pub(crate) use look::{Tag, look, look_as_node, require_open, tags_of};
pub use repair::{Repaired, repair};
pub use served::{Served, served};
pub use textfile::write_textfile;
pub use watch::{Round, State, look_once, watch};

/// How many requests are under way at once while the registry is only asked.
const QUESTIONS_AT_ONCE: usize = 16;

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

/// Looks at the registry as a node does, after a push: in full at what was sent, and at the tags that the plan has not confirmed already.
///
/// # Errors
/// Something that the lock names is not served, or not to nodes.
pub async fn registry(context: &Context<'_>, plan: &Plan, sent: &Sent) -> Result<Confirmed, Error> {
    let in_full = after_push(context, plan, sent, Depth::Full).await?;
    Ok(Confirmed {
        artifacts: plan.lock.artifacts.len(),
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
pub async fn pushed_tags(context: &Context<'_>, plan: &Plan, sent: &Sent) -> Result<(), Error> {
    after_push(context, plan, sent, Depth::Tag).await.map(drop)
}

/// Looks at what was sent as far as `depth` says, and returns how many artifacts were looked at in full.
async fn after_push(
    context: &Context<'_>,
    plan: &Plan,
    sent: &Sent,
    depth: Depth,
) -> Result<usize, Error> {
    let unconfirmed: Vec<_> = plan
        .lock
        .artifacts
        .iter()
        .zip(&plan.artifacts)
        .filter(|(_, planned)| **planned != Planned::Confirmed)
        .map(|(artifact, planned)| match planned {
            Planned::Missing | Planned::Different => (artifact, depth),
            Planned::Confirmed | Planned::Unconfirmed => (artifact, Depth::Tag),
        })
        .collect();
    debug_assert!(sent.artifacts <= unconfirmed.len());
    // What mkectl is about to be given says where nodes will pull from.
    let (text, file) = (&plan.config.text, &plan.output.config);
    confirm(context, &plan.environment, text, file, &unconfirmed).await?;
    Ok(unconfirmed
        .iter()
        .filter(|(_, depth)| *depth == Depth::Full)
        .count())
}

/// Looks at every tag of a plan as a node does, whatever was confirmed before.
///
/// # Errors
/// Something that the lock names is not served, or not to nodes.
pub(crate) async fn tags(context: &Context<'_>, plan: &Plan) -> Result<Confirmed, Error> {
    let all: Vec<_> = plan
        .lock
        .artifacts
        .iter()
        .map(|artifact| (artifact, Depth::Tag))
        .collect();
    let (text, file) = (&plan.config.text, &plan.output.config);
    confirm(context, &plan.environment, text, file, &all).await?;
    Ok(Confirmed {
        artifacts: all.len(),
        in_full: 0,
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

/// Returns the credentials that nodes have: none, or those of their secret. What is in that secret the environment may say; else the push
/// credentials stand in for it.
fn credentials(
    context: &Context<'_>,
    environment: &Environment,
    with_secret: bool,
) -> Result<Credentials, Error> {
    if with_secret {
        context.pull_credentials(environment)
    } else {
        Ok(Credentials::Anonymous)
    }
}

/// Looks at artifacts through the URLs in `text`, which is that of `file`.
async fn confirm(
    context: &Context<'_>,
    environment: &Environment,
    text: &str,
    file: &Utf8Path,
    artifacts: &[(&bundle::Artifact, Depth)],
) -> Result<(), Error> {
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
    let nodes = nodes::Nodes::of(context, environment, text, file)?;
    nodes.knock().await?;
    let examined = examine::examine(&nodes, artifacts, context.reporter).await?;
    if !examined.findings.is_empty() {
        return Err(Error::NotConfirmed {
            environment: environment.name.clone(),
            address: environment.registry.image_url(),
            findings: examined.findings,
        });
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
