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
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Running { .. } => Kind::Mkectl,
            Self::Failed { .. } => Kind::MkectlFailed,
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
