//! Executes the steps that a deploy has planned for a cluster.
//!
//! Apply, upgrade and migrate differ only in the steps that they plan: see
//! [`crate::cluster::apply`], [`crate::cluster::upgrade`] and [`crate::cluster::migrate`]. `plan`
//! prints these steps and `deploy` runs them; nothing is computed in between.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use semver::Version;

use crate::cluster::run::{self, Ran, Run};
use crate::cluster::{consent, validate};
use crate::config::render::{Config, Written};
use crate::config::resolve;
use crate::event::{Event, Step};
use crate::transfer::program::{self, Program};
use crate::verify::Confirmed;
use crate::workspace::Output;
use crate::{Context, Error, cluster, receipt};

mod after;
mod files;

pub use after::After;

/// What mkectl is run for, and how.
///
/// A plan can be made without a fitting mkectl, or without what an upgrade needs besides. Then
/// there are no steps, and `deploy` is refused.
#[derive(Debug)]
pub struct ClusterPlan {
    /// What it comes to.
    pub action: Action,
    /// The release that the cluster runs, if it is upgraded.
    pub from: Option<Version>,
    /// Why mkectl is run.
    pub reason: Option<&'static str>,
    /// The operator's reason for an upgrade without a backup that could be restored.
    pub without_backup: Option<String>,
    /// What is done, in order, or what is missing for it.
    pub(crate) steps: Result<Vec<ClusterStep>, Error>,
}

/// What a deploy comes to for a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The cluster has this configuration already.
    None,
    /// The configuration is applied: to a new cluster, or to one of the same release.
    Apply,
    /// The cluster is upgraded.
    Upgrade,
    /// An MKE 3 cluster is upgraded.
    Migrate,
}

/// One thing that is done to a cluster, or for that.
#[derive(Debug, Clone)]
pub(crate) struct ClusterStep {
    /// What the receipt calls it if it fails.
    pub(crate) step: Step,
    pub(crate) task: Task,
}

/// What is done.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// Puts the release matrix of the bundle at the path that mkectl is given.
    PutMatrix {
        path: Utf8PathBuf,
        file: bundle::LockedFile,
    },
    /// Keeps the configuration that the cluster has: the commands are given it, and a restore needs
    /// it.
    KeepConfig {
        program: Box<Program>,
        path: Utf8PathBuf,
    },
    /// Writes the file of hosts for an upgrade from MKE 3.
    WriteHosts {
        path: Utf8PathBuf,
        private_addresses: bool,
    },
    /// Removes a file that an earlier run may have left, and makes its folder one that only its
    /// owner can read: mkectl writes secrets there.
    MakeRoom(Utf8PathBuf),
    /// Runs mkectl.
    Run(Box<Command>),
    /// Checks the archive that a backup left, and writes its note.
    DescribeBackup {
        archive: Utf8PathBuf,
        by: Box<Program>,
    },
    /// Compares the configuration that the cluster has now with what is rendered. It is in
    /// `written`, if mkectl wrote it there.
    Compare {
        program: Box<Program>,
        written: Option<Utf8PathBuf>,
    },
}

/// One command of mkectl.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) program: Program,
    /// What it is, as the log's name and the note say it.
    pub(crate) name: &'static str,
    pub(crate) command: programs::Command,
    /// Whether it reads the rendered configuration. Then it gets a file in which references have
    /// their values.
    pub(crate) reads_config: bool,
    /// Whether it is printed with the plan.
    pub(crate) is_printed: bool,
    /// What it makes of the cluster, for the report; none if it leaves the cluster as it is.
    pub(crate) effect: Option<String>,
}

/// What mkectl did to the cluster.
#[derive(Debug)]
pub struct ClusterChange {
    /// mkectl, as it was before it ran.
    pub mkectl: receipt::RecordedProgram,
    /// Where everything that it printed is kept.
    pub log: Utf8PathBuf,
    /// Whether the cluster has everything now that the rendered configuration says. An upgrade
    /// takes no configuration.
    pub config_is_there: bool,
    /// The values that the cluster keeps for its life, if mkectl chose them in a migration.
    pub kept: Option<BTreeMap<String, String>>,
    /// What the upgrade changed in the cluster's configuration, against what is rendered; none if
    /// nothing was upgraded.
    pub after_upgrade: Option<After>,
}

