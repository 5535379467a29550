//! The hidden command that plays mkectl in a rehearsal. Its output has mkectl's form.
//!
//! All paths in its arguments are absolute. It needs no workspace, because it may be started in a
//! folder outside.

use std::process::ExitCode;

use crate::cli::{RehearsalArgs, RehearsalCommand};
use crate::failure::Failure;
use crate::interrupt;

pub(crate) fn run(arguments: &RehearsalArgs) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout();
    match &arguments.command {
        RehearsalCommand::Version => {
            release::rehearse::version(&arguments.release, &mut out).map_err(Failure::Output)?;
            Ok(ExitCode::SUCCESS)
        }
        RehearsalCommand::Apply { file, .. } => {
            let run = release::rehearse::apply(&arguments.release, &arguments.lock, file, &mut out);
            block_on(run)
        }
        RehearsalCommand::Upgrade(flags) if flags.help => {
            release::rehearse::upgrade_help(&arguments.release, &mut out)
                .map_err(Failure::Output)?;
            Ok(ExitCode::SUCCESS)
        }
        RehearsalCommand::Upgrade(flags) => {
            let upgrading = release::rehearse::Upgrading {
                to: &flags.upgrade_version,
                file: &flags.file,
                release_matrix: flags.release_matrix.as_deref(),
            };
            let (release, lock) = (&arguments.release, &arguments.lock);
            block_on(release::rehearse::upgrade(
                release, lock, &upgrading, &mut out,
            ))
        }
        RehearsalCommand::Backup { name, .. } => {
            let code = release::rehearse::backup(&arguments.release, name, &mut out)
                .map_err(Failure::Output)?;
            Ok(ExitCode::from(code))
        }
    }
}

fn block_on(run: impl Future<Output = std::io::Result<u8>>) -> Result<ExitCode, Failure> {
    let code = interrupt::runtime()?
        .block_on(run)
        .map_err(Failure::Output)?;
    Ok(ExitCode::from(code))
}
