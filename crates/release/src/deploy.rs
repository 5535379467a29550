//! The whole way, step after step, as the plan says, and the receipt at its end.

use crate::apply::Applied;
use crate::event::{Event, Step};
use crate::plan::Plan;
use crate::push::Sent;
use crate::receipt::{self, By, Overridden, Receipt};
use crate::requires::Permit;
use crate::verify::Confirmed;
use crate::{Context, Error, apply, carry, chain, fetch, render, under_way, verify};

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
pub async fn deploy(
    context: &Context<'_>,
    plan: &Plan,
    permit: &Permit<'_>,
) -> Result<Deployed, Error> {
    // A missing or wrong mkectl is found before the registry is touched, and so is a lock that lacks what it wants.
    apply::require(context, plan)?;
    require_all_locked(plan)?;
    let mut course = Course::begin(context, plan, permit, Step::Fetch);
    let outcome = steps(context, plan, &mut course).await;
    conclude(context, plan, course, outcome)
}

/// Refuses a lock that lacks what the release's own mkectl lists: it would fail half-way through an installation.
fn require_all_locked(plan: &Plan) -> Result<(), Error> {
    if plan.unlocked.is_empty() {
        return Ok(());
    }
    Err(Error::Unlocked {
        release: plan.lock.release.clone(),
        lacking: plan.unlocked.clone(),
    })
}

/// Tells what the charts of a bundle that came only now name and the lock lacks; the plan tells it where the bundle was here before.
fn tell_what_charts_want(context: &Context<'_>, plan: &Plan) -> Result<(), Error> {
    if plan.bundle == fetch::Source::Store || plan.mkectl.program().is_none() {
        return Ok(());
    }
    let store = fetch::open_store(context.workspace)?;
    for warning in verify::by_charts(&store, &plan.lock) {
        context.reporter.report(Event::Warning(warning));
    }
    Ok(())
}

/// How far a deploy has come, for the receipt that is written whatever becomes of it.
struct Course {
    began: String,
    /// None where the deploy changes nothing, so that no receipt will want it.
    by: Option<By>,
    overridden: Option<Overridden>,
    /// SHA-256 of the plan.
    plan: Option<String>,
    step: Step,
    /// What was pushed, once that is known.
    sent: Option<Sent>,
}

impl Course {
    fn begin(context: &Context<'_>, plan: &Plan, permit: &Permit<'_>, step: Step) -> Self {
        // Before anything is written: what the deploy itself leaves is not what it found.
        let by = writes_receipt(plan).then(|| By::of(context, &plan.environment));
        // A mkectl that would not do was refused before.
        let digest = crate::plan::digest(plan, context.workspace).ok();
        Self {
            plan: digest,
            began: receipt::now(context),
            by,
            overridden: permit.overridden.clone(),
            step,
            sent: None,
        }
    }

    fn by(&self, context: &Context<'_>, plan: &Plan) -> By {
        let by = self.by.clone();
        by.unwrap_or_else(|| By::of(context, &plan.environment))
    }
}

