//! Checks `requires`: the same lock must have been deployed successfully to another environment, for a minimum time.

use std::collections::BTreeMap;

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
    /// What is missing there, in a sentence without its end.
    pub missing: String,
}

impl Unmet {
    /// Returns the error of what `environment` may not do because of it.
    pub(crate) fn error(&self, environment: &Environment) -> crate::Error {
        let requires = self.environment.clone();
        let missing = self.missing.clone();
        Error::Unmet {
            environment: environment.name.clone(),
            requires,
            missing,
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
        }) => Some(format!("{name} has no receipt of a deploy")),
        Some(Receipt {
            failed: Some(failed),
            ..
        }) => Some(format!(
            "the last deploy to {name}, of {}, failed at {}",
            failed.release, failed.step
        )),
        Some(Receipt {
            applied: Some(applied),
            ..
        }) if applied.lock != locked.digest => {
            Some(if applied.release == format!("v{}", environment.release) {
                format!("{name} got {} from a different lock", applied.release)
            } else {
                format!("{name} runs {}", applied.release)
            })
        }
        Some(Receipt {
            applied: Some(applied),
            ..
        }) => set_missing(name, &applied.sets, &locked.sets).or_else(|| {
            let age = requirement.minimum_age?;
            too_young(name, &applied.ended, age, now)
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

/// Returns a warning if the required environment is a rehearsal. One whose files are wrong gets no warning here, but its own check.
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
    name: &str,
    carried: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Option<String> {
    let (set, _) = wanted
        .iter()
        .find(|(set, digest)| carried.get(*set) != Some(*digest))?;
    Some(match carried.contains_key(set) {
        true => format!("{name} got the set {set} from a different lock"),
        false => format!("{name} does not have the set {set}"),
    })
}

/// Returns that a deploy is too recent, if it is.
fn too_young(
    name: &str,
    ended: &str,
    wanted: std::time::Duration,
    now: jiff::Timestamp,
) -> Option<String> {
    let Ok(since) = ended.parse::<jiff::Timestamp>() else {
        return Some(format!("the receipt of {name} records no time"));
    };
    let wanted = i64::try_from(wanted.as_secs()).unwrap_or(i64::MAX);
    let ready = since.as_second().saturating_add(wanted);
    if now.as_second() >= ready {
        return None;
    }
    let until = jiff::Timestamp::from_second(ready)
        .map_or_else(|_| "long after".to_owned(), |until| until.to_string());
    Some(format!(
        "{name} has run it only since {ended}; wait until {until}"
    ))
}
