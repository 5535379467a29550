//! A team's own tasks. They have the options, masking, output formats and exit codes of Airlock's
//! commands.

use std::process::ExitCode;

use clap::ArgMatches;
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use crate::ui::Ui;

/// A task that a team adds to the command line.
pub trait Task: Sync {
    /// Returns the name, the help and the arguments.
    fn command(&self) -> clap::Command;

    /// Runs the task.
    ///
    /// # Errors
    /// Any error, which is shown with its causes. A [`release::Error`] keeps its exit code and
    /// hints; any other error exits with code 1.
    fn run(
        &self,
        context: &release::Context<'_>,
        output: &Output<'_>,
        arguments: &ArgMatches,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// The output of a task. Secrets that this run has read are masked, and control characters escaped.
pub struct Output<'a>(&'a Ui);

impl Output<'_> {
    /// Writes the result to standard output: `value` with `--format json`, else `text`.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn result(
        &self,
        text: &str,
        value: &impl Serialize,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.result(text, value)?)
    }

    /// Writes a message to standard error, except with `--format json`.
    pub fn note(&self, text: &str) {
        self.0.note(text);
    }
}

pub(crate) fn run(
    app: &App<'_>,
    task: &dyn Task,
    arguments: &ArgMatches,
) -> Result<ExitCode, Failure> {
    let ran = task.run(&app.context(), &Output(app.ui), arguments);
    ran.map_err(|source| match source.downcast::<release::Error>() {
        Ok(error) => Failure::from(*error),
        Err(source) => Failure::Team {
            task: task.command().get_name().to_owned(),
            source,
        },
    })?;
    Ok(ExitCode::SUCCESS)
}
