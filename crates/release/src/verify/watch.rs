//! Verifies a registry at an interval: a cluster depends on it as long as it exists.

use std::time::Duration;

use environment::Environment;
use jiff::Timestamp;

use super::{Depth, Finding, Served, served};
use crate::{Context, Error, chain, locked};

/// One look, and what came of it.
#[derive(Debug)]
pub struct Round {
    /// The environment.
    pub environment: String,
    /// Its release, `v4.1.5`; none if its files could not be read.
    pub release: Option<String>,
    /// When the look ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub outcome: Result<Served, Error>,
}

/// The state that is reported when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nodes get everything of a release.
    Served {
        /// The release.
        release: Option<String>,
        /// How many artifacts it has.
        artifacts: usize,
    },
    /// Something is not as the lock says.
    Wrong(Vec<Finding>),
    /// Unknown: the registry cannot be reached, or the files cannot be read.
    Unknown(String),
}

impl Round {
    /// Returns the state that the look found.
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

/// Verifies once, with the files as they are now.
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

/// Checks, passes the result to `each`, and waits for `interval`, until the program is asked to
/// stop. A check that fails is reported like every other: what cannot be read or reached now may be
/// there the next time.
///
/// # Errors
/// What `each` returns.
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
