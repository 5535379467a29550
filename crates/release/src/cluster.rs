//! The commands for a cluster: the steps of a deploy, which [`executor`] runs, and others such as
//! backup and restore.
//!
//! A command uses the mkectl of the release that the cluster runs according to the receipt. The
//! environment may already name a later one, to which the next deploy upgrades.

use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use semver::Version;

use crate::cluster::run::{Completed, Run, require_no_running_mkectl};
use crate::config::diff::EnvironmentDiff;
use crate::config::{render, resolve};
use crate::event::{Event, Step};
use crate::receipt::{self, Receipt};
use crate::shared_state::{self, Mark, Subject};
use crate::transfer::program::{self, Program};
use crate::workspace::Output;
use crate::{Context, chain, locked, workspace};

// Deploy: the comparison with the existing cluster, the planned steps, and their execution.
pub mod existing;
pub mod apply;
pub mod upgrade;
pub mod migrate;
pub mod executor;
pub mod validate;
pub mod consent;
pub mod run;
pub mod in_progress;
pub(crate) mod admin_password;

// The commands for a cluster, in the order of the help.
mod rebuild;
mod status;
pub(crate) mod ssh_keys;
mod backup;
mod restore;
mod kubeconfig;
mod check;
mod reset;
pub mod mkectl;

// Shared by these commands.
mod unapplied;
mod note;
mod error;

pub use backup::{Backup, BackupError, BackupFailure, backup};
pub(crate) use backup::{check_archive, set_aside, write_note};
pub use check::{Checked, Outcome, check};
pub use error::Error;
pub use kubeconfig::{check_output, keep, kubeconfig};
pub use note::Note;
pub use rebuild::{Rebuilt, rebuild};
pub use reset::reset;
pub use restore::{Restorable, Restored};
pub use status::{ReportedCluster, Status, status};

/// The cluster of an environment, and the mkectl for it.
pub(crate) struct Cluster {
    /// The environment, with the release that the cluster runs.
    pub(crate) environment: Environment,
    pub(crate) output: Output,
    receipt: Option<Receipt>,
    facts: mke::Release,
    program: Program,
}

/// A command that changes the cluster, and that the shared state in the registry records as begun.
struct StartedCommand<'a> {
    /// The name of this run, for the receipt.
    run: Option<String>,
    previous_run: Option<String>,
    subject: Subject<'a>,
    mark: Mark,
}

impl StartedCommand<'_> {
    /// Records in the registry that the command ended. If mkectl did not run, the receipt still
    /// names the previous run, so the registry gets that name too.
    async fn end(
        mut self,
        context: &Context<'_>,
        concluded: &Result<Completed, crate::Error>,
    ) -> Result<(), crate::Error> {
        if let (Err(error), Some(previous)) = (concluded, self.previous_run)
            && !matches!(error, crate::Error::Run(failure) if failure.log().is_some())
        {
            self.mark.rename(previous);
        }
        shared_state::end(context, &self.subject, self.mark).await
    }
}

/// Options of a command of mkectl, as in [`Run`].
struct RunOptions<'a> {
    name: &'a str,
    changes: bool,
    results: Option<&'a Mutex<String>>,
}

impl Cluster {
    /// Returns the cluster of an environment, with the mkectl of the release that it runs according
    /// to the receipt.
    ///
    /// # Errors
    /// The environment or its receipt is not valid, or a suitable mkectl is missing.
    pub(crate) fn of(
        context: &Context<'_>,
        mut environment: Environment,
    ) -> Result<Self, crate::Error> {
        let output = Output::below(&context.workspace.environment(&environment.name));
        let receipt = Receipt::read(&output.receipt)?;
        use_running_release(context, &mut environment, receipt.as_ref());
        Self::new(context, environment, output, receipt)
    }

    /// Returns the cluster with the release and mkectl that the environment names, not those in the
    /// receipt.
    fn of_named_release(
        context: &Context<'_>,
        environment: Environment,
    ) -> Result<Self, crate::Error> {
        let output = Output::below(&context.workspace.environment(&environment.name));
        let receipt = Receipt::read(&output.receipt)?;
        require_kubeconfig(context, &environment, receipt.as_ref())?;
        Self::new(context, environment, output, receipt)
    }

