//! Runs the release's own mkectl on the rendered configuration.

use camino::{Utf8Path, Utf8PathBuf};
use environment::{Environment, PushCredentials, Reference};

use crate::event::{Event, Step};
use crate::plan::{MkectlPlan, Plan};
use crate::render::Written;
use crate::run::{self, Run};
use crate::verify::Confirmed;
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
    /// Returns the program itself, for commands other than `apply`.
    pub(crate) fn mkectl(&self) -> &mkectl::Mkectl {
        &self.mkectl
    }

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
        run::refuse_a_second_one(context, &plan.output)?;
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
    let resolved = resolve::file(context, plan, &written.path)?;
    let command = program
        .apply(resolved.path())
        .within(limit)
        .masked(resolved.secrets.iter().cloned());
    let run = Run {
        environment: &plan.environment,
        output: &plan.output,
        release: format!("v{}", plan.environment.release),
        name: "apply",
        step: Step::Apply,
        changes: true,
    };
    let ran = run.run(context, &command);
    resolved.remove()?;
    let log = ran?.log;
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
