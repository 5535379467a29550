//! Runs a command to its end: reports and logs each line, and forwards signals.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use redaction::Colours;

use crate::lines::Lines;
use crate::process::{self, Input, Output};
use crate::{Command, Error, Event, Observer, Results};

/// Maximum number of lines in [`Finished::last_lines`].
const LAST_LINES: usize = 20;

/// Time that a program has to end after its time limit has passed, before it is killed.
pub const CLEANUP: Duration = Duration::from_secs(120);

/// Last line of a log whose program announced the administrator's password in an unknown form. Such
/// a log is not deleted.
pub const PASSWORD_MISSED: &str = "airlock: this log may have the administrator's password";

/// The operator's request that the running program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`, sent by Ctrl-C.
    Interrupt,
    /// `SIGTERM`, sent by a service manager or a CI runner.
    Terminate,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The program exited with this code.
    Code(i32),
    /// The signal of this number ended the program.
    Signal(i32),
}

impl Exit {
    /// Returns whether the program exited with code zero.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Returns the exit code, or `None` if a signal ended the program.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }

    pub(crate) fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            // A child that was waited for has one of the two.
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "exited with code {code}"),
            Self::Signal(signal) => write!(formatter, "was ended by signal {signal}"),
        }
    }
}

/// The result of a command that ran, successful or not.
#[derive(Debug)]
pub struct Finished {
    /// How the program ended.
    pub exit: Exit,
    /// The first signal forwarded to the program, if any.
    pub signal: Option<Signal>,
    /// Whether its time limit passed.
    pub timed_out: bool,
    /// Path of the log.
    pub log: Utf8PathBuf,
    /// Why the log is incomplete, if it is. A full disk does not stop the program half-way.
    pub log_failure: Option<io::Error>,
    /// The last lines of output, at most twenty, without line ends and with secrets masked.
    pub last_lines: Vec<String>,
}

/// Runs `command` until it has ended.
///
/// Output:
///
/// - Standard output and standard error share one pipe, in the order of writing, unless
///   [`Command::results`] keeps them apart.
/// - Each complete line goes to `observer` and, prefixed by [`Observer::stamp`], to the file `log`.
///   The log is replaced, and only its owner may read it.
/// - Secrets of the command are masked in both, and so is the administrator's password, which
///   arrives as [`Event::AdminPassword`].
///
/// End of the program:
///
/// - The first of `signals` is forwarded to the program's group. The program may then take its
///   time: mkectl leaves the cluster in good order. The second signal kills the group.
/// - A program that exceeds [`Command::time_limit`] receives SIGINT and is killed after
///   [`CLEANUP`].
/// - A descendant that still holds the output open five seconds after the program's end is killed.
///   After a signal or a timeout, the whole group is killed.
///
/// This blocks for up to an hour; asynchronous callers need a thread for it.
///
/// # Errors
///
/// [`Error::Log`], the errors of starting a program, and [`Error::Supervise`] if the operating
/// system failed to report on the child. An exit code other than zero is not an error here.
pub fn run(
    command: &Command,
    log: &Utf8Path,
    observer: &dyn Observer,
    signals: &Receiver<Signal>,
) -> Result<Finished, Error> {
    let log_file = open_log(log).map_err(|source| Error::Log {
        path: log.to_owned(),
        source,
    })?;
    let output = match command.results {
        Results::Mixed => Output::Together,
        Results::Apart | Results::Unlogged => Output::Apart,
    };
    let mut child = process::start(command, Input::Nothing, output)
        .map_err(|source| Error::start(command.program.clone(), source))?;
    observer.event(Event::Started {
        process: child.process,
    });

    let mut record = Record {
        log: BufWriter::new(log_file),
        log_failure: None,
        last_lines: VecDeque::with_capacity(LAST_LINES),
        observer,
    };
    let secrets = redaction::run();
    command
        .secret_values()
        .for_each(|secret| secrets.add(secret));
    // Index 0 is the log and standard error, index 1 standard output if it is kept apart.
    let mut streams = vec![Lines::new(secrets.clone())];
    match command.results {
        Results::Mixed => {}
        Results::Apart => streams.push(Lines::new(secrets.clone())),
        Results::Unlogged => streams.push(Lines::verbatim()),
    }
    let kinds = [
        Kind::Line,
        match command.results {
            Results::Unlogged => Kind::Unlogged,
            Results::Mixed | Results::Apart => Kind::Result,
        },
    ];
    let mut first = None;
    let mut limit = Limit::new(Instant::now(), command.time_limit);
    let group = child.group;
    let supervise = |source| Error::Supervise {
        program: command.program.clone(),
        source,
    };
    child
        .drain(
            &mut |which, chunk| {
                streams[which].push(chunk, &mut |line| record.line(kinds[which], line));
                record.flush();
                for caught in streams[which].take_passwords() {
                    observer.event(Event::AdminPassword(&caught));
                }
            },
            &mut || {
                for signal in signals.try_iter() {
                    if first.is_none() {
                        first = Some(signal);
                        group.signal(signal.number());
                        observer.event(Event::Passed { signal });
                    } else {
                        group.kill();
                        observer.event(Event::Killed);
                    }
                }
                // After a signal, the operator decides how long the program may take.
                if first.is_some() {
                    return;
                }
                match limit.check(Instant::now()) {
                    Some(Passed::Limit) => {
                        group.signal(libc::SIGINT);
                        observer.event(Event::TimedOut);
                    }
                    Some(Passed::Cleanup) => {
                        group.kill();
                        observer.event(Event::Killed);
                    }
                    None => {}
                }
            },
        )
        .map_err(supervise)?;
    for (lines, kind) in streams.iter_mut().zip(kinds) {
        lines.finish(&mut |line| record.line(kind, line));
        record.flush();
        for caught in lines.take_passwords() {
            observer.event(Event::AdminPassword(&caught));
        }
        if lines.missed_password() {
            record.log(PASSWORD_MISSED, b"\n");
            record.flush();
            observer.event(Event::PasswordMissed);
        }
    }
    if first.is_some() || limit.passed {
        group.kill();
    }
    let exit = child.reap().map_err(supervise)?;

    Ok(Finished {
        exit,
        signal: first,
        timed_out: limit.passed,
        log: log.to_owned(),
        log_failure: record.log_failure,
        last_lines: record.last_lines.into(),
    })
}

