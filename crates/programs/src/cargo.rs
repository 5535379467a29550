//! Copies the sources of all dependencies by `cargo vendor`.

use std::time::Duration;

use camino::Utf8Path;

use crate::ask::Question;
use crate::{Error, Executable, Variables};

/// Time limit: cargo downloads missing sources.
const LIMIT: Duration = Duration::from_secs(1800);

/// Copies the sources of all dependencies of a workspace to `folder`. Returns the configuration
/// that makes cargo use them.
///
/// # Errors
/// The errors of finding `cargo`, and [`Error::Failed`] if it fails.
pub fn vendor(
    workspace: &Utf8Path,
    folder: &Utf8Path,
    is_offline: bool,
    variables: &Variables,
) -> Result<String, Error> {
    let manifest = workspace.join("Cargo.toml");
    let mut arguments = vec![
        "vendor",
        "--locked",
        "--versioned-dirs",
        "--manifest-path",
        manifest.as_str(),
    ];
    if is_offline {
        arguments.push("--offline");
    }
    arguments.push(folder.as_str());
    let answer = Executable::find("cargo", variables.clone())?.answer(Question {
        with_errors: false,
        limit: LIMIT,
        ..Question::new(&arguments)
    })?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
