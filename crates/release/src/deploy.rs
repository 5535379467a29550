//! Executes a plan step by step, and writes the receipt.

use std::collections::BTreeMap;

use crate::cluster::executor::{self, ClusterChange};
use crate::cluster::in_progress;
use crate::config::render;
use crate::event::{Event, Step};
use crate::plan::{Permit, Plan};
use crate::receipt::{self, Overridden, Provenance, Receipt};
use crate::shared_state::{self, Mark, Subject};
use crate::transfer::push::{self, Sent};
use crate::transfer::{before_push, fetch, set, stream};
use crate::verify::Confirmed;
use crate::workspace::read_if_exists;
use crate::{Context, Error, chain, disk, plan, sha256, verify};

/// The result of a successful deploy.
#[derive(Debug)]
pub struct Deployed {
    /// The artifacts and blobs that were sent.
    pub sent: Sent,
    /// The proof that nodes can pull every artifact.
    pub confirmed: Confirmed,
    /// The change of the cluster; `None` if mkectl did not run.
    pub applied: Option<ClusterChange>,
}

/// Executes a plan, and writes the receipt of its success or failure.
///
/// # Errors
/// The error of the first step that failed. The next deploy does not repeat what is done.
pub async fn deploy(context: &Context<'_>, permit: &Permit<'_>) -> Result<Deployed, Error> {
    let plan = permit.plan();
    // Before the push, so a problem of mkectl is found before the registry changes.
    executor::check(context, &plan.target(), &plan.cluster)?;
    before_push::files(context, &plan.files_to_write())?;
    let mut progress = Progress::begin(context, permit, Step::Fetch);
    let outcome = steps(context, plan, &mut progress).await;
    conclude(context, plan, progress, outcome).await
}

/// Warns about images that the charts of a downloaded bundle or set name, and that no lock has. If
/// nothing was downloaded, the plan has these warnings.
fn warn_of_unlocked_charts(context: &Context<'_>, plan: &Plan) -> Result<(), Error> {
    if plan.to_fetch.blobs > 0 {
        set::warn_of_unlocked(context, plan.sets.keys().map(String::as_str))?;
    }
    if plan.bundle == fetch::Source::Store || plan.cluster.program().is_none() {
        return Ok(());
    }
    let store = fetch::open_store(context.workspace)?;
    for warning in verify::unlocked_by_charts(&store, &plan.lock) {
        context.reporter.report(Event::Warning(warning));
    }
    Ok(())
}

/// The state of a deploy, for the receipt of its success or failure.
struct Progress {
    began: String,
    /// `None` if a success writes no receipt.
    by: Option<Provenance>,
    overridden: Option<Overridden>,
    /// SHA-256 of the plan's file.
    plan: Option<String>,
    step: Step,
    /// `None` until the push ended.
    sent: Option<Sent>,
    /// `None` until the registry records that this run began.
    mark: Option<Mark>,
}

impl Progress {
    fn begin(context: &Context<'_>, permit: &Permit<'_>, step: Step) -> Self {
        let plan = permit.plan();
        // Recorded before the deploy writes files: they would count as uncommitted changes.
        let by = writes_receipt(plan).then(|| Provenance::of(context, &plan.environment));
        Self {
            plan: plan::digest(plan, context.workspace).ok(),
            began: receipt::now(context),
            by,
            overridden: permit.overridden().cloned(),
            step,
            sent: None,
            mark: None,
        }
    }

