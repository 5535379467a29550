//! What can go wrong between wanting to run `mkectl` and having its exit code.
//!
//! An exit code other than zero is not here: for [`run`](crate::run()) it is a result, and what it
//! means is the caller's affair.

use std::io;

use camino::Utf8PathBuf;

use crate::Exit;

/// A failure to find, to start or to understand a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No folder of the search path holds a file of this name.
    #[error("no `{name}` in any folder of PATH ({searched} searched)")]
    NotFound {
        /// The name that was looked for.
        name: String,
        /// How many folders were looked into.
        searched: usize,
    },
    /// The file that was named does not exist.
    #[error("program not found: `{path}`")]
    Missing {
        /// The path that was named.
        path: Utf8PathBuf,
    },
    /// The file exists, but it is not a regular file or not executable.
    #[error("`{path}` is not executable")]
    NotExecutable {
        /// The file that was found.
        path: Utf8PathBuf,
    },
    /// The file is not a program, or one for another operating system or another architecture.
    #[error("this machine cannot run {program}: it is {found}")]
    WrongPlatform {
        /// The file that was found.
        program: Utf8PathBuf,
        /// What it is, with an article: "a program for arm64".
        found: &'static str,
    },
    /// The program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The file that was to be started.
        program: Utf8PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The operating system lets this process start no further one, or open no further pipe.
    #[error("cannot start {program}: a limit on processes, open files or memory is reached")]
    Limit {
        /// The file that was to be started.
        program: Utf8PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// Reading the output of a running program or waiting for its end failed. The program was
    /// killed.
    #[error("lost track of {program} while it ran")]
    Supervise {
        /// The program that ran.
        program: Utf8PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The log could not be opened. Nothing was started.
    #[error("cannot open the log `{path}`")]
    Log {
        /// The log file.
        path: Utf8PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// A short question was not answered in time. The program was killed.
    #[error("`{command}` did not respond within {seconds} s")]
    TimedOut {
        /// The command line.
        command: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// A short question was answered with a failure.
    #[error("`{command}` {exit}{}", said(output))]
    Failed {
        /// The command line.
        command: String,
        /// How the program ended.
        exit: Exit,
        /// What it wrote to standard output and standard error.
        output: String,
    },
    /// A program that was given a secret on its standard input ended with a failure. What it
    /// printed is not here: it may be the secret.
    #[error("`{command}` {exit} and may not have kept the password")]
    NotDelivered {
        /// The command line.
        command: String,
        /// How the program ended.
        exit: Exit,
    },
    /// The answer holds no configuration.
    #[error("`{command}` prints no configuration{}", said(output))]
    NoConfig {
        /// The command line.
        command: String,
        /// What it wrote to standard output and standard error.
        output: String,
    },
    /// The answer to `mkectl version` holds no version.
    #[error("`{command}` prints no version{}", said(output))]
    NoVersion {
        /// The command line.
        command: String,
        /// What it wrote to standard output and standard error.
        output: String,
    },
}

impl Error {
    /// Returns the error for a program that could not be started.
    pub(crate) fn start(program: Utf8PathBuf, source: io::Error) -> Self {
        let is_limit = matches!(
            source.raw_os_error(),
            Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE)
        );
        match source.kind() {
            _ if is_limit => Self::Limit { program, source },
            // The message is better than the system's: for a missing interpreter it says "no such
            // file" too, but then the file itself exists.
            io::ErrorKind::NotFound if !program.exists() => Self::Missing { path: program },
            io::ErrorKind::PermissionDenied => Self::NotExecutable { path: program },
            _ => Self::Start { program, source },
        }
    }
}

/// Returns the first lines of a program's output as the end of a message, or nothing when it
/// printed nothing.
fn said(output: &str) -> String {
    const LINES: usize = 3;
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(LINES)
        .collect();
    if lines.is_empty() {
        " and printed nothing".to_owned()
    } else {
        format!(": {}", lines.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_system_is_not_blamed_on_the_program() {
        for (code, is_limit) in [
            (libc::EAGAIN, true),
            (libc::EMFILE, true),
            (libc::ENOEXEC, false),
        ] {
            let error = Error::start("/bin/sh".into(), io::Error::from_raw_os_error(code));
            assert_eq!(matches!(error, Error::Limit { .. }), is_limit, "{error:?}");
        }
    }
}
