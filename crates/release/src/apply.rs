//! Runs the release's own mkectl on the rendered configuration.

use camino::{Utf8Path, Utf8PathBuf};
use environment::{Environment, PushCredentials, Reference};

use crate::admin_password::Keeper;
use crate::event::{Event, Step};
use crate::plan::{MkectlPlan, Plan};
use crate::render::Written;
use crate::under_way::{self, UnderWay};
use crate::verify::Confirmed;
use crate::workspace::Output;
use crate::{Context, Error, rehearse, resolve};

/// The configuration was applied.
#[derive(Debug)]
pub struct Applied {
    /// The version that mkectl gave of itself.
    pub version: String,
    /// SHA-256 of its file, as it was before it ran; none for a rehearsal's stand-in.
    pub sha256: Option<String>,
    /// Where everything that it printed is kept.
    pub log: Utf8PathBuf,
}

/// Returns the mkectl that an environment is to use, after asking it for its version.
///
/// # Errors
/// There is none, it cannot be run, or it is not the release's own: each mkectl serves one release only
/// (CLI-INST).
pub(crate) fn program(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    lock_path: &Utf8Path,
) -> Result<Program, Error> {
    let mut variables = context.tool.variables.clone();
    if let Some(PushCredentials::Environment(prefix)) = &environment.registry.push_credentials {
        // mkectl has no use for what may push.
        variables.remove(&format!("{prefix}_USERNAME"));
        variables.remove(&format!("{prefix}_PASSWORD"));
    }
    for reference in environment::references(&environment.config) {
        if let Reference::Variable(name) = reference {
            // It gets the value in its file.
            variables.remove(&name);
        }
    }
    let mkectl = if environment.rehearsal {
        rehearse::program(context.tool, variables, &environment.release, lock_path)
    } else {
        crate::program::find(context, environment, lock, variables)?
    };
    let found = mkectl.version().map_err(Error::Mkectl)?;
    if found != environment.release {
        return Err(Error::MkectlVersion {
            program: mkectl.program,
            found: format!("v{found}"),
            wanted: format!("v{}", environment.release),
        });
    }
    let help = mkectl.help(&["apply"]).map_err(Error::Mkectl)?;
    Ok(Program { mkectl, help })
}

/// A mkectl of the right version, and what it says that it can do.
#[derive(Debug, Clone)]
pub struct Program {
    mkectl: mkectl::Mkectl,
    help: mkectl::Help,
}

impl Program {
    /// Returns the configuration that the cluster has, as YAML.
    pub(crate) fn config_get(&self) -> Result<String, Error> {
        self.mkectl.config_get().map_err(Error::Mkectl)
    }

    /// Returns the command that applies a configuration.
    pub(crate) fn apply(&self, config: &Utf8Path) -> mkectl::Command {
        self.mkectl.apply(config, &self.help)
    }
}

/// Returns the mkectl that the plan will run, if it runs one.
///
/// # Errors
/// It is to be run, and there is none that would do. Asked before anything is pushed.
pub(crate) fn require(context: &Context<'_>, plan: &Plan) -> Result<Option<Program>, Error> {
    if !matches!(plan.mkectl, MkectlPlan::NotNeeded) {
        refuse_a_second_one(context, plan)?;
        resolve::check(context, plan)?;
    }
    match &plan.mkectl {
        MkectlPlan::NotNeeded => Ok(None),
        MkectlPlan::Run {
            program: Ok(program),
            ..
        } => Ok(Some(program.clone())),
        // The plan only shows the error; looking again is how it comes to be returned.
        MkectlPlan::Run {
            program: Err(_), ..
        } => program(context, &plan.environment, &plan.lock, &plan.lock_path).map(Some),
    }
}

