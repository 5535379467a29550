//! A terminal of 80 columns on which a test runs the command.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::process::Command;

/// The columns of the terminal.
pub const COLUMNS: u16 = 80;

/// What a command wrote to the terminal, and its exit code.
#[derive(Debug)]
pub struct Shown {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The text, with its escape sequences.
    pub text: String,
}

/// Runs a command on a terminal with 256 colours, and types `typed`.
pub fn show(mut command: Command, typed: &str) -> Shown {
    command.env("TERM", "xterm-256color");
    show_without_term(command, typed)
}

/// Runs a command on a terminal of the type in its variable `TERM`, and types `typed`.
pub fn show_without_term(mut command: Command, typed: &str) -> Shown {
    let (mut controller, terminal) = open();
    controller
        .write_all(typed.as_bytes())
        .expect("the terminal takes input");
    let copy = || terminal.try_clone().expect("a descriptor");
    let mut child = command
        .stdin(copy())
        .stdout(copy())
        .stderr(copy())
        .spawn()
        .expect("the command under test");
    // Reading ends when no process has the terminal open.
    drop((command, terminal));
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    while let Ok(read @ 1..) = controller.read(&mut block) {
        bytes.extend_from_slice(&block[..read]);
    }
    Shown {
        code: child.wait().expect("the command ends").code(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

impl Shown {
    /// Returns the lines without escape sequences.
    pub fn lines(&self) -> Vec<String> {
        let sequence = regex_lite::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").expect("a pattern");
        let plain = sequence.replace_all(&self.text, "");
        plain.split(['\n', '\r']).map(str::to_owned).collect()
    }
}

/// Returns the two ends of a new terminal: the controller, and the end for a command.
///
/// # Panics
/// This machine has no terminal left.
pub fn open() -> (File, File) {
    let size = libc::winsize {
        ws_row: 24,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let (mut controller, mut terminal) = (0, 0);
    // SAFETY: the pointers are to locals; null represents a name and settings that are not needed.
    let opened = unsafe {
        libc::openpty(
            &raw mut controller,
            &raw mut terminal,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw const size).cast_mut(),
        )
    };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: both descriptors were just opened and have no other owner.
    unsafe { (File::from_raw_fd(controller), File::from_raw_fd(terminal)) }
}
