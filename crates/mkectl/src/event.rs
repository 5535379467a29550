//! What happens while a program runs, for whoever draws it.

use crate::Signal;

/// Something that happened while a program ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The program was started.
    Started {
        /// Its process id, which is also the id of its process group and session.
        process: u32,
    },
    /// The program wrote a line to standard output or standard error.
    ///
    /// The text has neither line end nor masked secrets; bytes that are not UTF-8 are replaced. It may hold terminal
    /// control sequences if the program sends them. A line of more than a mebibyte comes in pieces.
    Line {
        /// The line.
        text: &'a str,
    },
    /// A first signal was passed on to the program, which now has the time it needs to end.
    Passed {
        /// The signal.
        signal: Signal,
    },
    /// A second signal arrived, and the program was killed with everything that it had started.
    Killed,
}

/// Receives the [`Event`]s of a run, on the thread that called [`run`](crate::run).
pub trait Observer: Send + Sync {
    /// Takes note of one event. Output waits while this runs, and so does the program once the pipe is full.
    fn event(&self, event: Event<'_>);
}
