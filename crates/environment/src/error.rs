//! Errors of this crate.

use std::io;

use camino::Utf8PathBuf;

use crate::problem::Problems;

/// Why an environment could not be read or created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file `environments/<name>/environment.yaml` does not exist.
    #[error("environment not found: `{name}`")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The most similar name of an environment, if one is similar enough.
        nearest: Option<String>,
        /// The names of all environments, sorted.
        known: Vec<String>,
    },
    /// The name is not allowed for an environment.
    #[error("`{name}` is not a valid name of an environment: {rule}")]
    Name {
        /// The name that was asked for.
        name: String,
        /// What is wrong with it.
        rule: String,
    },
    /// An answer to a question about a new environment is not valid.
    #[error("not a valid {question}: {rule}")]
    Answer {
        /// The question.
        question: String,
        /// What is wrong with the answer.
        rule: String,
    },
    /// A file or folder exists but cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The path, below the workspace root of the call.
        path: Utf8PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The files were read, but have problems.
    #[error("{0}")]
    Wrong(Problems),
}