/// The cluster, and what it is to become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) release: &'a mke::Release,
    pub(crate) lock: &'a bundle::Lock,
    /// The configuration as it is rendered.
    pub(crate) config: &'a Config,
    pub(crate) output: &'a Output,
    /// What the receipt records of the cluster.
    pub(crate) applied: Option<&'a receipt::Applied>,
}

impl Action {
    /// Returns its name, as plans print it.
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
    /// Returns the plan that runs nothing.
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

    /// Returns whether a cluster is upgraded, from MKE 3 or a release of MKE 4.
    pub fn is_upgrade(&self) -> bool {
        matches!(self.action, Action::Upgrade | Action::Migrate)
    }

    /// Returns what is missing, so deploy would refuse.
    pub(crate) fn problem(&self) -> Option<&Error> {
        self.steps.as_ref().err()
    }

    /// Returns what is done, in order; nothing if something is missing for it.
    fn planned(&self) -> &[ClusterStep] {
        self.steps.as_deref().unwrap_or_default()
    }

    fn commands(&self) -> impl Iterator<Item = &Command> {
        self.planned().iter().filter_map(|step| match &step.task {
            Task::Run(command) => Some(&**command),
            _ => None,
        })
    }

    /// Returns each command that is printed, in order, with the step that it is.
    pub(crate) fn printed(&self) -> impl Iterator<Item = (Step, programs::Command)> {
        self.planned().iter().filter_map(|step| match &step.task {
            Task::Run(command) if command.is_printed => Some((step.step, command.command.clone())),
            // Where mkectl writes the configuration, the cluster may not be asked.
            Task::Compare {
                program,
                written: None,
            } => Some((Step::Confirm, program.mkectl.config_get_command())),
            _ => None,
        })
    }

    /// Returns the programs that are run, each once, in order.
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

    /// Returns the mkectl of the release that is wanted, if it is run on a cluster of MKE 4.
    pub(crate) fn program(&self) -> Option<&Program> {
        let changing = self.commands().find(|command| command.effect.is_some());
        changing
            .filter(|_| self.action != Action::Migrate)
            .map(|command| &command.program)
    }
}

/// Checks that the steps can be done: asked before anything is pushed, and not an hour later.
///
/// # Errors
/// A different mkectl is at work, a reference in the configuration has no value, mkectl refuses the
/// configuration, or a secret may not be visible.
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
    run::refuse_a_second_one(context, output)?;
    // The values that the references have are secrets from now on.
    resolve::check(context, environment, release)?;
    if let Some(command) = plan.commands().find(|command| command.reads_config) {
        validate::check(context, environment, release, &command.program, output)?;
    }
    for command in plan.commands() {
        consent::ask(context, &command.command)?;
    }
    Ok(())
}

/// Does what is planned for the cluster.
///
/// `confirmed` is the proof that nodes get every artifact: without it mkectl would fail half-way.
/// `step` is what a receipt calls the step that fails.
///
/// # Errors
/// A proof is of a different lock, environment or configuration. Or the first step that failed:
/// then the cluster is, as far as mkectl could restore it, what it was.
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
    // Reported when what the cluster says was compared with it.
    let mut success = None;
    for ClusterStep { step: at, task } in plan.planned() {
        *step = *at;
        match task {
            Task::PutMatrix { path, file } => {
                files::put_matrix(context, target, path, file).await?;
            }
            Task::KeepConfig { program, path } => files::keep_config(target, program, path)?,
            Task::WriteHosts {
                path,
                private_addresses,
            } => files::write_hosts(context, target, path, *private_addresses)?,
            Task::MakeRoom(path) => files::make_room(path)?,
            Task::Run(command) => {
                // As it is before it runs.
                let mkectl = command.effect.as_ref().map(|_| command.program.record());
                let ran = run_one(context, target, *at, command, config);
                let Ran { log } = ran.inspect_err(|_| {
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
                        config_is_there: true,
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
                    applied.config_is_there = after.as_ref().is_some_and(After::has_all);
                    applied.after_upgrade = after;
                }
                file.as_deref().map_or(Ok(()), files::remove)?;
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
) -> Result<Ran, Error> {
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

/// Checks the archive that the mkectl of the release before has written, and writes its note.
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
    let note = cluster::describe(context, target.environment, archive, by.record(), applied)?;
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
