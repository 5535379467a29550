//! Tasks of a team's own: the same options, masking, output formats and exit codes as the commands
//! of Airlock.

use std::process::ExitCode;

use clap::ArgMatches;
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use crate::ui::Ui;

/// A task that a team adds to the command line.
pub trait Task: Sync {
    /// Returns its name, its help and its arguments.
    fn command(&self) -> clap::Command;

    /// Runs it.
    ///
    /// # Errors
    /// Any error. It is shown with its causes. One of `release` has the exit code and the hints
    /// that it has in a command; any other ends with 1.
    fn run(
        &self,
        context: &release::Context<'_>,
        output: &Output<'_>,
        arguments: &ArgMatches,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Where a task writes. Secrets that are known to the run are masked, control characters are
/// escaped.
pub struct Output<'a>(&'a Ui);

impl Output<'_> {
    /// Writes a result to standard output: `text` for people, `value` with `--format json`.
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

    /// Writes a message to standard error, for people.
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
