//! Lets the mkectl of the release check the rendered configuration, before anything is pushed.

use environment::Environment;

use crate::config::{render, resolve};
use crate::transfer::program::{self, Program};
use crate::workspace::Output;
use crate::{Context, Error, Kind, locked};

/// Number of mkectl's last lines that the error repeats.
const LINES: usize = 5;

/// A configuration that mkectl refuses.
#[derive(Debug, thiserror::Error)]
#[error("mkectl v{release} refuses the rendered configuration: {reason}")]
pub struct ConfigRefused {
    /// The release of that mkectl.
    pub release: semver::Version,
    /// The last lines of its output, joined by `; `, with secrets masked.
    pub reason: String,
}

impl ConfigRefused {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        Kind::Workspace
    }
}

/// Renders the configuration of an environment and lets its mkectl check it, in a temporary file in
/// the log folder of `output`. Returns false if that mkectl cannot check a configuration.
///
/// # Errors
/// - [`ConfigRefused`] if mkectl refuses the configuration.
/// - A suitable mkectl is missing, or a reference in the configuration has no value.
pub fn with_mkectl(
    context: &Context<'_>,
    mut environment: Environment,
    output: &Output,
) -> Result<bool, Error> {
    let facts = mke::Release::of(&environment.release)?;
    let locked = locked::read(context.workspace, &environment.release)?;
    render::render(context.workspace, &mut environment, &facts)?;
    let program = program::for_apply(context, &environment, &locked.lock, &locked.path)?;
    check(context, &environment, &facts, &program, output)
}

/// Lets a mkectl check the rendered configuration of an environment. Returns false if it cannot
/// check a configuration.
///
/// # Errors
/// [`ConfigRefused`] if it refuses the configuration, or a reference has no value.
pub(crate) fn check(
    context: &Context<'_>,
    environment: &Environment,
    facts: &mke::Release,
    program: &Program,
    output: &Output,
) -> Result<bool, Error> {
    // The stand-in of a rehearsal checks the configuration when it is applied.
    if environment.rehearsal {
        return Ok(false);
    }
    let help = program.mkectl().help(&["init"])?;
    let config = resolve::temporary(context, environment, facts, &output.logs)?;
    let checked = program.mkectl().check_config(config.path(), &help);
    let checked = checked.map_err(|error| match error {
        programs::Error::Failed { output, .. } => Error::ConfigRefused(ConfigRefused {
            release: environment.release.clone(),
            reason: masked(&output),
        }),
        error => Error::Mkectl(error),
    });
    config.remove_after(checked)
}

/// Returns the last lines of mkectl's output in one line, with secrets masked.
fn masked(output: &str) -> String {
    let text = redaction::run().mask(output);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}
