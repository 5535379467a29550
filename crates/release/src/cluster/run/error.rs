//! Why a run of mkectl did not succeed.

use camino::Utf8PathBuf;

use crate::Kind;
use crate::event::Step;

/// Why a run of mkectl did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mkectl that an earlier run started is still at work.
    #[error("mkectl for {release} is still running as process {process}; its log is {log}")]
    Running {
        /// The release.
        release: String,
        /// Its process id.
        process: u32,
        /// Its log.
        log: Utf8PathBuf,
        /// Its note.
        note: Utf8PathBuf,
    },
    /// mkectl ran and failed.
    #[error("`{name}` {}{exit}", over(*limit))]
    Failed {
        /// The environment.
        environment: String,
        /// The step that it belongs to.
        step: Step,
        /// The command by its words, `mkectl upgrade`.
        name: String,
        /// All of it, as one would type it, with secrets masked.
        command: String,
        /// How it ended: its own exit code, or the signal that ended it.
        exit: programs::Exit,
        /// The time limit, where it passed.
        limit: Option<std::time::Duration>,
        /// Where everything that it printed is kept.
        log: Utf8PathBuf,
        /// The last lines that it printed.
        last_lines: Vec<String>,
    },
    /// mkectl ran, got a signal because the program got one, and ended.
    #[error("`{name}` was interrupted and {exit}")]
    Interrupted {
        /// The command by its words, `mkectl upgrade`.
        name: String,
        /// All of it, as one would type it, with secrets masked.
        command: String,
        /// How it ended.
        exit: programs::Exit,
        /// Where everything that it printed is kept.
        log: Utf8PathBuf,
    },
    /// An upgrade ended with exit code 0, and the cluster is not what it was to become.
    #[error(
        "`mkectl upgrade` exited with code 0, but according to {place} the cluster {found}, not {expected}"
    )]
    Contradicted {
        /// What describes the cluster: a command or a file.
        place: String,
        /// What is said there of the cluster, beginning with a verb.
        found: String,
        /// The release and the registry that were expected.
        expected: String,
        /// Where everything that it printed is kept.
        log: Utf8PathBuf,
    },
}

impl Error {
    /// Returns the log of a mkectl that has ended; none if it is still running.
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

/// Returns what goes before the exit of a mkectl whose time was up.
fn over(limit: Option<std::time::Duration>) -> String {
    limit.map_or_else(String::new, |limit| {
        format!("took longer than {} s and ", limit.as_secs())
    })
}
