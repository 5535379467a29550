//! Hints for plans, promotions, snapshots, requirements and conflicting deploys.

use release::config::promote;
use release::plan::{Error, snapshot};
use release::requires;
use release::shared_state::Conflict;

use super::WAIT;
use crate::advice;

pub(super) fn plan(error: &Error) -> Vec<String> {
    let hint = match error {
        Error::Outdated(_) => "run it again: it computes a new plan".to_owned(),
        Error::ReleaseChanged { refusal: Some(_), applied, wanted, .. } => {
            format!("set `release` back to {applied}; `cargo xtask releases {wanted}` lists the releases that can be upgraded to it")
        }
        Error::ReleaseChanged { refusal: None, .. } => {
            "run `cargo xtask deploy`, which upgrades the cluster".to_owned()
        }
        Error::Moved { environment, path, .. } => format!(
            "nothing was changed: compute a new plan with `cargo xtask plan {environment} --out {path}` and have it reviewed"
        ),
        Error::OtherEnvironment { path, planned, environment } => {
            format!("`cargo xtask deploy {planned} --plan {path}`, or name a plan of {environment}")
        }
        Error::Applied { environment, .. } => {
            format!("nothing is left to do; for further changes, make a new plan: `cargo xtask plan {environment} --out FILE`")
        }
        Error::Incomplete { source, .. } => return super::hints(source),
        Error::Contradicting { .. } => {
            "nothing was pushed: lock the set of both again, or give one of them a different `project`".to_owned()
        }
        Error::OneCluster { environment, other, .. } => format!(
            "deploy {other}; `cargo xtask push {environment}` pushes alone. If {environment} replaces {other}, move environments/{other}/receipt.yaml \
             to environments/{environment}/"
        ),
        Error::StillMke3 { environment, .. } => format!(
            "`cargo xtask migrate {environment}` upgrades them; if they are new machines, remove `mke3` from the environment"
        ),
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn promote(error: &promote::Error) -> Vec<String> {
    let hint = match error {
        promote::Error::Refused { source, from, to }
            if matches!(**source, promote::Refusal::Unproven(_)) =>
        {
            format!(
                "deploy to {from} first, then promote; to promote anyway: `cargo xtask promote {from} {to} --unproven`"
            )
        }
        promote::Error::Refused { source, from, to }
            if matches!(**source, promote::Refusal::Rehearsal(_)) =>
        {
            format!(
                "promote from an environment with a cluster; to promote anyway: `cargo xtask promote {from} {to} --unproven`"
            )
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn snapshot(error: &snapshot::Error) -> Vec<String> {
    match error {
        snapshot::Error::OtherRegistry { environment, .. } => vec![format!(
            "take a snapshot of this environment: `cargo xtask snapshot {environment} --out FILE`"
        )],
        _ => Vec::new(),
    }
}

pub(super) fn requires(error: &requires::Error) -> Vec<String> {
    match error {
        requires::Error::Unmet { environment, unmet } => {
            vec![advice::requirement_unmet(environment, &unmet.environment)]
        }
        _ => Vec::new(),
    }
}

/// Returns the hints for a conflict with a deploy from a different checkout. `take_over` tells what
/// to do if this checkout is right.
pub(super) fn conflict(conflict: &Conflict, take_over: &str) -> Vec<String> {
    // `git pull` alone does not help if the other operator has not pushed the receipt yet.
    let unpushed =
        "if `git pull` brings no receipt, wait until the other operator commits and pushes it";
    match conflict {
        Conflict::Unfinished { .. } => vec![
            "wait until it ends, then run `git pull`".to_owned(),
            unpushed.to_owned(),
            format!("if it was interrupted, {take_over}"),
        ],
        Conflict::InUse { .. } => vec![WAIT.to_owned()],
        Conflict::Differs { environment, .. } => vec![
            "run `git pull` to get the receipt of that deploy, then run this command again"
                .to_owned(),
            unpushed.to_owned(),
            format!(
                "if that receipt is lost, rebuild it: `cargo xtask receipt rebuild {environment}`"
            ),
            format!("if this checkout is right, {take_over}"),
        ],
        Conflict::Invalid { .. } => vec![format!(
            "remove it from the registry if Airlock did not write it, or {take_over}"
        )],
        // That deploy has not written a receipt yet.
        Conflict::Overtaken { .. } => {
            vec![
                "wait until that deploy ends, then run `git pull` and this command again"
                    .to_owned(),
                unpushed.to_owned(),
            ]
        }
    }
}
