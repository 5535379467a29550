//! Executes the steps for a cluster.
//!
//! Apply, upgrade and migrate differ only in the steps that they plan: see
//! [`crate::cluster::apply`], [`crate::cluster::upgrade`] and [`crate::cluster::migrate`]. `plan`
//! prints these steps and `deploy` runs them unchanged.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use semver::Version;

use crate::cluster::run::{self, Completed, Run};
use crate::cluster::{consent, ssh_keys, validate};
use crate::config::render::{Config, Written};
use crate::config::resolve;
use crate::event::{Event, Step};
use crate::transfer::program::{self, Program};
use crate::verify::Confirmed;
use crate::workspace::{Output, remove_if_exists};
use crate::{Context, Error, cluster, receipt};

mod after;
mod files;

pub use after::After;

/// The part of a plan that concerns the cluster.
///
/// A plan can be computed although something is missing, such as mkectl. Then `steps` is an error,
/// and `deploy` refuses the plan with it.
#[derive(Debug)]
pub struct ClusterPlan {
    /// The change of the cluster.
    pub action: Action,
    /// The release that the cluster runs; `None` unless it is upgraded.
    pub from: Option<Version>,
    /// Why mkectl is run; `None` if it is not.
    pub reason: Option<&'static str>,
    /// The operator's reason for an upgrade without a backup that could be restored.
    pub without_backup: Option<String>,
    /// The steps in order, or why they cannot be executed.
    pub(crate) steps: Result<Vec<ClusterStep>, Error>,
}

/// The change that a deploy makes to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// None: the cluster already has this configuration.
    None,
    /// The configuration is applied to a new cluster, or to one of the same release.
    Apply,
    /// A cluster of MKE 4 is upgraded.
    Upgrade,
    /// A cluster of MKE 3 is upgraded.
    Migrate,
}

/// A task, and the step of the deploy that it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct ClusterStep {
    /// The step that the receipt records if the task fails.
    pub(crate) step: Step,
    pub(crate) task: Task,
}

#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// Writes the release matrix of the bundle to the path that mkectl is given.
    WriteMatrix {
        path: Utf8PathBuf,
        file: bundle::LockedFile,
    },
    /// Saves the live configuration: later commands read the file, and a restore needs it.
    KeepConfig {
        program: Box<Program>,
        path: Utf8PathBuf,
    },
    /// Writes the hosts file of an upgrade from MKE 3.
    WriteHosts {
        path: Utf8PathBuf,
        private_addresses: bool,
    },
    /// Removes a file that an earlier run left, and protects its folder: mkectl will write secrets
    /// to the same path.
    ClearOutput(Utf8PathBuf),
    /// Runs mkectl.
    Run(Box<Command>),
    /// Checks the archive of a backup, and writes its note.
    DescribeBackup {
        archive: Utf8PathBuf,
        by: Box<Program>,
    },
    /// Compares the live configuration with the rendered one. It is read from `written`, if mkectl
    /// has written that file, or else from the cluster.
    Compare {
        program: Box<Program>,
        written: Option<Utf8PathBuf>,
    },
}

/// One command of mkectl.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) program: Program,
    /// Name in the log's file name and in the note.
    pub(crate) name: &'static str,
    pub(crate) command: programs::Command,
    /// Whether it reads the rendered configuration. If so, it gets a copy in which references are
    /// replaced by their values.
    pub(crate) reads_config: bool,
    /// Whether plans show it.
    pub(crate) is_printed: bool,
    /// The change of the cluster in words, as in `v4.1.2 became v4.1.5`; `None` if it changes
    /// nothing.
    pub(crate) effect: Option<String>,
}

/// The change that mkectl made to the cluster.
#[derive(Debug)]
pub struct ClusterChange {
    /// The mkectl that ran. Its digest was taken before the run.
    pub mkectl: receipt::RecordedProgram,
    /// The log of mkectl's output, relative to the workspace.
    pub log: Utf8PathBuf,
    /// Whether the cluster has everything in the rendered configuration. After an upgrade it may
    /// not, since `mkectl upgrade` applies no configuration.
    pub is_fully_applied: bool,
    /// The values that the cluster keeps for its life, if mkectl chose them in a migration.
    pub kept: Option<BTreeMap<String, String>>,
    /// The comparison of the live configuration with the rendered one; `None` if nothing was
    /// upgraded, or the cluster could not be asked.
    pub after_upgrade: Option<After>,
}

