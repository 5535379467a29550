//! The command line of Airlock: it parses arguments, calls `release`, shows results and exits.
//!
//! This crate alone:
//!
//! - reads the process's environment, the terminal and the clock
//! - words messages and hints for operators (`ui`, `failure`, `advice`)
//! - decides exit codes (`failure`)
//!
//! It must not know oci-client, tar or the fields of `mke4.yaml`. A team adds tasks of its own with
//! [`main_with`].

mod cli;
mod called;
mod ui;
mod app;
mod diagnosis;
mod credentials;
mod consent;
mod tasks;
mod until;
mod confirm;
mod interrupt;
mod team;

// Exit codes and hints.
mod failure;
mod advice;

use std::process::ExitCode;

use cli::Typed;
pub use team::{Output, Task};
pub use ui::table;

/// Runs the command that the process's arguments name, and returns its exit code.
pub fn main() -> ExitCode {
    main_with(&[])
}

/// Runs the command or the task of a team that the process's arguments name, and returns its exit
/// code.
pub fn main_with(tasks: &[&dyn Task]) -> ExitCode {
    restrict_umask();
    if tasks::complete(|| cli::command(tasks)) {
        return ExitCode::SUCCESS;
    }
    let typed = match cli::parse(tasks) {
        Ok(typed) => typed,
        Err(code) => return code,
    };
    let common = match &typed {
        Typed::Ours(cli) => &cli.common,
        Typed::Team(common, ..) => common,
    };
    if let Some(directory) = &common.directory {
        called::remember_directory(directory);
    }
    let ui = ui::Ui::new(common.format);
    let outcome = match &typed {
        Typed::Ours(cli) => match &cli.command {
            cli::Command::RehearsalMkectl(arguments) => tasks::rehearsal_mkectl(arguments),
            _ => app::App::new(cli, &ui)
                .and_then(interrupt::listen_for_json)
                .and_then(|app| tasks::run(&app, cli)),
        },
        Typed::Team(common, task, arguments) => app::App::of_team(common, &ui)
            .and_then(interrupt::listen_for_json)
            .and_then(|app| team::run(&app, tasks[*task], arguments)),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => ui.failure(&failure),
    }
}

#[cfg(test)]
#[path = "../build.rs"]
#[expect(dead_code, reason = "only its functions are tested here")]
mod build_script;

/// Makes files that this process and its programs create writable for their owner only, even if the
/// inherited umask allows more.
fn restrict_umask() {
    const OTHERS_WRITE: libc::mode_t = 0o022;
    // SAFETY: `umask` takes any mode and cannot fail. No other thread runs yet.
    unsafe {
        let inherited = libc::umask(OTHERS_WRITE);
        libc::umask(inherited | OTHERS_WRITE);
    }
}
