//! Runs one command of mkectl, with its log, and a note while it runs.

use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;

use crate::Context;
use crate::cluster::admin_password::Handover;
use crate::cluster::consent;
use crate::cluster::in_progress::{self, RunNote};
use crate::event::{Event, Remediable, Step};
use crate::workspace::Output;

mod error;

pub use error::Error;

/// A run of mkectl.
pub(crate) struct Run<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) output: &'a Output,
    /// The release of this mkectl, `v4.1.5`.
    pub(crate) release: String,
    /// Name in the log's file name and in the note, such as `apply`.
    pub(crate) name: &'a str,
    pub(crate) step: Step,
    /// Receives the result that mkectl prints, instead of the progress reporter.
    pub(crate) results: Option<&'a Mutex<String>>,
    /// Whether the command changes the cluster. If so, a note is kept for the case that this
    /// program is killed.
    pub(crate) changes: bool,
    /// Whether this mkectl can set a new administrator password, if the printed one is missed.
    pub(crate) can_reset_password: bool,
}

/// A run that succeeded.
#[derive(Debug)]
pub(crate) struct Completed {
    /// The log of mkectl's output, relative to the workspace.
    pub(crate) log: Utf8PathBuf,
}

/// Returns the path of a log that does not exist. It is numbered if two commands of one name begin
/// in the same second.
fn unused(folder: &Utf8Path, stamp: &str, name: &str) -> Utf8PathBuf {
    let names = (1..).map(|number: u32| match number {
        1 => format!("{stamp}-{name}.log"),
        number => format!("{stamp}-{number}-{name}.log"),
    });
    let mut paths = names.map(|name| folder.join(name));
    let unused = paths.find(|path| !path.exists());
    unused.unwrap_or_else(|| unreachable!("numbers do not end"))
}

impl Run<'_> {
    /// Runs the command and waits for its end.
    ///
    /// The note of a command that changes the cluster stays: the caller removes it when the result
    /// is recorded.
    ///
    /// # Errors
    /// - [`consent::Error::VisibleSecrets`] if a secret must not be visible in the process list.
    /// - mkectl cannot be started.
    /// - [`Error::Failed`] or [`Error::Interrupted`] if it did not succeed.
    pub(crate) fn run(
        &self,
        context: &Context<'_>,
        command: &programs::Command,
    ) -> Result<Completed, crate::Error> {
        consent::ask(context, command)?;
        let now = (context.tool.now)();
        let stamp = now.strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
        let log = unused(&self.output.logs, &stamp, self.name);
        std::fs::create_dir_all(&self.output.logs)
            .map_err(|source| crate::Error::io("make", &self.output.logs, source))?;
        let shown = context.workspace.shown_command(command);
        context.reporter.report(Event::Started {
            step: self.step,
            what: shown.clone(),
            bytes: None,
        });
        let handover = Handover::new(
            self.environment.operation.admin_password.as_ref(),
            &self.output.admin_password,
            &stamp,
        );
        if self.changes {
            handover.reserve_file()?;
        }
        let signals = context.tool.signals.for_mkectl();
        let note = self.changes.then(|| RunNote {
            command: self.name.to_owned(),
            release: self.release.clone(),
            log: context.workspace.shown(&log).to_owned(),
            began: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            process: None,
        });
        if let Some(note) = &note {
            note.write(self.output)?;
        }
        let finished = {
            let observer = LineObserver {
                can_reset_password: self.can_reset_password,
                context,
                handover: &handover,
                note: note.as_ref(),
                output: self.output,
                results: self.results,
                result_is_secret: command.results == programs::Results::Unlogged,
            };
            // This blocks: the thread reads mkectl's output until mkectl ends.
            tokio::task::block_in_place(|| programs::run(command, &log, &observer, &signals))
        };
        // Signals do not end this program before the password is handed over.
        tokio::task::block_in_place(|| handover.hand_over(context, &signals));
        context.tool.signals.mkectl_ended();
        let finished = finished?;
        let log = context.workspace.shown(&log).to_owned();
        if let Some(failure) = finished.log_failure {
            context
                .reporter
                .report(Event::Warning(format!("{log} is incomplete: {failure}")));
        }
        if finished.signal.is_some() {
            return Err(Error::Interrupted {
                name: command.name.clone(),
                command: shown,
                exit: finished.exit,
                log,
            }
            .into());
        }
        // mkectl that hit its time limit was stopped early, even if it exits with code 0.
        if !finished.exit.is_success() || finished.timed_out {
            return Err(Error::Failed {
                environment: self.environment.name.clone(),
                step: self.step,
                name: command.name.clone(),
                command: shown,
                exit: finished.exit,
                limit: command.time_limit.filter(|_| finished.timed_out),
                log,
                last_lines: finished.last_lines,
            }
            .into());
        }
        Ok(Completed { log })
    }
}

