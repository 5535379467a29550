//! The shared state of an environment: a small artifact in its registry that records which deploy
//! changed the cluster last, and whether it ended.
//!
//! A receipt reaches other checkouts only when it is committed and pulled. The shared state detects
//! a deploy from a checkout that lacks the last receipt, before mkectl runs. Nodes may read the
//! artifact, so it names neither operator nor host. If the registry refuses it, the deploy warns
//! and continues.
//!
//! A registry has no transactions. Therefore a deploy reads the tag immediately before it writes
//! its mark, waits, and reads it again. Of two deploys that begin at the same time, the one that
//! finds the other's mark stops.

use std::time::Duration;

use environment::Environment;
use oci_spec::image::Digest;

use crate::event::Event;
use crate::receipt::{self, Receipt};
use crate::workspace::{Output, read_if_exists};
use crate::{Context, Error, chain, sha256};

mod state;
mod client;
mod conflict;
mod own_run;

use client::{Client, PutError, look};
use conflict::is_own_and_unfinished;

pub(crate) use client::{all, reference};
pub use conflict::Conflict;
pub(crate) use conflict::conflict;
pub use state::{Phase, State, StateFault};

/// Minimum wait after writing the mark, for the mark of a deploy that began at the same time.
const MINIMUM_WAIT: Duration = Duration::from_millis(300);

/// Factor from the time that writing the mark took to the time to wait: the other deploy may be
/// slower.
const WAIT_FACTOR: u32 = 5;

/// The shared state when a plan was computed, compared with the receipt of this checkout.
#[derive(Debug)]
pub struct StateCheck {
    recorded: Recorded,
    conflict: Option<Conflict>,
    pub(crate) warning: Option<String>,
}

/// The response of the registry.
#[derive(Debug)]
enum Recorded {
    /// The registry was not asked.
    Skipped,
    /// The registry refused the request, or failed.
    Refused,
    Nothing,
    Found {
        digest: Digest,
        state: Result<State, StateFault>,
    },
}

impl StateCheck {
    /// Returns the check of a plan that does not change a cluster, or not a shared one.
    pub(crate) fn skipped() -> Self {
        Self {
            recorded: Recorded::Skipped,
            conflict: None,
            warning: None,
        }
    }

    /// Returns why a deploy from this checkout must not begin, if so.
    pub fn conflict(&self) -> Option<&Conflict> {
        self.conflict.as_ref()
    }

    /// Returns whether this checkout may lack the receipt of the last deploy.
    pub(crate) fn is_ahead_of_receipt(&self) -> bool {
        let conflict = self.conflict.as_ref();
        conflict.is_some_and(|conflict| !matches!(conflict, Conflict::InUse { .. }))
    }

    /// Returns the name of the run in the shared state.
    pub(crate) fn run(&self) -> Option<&str> {
        Some(self.state()?.run.as_str())
    }

    /// Returns the shared state, if the registry has a valid one.
    pub(crate) fn state(&self) -> Option<&State> {
        match &self.recorded {
            Recorded::Found { state, .. } => state.as_ref().ok(),
            _ => None,
        }
    }

    /// Refuses a deploy if there is a conflict.
    ///
    /// # Errors
    /// The [`Conflict`], unless `take_over`.
    pub fn allow(&self, take_over: bool) -> Result<(), Error> {
        match &self.conflict {
            Some(conflict) if !take_over => Err(Error::SharedState(conflict.clone())),
            _ => Ok(()),
        }
    }
}

