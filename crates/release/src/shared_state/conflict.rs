//! Decides whether a deploy from this checkout conflicts with the shared state.

use environment::Environment;

use super::client::reference;
use super::own_run;
use super::state::{Phase, State, StateFault};
use crate::receipt::Receipt;
use crate::workspace::Output;
use crate::{Kind, environment_lock};

/// Why a deploy from this checkout must not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A deploy from a different checkout has begun and not ended.
    #[error(
        "a deploy of {release} to {environment} began at {time} from a different checkout and has not ended"
    )]
    Unfinished {
        /// The environment's name.
        environment: String,
        /// The release that it deploys.
        release: String,
        /// Start of that deploy, in UTC.
        time: String,
    },
    /// Another command uses the environment in this checkout.
    #[error("{environment} is in use by {holder}")]
    InUse {
        /// The environment's name.
        environment: String,
        /// The command, its process and its time.
        holder: String,
    },
    /// This checkout lacks the receipt of the last deploy.
    #[error("the registry records that {deployed} at {time}, but {here}")]
    Differs {
        /// The environment's name.
        environment: String,
        /// The recorded event: `a deploy of v4.1.5 to lab ended`.
        deployed: String,
        /// Its time, in UTC.
        time: String,
        /// The state of this checkout: `this checkout has no receipt`.
        here: String,
    },
    /// The shared state is not valid.
    #[error("the shared state of {environment} in {reference} is not valid: {fault}")]
    Invalid {
        /// The environment's name.
        environment: String,
        /// The repository and tag.
        reference: String,
        /// The fault.
        fault: StateFault,
    },
    /// Another deploy began between the plan and mkectl.
    #[error("a different deploy of {environment} began while this one was running")]
    Overtaken {
        /// The environment's name.
        environment: String,
    },
}

impl Conflict {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unfinished { .. }
            | Self::InUse { .. }
            | Self::Differs { .. }
            | Self::Invalid { .. }
            | Self::Overtaken { .. } => Kind::NotAllowed,
        }
    }

    /// Returns whether a deploy may still be running elsewhere.
    pub fn may_be_running(&self) -> bool {
        matches!(self, Self::Unfinished { .. })
    }
}

/// Returns why a checkout with this receipt must not change the environment's cluster or its tags,
/// if so.
pub(crate) fn conflict(
    environment: &Environment,
    output: &Output,
    receipt: Option<&Receipt>,
    state: &Result<State, StateFault>,
) -> Option<Conflict> {
    // The registry of a rehearsal is in this checkout, and it has no cluster.
    if environment.rehearsal {
        return None;
    }
    if let Some(holder) = environment_lock::other_holder(output) {
        return Some(Conflict::InUse {
            environment: environment.name.clone(),
            holder: holder.named(),
        });
    }
    match state {
        Ok(state) => judge(
            &environment.name,
            state,
            receipt,
            own_run::read(output).as_deref(),
        ),
        Err(fault) => Some(Conflict::Invalid {
            environment: environment.name.clone(),
            reference: reference(environment, &environment.name),
            fault: fault.clone(),
        }),
    }
}

/// Returns the conflict of a valid state with a checkout. `own` is the name of its unfinished run.
fn judge(
    environment: &str,
    state: &State,
    receipt: Option<&Receipt>,
    own: Option<&str>,
) -> Option<Conflict> {
    let is_known = receipt.is_some_and(|receipt| receipt.run.as_ref() == Some(&state.run));
    let both_reset = receipt.is_none() && state.receipt.is_none() && state.phase == Phase::Ended;
    if is_known || both_reset || is_own_and_unfinished(state, receipt, own) {
        return None;
    }
    Some(match state.phase {
        Phase::Began => Conflict::Unfinished {
            environment: environment.to_owned(),
            release: state.release.clone(),
            time: state.time.clone(),
        },
        Phase::Ended => Conflict::Differs {
            environment: environment.to_owned(),
            deployed: match &state.receipt {
                Some(_) => format!("a deploy of {} to {environment} ended", state.release),
                None => format!("the cluster of {environment} was reset"),
            },
            time: state.time.clone(),
            here: match receipt.map(|receipt| receipt.applied.as_ref()) {
                Some(Some(applied)) => format!(
                    "the receipt in this checkout records {} of {}",
                    applied.release, applied.ended
                ),
                Some(None) => "the receipt in this checkout records no success".to_owned(),
                None => "this checkout has no receipt".to_owned(),
            },
        },
    })
}

/// Returns whether a state is the mark of an interrupted deploy from this checkout.
pub(super) fn is_own_and_unfinished(
    state: &State,
    receipt: Option<&Receipt>,
    own: Option<&str>,
) -> bool {
    state.phase == Phase::Began
        && own == Some(state.run.as_str())
        && receipt.is_none_or(|receipt| receipt.run.as_ref() != Some(&state.run))
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::state;
    use super::*;

    fn receipt(run: Option<char>) -> Receipt {
        Receipt {
            version: Receipt::VERSION,
            run: run.map(|run| run.to_string().repeat(64)),
            applied: None,
            failed: None,
        }
    }

    #[test]
    fn a_checkout_with_the_last_receipt_may_deploy_and_no_other() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let unfinished = Some("unfinished");
        let differs = Some("differs");
        for (phase, in_git, own, expected) in [
            // Began, and its receipt is here: only the end of it was not written.
            (Phase::Began, Some(receipt(Some('a'))), None, None),
            (Phase::Began, Some(receipt(Some('b'))), None, unfinished),
            (Phase::Began, Some(receipt(None)), None, unfinished),
            (Phase::Began, None, None, unfinished),
            // A deploy of this checkout was killed.
            (Phase::Began, Some(receipt(Some('b'))), Some(&a), None),
            (Phase::Began, None, Some(&a), None),
            (Phase::Began, None, Some(&b), unfinished),
            (Phase::Ended, Some(receipt(Some('a'))), None, None),
            (Phase::Ended, Some(receipt(Some('b'))), None, differs),
            (Phase::Ended, Some(receipt(None)), None, differs),
            (Phase::Ended, None, None, differs),
            (Phase::Ended, None, Some(&b), differs),
        ] {
            let found = judge(
                "lab",
                &state(phase, 'a'),
                in_git.as_ref(),
                own.map(String::as_str),
            );
            let kind = found.as_ref().map(|conflict| match conflict {
                Conflict::Unfinished { .. } => "unfinished",
                Conflict::Differs { .. } => "differs",
                _ => "another",
            });
            assert_eq!(kind, expected, "{phase:?} {in_git:?} {own:?}");
        }
    }

    #[test]
    fn after_a_reset_only_a_checkout_without_a_receipt_may_deploy() {
        let reset = State {
            receipt: None,
            ..state(Phase::Ended, 'a')
        };
        assert_eq!(judge("lab", &reset, None, None), None);
        let found = judge("lab", &reset, Some(&receipt(Some('b'))), None).unwrap();
        assert_eq!(
            found.to_string(),
            "the registry records that the cluster of lab was reset at 2026-01-02T03:04:05Z, but the receipt in this checkout records no success"
        );
    }
}
