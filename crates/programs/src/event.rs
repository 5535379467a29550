//! Events of a running program, for the user interface.

use crate::{AdminPassword, Signal};

/// An event of a running program.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The program was started.
    Started {
        /// Its process id, which is also the id of its process group and session.
        process: u32,
    },
    /// The program wrote a line to standard output or standard error.
    ///
    /// The text has no line end, and secrets are masked. Bytes that are not UTF-8 are escaped.
    /// Terminal control sequences of the program are kept. A line above 1 MiB arrives in pieces.
    Line {
        /// The line, without its line end.
        text: &'a str,
    },
    /// The program wrote a line to standard output, which [`Results`](crate::Results) keeps apart
    /// from standard error. Otherwise like [`Event::Line`]. The order between the two streams is
    /// undefined.
    Result {
        /// The line, without its line end.
        text: &'a str,
    },
    /// The first signal was forwarded to the program, which may now take its time to end.
    Passed {
        /// The signal that was forwarded.
        signal: Signal,
    },
    /// The program printed the administrator's password, which is masked in its line. The observer
    /// must save it now: mkectl does not print it again.
    AdminPassword(&'a AdminPassword),
    /// The program announced the administrator's password, but none was recognised. The log may
    /// contain it.
    PasswordMissed,
    /// The time limit passed. The program received SIGINT and has [`CLEANUP`](crate::run::CLEANUP)
    /// to end.
    TimedOut,
    /// A second signal arrived, or [`CLEANUP`](crate::run::CLEANUP) passed. The program and every
    /// process of its group were killed.
    Killed,
}

/// Receives the [`Event`]s of a run, on the thread that called [`run`](crate::run()).
pub trait Observer: Send + Sync {
    /// Handles one event. While this runs, no output is read; a program whose pipe is full waits.
    fn event(&self, event: Event<'_>);

    /// Returns the prefix of the next log line, usually a timestamp: this crate has no clock.
    fn stamp(&self) -> String {
        String::new()
    }
}