    fn new(
        context: &Context<'_>,
        mut environment: Environment,
        output: Output,
        receipt: Option<Receipt>,
    ) -> Result<Self, crate::Error> {
        let facts = context.workspace.release(&environment.release)?;
        let program = program(context, &environment, receipt.as_ref())?;
        render::render(context.workspace, &mut environment, &facts)?;
        Ok(Self {
            environment,
            output,
            receipt,
            facts,
            program,
        })
    }

    /// Returns the cluster as [`Cluster::of`] does, and refuses a rehearsal, which has no cluster.
    fn real(context: &Context<'_>, environment: Environment) -> Result<Self, crate::Error> {
        refuse_a_rehearsal(&environment)?;
        let cluster = Self::of(context, environment)?;
        require_kubeconfig(context, &cluster.environment, cluster.receipt.as_ref())?;
        Ok(cluster)
    }

    pub(crate) fn mkectl(&self) -> &programs::Mkectl {
        self.program.mkectl()
    }

    /// Returns the release of its mkectl, `v4.1.5`.
    fn release(&self) -> String {
        format!("v{}", self.environment.release)
    }

    /// Returns mkectl's help of a command.
    fn help(&self, command: &[&str]) -> Result<programs::Help, crate::Error> {
        self.mkectl().help(command).map_err(crate::Error::Mkectl)
    }

    /// Returns the kind of archives that its mkectl writes and restores.
    fn archives(&self) -> Result<programs::Archives, crate::Error> {
        let archives = self.mkectl().archives()?;
        archives.ok_or_else(|| {
            self.without_backup(BackupError::Unsupported {
                release: self.release(),
            })
        })
    }

    /// Returns the error of a backup that the operator requested.
    fn without_backup(&self, problem: BackupError) -> crate::Error {
        crate::Error::Cluster(Error::Backup(BackupFailure {
            environment: self.environment.name.clone(),
            is_before_upgrade: false,
            problem,
        }))
    }

    /// Writes a temporary file with the rendered configuration, in which references are replaced by
    /// their values.
    fn config(&self, context: &Context<'_>) -> Result<resolve::Resolved, crate::Error> {
        resolve::temporary(context, &self.environment, &self.facts, &self.output.logs)
    }

    /// Returns its machines according to the rendered configuration.
    pub(crate) fn machines(
        &self,
        context: &Context<'_>,
    ) -> Result<Vec<mke::Machine>, crate::Error> {
        let config = self.config(context)?;
        let text = files::read_text(config.path())
            .map_err(|source| crate::Error::read(config.path(), source));
        let text = config.remove_after(text)?;
        mke::machines(&text)
            .map_err(|source| crate::Error::Workspace(workspace::Error::Hosts { source }))
    }

    /// Returns the folder of its backups.
    fn backups(&self) -> &Utf8Path {
        let named = self.environment.operation.backups.as_ref();
        named.unwrap_or(&self.output.backups)
    }

    /// Runs a command of mkectl that reads the configuration's file. The file is removed
    /// afterwards. See [`Run`] for `name` and `changes`.
    pub(crate) fn run(
        &self,
        context: &Context<'_>,
        name: &str,
        changes: bool,
        command: impl FnOnce(&Utf8Path) -> programs::Command,
    ) -> Result<Completed, crate::Error> {
        let options = RunOptions {
            name,
            changes,
            results: None,
        };
        self.run_with(context, &options, command)
    }

    fn run_with(
        &self,
        context: &Context<'_>,
        options: &RunOptions<'_>,
        command: impl FnOnce(&Utf8Path) -> programs::Command,
    ) -> Result<Completed, crate::Error> {
        require_no_running_mkectl(context, &self.output)?;
        let config = self.config(context)?;
        // A backup of a different cluster would be recorded as one of this cluster.
        if options.changes || options.name == "backup" {
            let text = files::read_text(config.path())
                .map_err(|source| crate::Error::read(config.path(), source))?;
            existing::refuse_other(context, &self.environment, &self.program, &text)?;
        }
        let command = command(config.path());
        let run = Run {
            environment: &self.environment,
            output: &self.output,
            release: self.release(),
            name: options.name,
            step: Step::Cluster,
            results: options.results,
            changes: options.changes,
            can_reset_password: false,
        };
        let ran = run.run(context, &command);
        config.remove_after(ran)
    }

