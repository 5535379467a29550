//! The leave to obey a plan. A deploy takes one, so none begins without the environment's lock or what the environment requires.

use super::Plan;
use crate::Error;
use crate::environment_lock::EnvironmentLock;
use crate::receipt::Overridden;

/// The leave to obey a plan: what its environment requires has happened, or somebody gave a reason to go on without. Only [`permit`]
/// makes one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Permit<'a> {
    /// What was set aside, for the receipt.
    pub overridden: Option<Overridden>,
    /// The lock on the environment, which is held as long as the permit is used.
    _lock: &'a EnvironmentLock,
}

/// Returns the leave to obey a plan.
///
/// A plan that changes nothing needs none, and a `reason` where nothing is missing overrides nothing.
///
/// # Errors
/// Something that the environment requires is missing, and there is no reason to continue without it. Or a different deploy began
/// or ended, this checkout does not know how, and `take_over` does not say to continue.
pub fn permit<'a>(
    plan: &Plan,
    reason: Option<&str>,
    take_over: bool,
    lock: &'a EnvironmentLock,
) -> Result<Permit<'a>, Error> {
    plan.shared.allow(take_over)?;
    let permit = |overridden| Permit {
        overridden,
        _lock: lock,
    };
    let Some(unmet) = plan.unmet.as_ref().filter(|_| !plan.is_empty()) else {
        return Ok(permit(None));
    };
    match reason {
        Some(reason) => Ok(permit(Some(Overridden {
            missing: unmet.missing.clone(),
            reason: reason.to_owned(),
        }))),
        None => Err(Error::RequirementUnmet {
            environment: plan.environment.name.clone(),
            requires: unmet.environment.clone(),
            missing: unmet.missing.clone(),
        }),
    }
}
