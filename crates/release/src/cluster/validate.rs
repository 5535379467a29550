//! The rendered configuration, checked by the release's own mkectl before anything is sent or
//! changed.

use environment::Environment;

use crate::config::{render, resolve};
use crate::transfer::program::{self, Program};
use crate::workspace::Output;
use crate::{Context, Error, Kind, locked};

/// How many lines of the refusal an error repeats.
const LINES: usize = 5;

/// mkectl refuses a configuration.
#[derive(Debug, thiserror::Error)]
#[error("mkectl v{release} refuses the rendered configuration: {reason}")]
pub struct ConfigRefused {
    /// The release of that mkectl.
    pub release: semver::Version,
    /// The end of what it printed, with secrets masked.
    pub reason: String,
}

impl ConfigRefused {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        Kind::Workspace
    }
}

/// Has the mkectl of an environment check what is rendered for it, in a file in the folder of logs
/// of `output`. Returns false where that mkectl cannot check a configuration.
///
/// # Errors
/// mkectl refuses the configuration, a fitting one is missing, or a reference in the configuration
/// has no value.
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

/// Has a mkectl check what is rendered for an environment. Returns false where it cannot check a
/// configuration.
///
/// # Errors
/// It refuses the configuration, or a reference in the configuration has no value.
pub(crate) fn check(
    context: &Context<'_>,
    environment: &Environment,
    facts: &mke::Release,
    program: &Program,
    output: &Output,
) -> Result<bool, Error> {
    // A rehearsal's stand-in checks it when it is applied.
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

/// Returns the end of what mkectl printed, without secrets and in one line.
fn masked(output: &str) -> String {
    let text = redaction::run().mask(output);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}
