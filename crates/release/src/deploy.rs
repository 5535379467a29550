//! Executes a plan step by step, and writes the receipt.

use std::collections::BTreeMap;

use crate::cluster::executor::{self, ClusterChange};
use crate::cluster::in_progress;
use crate::config::render;
use crate::event::{Event, Step};
use crate::plan::{Permit, Plan};
use crate::receipt::{self, By, Overridden, Receipt};
use crate::shared_state::{self, Mark, Subject};
use crate::transfer::push::{self, Sent};
use crate::transfer::{before_push, fetch, set, stream};
use crate::verify::Confirmed;
use crate::workspace::read_if_there;
use crate::{Context, Error, chain, disk, plan, sha256, verify};

/// What a deploy came to.
#[derive(Debug)]
pub struct Deployed {
    /// What was sent.
    pub sent: Sent,
    /// The proof that nodes get every artifact.
    pub confirmed: Confirmed,
    /// What mkectl did, if it ran.
    pub applied: Option<ClusterChange>,
}

/// Does what the plan says, and writes the receipt, also where a step failed.
///
/// # Errors
/// The first step that failed. Everything before it is done and need not be done again.
pub async fn deploy(context: &Context<'_>, permit: &Permit<'_>) -> Result<Deployed, Error> {
    let plan = permit.plan();
    // A missing or wrong mkectl is found before the registry is touched.
    executor::check(context, &plan.target(), &plan.cluster)?;
    before_push::files(context, &plan.files_to_write())?;
    let mut progress = Progress::begin(context, permit, Step::Fetch);
    let outcome = steps(context, plan, &mut progress).await;
    conclude(context, plan, progress, outcome).await
}

/// Reports what the charts of a bundle or of sets that were just downloaded name but no lock has.
/// If the bundle was here before, the plan reports it.
fn warn_of_unlocked_charts(context: &Context<'_>, plan: &Plan) -> Result<(), Error> {
    if plan.to_fetch.blobs > 0 {
        set::warn_of_unlocked(context, plan.sets.keys().map(String::as_str))?;
    }
    if plan.bundle == fetch::Source::Store || plan.cluster.program().is_none() {
        return Ok(());
    }
    let store = fetch::open_store(context.workspace)?;
    for warning in verify::by_charts(&store, &plan.lock) {
        context.reporter.report(Event::Warning(warning));
    }
    Ok(())
}

/// How far a deploy has come, for the receipt that is written whatever becomes of it.
struct Progress {
    began: String,
    /// None if the deploy changes nothing and writes no receipt.
    by: Option<By>,
    overridden: Option<Overridden>,
    /// SHA-256 of the plan.
    plan: Option<String>,
    step: Step,
    /// What was pushed, once that is known.
    sent: Option<Sent>,
    /// What the registry records of this run, once that was written.
    mark: Option<Mark>,
}

impl Progress {
    fn begin(context: &Context<'_>, permit: &Permit<'_>, step: Step) -> Self {
        let plan = permit.plan();
        // Before anything is written: what the deploy itself leaves is not what it found.
        let by = writes_receipt(plan).then(|| By::of(context, &plan.environment));
        // A mkectl that would not do was refused before.
        let digest = crate::plan::digest(plan, context.workspace).ok();
        Self {
            plan: digest,
            began: receipt::now(context),
            by,
            overridden: permit.overridden().cloned(),
            step,
            sent: None,
            mark: None,
        }
    }

    fn by(&self, context: &Context<'_>, plan: &Plan) -> By {
        let by = self.by.clone();
        by.unwrap_or_else(|| By::of(context, &plan.environment))
    }
}

