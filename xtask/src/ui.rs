//! The user interface: progress and messages on standard error, results on standard output.

// The two output formats.
mod human;
pub(crate) mod json;

// Texts of plans, problems, findings and tables.
mod plan;
mod problems;
mod findings;
mod table;

// Rates, widths, wrapping and writing.
mod speed;
mod narrow;
mod fold;
pub(crate) mod edge;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use release::event::{Event, Reporter};
use serde::Serialize;

use crate::failure::Failure;

pub(crate) use fold::Columns;
pub(crate) use human::{first_names, lock_changes};
pub(crate) use plan::{Detail, coloured};
pub use table::table;

/// Output format of results and progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // Without doc comments, because the help of `--format` lists them in its one line.
    Human,
    Json,
    // For `inspect` only.
    #[value(hide = true)]
    Cyclonedx,
}

/// Shows progress, messages and results in one format. Clones share their state.
#[derive(Clone)]
pub(crate) struct Ui(Arc<Form>);

enum Form {
    Human(human::Human),
    Json(json::Json),
}

impl Ui {
    pub(crate) fn new(format: Format) -> Self {
        Self(Arc::new(match format {
            Format::Human | Format::Cyclonedx => Form::Human(human::Human::new()),
            Format::Json => Form::Json(json::Json),
        }))
    }

    /// Writes a result: `value` with `--format json`, else `text`, wrapped to the terminal.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(crate) fn result(&self, text: &str, value: &impl Serialize) -> Result<(), Failure> {
        self.write(edge::out, text, value)
    }

    /// Writes a result whose text is a document, such as YAML or Markdown. Its lines are not
    /// wrapped.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(crate) fn document(&self, text: &str, value: &impl Serialize) -> Result<(), Failure> {
        self.write(edge::document, text, value)
    }

    fn write(
        &self,
        out: fn(&str) -> io::Result<()>,
        text: &str,
        value: &impl Serialize,
    ) -> Result<(), Failure> {
        match &*self.0 {
            Form::Human(human) => {
                human.clear();
                human.take_write_error().and_then(|()| out(text))
            }
            Form::Json(_) => edge::json(json::object("result", value)),
        }
        .map_err(Failure::Output)
    }

    /// Writes a result that is itself a secret and that the operator requested, such as a
    /// kubeconfig.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(crate) fn reveal(&self, text: &str, value: &impl Serialize) -> Result<(), Failure> {
        match &*self.0 {
            Form::Human(human) => {
                human.clear();
                edge::reveal(text)
            }
            Form::Json(_) => edge::reveal_json(&json::object("result", value)),
        }
        .map_err(Failure::Output)
    }

    /// Returns whether the format is human.
    pub(crate) fn is_human(&self) -> bool {
        matches!(&*self.0, Form::Human(_))
    }

    /// Returns whether messages go to a terminal that supports control sequences.
    pub(crate) fn draws(&self) -> bool {
        matches!(&*self.0, Form::Human(human) if human.draws())
    }

    /// Shows a message in the human format. In JSON, the result has the information.
    pub(crate) fn note(&self, text: &str) {
        if let Form::Human(human) = &*self.0 {
            human.print(text);
        }
    }

    /// Writes a line of the log for diagnosis to standard error.
    pub(crate) fn log(&self, line: &str) {
        let line = edge::message(line);
        match &*self.0 {
            Form::Human(human) => human.print(&line),
            Form::Json(_) => edge::err(&format!("{line}\n")),
        }
    }

    /// Shows the findings of a verification before they are repaired. In JSON, the result has them.
    pub(crate) fn findings(&self, found: &[release::verify::Finding]) {
        self.note(findings::lines(found).trim_end());
    }

    /// Shows a plan before its execution.
    pub(crate) fn plan(&self, summary: &release::plan::Summary) {
        match &*self.0 {
            Form::Human(human) => human.print(plan::text(summary, Detail::Short).trim_end()),
            Form::Json(json) => json.emit("plan", summary),
        }
    }

    /// Returns the text of a plan.
    pub(crate) fn plan_text(summary: &release::plan::Summary, detail: Detail) -> String {
        plan::text(summary, detail)
    }

    /// Shows a failure and returns its exit code.
    pub(crate) fn failure(&self, failure: &Failure) -> ExitCode {
        let code = failure.exit_code();
        match &*self.0 {
            Form::Human(human) => human.failure(failure),
            Form::Json(json) => json.failure(failure, code),
        }
        ExitCode::from(code)
    }

    /// Reports that a signal was received and uploads are being finished.
    pub(crate) fn stopping(&self) {
        if let Form::Human(human) = &*self.0 {
            human.print_after_echo(
                "finishing uploads in progress; press Ctrl-C again to stop immediately",
            );
        }
    }

    /// Reports that a signal ends the process, and removes the progress bars.
    pub(crate) fn interrupted(&self) {
        match &*self.0 {
            Form::Human(human) => {
                human.print_after_echo("interrupted; run the command again to resume");
                human.clear();
            }
            Form::Json(json) => json.failure(&Failure::Signalled, crate::failure::INTERRUPTED),
        }
    }
}

/// Reports an invalid command line as JSON. The message is already on standard error.
pub(crate) fn wrong_command_line(message: &str, code: u8) {
    json::Json.emit(
        "error",
        &serde_json::json!({ "message": message, "causes": [], "hints": [], "exit-code": code }),
    );
}

impl Reporter for Ui {
    fn report(&self, event: Event<'_>) {
        match &*self.0 {
            Form::Human(human) => human.report(&event),
            Form::Json(json) => json.report(&event),
        }
    }
}
