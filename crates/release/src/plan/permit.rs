//! The permission to execute a plan. A deploy takes a [`Permit`], so it cannot begin without the
//! lock on the environment, or with an unmet requirement.

use super::Plan;
use crate::Error;
use crate::environment_lock::EnvironmentLock;
use crate::receipt::Overridden;

/// The permission to execute the plan that it owns: its commands are known, and the requirements of
/// its environment are met or overridden with a reason. Only [`permit`] makes one:
///
/// ```compile_fail,E0451
/// # fn forge(plan: release::Plan, lock: &release::environment_lock::EnvironmentLock) {
/// let permit = release::plan::Permit { plan, overridden: None, _lock: lock };
/// # }
/// ```
#[derive(Debug)]
pub struct Permit<'a> {
    plan: Plan,
    /// The overridden requirement, for the receipt.
    overridden: Option<Overridden>,
    /// Borrowed, so the lock on the environment is held as long as the permit exists.
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
/// `reason` overrides an unmet requirement. `take_over` overrides a conflict with a deploy from
/// elsewhere. A plan that changes nothing has no requirement.
///
/// # Errors
/// - The lock is on a different environment.
/// - A deploy from elsewhere is in progress, or is not recorded in this checkout.
/// - A requirement is not met.
/// - [`Incomplete`](crate::transfer::lock::Error::Incomplete) if the lock lacks artifacts that
///   mkectl lists.
/// - The steps for the cluster have a problem, such as a missing mkectl.
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
    // An installation would fail half-way.
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

/// Refuses a push that moves tags of a running cluster if a deploy would be refused. A push that
/// only adds tags is always allowed: its plan has neither a requirement nor shared state.
///
/// # Errors
/// - A deploy from elsewhere is in progress, or is not recorded in this checkout.
/// - A requirement is not met, and the receipt records a deploy.
pub fn allow_push(plan: &Plan) -> Result<(), Error> {
    plan.shared.allow(false)?;
    match &plan.unmet {
        Some(unmet) if plan.applied().is_some() => Err(unmet.error(&plan.environment)),
        _ => Ok(()),
    }
}