    fn by(&self, context: &Context<'_>, plan: &Plan) -> Provenance {
        let by = self.by.clone();
        by.unwrap_or_else(|| Provenance::of(context, &plan.environment))
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
    // The push completed before the stop, but an operator who stops a deploy does not want the
    // cluster to change.
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

/// Writes the rendered configuration and executes the steps for the cluster, after two checks:
///
/// - If there are steps, the files must still match the plan.
/// - The shared state in the registry records that a deploy begins. This is done even if only tags
///   moved, because a deploy from a checkout without the receipt would move them back.
async fn change_cluster(
    context: &Context<'_>,
    plan: &Plan,
    progress: &mut Progress,
    confirmed: &verify::Confirmed,
) -> Result<Option<ClusterChange>, Error> {
    if plan.cluster.is_needed() {
        plan::recheck(context, plan)?;
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

/// Fetches the bundle and pushes the missing artifacts. Does neither if none is missing.
///
/// # Errors
/// The bundle is not available or does not match its lock, or the push failed.
async fn send(context: &Context<'_>, plan: &Plan) -> Result<Sent, Error> {
    let mut outcomes = stream::transfer(context, &plan.lock, &[plan.delivery()]).await?;
    outcomes
        .pop()
        .unwrap_or_else(|| unreachable!("one plan has one outcome"))
}

/// Pushes the missing artifacts of several plans to their registries, and confirms the tags. Plans
/// with the same locks share one pass over the bundle. Returns one result per plan, in their order.
///
/// # Errors
/// A bundle is not available or does not match its lock.
pub async fn push(
    context: &Context<'_>,
    plans: &[Plan],
) -> Result<Vec<Result<Sent, Error>>, Error> {
    let mut by_lock: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        let lock = (&plan.lock_digest, &plan.sets);
        by_lock.entry(lock).or_default().push(index);
    }
    let mut outcomes: BTreeMap<usize, Result<Sent, Error>> = BTreeMap::new();
    for indices in by_lock.into_values() {
        let deliveries: Vec<_> = indices
            .iter()
            .map(|index| plans[*index].delivery())
            .collect();
        let pushed = stream::transfer(context, &plans[indices[0]].lock, &deliveries).await?;
        for (index, outcome) in indices.into_iter().zip(pushed) {
            let outcome = match outcome {
                Ok(sent) => verify::pushed_tags(context, &plans[index].expected(), &sent)
                    .await
                    .map(|()| sent),
                Err(error) => Err(error),
            };
            outcomes.insert(index, outcome);
        }
    }
    Ok(outcomes.into_values().collect())
}

/// Executes the cluster's part of a plan without a push, and writes the receipt. The registry must
/// already serve every artifact.
///
/// # Errors
/// The registry lacks an artifact or refuses it to nodes, or a step for the cluster failed.
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

/// Writes the receipt of a success or failure, and records in the registry that the run ended.
async fn conclude(
    context: &Context<'_>,
    plan: &Plan,
    mut progress: Progress,
    outcome: Result<Deployed, Error>,
) -> Result<Deployed, Error> {
    if let Err(error @ (Error::SharedState(_) | Error::Plan(plan::Error::Outdated(_)))) = outcome {
        // mkectl did not run, and the receipt may be that of a different deploy.
        return Err(error);
    }
    let mark = progress.mark.take();
    let previous_run = plan.shared.run().map(str::to_owned);
    let previous_run = previous_run.or_else(|| plan.receipt.as_ref()?.run.clone());
    let run = mark.as_ref().and_then(Mark::run).or(previous_run);
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
        let written = match kept_receipt(plan, &progress, log.is_some(), &receipt) {
            Ok(None) => receipt.write(&plan.output.receipt),
            Ok(Some((why, kept))) => {
                context.reporter.report(Event::Warning(why));
                kept.map_or(Ok(()), |kept| kept.write(&plan.output.receipt))
            }
            Err(error) => Err(error),
        };
        match (written, &outcome) {
            (Err(unwritten), Err(_)) => {
                // The failure of the deploy matters more, and often has the same cause.
                let warning = format!("no receipt records this failure: {}", chain(&unwritten));
                context.reporter.report(Event::Warning(warning));
                return outcome;
            }
            (written, _) => written?,
        }
    }
    // The receipt now records the result of mkectl. If mkectl did not run, the note of an earlier
    // run stays.
    if let Some(log) = log {
        in_progress::remove(&plan.output, log)?;
    }
    if let Some(mark) = mark {
        shared_state::end(context, &subject(plan), mark).await?;
    }
    outcome
}

/// Returns a reason to keep the existing receipt instead of writing `receipt`, if there is one, and
/// the existing receipt with the name of the new run. Without the latter, the file stays unchanged.
fn kept_receipt(
    plan: &Plan,
    progress: &Progress,
    mkectl_ran: bool,
    receipt: &Receipt,
) -> Result<Option<(String, Option<Receipt>)>, Error> {
    if mkectl_ran {
        return Ok(None);
    }
    let name = plan.output.receipt.file_name().unwrap_or_default();
    let now = read_if_exists(&plan.output.receipt)?.map(|text| sha256(text.as_bytes()));
    if now != plan.receipt_sha256 {
        let why = format!("{name} changed while this deploy ran, so it is left as it is");
        return Ok(Some((why, None)));
    }
    // A recorded failure of mkectl makes the next deploy run it again. A later failure of another
    // step must not hide that.
    let changes_cluster = |step: &str| {
        [Step::Apply, Step::Upgrade, Step::Migrate, Step::Cluster]
            .iter()
            .any(|one| one.name() == step)
    };
    let kept = plan.receipt.as_ref().and_then(|earlier| {
        let step = &earlier.failed.as_ref()?.step;
        let stays = changes_cluster(step) && !changes_cluster(progress.step.name());
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

/// Returns whether a success writes a receipt. A deploy that changes nothing writes none, so the
/// working tree stays clean, unless the receipt records a failure that is now resolved.
fn writes_receipt(plan: &Plan) -> bool {
    !plan.is_empty() || plan.records_failure() || plan.shared.conflict().is_some()
}

/// Returns the step that an error belongs to: fetch, verify and push run concurrently.
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

/// Returns what a push sent before it failed.
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
        // mkectl did not run, so the one that applied this configuration stays recorded.
        (None, Some(before)) => before.mkectl.clone(),
        (None, None) => receipt::RecordedProgram::default(),
    };
    // An upgrade does not apply the rendered configuration. With the old digest in the receipt, the
    // next deploy applies it.
    let config = match (&deployed.applied, before) {
        (Some(applied), Some(before)) if !applied.is_fully_applied => before.config.clone(),
        (Some(applied), None) if !applied.is_fully_applied => String::new(),
        _ => plan.config.digest.clone(),
    };
    let mut kept = mke::write_once_values(&plan.environment);
    if let Some(applied) = &deployed.applied
        && let Some(mut live) = applied.kept.clone()
    {
        // Rendered values take precedence if all are applied: they have references instead of
        // secrets.
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