/// Reads the shared state of an environment, and compares it with the receipt of this checkout. A
/// failure to read it becomes a warning.
pub(crate) async fn read(
    context: &Context<'_>,
    environment: &Environment,
    output: &Output,
    receipt: Option<&Receipt>,
) -> StateCheck {
    let name = &environment.name;
    let found = match look(context, environment).await {
        Ok(found) => found,
        Err(error) => {
            return StateCheck {
                recorded: Recorded::Refused,
                warning: Some(format!(
                    "cannot read the shared state of {name}, so deploys from different checkouts are not noticed: {}",
                    chain(&error)
                )),
                ..StateCheck::skipped()
            };
        }
    };
    let Some((digest, state)) = found else {
        return StateCheck {
            recorded: Recorded::Nothing,
            ..StateCheck::skipped()
        };
    };
    let own = own_run::read(output);
    let conflict = conflict(environment, output, receipt, &state);
    StateCheck {
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

/// The mark of a deploy that has begun. `None` if the registry was not asked or refused it.
#[derive(Debug)]
pub(crate) struct Mark {
    recorded: Option<(Client, Digest, State)>,
}

impl Mark {
    /// Returns the name of the run, if the registry has the mark.
    pub(crate) fn run(&self) -> Option<String> {
        self.recorded
            .as_ref()
            .map(|(_, _, state)| state.run.clone())
    }

    /// Changes the name of the run that is recorded at the end.
    pub(crate) fn rename(&mut self, run: String) {
        if let Some((_, _, state)) = &mut self.recorded {
            state.run = run;
        }
    }
}

/// The facts of a deploy that its mark records.
pub(crate) struct Subject<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) output: &'a Output,
    /// The release that is deployed, `v4.1.5`.
    pub(crate) release: String,
    /// SHA-256 of the lock's file.
    pub(crate) lock: String,
}

/// Records in the registry that a deploy begins. It is called immediately before mkectl changes the
/// cluster. If the registry refuses the mark, the deploy continues after a warning.
///
/// # Errors
/// [`Conflict::Overtaken`] if another deploy began after the plan was computed, or the name of the
/// run cannot be written to this checkout.
pub(crate) async fn begin(
    context: &Context<'_>,
    subject: &Subject<'_>,
    state_check: &StateCheck,
) -> Result<Mark, Error> {
    let expected = match &state_check.recorded {
        Recorded::Skipped | Recorded::Refused => return Ok(Mark { recorded: None }),
        Recorded::Nothing => None,
        Recorded::Found { digest, .. } => Some(digest),
    };
    let Subject {
        environment,
        output,
        ..
    } = subject;
    let receipt = read_if_exists(&output.receipt)?;
    let state = State {
        phase: Phase::Began,
        run: own_run::new(context),
        release: subject.release.clone(),
        lock: subject.lock.clone(),
        receipt: receipt.map(|text| sha256(text.as_bytes())),
        time: receipt::now(context),
    };
    own_run::write(output, &state.run)?;
    let marking = async {
        let client = context
            .credentials(environment)
            .and_then(|credentials| Client::of(context, environment, credentials))
            .map_err(|error| PutError::Refused(chain(&error)))?;
        let (digest, took) = client.put(&state, expected).await?;
        if !environment.rehearsal {
            tokio::time::sleep(MINIMUM_WAIT.max(took * WAIT_FACTOR)).await;
        }
        match client.digest().await {
            Ok(Some(now)) if now != digest => Err(PutError::Overtaken),
            // Also if the registry does not answer now: it has just accepted the mark.
            _ => Ok((client, digest)),
        }
    };
    match marking.await {
        Ok((client, digest)) => Ok(Mark {
            recorded: Some((client, digest, state)),
        }),
        Err(PutError::Overtaken) => {
            own_run::remove(output)?;
            Err(Error::SharedState(Conflict::Overtaken {
                environment: environment.name.clone(),
            }))
        }
        Err(PutError::Refused(why)) => {
            context.reporter.report(Event::Warning(format!(
                "cannot write {}, so deploys from different checkouts are not noticed: {why}",
                reference(environment, &environment.name)
            )));
            own_run::remove(output)?;
            Ok(Mark { recorded: None })
        }
    }
}

/// Records in the registry that a deploy ended, with the digest of the receipt's file. After a
/// reset that file is missing. Warns if the registry refuses the state.
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
    let receipt = read_if_exists(&output.receipt)?;
    let state = State {
        phase: Phase::Ended,
        receipt: receipt.map(|text| sha256(text.as_bytes())),
        time: receipt::now(context),
        ..began
    };
    let warning = match client.put(&state, Some(&expected)).await {
        Ok(_) => None,
        Err(PutError::Overtaken) => Some(format!(
            "a different deploy took over {} while this one was running; compare the receipts",
            environment.name
        )),
        Err(PutError::Refused(why)) => Some(format!(
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
