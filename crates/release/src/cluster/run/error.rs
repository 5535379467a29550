//! Errors of a run of mkectl.

use camino::Utf8PathBuf;

use crate::Kind;
use crate::event::Step;

/// A run of mkectl that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mkectl that an earlier run started is still running.
    #[error("mkectl for {release} is still running as process {process}; its log is {log}")]
    Running {
        /// The release of that mkectl, `v4.1.5`.
        release: String,
        /// Its process id.
        process: u32,
        /// Its log, relative to the workspace.
        log: Utf8PathBuf,
        /// The note that records it, relative to the workspace.
        note: Utf8PathBuf,
    },
    /// mkectl failed, or was stopped at its time limit.
    #[error("`{name}` {}{exit}", over(*limit))]
    Failed {
        /// The environment's name.
        environment: String,
        /// The step of the command.
        step: Step,
        /// The command without its arguments, `mkectl upgrade`.
        name: String,
        /// The command line for a shell, with secrets masked.
        command: String,
        /// mkectl's exit code, or the signal that ended it.
        exit: programs::Exit,
        /// The time limit, if mkectl was stopped at it.
        limit: Option<std::time::Duration>,
        /// The log of mkectl's output, relative to the workspace.
        log: Utf8PathBuf,
        /// The last lines of the output.
        last_lines: Vec<String>,
    },
    /// mkectl ended after a signal to this program was passed on to it.
    #[error("`{name}` was interrupted and {exit}")]
    Interrupted {
        /// The command without its arguments, `mkectl upgrade`.
        name: String,
        /// The command line for a shell, with secrets masked.
        command: String,
        /// mkectl's exit code, or the signal that ended it.
        exit: programs::Exit,
        /// The log of mkectl's output, relative to the workspace.
        log: Utf8PathBuf,
    },
    /// An upgrade ended with exit code 0, but the cluster has a different release or registry.
    #[error(
        "`mkectl upgrade` exited with code 0, but according to {place} the cluster {found}, not {expected}"
    )]
    Contradicted {
        /// The source of the live configuration: a command or a file.
        place: String,
        /// The release and the registry there, beginning with a verb: `runs ...`.
        found: String,
        /// The release and the registry of the upgrade.
        expected: String,
        /// The log of mkectl's output, relative to the workspace.
        log: Utf8PathBuf,
    },
}

impl Error {
    /// Returns the log of a mkectl that has ended; `None` if it is still running.
    pub(crate) fn log(&self) -> Option<&Utf8PathBuf> {
        match self {
            Self::Running { .. } => None,
            Self::Failed { log, .. }
            | Self::Interrupted { log, .. }
            | Self::Contradicted { log, .. } => Some(log),
        }
    }

    /// Returns the exit code of a mkectl that failed.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Failed { exit, .. } | Self::Interrupted { exit, .. } => exit.code(),
            Self::Running { .. } | Self::Contradicted { .. } => None,
        }
    }

    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Running { .. } => Kind::Mkectl,
            Self::Failed { .. } | Self::Contradicted { .. } => Kind::MkectlFailed,
            Self::Interrupted { .. } => Kind::Interrupted,
        }
    }
}

/// Returns the prefix of the message for a mkectl that was stopped at its time limit.
fn over(limit: Option<std::time::Duration>) -> String {
    limit.map_or_else(String::new, |limit| {
        format!("took longer than {} s and ", limit.as_secs())
    })
}
