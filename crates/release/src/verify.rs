//! Verifies the registry as a node sees it.
//!
//! A plan looks up each tag, with one request per artifact. [`registry()`] confirms a push.
//! [`served()`] reads everything through the URLs in `mke4.yaml`, and [`repair()`] restores what is
//! missing.

use camino::Utf8Path;
use environment::Environment;

use crate::Context;
use crate::event::{Event, Step};
use crate::proof::Proven;
use crate::transfer::look::Planned;
use crate::transfer::push::Sent;

// A verification, then what repeats it or repairs by it.
mod complete;
mod nodes;
mod examine;
mod served;
mod repair;
mod watch;
mod textfile;

// What they share.
mod finding;
mod error;

pub use complete::warn_of_incomplete_lock;
pub(crate) use complete::{by_charts, listed, unlocked, unserved};
pub use error::Error;
pub use finding::{Finding, FindingKind, affected, is_below_right_tags};
pub use repair::{Repaired, repair};
pub use served::{Served, served};
pub use textfile::write_textfile;
pub use watch::{Round, State, verify_once, watch};

/// Every digest of the lock was confirmed in the registry during this run, through the eyes of a
/// node. Only [`registry()`] and a look at all tags make one:
///
/// ```compile_fail,E0451
/// let confirmed = release::verify::Confirmed { proven: todo!(), artifacts: 1 };
/// ```
#[derive(Debug)]
pub struct Confirmed {
    proven: Proven,
    artifacts: usize,
}

impl Confirmed {
    fn of(lock: &bundle::Lock, environment: &Environment) -> Self {
        Self {
            proven: Proven::new(lock, Some(&environment.name)),
            artifacts: lock.artifacts.len(),
        }
    }

    /// Returns how many artifacts there are.
    pub fn artifacts(&self) -> usize {
        self.artifacts
    }

    /// Compares the proof with what it is used for.
    ///
    /// # Errors
    /// It is of a different lock or environment.
    pub(crate) fn require(
        &self,
        lock: &bundle::Lock,
        environment: &Environment,
    ) -> Result<(), crate::Error> {
        let wanted = Proven::new(lock, Some(&environment.name));
        self.proven.require("Confirmed", &wanted)
    }
}

/// How much of an artifact is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its tag: the registry took no manifest without what it refers to, so its digest vouches for
    /// the rest.
    Tag,
    /// Its tag, each of its manifests and each of their blobs.
    Full,
    /// The same, and every byte is read and hashed.
    Bytes,
}

/// What nodes are to get, and how much of it a plan has confirmed.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedContent<'a> {
    /// The environment.
    pub(crate) environment: &'a Environment,
    /// What its registry has to serve.
    pub(crate) lock: &'a bundle::Lock,
    /// What each artifact of the lock needed.
    pub(crate) planned: &'a [Planned],
    /// The text of `mke4.yaml` that mkectl is about to be given: it names where nodes will pull
    /// from.
    pub(crate) config: &'a str,
    /// Its file.
    pub(crate) file: &'a Utf8Path,
}

/// Looks at the registry as a node does, after a push: in full at what was sent, and at the tags
/// that the plan has not confirmed already.
///
/// # Errors
/// Something that the lock names is not served, or not to nodes.
pub async fn registry(
    context: &Context<'_>,
    expected: &ExpectedContent<'_>,
    sent: &Sent,
) -> Result<Confirmed, crate::Error> {
    after_push(context, expected, sent, Depth::Full).await?;
    Ok(Confirmed::of(expected.lock, expected.environment))
}

/// Checks the tags that the plan has not confirmed yet as a node does, after a push without a
/// cluster.
///
/// The registry confirmed each blob and manifest during the push, and a tag shows whether nodes may
/// pull. So it makes no [`Confirmed`].
///
/// # Errors
/// A tag is not served, or not to nodes.
pub async fn pushed_tags(
    context: &Context<'_>,
    expected: &ExpectedContent<'_>,
    sent: &Sent,
) -> Result<(), crate::Error> {
    after_push(context, expected, sent, Depth::Tag).await
}

/// Looks at what was sent as far as `depth` says.
async fn after_push(
    context: &Context<'_>,
    expected: &ExpectedContent<'_>,
    sent: &Sent,
    depth: Depth,
) -> Result<(), crate::Error> {
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
    confirm(context, expected, &unconfirmed).await
}

/// Looks at every tag of a lock as a node does, whatever was confirmed before.
///
/// # Errors
/// Something that the lock names is not served, or not to nodes.
pub(crate) async fn tags(
    context: &Context<'_>,
    expected: &ExpectedContent<'_>,
) -> Result<Confirmed, crate::Error> {
    let all: Vec<_> = expected
        .lock
        .artifacts
        .iter()
        .map(|artifact| (artifact, Depth::Tag))
        .collect();
    confirm(context, expected, &all).await?;
    Ok(Confirmed::of(expected.lock, expected.environment))
}

/// Looks at artifacts through the URLs in the expected configuration.
async fn confirm(
    context: &Context<'_>,
    &ExpectedContent {
        environment,
        config,
        file,
        ..
    }: &ExpectedContent<'_>,
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
    let nodes = nodes::NodeRegistries::of(context, environment, config, file)?;
    nodes.knock(context).await?;
    let examined = nodes
        .watched(
            context,
            examine::examine(&nodes, artifacts, context.reporter),
        )
        .await?;
    let findings = &examined.findings;
    nodes
        .require_visible(context, environment, artifacts, findings)
        .await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::lock;

    #[test]
    fn a_confirmation_is_refused_for_a_different_lock() {
        let (lab, other) = (lock("lab"), lock("other"));
        let confirmed = Confirmed {
            proven: Proven::new(&lab, Some("lab")),
            artifacts: 1,
        };
        let require = |lock, environment: &str| {
            let wanted = Proven::new(lock, Some(environment));
            confirmed.proven.require("Confirmed", &wanted)
        };
        assert!(require(&lab, "lab").is_ok());
        for (lock, environment) in [(&other, "lab"), (&lab, "prod")] {
            let refused = require(lock, environment).unwrap_err();
            assert!(matches!(refused, crate::Error::Proof(_)), "{refused}");
        }
    }
}