/// The cluster that is changed, and the release and configuration that it gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) release: &'a mke::Release,
    pub(crate) lock: &'a bundle::Lock,
    pub(crate) config: &'a Config,
    pub(crate) output: &'a Output,
    /// The last successful deploy in the receipt.
    pub(crate) applied: Option<&'a receipt::Applied>,
}

impl Action {
    /// Returns its name in plans: `none`, `apply`, `upgrade` or `migrate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Apply => "apply",
            Self::Upgrade => "upgrade",
            Self::Migrate => "migrate",
        }
    }
}

impl ClusterPlan {
    /// Returns the plan that does not change the cluster.
    pub(crate) fn nothing() -> Self {
        Self {
            action: Action::None,
            from: None,
            reason: None,
            without_backup: None,
            steps: Ok(Vec::new()),
        }
    }

    /// Returns whether mkectl is to be run.
    pub fn is_needed(&self) -> bool {
        self.action != Action::None
    }

    /// Returns whether a cluster is upgraded, from MKE 3 or from MKE 4.
    pub fn is_upgrade(&self) -> bool {
        matches!(self.action, Action::Upgrade | Action::Migrate)
    }

    /// Returns why the steps cannot be executed, if so.
    pub(crate) fn problem(&self) -> Option<&Error> {
        self.steps.as_ref().err()
    }

    /// Returns the steps in order; none if they cannot be executed.
    fn planned(&self) -> &[ClusterStep] {
        self.steps.as_deref().unwrap_or_default()
    }

    fn commands(&self) -> impl Iterator<Item = &Command> {
        self.planned().iter().filter_map(|step| match &step.task {
            Task::Run(command) => Some(&**command),
            _ => None,
        })
    }

    /// Returns the commands that plans show, in order, each with its step.
    pub(crate) fn printed(&self) -> impl Iterator<Item = (Step, programs::Command)> {
        self.planned().iter().filter_map(|step| match &step.task {
            Task::Run(command) if command.is_printed => Some((step.step, command.command.clone())),
            // With `written`, the cluster is asked only if mkectl did not write the file.
            Task::Compare {
                program,
                written: None,
            } => Some((Step::Confirm, program.mkectl.config_get_command())),
            _ => None,
        })
    }

    /// Returns the mkectl of each release that is run, in order.
    pub(crate) fn programs(&self) -> Vec<&Program> {
        let mut programs: Vec<&Program> = Vec::new();
        for step in self.planned() {
            let program = match &step.task {
                Task::KeepConfig { program, .. } | Task::Compare { program, .. } => &**program,
                Task::Run(command) => &command.program,
                _ => continue,
            };
            if programs.iter().all(|one| one.release != program.release) {
                programs.push(program);
            }
        }
        programs
    }

    /// Returns the mkectl that changes the cluster; `None` if there is none, or in a migration.
    pub(crate) fn program(&self) -> Option<&Program> {
        let changing = self.commands().find(|command| command.effect.is_some());
        changing
            .filter(|_| self.action != Action::Migrate)
            .map(|command| &command.program)
    }
}

/// Checks that the steps can be executed, before anything is pushed.
///
/// # Errors
/// - [`run::Error::Running`] if an earlier mkectl is still running.
/// - A reference in the configuration has no value.
/// - An SSH key of a host is missing on this machine.
/// - mkectl refuses the configuration.
/// - [`consent::Error::VisibleSecrets`] if a secret must not be visible in the process list.
pub(crate) fn check(
    context: &Context<'_>,
    target: &Target<'_>,
    plan: &ClusterPlan,
) -> Result<(), Error> {
    let Target {
        environment,
        release,
        output,
        ..
    } = *target;
    if !plan.is_needed() {
        return Ok(());
    }
    run::require_no_running_mkectl(context, output)?;
    // This also masks the values of references in all output from here on.
    resolve::check(context, environment, release)?;
    ssh_keys::check(context, environment)?;
    if let Some(command) = plan.commands().find(|command| command.reads_config) {
        validate::check(context, environment, release, &command.program, output)?;
    }
    for command in plan.commands() {
        consent::ask(context, &command.command)?;
    }
    Ok(())
}

