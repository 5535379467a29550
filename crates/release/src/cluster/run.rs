//! Runs one command of mkectl: writes a note that it is running, its log, and its result.

use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;

use crate::Context;
use crate::cluster::admin_password::Handover;
use crate::cluster::consent;
use crate::cluster::in_progress::{self, UnderWay};
use crate::event::{Event, Remediable, Step};
use crate::workspace::Output;

mod error;

pub use error::Error;

/// What is run, and for whom.
pub(crate) struct Run<'a> {
    /// The environment whose cluster it is about.
    pub(crate) environment: &'a Environment,
    /// Where its results go.
    pub(crate) output: &'a Output,
    /// The release whose mkectl it is, `v4.1.5`.
    pub(crate) release: String,
    /// What it is, as the log's name and the note say it: `apply`.
    pub(crate) name: &'a str,
    /// The step that it belongs to.
    pub(crate) step: Step,
    /// What receives the result that it prints, instead of the progress reporter.
    pub(crate) results: Option<&'a Mutex<String>>,
    /// Whether it changes the cluster, so a later run must know if it was killed.
    pub(crate) changes: bool,
    /// Whether this mkectl can set a new administrator's password, where it was missed.
    pub(crate) can_reset_password: bool,
}

/// A run that succeeded.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Everything that it printed, relative to the workspace.
    pub(crate) log: Utf8PathBuf,
}

/// Returns the path of a log that does not exist: two commands of one name may begin in one second.
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
    /// Runs the command to its end.
    ///
    /// A command that changes the cluster leaves its note there; the code that records how it ended
    /// removes it.
    ///
    /// # Errors
    /// It shows secrets and may not, cannot be started, failed, or was interrupted.
    pub(crate) fn run(
        &self,
        context: &Context<'_>,
        command: &programs::Command,
    ) -> Result<Ran, crate::Error> {
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
            handover.make_room()?;
        }
        let signals = context.tool.signals.for_mkectl();
        let note = self.changes.then(|| UnderWay {
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
            let observer = Lines {
                can_reset_password: self.can_reset_password,
                context,
                handover: &handover,
                note: note.as_ref(),
                output: self.output,
                results: self.results,
                reveals: command.results == programs::Results::Unlogged,
            };
            // mkectl is waited for in a blocking call: its output is read as it comes, by this one
            // thread.
            tokio::task::block_in_place(|| programs::run(command, &log, &observer, &signals))
        };
        // Until the password is in its place and the receipt can be written, a signal does not end
        // this program.
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
        // Where its time was up, it had to leave something undone, whatever it says.
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
        Ok(Ran { log })
    }
}

/// Refuses to begin while a mkectl that an earlier run started is at work.
///
/// # Errors
/// One is.
pub(crate) fn refuse_a_second_one(
    context: &Context<'_>,
    output: &Output,
) -> Result<(), crate::Error> {
    let Some(earlier) = UnderWay::read(output)? else {
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

struct Lines<'a> {
    can_reset_password: bool,
    context: &'a Context<'a>,
    handover: &'a Handover<'a>,
    note: Option<&'a UnderWay>,
    output: &'a Output,
    results: Option<&'a Mutex<String>>,
    /// Whether the result is a secret as a whole.
    reveals: bool,
}

impl Lines<'_> {
    fn warn(&self, text: impl Into<String>) {
        self.context.reporter.report(Event::Warning(text.into()));
    }
}

impl programs::Observer for Lines<'_> {
    fn event(&self, event: programs::Event<'_>) {
        match event {
            programs::Event::Line { text } => self.context.reporter.report(Event::Mkectl(text)),
            programs::Event::Result { text } => match self.results {
                Some(results) => {
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push_str(text);
                    results.push('\n');
                }
                None if self.reveals => self.context.reporter.report(Event::Revealed(text)),
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
                let note = UnderWay {
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
