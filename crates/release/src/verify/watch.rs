//! Verifies a registry at an interval: a cluster depends on it as long as it exists.

use std::time::Duration;

use environment::Environment;
use jiff::Timestamp;

use super::{Depth, Finding, Served, served};
use crate::{Context, Error, chain, locked};

/// One verification and its result.
#[derive(Debug)]
pub struct Round {
    /// Name of the environment.
    pub environment: String,
    /// Release of the environment, such as `v4.1.5`; `None` if its files could not be read.
    pub release: Option<String>,
    /// When the verification ended.
    pub at: Timestamp,
    /// Duration of the verification.
    pub took: Duration,
    /// Result, or why the verification could not be completed.
    pub outcome: Result<Served, Error>,
}

/// State of the registry. It is reported when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nodes can pull all locked content.
    Served {
        /// Release of the environment, such as `v4.1.5`.
        release: Option<String>,
        /// Number of verified artifacts.
        artifacts: usize,
    },
    /// The registry differs from the lock.
    Wrong(Vec<Finding>),
    /// Unknown, because the registry is not reachable or files cannot be read. Has the reason.
    Unknown(String),
}

impl Round {
    /// Returns the state that the verification found.
    pub fn state(&self) -> State {
        match &self.outcome {
            Ok(served) if served.findings.is_empty() => State::Served {
                release: self.release.clone(),
                artifacts: served.artifacts,
            },
            Ok(served) => State::Wrong(served.findings.clone()),
            Err(error) => State::Unknown(chain(error)),
        }
    }
}

/// Verifies once. The environment's files are read again each time.
pub async fn verify_once(context: &Context<'_>, name: &str, depth: Depth) -> Round {
    let began = (context.tool.now)();
    let loaded = context.workspace.load(name);
    let release = loaded
        .as_ref()
        .ok()
        .map(|environment| format!("v{}", environment.release));
    let outcome = match loaded {
        Ok(environment) => look(context, &environment, depth).await,
        Err(error) => Err(error),
    };
    let at = (context.tool.now)();
    Round {
        environment: name.to_owned(),
        release,
        at,
        took: Duration::try_from(at.duration_since(began)).unwrap_or_default(),
        outcome,
    }
}

async fn look(
    context: &Context<'_>,
    environment: &Environment,
    depth: Depth,
) -> Result<Served, Error> {
    let locked = locked::of(context.workspace, environment)?;
    served(context, environment, &locked.lock, depth).await
}

/// Verifies, passes the result to `each`, and waits for `interval`, until a stop is requested. A
/// failed verification does not end the watch, because the failure may be temporary.
///
/// # Errors
/// An error that `each` returns.
pub async fn watch<E>(
    context: &Context<'_>,
    name: &str,
    depth: Depth,
    interval: Duration,
    mut each: impl FnMut(&Round) -> Result<(), E>,
) -> Result<(), E> {
    let _watching = context.tool.signals.watch_begins();
    let stop = context.tool.signals.stop();
    loop {
        let round = tokio::select! {
            round = verify_once(context, name, depth) => round,
            () = stop.requested() => return Ok(()),
        };
        each(&round)?;
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.requested() => return Ok(()),
        }
    }
}