/// Executes the steps for the cluster, and returns the change that they made.
///
/// - `confirmed` proves that nodes can pull every artifact. Without that, mkectl would fail
///   half-way.
/// - `written` proves that the rendered configuration is in its file.
/// - `step` is set to the step that is being executed, for the receipt of a failure.
///
/// # Errors
/// A proof is of a different lock, environment or configuration, or a step failed. The remaining
/// steps are not executed.
pub(crate) async fn execute(
    context: &Context<'_>,
    target: &Target<'_>,
    plan: &ClusterPlan,
    confirmed: &Confirmed,
    written: &Written,
    step: &mut Step,
) -> Result<Option<ClusterChange>, Error> {
    confirmed.require(target.lock, target.environment)?;
    let config = written.require(target.config, &target.output.config)?;
    for program in plan.programs() {
        program::keep(context, program);
    }
    let mut applied = None;
    // Reported only after the cluster has confirmed the release: see `after::require_success`.
    let mut success = None;
    for ClusterStep { step: at, task } in plan.planned() {
        *step = *at;
        match task {
            Task::WriteMatrix { path, file } => {
                files::write_matrix(context, target, path, file).await?;
            }
            Task::KeepConfig { program, path } => files::keep_config(target, program, path)?,
            Task::WriteHosts {
                path,
                private_addresses,
            } => files::write_hosts(context, target, path, *private_addresses)?,
            Task::ClearOutput(path) => files::clear_output(path)?,
            Task::Run(command) => {
                // Recorded before the run: the file may be replaced meanwhile.
                let mkectl = command.effect.as_ref().map(|_| command.program.record());
                let ran = run_one(context, target, *at, command, config);
                let Completed { log } = ran.inspect_err(|_| {
                    let archives = plan.planned().iter().filter_map(|step| match &step.task {
                        Task::DescribeBackup { archive, .. } => Some(archive),
                        _ => None,
                    });
                    archives
                        .filter(|_| *at == Step::Backup)
                        .for_each(|archive| cluster::set_aside(context, archive));
                })?;
                if let (Some(effect), Some(mkectl)) = (&command.effect, mkectl) {
                    success = Some(Event::Finished {
                        step: *at,
                        what: format!("{effect}; log in {log}"),
                    });
                    applied = Some(ClusterChange {
                        mkectl,
                        log,
                        is_fully_applied: true,
                        kept: None,
                        after_upgrade: None,
                    });
                }
            }
            Task::DescribeBackup { archive, by } => describe(context, target, archive, by)?,
            Task::Compare {
                program,
                written: file,
            } => {
                let text = files::live_config(program, file.as_deref())?;
                if let Some(applied) = &mut applied {
                    let file = file.as_deref();
                    after::require_success(context, target, &text, file, &applied.log)?;
                    let spec = file.and(text.as_deref().ok()).map(after::kept_values);
                    applied.kept = spec.transpose()?;
                }
                success
                    .take()
                    .into_iter()
                    .for_each(|event| context.reporter.report(event));
                let after = after::after(context, target, text);
                if let Some(applied) = &mut applied {
                    applied.is_fully_applied = after.as_ref().is_some_and(After::has_all);
                    applied.after_upgrade = after;
                }
                file.as_deref().map_or(Ok(()), remove_if_exists)?;
            }
        }
    }
    success
        .into_iter()
        .for_each(|event| context.reporter.report(event));
    Ok(applied)
}

fn run_one(
    context: &Context<'_>,
    target: &Target<'_>,
    step: Step,
    command: &Command,
    config: &Utf8Path,
) -> Result<Completed, Error> {
    let run = Run {
        environment: target.environment,
        output: target.output,
        release: format!("v{}", command.program.release),
        name: command.name,
        step,
        results: None,
        changes: command.effect.is_some(),
        can_reset_password: command.effect.is_some() && command.program.can_reset_password(),
    };
    if !command.reads_config {
        return run.run(context, &command.command);
    }
    let resolved = resolve::file(
        context,
        target.environment,
        target.release,
        &target.output.logs,
        config,
    )?;
    let with_values = (command.command.clone()).reading(config, resolved.path());
    let ran = run.run(context, &with_values);
    resolved.remove_after(ran)
}

/// Checks the archive that the mkectl of the old release wrote before an upgrade, and writes its
/// note.
fn describe(
    context: &Context<'_>,
    target: &Target<'_>,
    archive: &Utf8Path,
    by: &Program,
) -> Result<(), Error> {
    let applied = target.applied.cloned();
    cluster::check_archive(context, archive).map_err(|problem| {
        cluster::Error::Backup(cluster::BackupFailure {
            environment: target.environment.name.clone(),
            is_before_upgrade: true,
            problem,
        })
    })?;
    let note = cluster::write_note(context, target.environment, archive, by.record(), applied)?;
    context.reporter.report(Event::Finished {
        step: Step::Backup,
        what: format!(
            "{} written, {} bytes; only mkectl v{} can restore it",
            context.workspace.shown(archive),
            note.size,
            by.release
        ),
    });
    Ok(())
}
