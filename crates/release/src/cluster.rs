//! The rest of a cluster's life, after it was deployed: each command with the mkectl, the configuration and the masking that its
//! environment wants, and nothing more than mkectl itself does.
//!
//! The mkectl is that of the release which the cluster runs, by the receipt. An environment that names a later release already is
//! about to be upgraded, and a backup before that is taken by the program that is there.

use camino::Utf8PathBuf;
use environment::Environment;
use semver::Version;

use crate::apply::Program;
use crate::event::{Event, Step};
use crate::receipt::Receipt;
use crate::run::{Ran, Run, refuse_a_second_one};
use crate::workspace::Output;
use crate::{Context, Error, fetch, render, resolve};

/// The cluster of an environment, and the program that it is spoken to with.
pub(crate) struct Cluster {
    /// The environment, as it is for the release that the cluster runs.
    pub(crate) environment: Environment,
    facts: mke::Release,
    program: Program,
    pub(crate) output: Output,
}

impl Cluster {
    /// Finds out which release the cluster of an environment runs, and the mkectl for it.
    ///
    /// # Errors
    /// The environment is wrong, its receipt cannot be read, or there is no fitting mkectl.
    pub(crate) fn of(context: &Context<'_>, mut environment: Environment) -> Result<Self, Error> {
        let output = Output::below(&context.workspace.environment(&environment.name));
        let receipt = Receipt::read(&output.receipt)?;
        if let Some(running) = running(receipt.as_ref())
            && running != environment.release
        {
            context.reporter.report(Event::Warning(format!(
                "the cluster of {} runs v{running}, by its receipt, and the environment says v{}: mkectl v{running} is taken",
                environment.name, environment.release
            )));
            environment.release = running;
            // What it names is for the release that it names.
            environment.mkectl = None;
        }
        let facts = mke::Release::of(&environment.release).map_err(Error::Release)?;
        let locked = fetch::locked(context.workspace, &environment.release)?;
        let program = crate::apply::program(context, &environment, &locked.lock, &locked.path)?;
        render::render(context.workspace, &mut environment, &facts)?;
        Ok(Self {
            environment,
            facts,
            program,
            output,
        })
    }

    pub(crate) fn mkectl(&self) -> &mkectl::Mkectl {
        self.program.mkectl()
    }

    /// Returns a file with the configuration, for mkectl alone.
    fn config(&self, context: &Context<'_>) -> Result<resolve::Resolved, Error> {
        resolve::temporary(context, &self.environment, &self.facts, &self.output.logs)
    }

    /// Runs a command that this makes of the configuration's file, which is gone after.
    pub(crate) fn run(
        &self,
        context: &Context<'_>,
        name: &str,
        changes: bool,
        command: impl FnOnce(&camino::Utf8Path) -> mkectl::Command,
    ) -> Result<Ran, Error> {
        refuse_a_second_one(context, &self.output)?;
        let config = self.config(context)?;
        let command = command(config.path()).masked(config.secrets.iter().cloned());
        let run = Run {
            environment: &self.environment,
            output: &self.output,
            release: format!("v{}", self.environment.release),
            name,
            step: Step::Cluster,
            changes,
        };
        let ran = run.run(context, &command);
        config.remove()?;
        ran
    }
}

/// Returns the release that the receipt says is running.
fn running(receipt: Option<&Receipt>) -> Option<Version> {
    let applied = receipt?.applied.as_ref()?;
    Version::parse(applied.release.strip_prefix('v')?).ok()
}

/// Where everything that a command printed is kept.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Logged {
    /// The environment.
    pub environment: String,
    /// The log, relative to the workspace.
    pub log: Utf8PathBuf,
}