async fn steps(
    context: &Context<'_>,
    plan: &Plan,
    progress: &mut Progress,
) -> Result<Deployed, Error> {
    let sent = send(context, plan).await.inspect_err(|error| {
        progress.step = step_of(error);
        progress.sent = sent_before_failure(error);
    })?;
    progress.sent = Some(sent);
    // Nothing was left to stop, but the operator who stopped it does not want the cluster to
    // change.
    if context.tool.signals.stop().is_requested() {
        progress.step = Step::Push;
        return Err(push::Error::Stopped {
            address: plan.environment.registry.address.clone(),
            total: plan.to_be_pushed().count(),
            left: 0,
            sent,
            failed: Vec::new(),
        }
        .into());
    }
    warn_of_unlocked_charts(context, plan)?;
    progress.step = Step::Confirm;
    let confirmed = verify::registry(context, &plan.expected(), &sent).await?;
    let applied = change_cluster(context, plan, progress, &confirmed).await?;
    Ok(Deployed {
        sent,
        confirmed,
        applied,
    })
}

/// Renders the configuration and executes the steps of the plan. If there are any, the plan must
/// still hold. The registry records first what is about to be deployed, also where only tags moved:
/// from a checkout that lacks the receipt they would be moved back.
async fn change_cluster(
    context: &Context<'_>,
    plan: &Plan,
    progress: &mut Progress,
    confirmed: &verify::Confirmed,
) -> Result<Option<ClusterChange>, Error> {
    if plan.cluster.is_needed() {
        crate::plan::recheck(context, plan)?;
    }
    if writes_receipt(plan) {
        progress.mark = Some(shared_state::begin(context, &subject(plan), &plan.shared).await?);
    }
    progress.step = Step::Render;
    let written = render::write(&plan.config, &plan.output.config)?;
    progress.step = Step::Apply;
    executor::execute(
        context,
        &plan.target(),
        &plan.cluster,
        confirmed,
        &written,
        &mut progress.step,
    )
    .await
}

fn subject(plan: &Plan) -> Subject<'_> {
    Subject {
        environment: &plan.environment,
        output: &plan.output,
        release: format!("v{}", plan.environment.release),
        lock: plan.lock_digest.clone(),
    }
}

/// Brings the bundle here and pushes what the registry lacks; neither where it lacks nothing.
///
/// # Errors
/// The bundle is not available or is not what its lock says, or the registry did not take all of
/// it.
async fn send(context: &Context<'_>, plan: &Plan) -> Result<Sent, Error> {
    let mut outcomes = stream::carry(context, &plan.lock, &[plan.delivery()]).await?;
    outcomes
        .pop()
        .unwrap_or_else(|| unreachable!("one plan has one outcome"))
}

/// Pushes to the registries of several plans what they lack, and confirms it. Each lock is read
/// once. Returns the outcome of each plan.
///
/// # Errors
/// A bundle is not available, or is not what its lock says.
pub async fn push(
    context: &Context<'_>,
    plans: &[Plan],
) -> Result<Vec<Result<Sent, Error>>, Error> {
    let mut by_lock: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, plan) in plans.iter().enumerate() {
        let lock = (&plan.lock_digest, &plan.sets);
        by_lock.entry(lock).or_default().push(place);
    }
    let mut outcomes: BTreeMap<usize, Result<Sent, Error>> = BTreeMap::new();
    for places in by_lock.into_values() {
        let deliveries: Vec<_> = places
            .iter()
            .map(|place| plans[*place].delivery())
            .collect();
        let carried = stream::carry(context, &plans[places[0]].lock, &deliveries).await?;
        for (place, outcome) in places.into_iter().zip(carried) {
            let outcome = match outcome {
                Ok(sent) => verify::pushed_tags(context, &plans[place].expected(), &sent)
                    .await
                    .map(|()| sent),
                Err(error) => Err(error),
            };
            outcomes.insert(place, outcome);
        }
    }
    Ok(outcomes.into_values().collect())
}

/// Applies the configuration alone: looks at the registry first, renders, runs mkectl, writes the
/// receipt.
///
/// # Errors
/// The registry does not serve everything, or mkectl is missing or failed.
pub async fn apply_alone(context: &Context<'_>, permit: &Permit<'_>) -> Result<Deployed, Error> {
    let plan = permit.plan();
    executor::check(context, &plan.target(), &plan.cluster)?;
    before_push::files(context, &plan.files_to_write())?;
    let mut progress = Progress::begin(context, permit, Step::Confirm);
    let outcome = async {
        let confirmed = verify::tags(context, &plan.expected()).await?;
        progress.sent = Some(Sent::default());
        let applied = change_cluster(context, plan, &mut progress, &confirmed).await?;
        Ok(Deployed {
            sent: Sent::default(),
            confirmed,
            applied,
        })
    }
    .await;
    conclude(context, plan, progress, outcome).await
}

