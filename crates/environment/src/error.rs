//! What can go wrong with reading an environment.

use std::io;

use camino::Utf8PathBuf;

use crate::problem::Problems;

/// Why an environment could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `environments/<name>/environment.yaml`.
    #[error("environment not found: `{name}`")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The environment whose name is most like it, if one is.
        nearest: Option<String>,
        /// All environments that there are, sorted.
        known: Vec<String>,
    },
    /// The name cannot be an environment's.
    #[error("`{name}` is not a valid name of an environment: {rule}")]
    Name {
        /// The name that was asked for.
        name: String,
        /// What is wrong with it.
        rule: String,
    },
    /// An answer about a new environment cannot be one.
    #[error("not a valid {question}: {rule}")]
    Answer {
        /// What was asked.
        question: String,
        /// What is wrong with the answer.
        rule: String,
    },
    /// A file or folder is there but cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The path, below the workspace root that was given.
        path: Utf8PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The files are there, but something is wrong with what they say.
    #[error("{0}")]
    Wrong(Problems),
}
