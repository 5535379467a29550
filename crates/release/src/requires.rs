//! Checks the requirement of `requires`: the same locks must have been deployed successfully to a
//! different environment, a minimum time ago.

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
    /// The required environment.
    pub environment: String,
    /// Why its deploy does not meet the requirement.
    pub missing: Missing,
}

/// Why the deploy of a required environment does not meet the requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nothing was deployed to it.
    Deploy,
    /// Its last deploy failed.
    Success {
        /// The release of that deploy, `v4.1.5`.
        release: String,
        /// The step that failed.
        step: String,
    },
    /// It runs this same release, but from a different lock.
    Lock(String),
    /// It runs this different release.
    Release(String),
    /// It has this set, but from a different lock.
    SetLock(String),
    /// It lacks this set.
    Set(String),
    /// Its receipt has no valid time.
    Time,
    /// It has not run the release for long enough.
    Age {
        /// End of its deploy, in UTC.
        since: String,
        /// Time when the minimum is reached; `None` if the calendar does not have it.
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
    /// Returns the error of a deploy to `environment`.
    pub(crate) fn error(&self, environment: &Environment) -> crate::Error {
        Error::Unmet {
            environment: environment.name.clone(),
            unmet: self.clone(),
        }
        .into()
    }
}

/// Returns why an environment's requirement is not met for these locks. Returns `None` if it is
/// met, or there is none.
///
/// # Errors
/// The required environment does not exist, or its receipt cannot be read.
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

/// Checks that the environment which `environment` requires exists.
///
/// # Errors
/// [`workspace::Error::Configuration`], with the place in the file, if it does not exist.
pub(crate) fn check(workspace: &Workspace, environment: &Environment) -> Result<(), crate::Error> {
    let Some(requirement) = &environment.requires else {
        return Ok(());
    };
    let known = environment::names(workspace.root())?;
    if known.contains(&requirement.environment) {
        return Ok(());
    }
    let rule = format!("environment not found: `{}`", requirement.environment);
    let problem = Problem::at(&requirement.node, rule);
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

/// Returns a warning if the required environment is a rehearsal. One whose files are not valid is
/// reported by its own check.
pub(crate) fn rehearsal(workspace: &Workspace, environment: &Environment) -> Option<String> {
    let name = &environment.requires.as_ref()?.environment;
    let required = workspace.load(name).ok()?;
    required.rehearsal.then(|| {
        format!(
            "it requires {name}, which is a rehearsal: a deploy to it reaches no cluster and proves nothing; require an environment with a cluster"
        )
    })
}

/// Returns the first set that was not deployed from the lock in `locked`.
fn set_missing(
    deployed: &BTreeMap<String, String>,
    locked: &BTreeMap<String, String>,
) -> Option<Missing> {
    let (set, _) = locked
        .iter()
        .find(|(set, digest)| deployed.get(*set) != Some(*digest))?;
    Some(match deployed.contains_key(set) {
        true => Missing::SetLock(set.clone()),
        false => Missing::Set(set.clone()),
    })
}

/// Returns [`Missing::Age`] if a deploy is too recent, or [`Missing::Time`] if `ended` is not
/// valid.
fn too_young(ended: &str, minimum: std::time::Duration, now: jiff::Timestamp) -> Option<Missing> {
    let Ok(since) = ended.parse::<jiff::Timestamp>() else {
        return Some(Missing::Time);
    };
    let minimum = i64::try_from(minimum.as_secs()).unwrap_or(i64::MAX);
    let ready = since.as_second().saturating_add(minimum);
    if now.as_second() >= ready {
        return None;
    }
    Some(Missing::Age {
        since: ended.to_owned(),
        until: jiff::Timestamp::from_second(ready).ok(),
    })
}