/// Writes the receipt of what was done, or of what failed, and records in the registry that the run
/// ended.
async fn conclude(
    context: &Context<'_>,
    plan: &Plan,
    mut progress: Progress,
    outcome: Result<Deployed, Error>,
) -> Result<Deployed, Error> {
    if let Err(error @ (Error::SharedState(_) | Error::Plan(plan::Error::Outdated(_)))) = outcome {
        // The receipt is another deploy's, and mkectl did not run.
        return Err(error);
    }
    let mark = progress.mark.take();
    let before = plan.shared.run().map(str::to_owned);
    let before = before.or_else(|| plan.receipt.as_ref()?.run.clone());
    let run = mark.as_ref().and_then(Mark::run).or(before);
    let log = match &outcome {
        Ok(deployed) => deployed.applied.as_ref().map(|applied| &applied.log),
        Err(Error::Run(error)) => error.log(),
        Err(_) => None,
    };
    let receipt = match &outcome {
        Ok(deployed) => writes_receipt(plan)
            .then(|| receipt_of_success(context, plan, &progress, run, deployed)),
        Err(error) => Some(receipt_of_failure(context, plan, &progress, run, error)),
    };
    if let Some(receipt) = receipt {
        let written = match keeps_receipt(plan, &progress, log.is_some(), &receipt) {
            Ok(None) => receipt.write(&plan.output.receipt),
            Ok(Some((why, kept))) => {
                context.reporter.report(Event::Warning(why));
                kept.map_or(Ok(()), |kept| kept.write(&plan.output.receipt))
            }
            Err(error) => Err(error),
        };
        match (written, &outcome) {
            (Err(unwritten), Err(_)) => {
                // Why the deploy failed matters more, and is often the same.
                let warning = format!("no receipt records this failure: {}", chain(&unwritten));
                context.reporter.report(Event::Warning(warning));
                return outcome;
            }
            (written, _) => written?,
        }
    }
    // The receipt records how mkectl ended. If it could not be written, or mkectl did not run, an
    // earlier note stays.
    if let Some(log) = log {
        in_progress::remove(&plan.output, log)?;
    }
    if let Some(mark) = mark {
        shared_state::end(context, &subject(plan), mark).await?;
    }
    outcome
}

/// Returns why the existing receipt must stay instead of `receipt`, if it must, and what is written
/// then: it stays with the run that the registry names now.
fn keeps_receipt(
    plan: &Plan,
    progress: &Progress,
    mkectl_ran: bool,
    receipt: &Receipt,
) -> Result<Option<(String, Option<Receipt>)>, Error> {
    if mkectl_ran {
        return Ok(None);
    }
    let name = plan.output.receipt.file_name().unwrap_or_default();
    let now = read_if_there(&plan.output.receipt)?.map(|text| sha256(text.as_bytes()));
    if now != plan.receipt_sha256 {
        let why = format!("{name} changed while this deploy ran, so it is left as it is");
        return Ok(Some((why, None)));
    }
    // mkectl has to run again, whatever failed since.
    let touches_cluster = |step: &str| {
        [Step::Apply, Step::Upgrade, Step::Migrate, Step::Cluster]
            .iter()
            .any(|one| one.name() == step)
    };
    let kept = plan.receipt.as_ref().and_then(|earlier| {
        let step = &earlier.failed.as_ref()?.step;
        let stays = touches_cluster(step) && !touches_cluster(progress.step.name());
        let run = receipt.run.clone();
        stays.then(|| {
            let why = format!("{name} keeps the earlier failure at {step}");
            (
                why,
                Some(Receipt {
                    run,
                    ..earlier.clone()
                }),
            )
        })
    });
    Ok(kept)
}