/// Refuses to begin while a mkectl that an earlier run started is at work.
fn refuse_a_second_one(context: &Context<'_>, plan: &Plan) -> Result<(), Error> {
    let Some(earlier) = UnderWay::read(&plan.output)? else {
        return Ok(());
    };
    match earlier.process {
        Some(process) if earlier.is_running() => Err(Error::MkectlRunning {
            release: earlier.release,
            process,
            log: earlier.log,
            note: context
                .workspace
                .shown(&under_way::path(&plan.output))
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Applies the configuration, if the plan says so.
///
/// `confirmed` is the proof that nodes get every artifact: without it mkectl would fail half-way.
///
/// # Errors
/// mkectl is missing or the wrong one, or it ran and failed.
pub async fn apply(
    context: &Context<'_>,
    plan: &Plan,
    _confirmed: &Confirmed,
    written: &Written,
) -> Result<Option<Applied>, Error> {
    let Some(program) = require(context, plan)? else {
        return Ok(None);
    };
    let sha256 = program.mkectl.sha256();
    let limit = plan.environment.operation.apply_timeout;
    let now = (context.tool.now)();
    let stamp = now.strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
    let log = plan.output.logs.join(format!("{stamp}-apply.log"));
    std::fs::create_dir_all(&plan.output.logs)
        .map_err(|source| Error::io("make", &plan.output.logs, source))?;
    let resolved = resolve::file(context, plan, &written.path)?;
    let command = program
        .apply(resolved.path())
        .within(limit)
        .masked(resolved.secrets.iter().cloned());
    context.reporter.report(Event::Started {
        step: Step::Apply,
        what: context.workspace.shown_command(&command),
        bytes: None,
    });
    let signals = context.tool.signals.for_mkectl();
    let note = UnderWay {
        release: format!("v{}", plan.environment.release),
        log: context.workspace.shown(&log).to_owned(),
        began: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        process: None,
    };
    note.write(&plan.output)?;
    let keeper = Keeper::new(
        plan.environment.operation.admin_password.as_ref(),
        &plan.output.admin_password,
        &stamp,
    );
    let finished = {
        let observer = Lines {
            context,
            keeper: &keeper,
            note: &note,
            output: &plan.output,
        };
        // mkectl is waited for in a blocking call: its output is read as it comes, by this one thread.
        tokio::task::block_in_place(|| mkectl::run(&command, &log, &observer, signals))
    };
    context.tool.signals.mkectl_ended();
    tokio::task::block_in_place(|| keeper.hand_over(context));
    resolved.remove()?;
    let finished = finished.map_err(Error::Mkectl)?;
    let log = context.workspace.shown(&log).to_owned();
    if let Some(failure) = finished.log_failure {
        context
            .reporter
            .report(Event::Warning(format!("{log} is incomplete: {failure}")));
    }
    if finished.signal.is_some() {
        return Err(Error::MkectlInterrupted {
            exit: finished.exit,
            log,
        });
    }
    // Where its time was up, it had to leave something undone, whatever it says.
    if !finished.exit.is_success() || finished.timed_out {
        return Err(Error::MkectlFailed {
            exit: finished.exit,
            limit: limit.filter(|_| finished.timed_out),
            log,
            last_lines: finished.last_lines,
        });
    }
    context.reporter.report(Event::Finished {
        step: Step::Apply,
        what: format!("applied; log in {log}"),
    });
    Ok(Some(Applied {
        version: format!("v{}", plan.environment.release),
        sha256,
        log,
    }))
}

struct Lines<'a> {
    context: &'a Context<'a>,
    keeper: &'a Keeper<'a>,
    note: &'a UnderWay,
    output: &'a Output,
}

impl Lines<'_> {
    fn warn(&self, text: impl Into<String>) {
        self.context.reporter.report(Event::Warning(text.into()));
    }
}

impl mkectl::Observer for Lines<'_> {
    fn event(&self, event: mkectl::Event<'_>) {
        match event {
            mkectl::Event::Line { text } => self.context.reporter.report(Event::Mkectl(text)),
            mkectl::Event::AdminPassword(caught) => self.keeper.keep(caught),
            mkectl::Event::PasswordMissed => self.warn(
                "mkectl announced the administrator's password in a form that is not known, so that it was not caught: look into the log",
            ),
            mkectl::Event::TimedOut => self.warn(format!(
                "the environment's apply-timeout has passed: SIGINT was sent to mkectl, which has {} s to end",
                mkectl::CLEANUP.as_secs()
            )),
            mkectl::Event::Passed { signal } => {
                let name = match signal {
                    mkectl::Signal::Interrupt => "SIGINT",
                    mkectl::Signal::Terminate => "SIGTERM",
                };
                self.warn(format!(
                    "{name} was passed on to mkectl, whose end is awaited; a second one kills it"
                ));
            }
            mkectl::Event::Killed => self.warn("mkectl was killed"),
            mkectl::Event::Started { process } => {
                let note = UnderWay {
                    process: Some(process),
                    ..self.note.clone()
                };
                if let Err(error) = note.write(self.output) {
                    self.warn(crate::chain(&error));
                }
            }
        }
    }

    fn stamp(&self) -> String {
        (self.context.tool.now)()
            .strftime("%Y-%m-%dT%H:%M:%SZ ")
            .to_string()
    }
}
