//! Standard error as a terminal that is three columns narrower.
//!
//! Bars would fill the line. A terminal that then echoes `^C` begins a new line, so only that line
//! would be cleared, and the bar would stay.

use std::io;

use console::Term;
use indicatif::TermLike;

/// The columns of `^C`, and one so that the line is not full.
const FREE: u16 = 3;

/// Minimum width: a smaller one that the terminal reports is not plausible.
const NARROWEST: u16 = 20;

/// Standard error, narrower by [`FREE`] columns.
#[derive(Debug)]
pub(super) struct Narrow(Term);

impl Narrow {
    pub(super) fn stderr() -> Self {
        Self(Term::buffered_stderr())
    }

    /// Returns the maximum columns of a line.
    pub(super) fn columns(&self) -> u16 {
        columns(self.0.size().1)
    }
}

fn columns(of_terminal: u16) -> u16 {
    of_terminal.saturating_sub(FREE).max(NARROWEST)
}

impl TermLike for Narrow {
    fn width(&self) -> u16 {
        self.columns()
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_leave_room_for_the_echo() {
        assert_eq!(columns(80), 77);
        assert_eq!(columns(0), NARROWEST);
    }
}
