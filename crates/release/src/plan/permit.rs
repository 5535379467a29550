//! The permission to execute a plan. A deploy takes one, so none begins without the environment's
//! lock or what the environment requires.

use super::Plan;
use crate::Error;
use crate::environment_lock::EnvironmentLock;
use crate::receipt::Overridden;

/// The permission to execute a plan: nothing is missing for it, and what its environment requires
/// has happened, or the operator gave a reason to continue without. It owns the plan, so it is of
/// no use for a different one. Only [`permit`] makes one:
///
/// ```compile_fail,E0451
/// # fn forge(plan: release::Plan, lock: &release::environment_lock::EnvironmentLock) {
/// let permit = release::plan::Permit { plan, overridden: None, _lock: lock };
/// # }
/// ```
#[derive(Debug)]
pub struct Permit<'a> {
    plan: Plan,
    /// What was set aside, for the receipt.
    overridden: Option<Overridden>,
    /// The lock on the environment, which is held as long as the permit is used.
    _lock: &'a EnvironmentLock,
}

impl Permit<'_> {
    /// Returns the plan that may be executed.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn overridden(&self) -> Option<&Overridden> {
        self.overridden.as_ref()
    }
}

/// Returns the permission to execute a plan.
///
/// A plan that changes nothing needs none, and a `reason` where nothing is missing overrides
/// nothing.
///
/// # Errors
/// Something that the environment requires is missing, and there is no reason to continue without
/// it. Or a different deploy began or ended, this checkout does not know how, and `take_over` does
/// not say to continue. Or the lock lacks what mkectl lists. Or something is missing for the
/// cluster's part, such as mkectl. Or the lock is on a different environment.
pub fn permit<'a>(
    mut plan: Plan,
    reason: Option<&str>,
    take_over: bool,
    lock: &'a EnvironmentLock,
) -> Result<Permit<'a>, Error> {
    lock.require(&plan.environment.name)?;
    plan.shared.allow(take_over)?;
    let unmet = plan.unmet.as_ref().filter(|_| !plan.is_empty());
    let overridden = match (unmet, reason) {
        (None, _) => None,
        (Some(unmet), Some(reason)) => Some(Overridden {
            missing: unmet.to_string(),
            reason: reason.to_owned(),
        }),
        (Some(unmet), None) => {
            return Err(unmet.error(&plan.environment));
        }
    };
    // It would fail half-way through an installation.
    if !plan.unlocked.is_empty() {
        return Err(crate::transfer::lock::Error::Incomplete {
            release: plan.lock.release.clone(),
            lacking: plan.unlocked.clone(),
        }
        .into());
    }
    plan.cluster.steps = Ok(plan.cluster.steps?);
    Ok(Permit {
        plan,
        overridden,
        _lock: lock,
    })
}

/// Refuses a push that moves tags which a cluster runs, where a deploy that does so would be
/// refused. The plan of a push that only adds has no requirement and no shared state.
///
/// # Errors
/// What the environment requires of another one has not happened, or this checkout does not know
/// what was deployed last.
pub fn allow_push(plan: &Plan) -> Result<(), Error> {
    plan.shared.allow(false)?;
    match &plan.unmet {
        Some(unmet) if plan.applied().is_some() => Err(unmet.error(&plan.environment)),
        _ => Ok(()),
    }
}
