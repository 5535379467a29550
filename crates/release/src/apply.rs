//! Runs the release's own mkectl on the rendered configuration.

use camino::{Utf8Path, Utf8PathBuf};
use environment::{Environment, PushCredentials, Reference};

use crate::event::{Event, Reporter, Step};
use crate::plan::{MkectlPlan, Plan};
use crate::render::Written;
use crate::verify::Confirmed;
use crate::{Context, Error, rehearse, resolve};

/// The configuration was applied.
#[derive(Debug)]
pub struct Applied {
    /// The version that mkectl gave of itself.
    pub version: String,
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
    lock: &Utf8Path,
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
        rehearse::program(context.tool, variables, &environment.release, lock)
    } else if let Some(path) = &environment.mkectl {
        mkectl::Mkectl::at(path, variables).map_err(Error::Mkectl)?
    } else {
        mkectl::find("mkectl", variables).map_err(Error::Mkectl)?
    };
    let found = mkectl.version().map_err(Error::Mkectl)?;
    if found != environment.release {
        return Err(Error::MkectlVersion {
            program: mkectl.program,
            found: format!("v{found}"),
            wanted: format!("v{}", environment.release),
        });
    }
    let help = mkectl.apply_help().map_err(Error::Mkectl)?;
    Ok(Program { mkectl, help })
}

/// A mkectl of the right version, and what it says that it can do.
#[derive(Debug, Clone)]
pub struct Program {
    mkectl: mkectl::Mkectl,
    help: mkectl::Help,
}

impl Program {
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
        } => program(context, &plan.environment, &plan.lock_path).map(Some),
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
    let now = (context.tool.now)();
    let log = plan
        .output
        .logs
        .join(format!("{}-apply.log", now.strftime("%Y-%m-%dT%H-%M-%SZ")));
    std::fs::create_dir_all(&plan.output.logs)
        .map_err(|source| Error::io("make", &plan.output.logs, source))?;
    let resolved = resolve::file(context, plan, &written.path)?;
    let command = program
        .apply(resolved.path())
        .masked(resolved.secrets.iter().cloned());
    context.reporter.report(Event::Started {
        step: Step::Apply,
        what: context.workspace.shown_command(&command),
        bytes: None,
    });
    let signals = context.tool.signals.for_mkectl();
    let finished = {
        let observer = Lines(context.reporter);
        // mkectl is waited for in a blocking call: its output is read as it comes, by this one thread.
        tokio::task::block_in_place(|| mkectl::run(&command, &log, &observer, signals))
    };
    context.tool.signals.mkectl_ended();
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
    if !finished.exit.is_success() {
        return Err(Error::MkectlFailed {
            exit: finished.exit,
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
        log,
    }))
}

struct Lines<'a>(&'a dyn Reporter);

impl mkectl::Observer for Lines<'_> {
    fn event(&self, event: mkectl::Event<'_>) {
        match event {
            mkectl::Event::Line { text } => self.0.report(Event::Mkectl(text)),
            mkectl::Event::Passed { signal } => {
                let name = match signal {
                    mkectl::Signal::Interrupt => "SIGINT",
                    mkectl::Signal::Terminate => "SIGTERM",
                };
                self.0.report(Event::Warning(format!(
                    "{name} was passed on to mkectl, whose end is awaited; a second one kills it"
                )));
            }
            mkectl::Event::Killed => self
                .0
                .report(Event::Warning("mkectl was killed".to_owned())),
            mkectl::Event::Started { .. } => {}
        }
    }
}
