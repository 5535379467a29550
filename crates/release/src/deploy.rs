//! The whole way, step after step, as the plan says, and the receipt at its end.

use crate::apply::Applied;
use crate::event::Step;
use crate::plan::Plan;
use crate::push::Sent;
use crate::receipt::{self, Receipt};
use crate::verify::Confirmed;
use crate::{Context, Error, apply, carry, chain, render, under_way, verify};

/// What a deploy came to.
#[derive(Debug)]
pub struct Deployed {
    /// What was sent.
    pub sent: Sent,
    /// The proof that nodes get every artifact.
    pub confirmed: Confirmed,
    /// What mkectl did, if it ran.
    pub applied: Option<Applied>,
}

/// Does what the plan says, and writes the receipt, also where a step failed.
///
/// # Errors
/// The first step that failed. Everything before it is done and need not be done again.
pub async fn deploy(context: &Context<'_>, plan: &Plan) -> Result<Deployed, Error> {
    // A missing or wrong mkectl is found before the registry is touched.
    apply::require(context, plan)?;
    let mut step = Step::Fetch;
    let outcome = steps(context, plan, &mut step).await;
    conclude(context, plan, step, outcome)
}

async fn steps(context: &Context<'_>, plan: &Plan, step: &mut Step) -> Result<Deployed, Error> {
    let sent = send(context, plan)
        .await
        .inspect_err(|error| *step = step_of(error))?;
    *step = Step::Confirm;
    let confirmed = verify::registry(context, plan, &sent, verify::Depth::Full).await?;
    *step = Step::Render;
    let written = render::write(plan)?;
    *step = Step::Apply;
    let applied = apply::apply(context, plan, &confirmed, &written).await?;
    Ok(Deployed {
        sent,
        confirmed,
        applied,
    })
}

/// Brings the bundle here and pushes what the registry lacks; neither where it lacks nothing.
///
/// # Errors
/// The bundle cannot be had or is not what its lock says, or the registry did not take all of it.
pub async fn send(context: &Context<'_>, plan: &Plan) -> Result<Sent, Error> {
    let mut outcomes = carry::carry(context, &plan.lock, &[plan]).await?;
    outcomes
        .pop()
        .unwrap_or_else(|| unreachable!("one plan has one outcome"))
}

/// Applies the configuration alone: looks at the registry first, renders, runs mkectl, writes the receipt.
///
/// # Errors
/// The registry does not serve everything, or mkectl is missing or failed.
pub async fn apply_alone(context: &Context<'_>, plan: &Plan) -> Result<Deployed, Error> {
    apply::require(context, plan)?;
    let mut step = Step::Confirm;
    let outcome = async {
        let confirmed =
            verify::everything(context, &plan.environment, &plan.lock, verify::Depth::Tag).await?;
        step = Step::Render;
        let written = render::write(plan)?;
        step = Step::Apply;
        let applied = apply::apply(context, plan, &confirmed, &written).await?;
        Ok(Deployed {
            sent: Sent::default(),
            confirmed,
            applied,
        })
    }
    .await;
    conclude(context, plan, step, outcome)
}

/// Writes the receipt of what was done, or of what failed.
fn conclude(
    context: &Context<'_>,
    plan: &Plan,
    step: Step,
    outcome: Result<Deployed, Error>,
) -> Result<Deployed, Error> {
    let outcome = receipt_of(context, plan, step, outcome);
    // The receipt tells how mkectl ended. Where it could not be written, or mkectl did not run, an earlier note stays.
    match &outcome {
        Ok(deployed) if deployed.applied.is_some() => under_way::remove(&plan.output)?,
        Err(Error::MkectlFailed { .. } | Error::MkectlInterrupted { .. }) => {
            under_way::remove(&plan.output)?;
        }
        _ => {}
    }
    outcome
}

fn receipt_of(
    context: &Context<'_>,
    plan: &Plan,
    step: Step,
    outcome: Result<Deployed, Error>,
) -> Result<Deployed, Error> {
    match outcome {
        Ok(deployed) => {
            // A deploy that changed nothing leaves the tree as clean as it was, unless the receipt tells of a failure
            // that is overcome.
            let failed_before = plan
                .receipt
                .as_ref()
                .is_some_and(|receipt| receipt.failed.is_some());
            if !plan.is_empty() || failed_before {
                receipt_of_success(context, plan, &deployed).write(&plan.output.receipt)?;
            }
            Ok(deployed)
        }
        Err(error) => {
            receipt_of_failure(context, plan, step, &error).write(&plan.output.receipt)?;
            Err(error)
        }
    }
}

/// Says which of the steps that go on at the same time an error is of.
fn step_of(error: &Error) -> Step {
    match error {
        Error::Download { .. } | Error::Demo { .. } | Error::BundleSize { .. } => Step::Fetch,
        Error::Push { .. } | Error::Registry { .. } | Error::Credentials { .. } => Step::Push,
        _ => Step::Verify,
    }
}

fn receipt_of_success(context: &Context<'_>, plan: &Plan, deployed: &Deployed) -> Receipt {
    let before = plan
        .receipt
        .as_ref()
        .and_then(|receipt| receipt.applied.as_ref());
    let mkectl = match (&deployed.applied, before) {
        (Some(applied), _) => applied.version.clone(),
        // mkectl was not needed, so the one that applied this configuration still stands.
        (None, Some(before)) => before.mkectl.clone(),
        (None, None) => String::new(),
    };
    Receipt {
        version: Receipt::VERSION,
        applied: Some(receipt::Applied {
            release: format!("v{}", plan.environment.release),
            lock: plan.lock_digest.clone(),
            registry: plan.environment.registry.image_url(),
            external_address: mke::external_address(&plan.environment),
            config: plan.config.digest.clone(),
            mkectl,
            when: now(context),
            airlock: context.tool.version.clone(),
            artifacts: deployed.confirmed.artifacts,
            pushed: deployed.sent.artifacts,
            sent_bytes: deployed.sent.uploaded_bytes,
        }),
        failed: None,
    }
}

fn receipt_of_failure(context: &Context<'_>, plan: &Plan, step: Step, error: &Error) -> Receipt {
    let mkectl_exit_code = match error {
        Error::MkectlFailed { exit, .. } | Error::MkectlInterrupted { exit, .. } => exit.code(),
        _ => None,
    };
    Receipt {
        version: Receipt::VERSION,
        applied: plan
            .receipt
            .as_ref()
            .and_then(|receipt| receipt.applied.clone()),
        failed: Some(receipt::Failed {
            release: format!("v{}", plan.environment.release),
            step: step.to_string(),
            error: chain(error),
            mkectl_exit_code,
            when: now(context),
            airlock: context.tool.version.clone(),
        }),
    }
}

fn now(context: &Context<'_>) -> String {
    (context.tool.now)()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