    /// Compares the shared state in the registry with the receipt, and records there that a command
    /// begins to change the cluster.
    ///
    /// # Errors
    /// Unless `take_over`: a command from elsewhere is changing the cluster, or has changed it and
    /// this checkout lacks its receipt.
    async fn begin<'a>(
        &'a self,
        context: &Context<'_>,
        take_over: bool,
    ) -> Result<StartedCommand<'a>, crate::Error> {
        let receipt = self.receipt.as_ref();
        let standing = shared_state::read(context, &self.environment, &self.output, receipt).await;
        if let Some(warning) = &standing.warning {
            context.reporter.report(Event::Warning(warning.clone()));
        }
        standing.allow(take_over)?;
        let subject = Subject {
            environment: &self.environment,
            output: &self.output,
            release: self.release(),
            lock: locked::read(context.workspace, &self.environment.release)?.digest,
        };
        let mark = shared_state::begin(context, &subject, &standing).await?;
        let previous_run = standing.run().map(str::to_owned);
        let previous_run = previous_run.or_else(|| self.receipt.as_ref()?.run.clone());
        Ok(StartedCommand {
            run: mark.run().or_else(|| previous_run.clone()),
            previous_run,
            subject,
            mark,
        })
    }

    /// Writes the receipt of a command that changes the cluster, and removes the note that mkectl
    /// is running. After a success, the receipt records `applied`. Nothing is written if mkectl did
    /// not run.
    fn conclude(
        &self,
        context: &Context<'_>,
        run: Option<String>,
        applied: Option<receipt::Applied>,
        outcome: Result<Completed, crate::Error>,
    ) -> Result<Completed, crate::Error> {
        let (log, applied, failed) = match &outcome {
            Ok(Completed { log }) => (log, applied, None),
            Err(error @ crate::Error::Run(failure)) => {
                let Some(log) = failure.log() else {
                    return outcome;
                };
                let before = self.receipt.as_ref();
                let failed = receipt::Failed {
                    release: self.release(),
                    registry: None,
                    lock: None,
                    sets: std::collections::BTreeMap::new(),
                    config: None,
                    plan: None,
                    step: Step::Cluster.to_string(),
                    error: chain(error),
                    mkectl_exit_code: failure.exit_code(),
                    pushed: None,
                    began: None,
                    ended: receipt::now(context),
                    by: receipt::Provenance::of(context, &self.environment),
                    overridden: None,
                    without_backup: None,
                };
                let applied = before.and_then(|before| before.applied.clone());
                (log, applied, Some(failed))
            }
            // mkectl did not run.
            Err(_) => return outcome,
        };
        let receipt = Receipt {
            version: Receipt::VERSION,
            run,
            applied,
            failed,
        };
        receipt.write(&self.output.receipt)?;
        in_progress::remove(&self.output, log)?;
        outcome
    }
}

/// Sets the release of an environment to the one that its cluster runs according to the receipt,
/// and warns if they differ.
fn use_running_release(
    context: &Context<'_>,
    environment: &mut Environment,
    receipt: Option<&Receipt>,
) {
    if let Some(running) = running(receipt)
        && running != environment.release
    {
        context.reporter.report(Event::Warning(format!(
            "according to its receipt, the cluster of {} runs v{running}, but the environment requires v{}: using mkectl v{running}",
            environment.name, environment.release
        )));
        environment.release = running;
        // That mkectl is of the release that the environment names.
        environment.mkectl = None;
    }
}

