//! Runs the release's own mkectl on the rendered configuration.

use camino::Utf8PathBuf;

use crate::event::{Event, Step};
use crate::plan::{MkectlPlan, Plan};
use crate::program::{self, Program};
use crate::render::Written;
use crate::run::{self, Run};
use crate::upgrade::{self, Commands};
use crate::verify::Confirmed;
use crate::{Context, Error, consent, migrate, resolve, validate};

/// What mkectl did to the cluster, if it did it.
#[derive(Debug)]
pub struct Applied {
    /// The version that mkectl gave of itself.
    pub version: String,
    /// SHA-256 of its file, as it was before it ran; none for a rehearsal's stand-in.
    pub sha256: Option<String>,
    /// Where everything that it printed is kept.
    pub log: Utf8PathBuf,
    /// Whether the cluster has everything now that the rendered configuration says. An upgrade takes no configuration.
    pub config_is_there: bool,
    /// What the upgrade changed in the cluster's configuration, against what is rendered; nothing where nothing was upgraded.
    pub after_upgrade: Option<upgrade::After>,
}

/// What mkectl is to be run for, ready to be run.
#[derive(Debug)]
pub(crate) enum Ready {
    /// For nothing.
    Nothing,
    /// To apply the configuration.
    Apply(Box<Program>),
    /// To upgrade the cluster.
    Upgrade(Box<Commands>),
    /// To upgrade an MKE 3 cluster.
    Migrate(Box<migrate::Commands>),
}

/// Returns what the plan will run of mkectl.
///
/// # Errors
/// It is to be run, and there is none that would do, or something else is missing. Asked before anything is pushed.
pub(crate) fn require(context: &Context<'_>, plan: &Plan) -> Result<Ready, Error> {
    if plan.mkectl.is_needed() {
        run::refuse_a_second_one(context, &plan.output)?;
        resolve::check(context, &plan.environment, &plan.release)?;
    }
    match &plan.mkectl {
        MkectlPlan::NotNeeded => Ok(Ready::Nothing),
        MkectlPlan::Apply {
            program: Ok(program),
            ..
        } => {
            validate::check(
                context,
                &plan.environment,
                &plan.release,
                program,
                &plan.output,
            )?;
            Ok(Ready::Apply(Box::new(program.clone())))
        }
        MkectlPlan::Upgrade {
            commands: Ok(commands),
            ..
        } => Ok(Ready::Upgrade(commands.clone())),
        MkectlPlan::Migrate {
            commands: Ok(commands),
            ..
        } => {
            // An hour before it is run, and not after.
            consent::ask(context, &commands.upgrade)?;
            Ok(Ready::Migrate(commands.clone()))
        }
        MkectlPlan::Migrate {
            commands: Err(_), ..
        } => {
            let lock = (&plan.lock, plan.lock_path.as_path());
            migrate::commands(
                context,
                &plan.environment,
                &plan.release,
                lock,
                &plan.output,
            )
            .map(|commands| Ready::Migrate(Box::new(commands)))
        }
        // The plan only shows the error; looking again is how it comes to be returned.
        MkectlPlan::Apply {
            program: Err(_), ..
        } => program::for_apply(context, &plan.environment, &plan.lock, &plan.lock_path)
            .map(|program| Ready::Apply(Box::new(program))),
        MkectlPlan::Upgrade {
            from,
            way,
            commands: Err(_),
            ..
        } => upgrade::commands(
            context,
            &plan.environment,
            (&plan.lock, &plan.lock_path),
            from,
            way,
            &plan.output,
            plan.receipt
                .as_ref()
                .and_then(|receipt| receipt.applied.as_ref()),
        )
        .map(|commands| Ready::Upgrade(Box::new(commands))),
    }
}

/// Runs mkectl, if the plan says so.
///
/// `confirmed` is the proof that nodes get every artifact: without it mkectl would fail half-way. `step` is what a receipt calls the
/// step that fails.
///
/// # Errors
/// mkectl is missing or the wrong one, or it ran and failed.
pub async fn apply(
    context: &Context<'_>,
    plan: &Plan,
    confirmed: &Confirmed,
    written: &Written,
    step: &mut Step,
) -> Result<Option<Applied>, Error> {
    match require(context, plan)? {
        Ready::Nothing => Ok(None),
        Ready::Apply(program) => apply_config(context, plan, &program, written).map(Some),
        Ready::Upgrade(commands) => upgrade::upgrade(context, plan, &commands, confirmed, step)
            .await
            .map(Some),
        Ready::Migrate(commands) => {
            *step = Step::Migrate;
            migrate::migrate(context, plan, &commands, confirmed).map(Some)
        }
    }
}

/// Has mkectl simulate the command, where its help lists a way.
///
/// # Errors
/// mkectl failed: the command would fail as well.
fn try_first(
    context: &Context<'_>,
    run: &Run<'_>,
    program: &Program,
    command: &programs::Command,
) -> Result<(), Error> {
    const DRY_RUN: &str = "--dry-run";
    if run.environment.rehearsal || !program.help.lists(DRY_RUN) {
        return Ok(());
    }
    let mut command = command.clone().argument(DRY_RUN);
    command.name = format!("{} {DRY_RUN}", command.name);
    let run = Run {
        name: "apply-dry-run",
        changes: false,
        release: run.release.clone(),
        password_way_out: None,
        ..*run
    };
    run.run(context, &command).map(drop)
}

fn apply_config(
    context: &Context<'_>,
    plan: &Plan,
    program: &Program,
    written: &Written,
) -> Result<Applied, Error> {
    let sha256 = program.mkectl.sha256();
    let resolved = resolve::file(
        context,
        &plan.environment,
        &plan.release,
        &plan.output.logs,
        &written.path,
    )?;
    let command = program
        .apply(resolved.path())
        .within(plan.environment.operation.apply_timeout);
    let release = format!("v{}", plan.environment.release);
    program::keep(context, &program.mkectl, &release);
    let run = Run {
        environment: &plan.environment,
        output: &plan.output,
        release: release.clone(),
        name: "apply",
        step: Step::Apply,
        results: None,
        changes: true,
        password_way_out: program.password_way_out(),
    };
    let tried = try_first(context, &run, program, &command);
    let ran = tried.and_then(|()| run.run(context, &command));
    let log = resolved.remove_after(ran)?.log;
    context.reporter.report(Event::Finished {
        step: Step::Apply,
        what: format!("applied; log in {log}"),
    });
    Ok(Applied {
        version: release,
        sha256,
        log,
        config_is_there: true,
        after_upgrade: None,
    })
}
