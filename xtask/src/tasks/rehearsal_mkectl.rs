//! The hidden command that plays mkectl in a rehearsal. It prints as mkectl does, not as the rest of Airlock.

use std::process::ExitCode;

use crate::cli::{RehearsalArgs, RehearsalCommand};
use crate::failure::Failure;

pub(crate) fn run(arguments: &RehearsalArgs) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout();
    match &arguments.command {
        RehearsalCommand::Version => {
            release::rehearse::version(&arguments.release, &mut out).map_err(Failure::Output)?;
            Ok(ExitCode::SUCCESS)
        }
        RehearsalCommand::Apply { file, .. } => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(Failure::Runtime)?;
            let code = runtime
                .block_on(release::rehearse::apply(
                    &arguments.release,
                    &arguments.lock,
                    file,
                    &mut out,
                ))
                .map_err(Failure::Output)?;
            Ok(ExitCode::from(code))
        }
    }
}
