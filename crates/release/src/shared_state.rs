//! The shared state of an environment: a small artifact in its registry that records the deploy
//! that changed the cluster last, and whether it ended.
//!
//! A receipt reaches other checkouts only when it is committed and pulled. A deploy from a checkout
//! that lacks it is found out here, before mkectl runs. The artifact names no operator and no host,
//! since nodes may read it. A registry that refuses it costs a warning.
//!
//! A plain registry has no transactions. So a deploy looks at the tag immediately before it writes,
//! waits, and looks again: of two that began at the same time, the one that finds the other's mark
//! stops.

use std::time::Duration;

use environment::Environment;
use oci_spec::image::Digest;

use crate::event::Event;
use crate::receipt::{self, Receipt};
use crate::workspace::{Output, read_if_there};
use crate::{Context, Error, chain, sha256};

mod state;
mod client;
mod conflict;
mod own_run;

use client::{Client, Put, look};
use conflict::is_own_and_unfinished;

pub(crate) use client::{all, reference};
pub use conflict::Conflict;
pub(crate) use conflict::conflict;
pub use state::{Phase, State, StateFault};

/// How long a deploy that has written its mark waits for the mark of a deploy that began at the
/// same time, at least.
const SETTLE: Duration = Duration::from_millis(300);

/// How many times as long as its own mark took a deploy waits for that of another, which may take
/// longer.
const PATIENCE: u32 = 5;

/// What was found in the registry when a plan was computed, and what it means for this checkout.
#[derive(Debug)]
pub struct Standing {
    recorded: Recorded,
    conflict: Option<Conflict>,
    /// What the operator should know.
    pub(crate) warning: Option<String>,
}

/// What the registry has.
#[derive(Debug)]
enum Recorded {
    /// The registry was not asked.
    Unasked,
    /// The registry does not serve it to this operator.
    Refused,
    Nothing,
    Found {
        digest: Digest,
        state: Result<State, StateFault>,
    },
}

impl Standing {
    /// Returns the standing of a plan that touches no cluster which operators share.
    pub(crate) fn unasked() -> Self {
        Self {
            recorded: Recorded::Unasked,
            conflict: None,
            warning: None,
        }
    }

    /// Returns why a deploy must not begin, if there is a reason.
    pub fn conflict(&self) -> Option<&Conflict> {
        self.conflict.as_ref()
    }

    /// Returns whether the receipt of this checkout may not be that of the last deploy.
    pub(crate) fn is_ahead_of_receipt(&self) -> bool {
        let conflict = self.conflict.as_ref();
        conflict.is_some_and(|conflict| !matches!(conflict, Conflict::InUse { .. }))
    }

    /// Returns the run that the registry names.
    pub(crate) fn run(&self) -> Option<&str> {
        Some(self.state()?.run.as_str())
    }

    /// Returns what the registry holds, if it is valid.
    pub(crate) fn state(&self) -> Option<&State> {
        match &self.recorded {
            Recorded::Found { state, .. } => state.as_ref().ok(),
            _ => None,
        }
    }

    /// Refuses a deploy that would not see what another one did.
    ///
    /// # Errors
    /// There is a conflict, and the operator has not said to take over.
    pub fn allow(&self, take_over: bool) -> Result<(), Error> {
        match &self.conflict {
            Some(conflict) if !take_over => Err(Error::SharedState(conflict.clone())),
            _ => Ok(()),
        }
    }
}

/// Reads the state of an environment and compares it with the receipt of this checkout. A registry
/// that cannot be asked is a warning.
pub(crate) async fn read(
    context: &Context<'_>,
    environment: &Environment,
    output: &Output,
    receipt: Option<&Receipt>,
) -> Standing {
    let name = &environment.name;
    let found = match look(context, environment).await {
        Ok(found) => found,
        Err(error) => {
            return Standing {
                recorded: Recorded::Refused,
                conflict: None,
                warning: Some(format!(
                    "cannot read the shared state of {name}, so deploys from different checkouts are not noticed: {}",
                    chain(&error)
                )),
            };
        }
    };
    let Some((digest, state)) = found else {
        return Standing {
            recorded: Recorded::Nothing,
            conflict: None,
            warning: None,
        };
    };
    let own = own_run::read(output);
    let conflict = conflict(environment, output, receipt, &state);
    Standing {
        warning: match &state {
            Ok(state)
                if conflict.is_none() && is_own_and_unfinished(state, receipt, own.as_deref()) =>
            {
                Some(format!(
                    "the deploy of {} that began at {} from this checkout was interrupted; this one takes over",
                    state.release, state.time
                ))
            }
            _ => None,
        },
        conflict,
        recorded: Recorded::Found { digest, state },
    }
}

