//! Verifies that the registry serves the locked content to nodes.
//!
//! A plan looks up each tag, with one request per artifact. [`registry()`] confirms a push.
//! [`served()`] reads everything through the URLs in `mke4.yaml`. [`repair()`] restores content
//! that the registry lost.

use camino::Utf8Path;
use environment::Environment;

use crate::Context;
use crate::event::{Event, Step};
use crate::proof::Proven;
use crate::transfer::look::Planned;
use crate::transfer::push::Sent;

// A verification, then the commands that repeat it or repair by it.
mod complete;
mod nodes;
mod examine;
mod served;
mod repair;
mod watch;
mod textfile;

// Shared by both.
mod finding;
mod error;

pub use complete::warn_of_incomplete_lock;
pub(crate) use complete::{listed, unlocked, unlocked_by_charts, unserved};
pub use error::Error;
pub use finding::{Finding, FindingKind, affected, is_below_right_tags};
pub use repair::{Repaired, repair};
pub use served::{Served, served};
pub use textfile::write_textfile;
pub use watch::{Round, State, verify_once, watch};

/// The registry confirmed every digest of the lock during this run, requested as a node does. Only
/// [`registry()`] and `tags` create one:
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

    /// Returns the number of confirmed artifacts.
    pub fn artifacts(&self) -> usize {
        self.artifacts
    }

    /// Checks that the proof covers this lock and environment.
    ///
    /// # Errors
    /// [`crate::proof::Mismatch`] if it does not.
    pub(crate) fn require(
        &self,
        lock: &bundle::Lock,
        environment: &Environment,
    ) -> Result<(), crate::Error> {
        let wanted = Proven::new(lock, Some(&environment.name));
        self.proven.require("Confirmed", &wanted)
    }
}

/// How much of an artifact is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Only its tag. Registries refuse manifests without their blobs, so the digest vouches for the
    /// rest.
    Tag,
    /// Its tag, each of its manifests, and each of their blobs.
    Full,
    /// Like `Full`, and every byte is read and hashed.
    Bytes,
}

/// The content that nodes must get, and how much of it the plan has confirmed.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedContent<'a> {
    pub(crate) environment: &'a Environment,
    /// Locked content that the registry must serve.
    pub(crate) lock: &'a bundle::Lock,
    /// State of each artifact of the lock, as the plan found it.
    pub(crate) planned: &'a [Planned],
    /// Content of `mke4.yaml` as mkectl will get it. It names the registries that nodes pull from.
    pub(crate) config: &'a str,
    /// Path of `mke4.yaml`.
    pub(crate) file: &'a Utf8Path,
}

/// Verifies the registry as a node does, after a push: pushed artifacts in full, and the tags that
/// the plan has not confirmed.
///
/// # Errors
/// [`Error::NotConfirmed`] if locked content is not served, or [`crate::transfer::connect::Error`]
/// if nodes are refused.
pub async fn registry(
    context: &Context<'_>,
    expected: &ExpectedContent<'_>,
    sent: &Sent,
) -> Result<Confirmed, crate::Error> {
    after_push(context, expected, sent, Depth::Full).await?;
    Ok(Confirmed::of(expected.lock, expected.environment))
}

/// Verifies the tags that the plan has not confirmed, after a push without a cluster.
///
/// The registry confirmed each blob and manifest during the push, and a tag shows whether nodes may
/// pull. Blobs are not requested again, so this creates no [`Confirmed`].
///
/// # Errors
/// [`Error::NotConfirmed`] if a tag is not served, or [`crate::transfer::connect::Error`] if nodes
/// are refused.
pub async fn pushed_tags(
    context: &Context<'_>,
    expected: &ExpectedContent<'_>,
    sent: &Sent,
) -> Result<(), crate::Error> {
    after_push(context, expected, sent, Depth::Tag).await
}

/// Verifies pushed artifacts to `depth`, and unconfirmed ones by their tags.
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

/// Verifies every tag of a lock as a node does, including those that the plan confirmed.
///
/// # Errors
/// [`Error::NotConfirmed`] if locked content is not served, or [`crate::transfer::connect::Error`]
/// if nodes are refused.
pub(crate) async fn tags(
    context: &Context<'_>,
    expected: &ExpectedContent<'_>,
) -> Result<Confirmed, crate::Error> {
    let artifacts = expected.lock.artifacts.iter();
    let all: Vec<_> = artifacts.map(|artifact| (artifact, Depth::Tag)).collect();
    confirm(context, expected, &all).await?;
    Ok(Confirmed::of(expected.lock, expected.environment))
}

/// Verifies artifacts through the URLs in the expected configuration.
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
    report_start(context, artifacts.len(), None);
    let nodes = nodes::NodeRegistries::of(context, environment, config, file)?;
    nodes.ping(context).await?;
    let examined = nodes.examine(context, environment, artifacts).await?;
    if !examined.findings.is_empty() {
        return Err(Error::NotConfirmed {
            environment: environment.name.clone(),
            address: environment.registry.image_url(),
            findings: examined.findings,
        }
        .into());
    }
    report_end(context, artifacts.len(), &examined.findings);
    Ok(())
}

fn report_start(context: &Context<'_>, artifacts: usize, bytes: Option<u64>) {
    let count = environment::count(artifacts, "artifact");
    context.reporter.report(Event::Started {
        step: Step::Confirm,
        what: format!("{count} as a node pulls them"),
        bytes,
    });
}

fn report_end(context: &Context<'_>, artifacts: usize, findings: &[Finding]) {
    let what = match findings {
        [] => format!(
            "{} served to nodes",
            environment::count_with_verb(artifacts, "artifact")
        ),
        _ => format!(
            "findings in {}",
            environment::count(affected(findings), "artifact")
        ),
    };
    context.reporter.report(Event::Finished {
        step: Step::Confirm,
        what,
    });
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
