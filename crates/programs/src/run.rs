//! Running a command to its end: every line live, a log, signals passed on, nothing left behind.

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

/// How many of the last lines [`Finished`] carries.
const LAST_LINES: usize = 20;

/// How long a program has to end by itself after its time limit has passed, before it is killed.
pub const CLEANUP: Duration = Duration::from_secs(120);

/// What the log ends with if the administrator's password was announced and not recognised. Such a
/// log stays where it is.
pub const PASSWORD_MISSED: &str = "airlock: this log may have the administrator's password";

/// A wish of the operator's that the running program should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`, what Ctrl-C sends.
    Interrupt,
    /// `SIGTERM`, what a service manager or a CI runner sends.
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
    /// It exited with this code.
    Code(i32),
    /// It was ended by the signal of this number.
    Signal(i32),
}

impl Exit {
    /// Returns whether it exited with code zero.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Returns the exit code, or `None` for an end by a signal.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }

    pub(crate) fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            // A child that was waited for has the one or the other.
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

/// What is known after a command has run, whether it succeeded or not.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// The first signal that was passed on to it, if there was one.
    pub signal: Option<Signal>,
    /// Whether its time limit passed.
    pub timed_out: bool,
    /// The log of all that it wrote.
    pub log: Utf8PathBuf,
    /// Why the log is incomplete, if it is. A program is not stopped half-way because a disk is
    /// full.
    pub log_failure: Option<io::Error>,
    /// The last lines that it wrote, twenty at the most, without line ends and with secrets masked.
    pub last_lines: Vec<String>,
}

/// Runs `command` until it has ended, and returns how it did.
///
/// Standard output and standard error come through one pipe, in the order in which they were
/// written, unless [`Command::results`] keeps them apart. Each line goes to `observer` as soon as
/// it is complete and to the file `log`, which is replaced and which only its owner may read; there
/// it begins with [`Observer::stamp`]. The values of [`Command::secrets`] and
/// [`Command::secret_arguments`] are masked in both, and so is the administrator's password, which
/// comes as [`Event::AdminPassword`]. Standard input is empty.
///
/// The first of `signals` is passed on to the program and everything in its group, once, and then
/// the program is waited for: it knows how to leave a cluster in good order. The second kills the
/// group. A program that runs longer than [`Command::time_limit`] is sent SIGINT and killed after
/// [`CLEANUP`]. After the program's end, whatever it started and still holds its output open is
/// killed after five seconds; if there was a signal, nothing of the group is left in any case.
///
/// This blocks, for as long as an hour; asynchronous callers put it on a thread of its own.
///
/// # Errors
///
/// [`Error::Log`] and what starting a program can end in; [`Error::Supervise`] if the operating
/// system did not report about the child, which is killed then. An exit code other than zero is not
/// an error here.
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
    command.unspoken().for_each(|secret| secrets.add(secret));
    // The log and other output come first, then the output that is kept apart.
    let mut streams = vec![Lines::new(secrets.clone())];
    match command.results {
        Results::Mixed => {}
        Results::Apart => streams.push(Lines::new(secrets.clone())),
        Results::Unlogged => streams.push(Lines::untouched()),
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
                for caught in streams[which].take_caught() {
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
                // Once the operator has asked it to end, the operator decides how long it may take.
                if first.is_some() {
                    return;
                }
                match limit.look(Instant::now()) {
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
        for caught in lines.take_caught() {
            observer.event(Event::AdminPassword(&caught));
        }
        if lines.missed_password() {
            record.log(PASSWORD_MISSED, b"\n");
            record.flush();
            observer.event(Event::PasswordMissed);
        }
    }
    if first.is_some() || limit.has_passed() {
        group.kill();
    }
    let exit = child.reap().map_err(supervise)?;

    Ok(Finished {
        exit,
        signal: first,
        timed_out: limit.has_passed(),
        log: log.to_owned(),
        log_failure: record.log_failure,
        last_lines: record.last_lines.into(),
    })
}

/// The time limit of a run.
struct Limit {
    /// What passes next, and when.
    next: Option<(Passed, Instant)>,
    passed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// The time that the program may run.
    Limit,
    /// The time that it has to end then.
    Cleanup,
}

impl Limit {
    fn new(started: Instant, limit: Option<Duration>) -> Self {
        // A limit beyond the clock's range is none.
        let at = limit.and_then(|limit| started.checked_add(limit));
        Self {
            next: at.map(|at| (Passed::Limit, at)),
            passed: false,
        }
    }

    /// Returns what has passed since the last look.
    fn look(&mut self, now: Instant) -> Option<Passed> {
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

    fn has_passed(&self) -> bool {
        self.passed
    }
}

/// Opens the log for this run alone: what an earlier run left is gone, and so is any access that
/// others had.
fn open_log(path: &Utf8Path) -> io::Result<File> {
    const OWNER_ONLY: u32 = 0o600;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(path)?;
    // The mode above is for a new file. An old one may have had another. A device is not ours to
    // change.
    if file.metadata()?.is_file() {
        file.set_permissions(std::fs::Permissions::from_mode(OWNER_ONLY))?;
    }
    Ok(file)
}

/// What a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Everything that is reported as it arrives.
    Line,
    /// Standard output, kept apart.
    Result,
    /// Standard output, kept apart and out of the log.
    Unlogged,
}

/// Where a line goes.
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

    /// Flushes the log up to what the observer received, for a reader that follows it.
    fn flush(&mut self) {
        if self.log_failure.is_none() {
            self.log_failure = self.log.flush().err();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
