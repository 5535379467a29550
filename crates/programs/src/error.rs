//! Errors of finding, starting and querying programs.
//!
//! An exit code other than zero is not an error of [`run`](crate::run()): the caller interprets it.

use std::io;

use camino::Utf8PathBuf;

use crate::Exit;

/// A failure to find, start or query a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No folder of the search path contains an executable file of this name.
    #[error("no `{name}` in any folder of PATH ({searched} searched)")]
    NotFound {
        /// Name of the program, such as `mkectl`.
        name: String,
        /// Number of folders of `PATH` that were searched.
        searched: usize,
    },
    /// The named file does not exist.
    #[error("program not found: `{path}`")]
    Missing {
        /// Path as the caller gave it.
        path: Utf8PathBuf,
    },
    /// The file is not a regular file, or has no execute permission.
    #[error("`{path}` is not executable")]
    NotExecutable {
        /// Path of the file.
        path: Utf8PathBuf,
    },
    /// The file is not a program, or a program for a different operating system or architecture.
    #[error("this machine cannot run {program}: it is {found}")]
    WrongPlatform {
        /// Path of the file.
        program: Utf8PathBuf,
        /// Kind of the file, with an article: "a program for arm64".
        found: &'static str,
    },
    /// The program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Path of the program.
        program: Utf8PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The program exists, but the interpreter or the loader that it names does not.
    #[error("cannot start {program}: its interpreter or loader is missing")]
    NoInterpreter {
        /// Path of the program.
        program: Utf8PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A limit of the operating system on processes, open files or memory prevented the start.
    #[error("cannot start {program}: a limit on processes, open files or memory is reached")]
    Limit {
        /// Path of the program.
        program: Utf8PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Reading the output of a running program, or waiting for its end, failed. The program was
    /// killed.
    #[error("lost track of {program} while it ran")]
    Supervise {
        /// Path of the program.
        program: Utf8PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The log could not be opened. The program was not started.
    #[error("cannot open the log `{path}`")]
    Log {
        /// Path of the log.
        path: Utf8PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A short query exceeded its time limit. The program was killed.
    #[error("`{command}` did not respond within {seconds} s")]
    TimedOut {
        /// Command line, with secrets masked.
        command: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// A short query ended with an exit code other than zero, or by a signal.
    #[error("`{command}` {exit}{}", output_suffix(output))]
    Failed {
        /// Command line, with secrets masked.
        command: String,
        /// How the program ended.
        exit: Exit,
        /// Standard output and standard error of the program.
        output: String,
    },
    /// A program that received a secret on standard input failed. Its output is left out, because
    /// it may contain the secret.
    #[error("`{command}` {exit} and may not have kept the password")]
    NotDelivered {
        /// Command line, with secrets masked.
        command: String,
        /// How the program ended.
        exit: Exit,
    },
    /// The output contains no configuration.
    #[error("`{command}` prints no configuration{}", output_suffix(output))]
    NoConfig {
        /// Command line, with secrets masked.
        command: String,
        /// Standard output and standard error of the program.
        output: String,
    },
    /// The output of `mkectl version` contains no version.
    #[error("`{command}` prints no version{}", output_suffix(output))]
    NoVersion {
        /// Command line, with secrets masked.
        command: String,
        /// Standard output and standard error of the program.
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
            io::ErrorKind::NotFound if !program.exists() => Self::Missing { path: program },
            // For a missing interpreter the system reports "no such file", too.
            io::ErrorKind::NotFound => Self::NoInterpreter { program, source },
            io::ErrorKind::PermissionDenied => Self::NotExecutable { path: program },
            _ => Self::Start { program, source },
        }
    }
}

/// Returns the first lines of a program's output as the end of an error message.
fn output_suffix(output: &str) -> String {
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