/// Checks that the kubeconfig of a deployed cluster exists, if one is named. Without it, mkectl
/// would use its default kubeconfig, which may lead to a different cluster.
fn require_kubeconfig(
    context: &Context<'_>,
    environment: &Environment,
    receipt: Option<&Receipt>,
) -> Result<(), crate::Error> {
    match running(receipt) {
        Some(_) => crate::kubeconfig::require(context, environment),
        None => Ok(()),
    }
}

/// Returns the mkectl of the release that an environment names. If the cluster runs this release,
/// the same binary is used as in its deploy, according to the receipt.
fn program(
    context: &Context<'_>,
    environment: &Environment,
    receipt: Option<&Receipt>,
) -> Result<Program, crate::Error> {
    let locked = locked::read(context.workspace, &environment.release)?;
    let applied = receipt.and_then(|receipt| receipt.applied.as_ref());
    if let (None, Some(applied)) = (&environment.mkectl, applied)
        && running(receipt).as_ref() == Some(&environment.release)
    {
        let sha256 = applied.mkectl.sha256.as_deref();
        let release = &environment.release;
        if let Some(program) = program::of_release(context, environment, release, sha256)? {
            return Ok(program);
        }
    }
    program::for_apply(context, environment, &locked.lock, &locked.path)
}

/// Compares the live configuration of a cluster, from `mkectl config get`, with the rendered one.
///
/// # Errors
/// - The environment is not valid, or is a rehearsal.
/// - A suitable mkectl is missing.
/// - The cluster does not answer, or is a different one.
pub fn differences(context: &Context<'_>, name: &str) -> Result<EnvironmentDiff, crate::Error> {
    let workspace = context.workspace;
    let mut environment = workspace.load(name)?;
    refuse_a_rehearsal(&environment)?;
    let text = crate::config::check::rendered(workspace, &mut environment)?.text;
    let live = live(context, &environment)?;
    let path = workspace.environment(name).join("mke4.yaml");
    let live = existing::parse(Utf8Path::new("mkectl config get"), &live)?;
    existing::refuse_foreign(context, &environment, &mke::ClusterConfig::of(&live), &text)?;
    let changes = mke::compare(&live, &existing::parse(workspace.shown(&path), &text)?);
    Ok(EnvironmentDiff {
        old: format!("the cluster of {name}"),
        new: "what is rendered".to_owned(),
        changes,
    })
}

/// Returns the live configuration of a cluster, from the mkectl of the release that it runs.
///
/// # Errors
/// A suitable mkectl is missing, or the cluster does not answer.
fn live(context: &Context<'_>, environment: &Environment) -> Result<String, crate::Error> {
    let output = Output::below(&context.workspace.environment(&environment.name));
    let receipt = Receipt::read(&output.receipt)?;
    let mut environment = environment.clone();
    use_running_release(context, &mut environment, receipt.as_ref());
    require_kubeconfig(context, &environment, receipt.as_ref())?;
    program(context, &environment, receipt.as_ref())?.config_get()
}

/// Refuses a protected environment, before its cluster is removed.
///
/// # Errors
/// [`Error::Protected`] if the environment is protected.
pub fn refuse_protected(environment: &Environment) -> Result<(), crate::Error> {
    match environment.protected {
        true => Err(Error::Protected {
            environment: environment.name.clone(),
        }
        .into()),
        false => Ok(()),
    }
}

/// Refuses a rehearsal, which has no cluster.
///
/// # Errors
/// [`program::Error::NoCluster`] if the environment is a rehearsal.
pub fn refuse_a_rehearsal(environment: &Environment) -> Result<(), crate::Error> {
    match environment.rehearsal {
        true => Err(program::Error::NoCluster {
            environment: environment.name.clone(),
        }
        .into()),
        false => Ok(()),
    }
}

/// Returns the release that the cluster runs according to the receipt.
fn running(receipt: Option<&Receipt>) -> Option<Version> {
    let applied = receipt?.applied.as_ref()?;
    Version::parse(applied.release.strip_prefix('v')?).ok()
}

/// The result of a command that only has a log.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Logged {
    /// The environment's name.
    pub environment: String,
    /// The log of mkectl's output, relative to the workspace.
    pub log: Utf8PathBuf,
}