/// Returns whether a success is worth a receipt. A deploy that changed nothing leaves the tree as
/// clean as it was, unless the receipt records a failure that is resolved.
fn writes_receipt(plan: &Plan) -> bool {
    !plan.is_empty() || plan.records_failure() || plan.shared.conflict().is_some()
}

/// Returns which of the concurrent steps an error belongs to.
fn step_of(error: &Error) -> Step {
    match error {
        Error::Fetch(_)
        | Error::Set(_)
        | Error::Demo(_)
        | Error::Disk(disk::Error::BundleSize { .. }) => Step::Fetch,
        Error::Push(_) | Error::Connect(_) => Step::Push,
        _ => Step::Verify,
    }
}

/// Returns what a push that failed has sent anyway.
fn sent_before_failure(error: &Error) -> Option<Sent> {
    match error {
        Error::Push(push::Error::Failed { sent, .. })
        | Error::Push(push::Error::Stopped { sent, .. }) => Some(*sent),
        _ => None,
    }
}

fn receipt_of_success(
    context: &Context<'_>,
    plan: &Plan,
    progress: &Progress,
    run: Option<String>,
    deployed: &Deployed,
) -> Receipt {
    let before = plan.applied();
    let mkectl = match (&deployed.applied, before) {
        (Some(applied), _) => applied.mkectl.clone(),
        // mkectl was not needed, so the one that applied this configuration stays recorded.
        (None, Some(before)) => before.mkectl.clone(),
        (None, None) => receipt::RecordedProgram::default(),
    };
    // An upgrade takes no configuration. What it did not apply is applied by the next deploy.
    let config = match (&deployed.applied, before) {
        (Some(applied), Some(before)) if !applied.is_fully_applied => before.config.clone(),
        (Some(applied), None) if !applied.is_fully_applied => String::new(),
        _ => plan.config.digest.clone(),
    };
    let mut kept = mke::kept_values(&plan.environment);
    if let Some(applied) = &deployed.applied
        && let Some(mut live) = applied.kept.clone()
    {
        // Where all is as rendered, references stay as the environment writes them.
        live.extend(kept.into_iter().filter(|_| applied.is_fully_applied));
        kept = live;
    }
    Receipt {
        version: Receipt::VERSION,
        run,
        applied: Some(receipt::Applied {
            release: format!("v{}", plan.environment.release),
            registry: plan.environment.registry.image_url(),
            external_address: mke::external_address(&plan.environment),
            kept: Some(kept),
            lock: plan.lock_digest.clone(),
            sets: plan.sets.clone(),
            config,
            plan: progress.plan.clone(),
            mkectl,
            artifacts: deployed.confirmed.artifacts(),
            pushed: receipt::Pushed::from(&deployed.sent),
            ended: receipt::now(context),
            by: progress.by(context, plan),
            began: Some(progress.began.clone()),
            overridden: progress.overridden.clone(),
            without_backup: plan.cluster.without_backup.clone(),
            rebuilt: false,
        }),
        failed: None,
    }
}

fn receipt_of_failure(
    context: &Context<'_>,
    plan: &Plan,
    progress: &Progress,
    run: Option<String>,
    error: &Error,
) -> Receipt {
    let mkectl_exit_code = match error {
        Error::Run(error) => error.exit_code(),
        _ => None,
    };
    Receipt {
        version: Receipt::VERSION,
        run,
        applied: plan.applied().cloned(),
        failed: Some(receipt::Failed {
            release: format!("v{}", plan.environment.release),
            registry: Some(plan.environment.registry.image_url()),
            lock: Some(plan.lock_digest.clone()),
            sets: plan.sets.clone(),
            config: Some(plan.config.digest.clone()),
            plan: progress.plan.clone(),
            step: progress.step.to_string(),
            error: chain(error),
            mkectl_exit_code,
            pushed: progress.sent.as_ref().map(receipt::Pushed::from),
            ended: receipt::now(context),
            by: progress.by(context, plan),
            began: Some(progress.began.clone()),
            overridden: progress.overridden.clone(),
            without_backup: plan.cluster.without_backup.clone(),
        }),
    }
}