/// Checks that no mkectl of an earlier run is still running.
///
/// # Errors
/// [`Error::Running`] if one is.
pub(crate) fn require_no_running_mkectl(
    context: &Context<'_>,
    output: &Output,
) -> Result<(), crate::Error> {
    let Some(earlier) = RunNote::read(output)? else {
        return Ok(());
    };
    match earlier.process {
        Some(process) if earlier.is_running() => Err(Error::Running {
            release: earlier.release,
            process,
            log: earlier.log,
            note: context
                .workspace
                .shown(&in_progress::path(output))
                .to_owned(),
        }
        .into()),
        _ => Ok(()),
    }
}

struct LineObserver<'a> {
    can_reset_password: bool,
    context: &'a Context<'a>,
    handover: &'a Handover<'a>,
    note: Option<&'a RunNote>,
    output: &'a Output,
    results: Option<&'a Mutex<String>>,
    result_is_secret: bool,
}

impl LineObserver<'_> {
    fn warn(&self, text: impl Into<String>) {
        self.context.reporter.report(Event::Warning(text.into()));
    }
}

impl programs::Observer for LineObserver<'_> {
    fn event(&self, event: programs::Event<'_>) {
        match event {
            programs::Event::Line { text } => self.context.reporter.report(Event::Mkectl(text)),
            programs::Event::Result { text } => match self.results {
                Some(results) => {
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push_str(text);
                    results.push('\n');
                }
                None if self.result_is_secret => {
                    self.context.reporter.report(Event::Revealed(text))
                }
                None => self.context.reporter.report(Event::MkectlResult(text)),
            },
            programs::Event::AdminPassword(caught) => self.handover.keep(caught),
            programs::Event::PasswordMissed => {
                let missed = Remediable::PasswordMissed {
                    can_reset: self.can_reset_password,
                };
                self.context.reporter.report(Event::Remediable(missed));
            }
            programs::Event::TimedOut => self.warn(format!(
                "the time limit has passed: SIGINT was sent to mkectl, which has {} s to end",
                programs::CLEANUP.as_secs()
            )),
            programs::Event::Passed { signal } => {
                let name = match signal {
                    programs::Signal::Interrupt => "SIGINT",
                    programs::Signal::Terminate => "SIGTERM",
                };
                self.warn(format!(
                    "{name} was passed on to mkectl; waiting for it to end (a second one kills it)"
                ));
            }
            programs::Event::Killed => self.warn("mkectl was killed"),
            programs::Event::Started { process } => {
                let Some(note) = self.note else {
                    return;
                };
                let note = RunNote {
                    process: Some(process),
                    ..note.clone()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_the_same_second_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        for expected in ["x-apply.log", "x-2-apply.log", "x-3-apply.log"] {
            let path = unused(folder, "x", "apply");
            assert_eq!(path, folder.join(expected));
            std::fs::write(path, "").unwrap();
        }
    }
}