/// The time limit of a run.
struct Limit {
    /// The next deadline.
    next: Option<(Passed, Instant)>,
    passed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// The time limit of the program.
    Limit,
    /// The time to end after that, [`CLEANUP`].
    Cleanup,
}

impl Limit {
    fn new(started: Instant, limit: Option<Duration>) -> Self {
        // A limit beyond the clock's range counts as none.
        let at = limit.and_then(|limit| started.checked_add(limit));
        Self {
            next: at.map(|at| (Passed::Limit, at)),
            passed: false,
        }
    }

    /// Returns the deadline that passed since the last call.
    fn check(&mut self, now: Instant) -> Option<Passed> {
        let (passed, at) = self.next?;
        if now < at {
            return None;
        }
        self.passed = true;
        self.next = match passed {
            Passed::Limit => now.checked_add(CLEANUP).map(|at| (Passed::Cleanup, at)),
            Passed::Cleanup => None,
        };
        Some(passed)
    }
}

/// Opens the log, readable by its owner alone. Content and permissions of an earlier run are
/// replaced.
fn open_log(path: &Utf8Path) -> io::Result<File> {
    const OWNER_ONLY: u32 = 0o600;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(path)?;
    // `mode` applies to new files only. The permissions of a device are left alone.
    if file.metadata()?.is_file() {
        file.set_permissions(std::fs::Permissions::from_mode(OWNER_ONLY))?;
    }
    Ok(file)
}

/// The stream that a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Standard error, or both streams if they share a pipe.
    Line,
    /// Standard output, kept apart.
    Result,
    /// Standard output, kept apart and out of the log.
    Unlogged,
}

/// Writes lines to the log and reports them to the observer.
struct Record<'a> {
    log: BufWriter<File>,
    log_failure: Option<io::Error>,
    last_lines: VecDeque<String>,
    observer: &'a dyn Observer,
}

impl Record<'_> {
    fn line(&mut self, kind: Kind, line: &[u8]) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let end = &line[text.len()..];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = String::from_utf8_lossy(text);
        if kind != Kind::Unlogged {
            self.log(&text, end);
        }
        self.observer.event(match kind {
            Kind::Line => Event::Line { text: &text },
            Kind::Result | Kind::Unlogged => Event::Result { text: &text },
        });
        if kind == Kind::Unlogged {
            return;
        }
        if self.last_lines.len() == LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(text.into_owned());
    }

    fn log(&mut self, text: &str, end: &[u8]) {
        if self.log_failure.is_none() {
            let stamp = self.observer.stamp();
            let logged = redaction::colours(text, Colours::Drop);
            let written = self.log.write_all(stamp.as_bytes());
            let written = written.and_then(|()| self.log.write_all(logged.as_bytes()));
            self.log_failure = written.and_then(|()| self.log.write_all(end)).err();
        }
    }

    /// Flushes the log, so a reader that follows it sees every reported line.
    fn flush(&mut self) {
        if self.log_failure.is_none() {
            self.log_failure = self.log.flush().err();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
