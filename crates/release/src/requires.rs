//! Checks `requires`: the same lock must have been deployed successfully to another environment,
//! for a minimum time.

use std::collections::BTreeMap;
use std::fmt;

use environment::{Environment, Problem, Problems, nearest};

use crate::locked::Locked;
use crate::receipt::Receipt;
use crate::workspace::Output;
use crate::{Workspace, workspace};

mod error;

pub use error::Error;

/// A requirement that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The environment that is required.
    pub environment: String,
    /// What is missing there.
    pub missing: Missing,
}

/// What a required environment lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nothing was deployed to it.
    Deploy,
    /// Its last deploy failed.
    Success {
        /// The release that was deployed.
        release: String,
        /// Where it failed.
        step: String,
    },
    /// It has this release from a different lock.
    Lock(String),
    /// It has this release instead.
    Release(String),
    /// It has this set from a different lock.
    SetLock(String),
    /// It lacks this set.
    Set(String),
    /// Its receipt has no time.
    Time,
    /// It has not run the release for long enough.
    Age {
        /// When the deploy ended.
        since: String,
        /// When it has run for long enough; none if that is beyond the calendar.
        until: Option<jiff::Timestamp>,
    },
}

impl fmt::Display for Unmet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.environment;
        match &self.missing {
            Missing::Deploy => write!(formatter, "{name} has no receipt of a deploy"),
            Missing::Success { release, step } => write!(
                formatter,
                "the last deploy to {name}, of {release}, failed at {step}"
            ),
            Missing::Lock(release) => {
                write!(formatter, "{name} got {release} from a different lock")
            }
            Missing::Release(release) => write!(formatter, "{name} runs {release}"),
            Missing::SetLock(set) => {
                write!(formatter, "{name} got the set {set} from a different lock")
            }
            Missing::Set(set) => write!(formatter, "{name} does not have the set {set}"),
            Missing::Time => write!(formatter, "the receipt of {name} records no time"),
            Missing::Age { since, until } => {
                write!(
                    formatter,
                    "{name} has run it only since {since}; wait until "
                )?;
                match until {
                    Some(until) => write!(formatter, "{until}"),
                    None => formatter.write_str("long after"),
                }
            }
        }
    }
}

impl Unmet {
    /// Returns the error of what `environment` may not do because of it.
    pub(crate) fn error(&self, environment: &Environment) -> crate::Error {
        Error::Unmet {
            environment: environment.name.clone(),
            unmet: self.clone(),
        }
        .into()
    }
}

/// Returns what an environment's requirement lacks for these locks; none if it requires nothing.
///
/// # Errors
/// There is no such environment, or its receipt cannot be read.
pub(crate) fn unmet(
    workspace: &Workspace,
    environment: &Environment,
    locked: &Locked,
    now: jiff::Timestamp,
) -> Result<Option<Unmet>, crate::Error> {
    let Some(requirement) = &environment.requires else {
        return Ok(None);
    };
    check(workspace, environment)?;
    let name = &requirement.environment;
    let receipt = Receipt::read(&Output::below(&workspace.environment(name)).receipt)?;
    let missing = match receipt {
        None
        | Some(Receipt {
            applied: None,
            failed: None,
            ..
        }) => Some(Missing::Deploy),
        Some(Receipt {
            failed: Some(failed),
            ..
        }) => Some(Missing::Success {
            release: failed.release,
            step: failed.step,
        }),
        Some(Receipt {
            applied: Some(applied),
            ..
        }) if applied.lock != locked.digest => {
            Some(if applied.release == format!("v{}", environment.release) {
                Missing::Lock(applied.release)
            } else {
                Missing::Release(applied.release)
            })
        }
        Some(Receipt {
            applied: Some(applied),
            ..
        }) => set_missing(&applied.sets, &locked.sets).or_else(|| {
            let age = requirement.minimum_age?;
            too_young(&applied.ended, age, now)
        }),
    };
    Ok(missing.map(|missing| Unmet {
        environment: name.clone(),
        missing,
    }))
}

/// Checks that the environment which another one requires exists.
///
/// # Errors
/// It is not, at the place in the file that names it.
pub(crate) fn check(workspace: &Workspace, environment: &Environment) -> Result<(), crate::Error> {
    let Some(requirement) = &environment.requires else {
        return Ok(());
    };
    let known = environment::names(workspace.root())?;
    if known.contains(&requirement.environment) {
        return Ok(());
    }
    let rule = format!("environment not found: `{}`", requirement.environment);
    let problem = Problem::at(&requirement.written, rule);
    let others = known
        .iter()
        .map(String::as_str)
        .filter(|name| *name != environment.name);
    Err(workspace::Error::Configuration(Problems(vec![match nearest(
        &requirement.environment,
        others,
    ) {
        Some(nearest) => problem.with_help(format!("did you mean `{nearest}`?")),
        None => problem,
    }]))
    .into())
}

/// Returns a warning if the required environment is a rehearsal. One whose files are wrong gets no
/// warning here, but its own check.
pub(crate) fn rehearsal(workspace: &Workspace, environment: &Environment) -> Option<String> {
    let name = &environment.requires.as_ref()?.environment;
    let required = workspace.load(name).ok()?;
    required.rehearsal.then(|| {
        format!(
            "it requires {name}, which is a rehearsal: a deploy to it reaches no cluster and proves nothing; require an environment with a cluster"
        )
    })
}

/// Returns which set was not carried as it is locked here, if one was not.
fn set_missing(
    carried: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Option<Missing> {
    let (set, _) = wanted
        .iter()
        .find(|(set, digest)| carried.get(*set) != Some(*digest))?;
    Some(match carried.contains_key(set) {
        true => Missing::SetLock(set.clone()),
        false => Missing::Set(set.clone()),
    })
}

/// Returns that a deploy is too recent, if it is.
fn too_young(ended: &str, wanted: std::time::Duration, now: jiff::Timestamp) -> Option<Missing> {
    let Ok(since) = ended.parse::<jiff::Timestamp>() else {
        return Some(Missing::Time);
    };
    let wanted = i64::try_from(wanted.as_secs()).unwrap_or(i64::MAX);
    let ready = since.as_second().saturating_add(wanted);
    if now.as_second() >= ready {
        return None;
    }
    Some(Missing::Age {
        since: ended.to_owned(),
        until: jiff::Timestamp::from_second(ready).ok(),
    })
}
