//! What happens while a program runs, for the user interface.

use crate::{AdminPassword, Signal};

/// Something that happened while a program ran.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The program was started.
    Started {
        /// Its process id, which is also the id of its process group and session.
        process: u32,
    },
    /// The program wrote a line to standard output or standard error.
    ///
    /// The text has no line end and no secret; bytes that are not UTF-8 are escaped. It may hold
    /// terminal control sequences if the program sends them. A line of more than a mebibyte comes
    /// in pieces.
    Line {
        /// The line.
        text: &'a str,
    },
    /// The program wrote a line to standard output, where that is kept apart by
    /// [`Results`](crate::Results). What holds for [`Event::Line`] holds for it; the lines of both
    /// are in no order between them.
    Result {
        /// The line.
        text: &'a str,
    },
    /// A first signal was passed on to the program, which now has the time it needs to end.
    Passed {
        /// The signal.
        signal: Signal,
    },
    /// The program printed the administrator's password, which is masked in its line. Keep it now:
    /// a program that is killed before it hands this on has lost it.
    AdminPassword(&'a AdminPassword),
    /// The program announced the administrator's password, and none was recognised. It is in the
    /// log, if anywhere.
    PasswordMissed,
    /// The time limit passed. The program was sent SIGINT and has [`CLEANUP`](crate::run::CLEANUP)
    /// to end.
    TimedOut,
    /// A second signal arrived or the time to end has passed, and the program was killed with
    /// everything that it had started.
    Killed,
}

/// Receives the [`Event`]s of a run, on the thread that called [`run`](crate::run()).
pub trait Observer: Send + Sync {
    /// Takes note of one event. Output waits while this runs, and so does the program once the pipe
    /// is full.
    fn event(&self, event: Event<'_>);

    /// Returns what the next line of the log begins with: the time, from a clock that this crate
    /// does not have.
    fn stamp(&self) -> String {
        String::new()
    }
}