/// A deploy that has begun: its mark in the registry, if the registry took it.
#[derive(Debug)]
pub(crate) struct Mark {
    recorded: Option<(Client, Digest, State)>,
}

impl Mark {
    /// Returns the run, if the registry knows it.
    pub(crate) fn run(&self) -> Option<String> {
        self.recorded
            .as_ref()
            .map(|(_, _, state)| state.run.clone())
    }

    /// Has the end of the deploy name a different run.
    pub(crate) fn rename(&mut self, run: String) {
        if let Some((_, _, state)) = &mut self.recorded {
            state.run = run;
        }
    }
}

/// What a deploy is about.
pub(crate) struct Subject<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) output: &'a Output,
    /// The release that the cluster is to run, `v4.1.5`.
    pub(crate) release: String,
    /// SHA-256 of the lock's file.
    pub(crate) lock: String,
}

/// Writes into the registry that a deploy begins. To be called immediately before the cluster is
/// touched.
///
/// # Errors
/// Another deploy has begun since the plan was computed, or the run cannot be noted in this
/// checkout.
pub(crate) async fn begin(
    context: &Context<'_>,
    subject: &Subject<'_>,
    standing: &Standing,
) -> Result<Mark, Error> {
    let expected = match &standing.recorded {
        Recorded::Unasked | Recorded::Refused => return Ok(Mark { recorded: None }),
        Recorded::Nothing => None,
        Recorded::Found { digest, .. } => Some(digest),
    };
    let Subject {
        environment,
        output,
        ..
    } = subject;
    let receipt = read_if_there(&output.receipt)?;
    let state = State {
        phase: Phase::Began,
        run: own_run::new(context),
        release: subject.release.clone(),
        lock: subject.lock.clone(),
        receipt: receipt.map(|text| sha256(text.as_bytes())),
        time: receipt::now(context),
    };
    own_run::write(output, &state.run)?;
    let client = context.credentials(environment);
    let written = match client.and_then(|credentials| Client::of(context, environment, credentials))
    {
        Ok(client) => client
            .put(&state, expected)
            .await
            .map(|(digest, took)| (client, digest, took)),
        Err(error) => Err(Put::Refused(chain(&error))),
    };
    match written {
        Ok((client, digest, took)) => {
            if !environment.rehearsal {
                tokio::time::sleep(SETTLE.max(took * PATIENCE)).await;
            }
            match client.digest().await {
                Ok(Some(now)) if now != digest => {
                    own_run::remove(output)?;
                    Err(overtaken(environment))
                }
                // A registry that does not answer now has answered a moment ago.
                _ => Ok(Mark {
                    recorded: Some((client, digest, state)),
                }),
            }
        }
        Err(Put::Overtaken) => {
            own_run::remove(output)?;
            Err(overtaken(environment))
        }
        Err(Put::Refused(why)) => {
            context.reporter.report(Event::Warning(format!(
                "cannot write {}, so deploys from different checkouts are not noticed: {why}",
                reference(environment, &environment.name)
            )));
            own_run::remove(output)?;
            Ok(Mark { recorded: None })
        }
    }
}

/// Writes into the registry that a deploy ended: its receipt, or none after a reset, is on the
/// disk. Returns a warning if the registry does not take it.
pub(crate) async fn end(
    context: &Context<'_>,
    subject: &Subject<'_>,
    mark: Mark,
) -> Result<(), Error> {
    let Some((client, expected, began)) = mark.recorded else {
        return Ok(());
    };
    let Subject {
        environment,
        output,
        ..
    } = subject;
    let receipt = read_if_there(&output.receipt)?;
    let state = State {
        phase: Phase::Ended,
        receipt: receipt.map(|text| sha256(text.as_bytes())),
        time: receipt::now(context),
        ..began
    };
    let warning = match client.put(&state, Some(&expected)).await {
        Ok(_) => None,
        Err(Put::Overtaken) => Some(format!(
            "a different deploy took over {} while this one was running; compare the receipts",
            environment.name
        )),
        Err(Put::Refused(why)) => Some(format!(
            "cannot write to {} that the deploy ended; commit the receipt before {} is deployed from a different checkout: {why}",
            reference(environment, &environment.name),
            environment.name
        )),
    };
    if let Some(warning) = warning {
        context.reporter.report(Event::Warning(warning));
    }
    own_run::remove(output)
}

fn overtaken(environment: &Environment) -> Error {
    Error::SharedState(Conflict::Overtaken {
        environment: environment.name.clone(),
    })
}