async fn steps(context: &Context<'_>, plan: &Plan, course: &mut Course) -> Result<Deployed, Error> {
    let sent = send(context, plan).await.inspect_err(|error| {
        course.step = step_of(error);
        course.sent = sent_nevertheless(error);
    })?;
    course.sent = Some(sent);
    // Nothing was left that could be stopped, and whoever asked for it still wants no cluster to be touched.
    if context.tool.signals.stop().is_requested() {
        course.step = Step::Push;
        return Err(Error::Stopped {
            address: plan.environment.registry.address.clone(),
            total: plan.to_be_pushed().count(),
            left: 0,
            sent,
            failed: Vec::new(),
        });
    }
    tell_what_charts_want(context, plan)?;
    course.step = Step::Confirm;
    let confirmed = verify::registry(context, plan, &sent).await?;
    course.step = Step::Render;
    let written = render::write(plan)?;
    course.step = Step::Apply;
    let applied = apply::apply(context, plan, &confirmed, &written, &mut course.step).await?;
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
pub async fn apply_alone(
    context: &Context<'_>,
    plan: &Plan,
    permit: &Permit<'_>,
) -> Result<Deployed, Error> {
    apply::require(context, plan)?;
    require_all_locked(plan)?;
    let mut course = Course::begin(context, plan, permit, Step::Confirm);
    let outcome = async {
        let confirmed = verify::tags(context, plan).await?;
        course.sent = Some(Sent::default());
        course.step = Step::Render;
        let written = render::write(plan)?;
        course.step = Step::Apply;
        let applied = apply::apply(context, plan, &confirmed, &written, &mut course.step).await?;
        Ok(Deployed {
            sent: Sent::default(),
            confirmed,
            applied,
        })
    }
    .await;
    conclude(context, plan, course, outcome)
}

/// Writes the receipt of what was done, or of what failed.
fn conclude(
    context: &Context<'_>,
    plan: &Plan,
    course: Course,
    outcome: Result<Deployed, Error>,
) -> Result<Deployed, Error> {
    let outcome = match outcome {
        Ok(deployed) => {
            if writes_receipt(plan) {
                receipt_of_success(context, plan, course, &deployed).write(&plan.output.receipt)?;
            }
            Ok(deployed)
        }
        Err(error) => {
            let receipt = receipt_of_failure(context, plan, course, &error);
            if let Err(unwritten) = receipt.write(&plan.output.receipt) {
                // Why the deploy failed matters more, and is often the same.
                let warning = format!("no receipt tells of this failure: {}", chain(&unwritten));
                context.reporter.report(Event::Warning(warning));
                return Err(error);
            }
            Err(error)
        }
    };
    // The receipt tells how mkectl ended. Where it could not be written, or mkectl did not run, an earlier note stays.
    let log = match &outcome {
        Ok(deployed) => deployed.applied.as_ref().map(|applied| &applied.log),
        Err(Error::MkectlFailed { log, .. } | Error::MkectlInterrupted { log, .. }) => Some(log),
        Err(_) => None,
    };
    if let Some(log) = log {
        under_way::remove(&plan.output, log)?;
    }
    outcome
}

/// Says whether a success is worth a receipt. A deploy that changed nothing leaves the tree as clean as it was, unless the receipt
/// tells of a failure that is overcome.
fn writes_receipt(plan: &Plan) -> bool {
    let failed_before = plan
        .receipt
        .as_ref()
        .is_some_and(|receipt| receipt.failed.is_some());
    !plan.is_empty() || failed_before
}

/// Says which of the steps that go on at the same time an error is of.
fn step_of(error: &Error) -> Step {
    match error {
        Error::Download { .. } | Error::Demo { .. } | Error::BundleSize { .. } => Step::Fetch,
        Error::Push { .. }
        | Error::Stopped { .. }
        | Error::Registry { .. }
        | Error::NotAnonymous { .. }
        | Error::Credentials { .. } => Step::Push,
        _ => Step::Verify,
    }
}

/// Returns what a push that failed has sent all the same.
fn sent_nevertheless(error: &Error) -> Option<Sent> {
    match error {
        Error::Push { sent, .. } | Error::Stopped { sent, .. } => Some(*sent),
        _ => None,
    }
}

fn receipt_of_success(
    context: &Context<'_>,
    plan: &Plan,
    course: Course,
    deployed: &Deployed,
) -> Receipt {
    let before = plan
        .receipt
        .as_ref()
        .and_then(|receipt| receipt.applied.as_ref());
    let mkectl = match (&deployed.applied, before) {
        (Some(applied), _) => receipt::Program {
            version: applied.version.clone(),
            sha256: applied.sha256.clone(),
        },
        // mkectl was not needed, so the one that applied this configuration still stands.
        (None, Some(before)) => before.mkectl.clone(),
        (None, None) => receipt::Program::default(),
    };
    // An upgrade takes no configuration. What it did not bring is applied by the next deploy.
    let config = match (&deployed.applied, before) {
        (Some(applied), Some(before)) if !applied.config_is_there => before.config.clone(),
        (Some(applied), None) if !applied.config_is_there => String::new(),
        _ => plan.config.digest.clone(),
    };
    Receipt {
        version: Receipt::VERSION,
        applied: Some(receipt::Applied {
            release: format!("v{}", plan.environment.release),
            registry: plan.environment.registry.image_url(),
            external_address: mke::external_address(&plan.environment),
            lock: plan.lock_digest.clone(),
            config,
            plan: course.plan.clone(),
            mkectl,
            artifacts: deployed.confirmed.artifacts,
            pushed: receipt::Pushed::of(&deployed.sent),
            ended: receipt::now(context),
            by: course.by(context, plan),
            began: Some(course.began),
            overridden: course.overridden,
            without_backup: plan.mkectl.without_backup(),
        }),
        failed: None,
    }
}

fn receipt_of_failure(
    context: &Context<'_>,
    plan: &Plan,
    course: Course,
    error: &Error,
) -> Receipt {
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
            registry: Some(plan.environment.registry.image_url()),
            lock: Some(plan.lock_digest.clone()),
            config: Some(plan.config.digest.clone()),
            plan: course.plan.clone(),
            step: course.step.to_string(),
            error: chain(error),
            mkectl_exit_code,
            pushed: course.sent.as_ref().map(receipt::Pushed::of),
            ended: receipt::now(context),
            by: course.by(context, plan),
            began: Some(course.began),
            overridden: course.overridden,
            without_backup: plan.mkectl.without_backup(),
        }),
    }
}
