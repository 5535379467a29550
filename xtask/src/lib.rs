//! The command line of Airlock: parse, call, draw, exit.
//!
//! What a command does is in `release`; here is only what it is asked by and how it is shown. This
//! crate must not know: oci-client, tar, the fields of `mke4.yaml`. It alone reads the environment,
//! the terminal and the clock, decides what is said to people (`ui`), which advice an error gets
//! and with which code the program exits (`failure`). A team adds tasks of its own with
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

// What becomes of a failure.
mod failure;
mod advice;

use std::process::ExitCode;

use cli::Typed;
pub use team::{Output, Task};
pub use ui::table;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    main_with(&[])
}

/// Runs the command that the process was started with, which may be a task of the team's own.
pub fn main_with(tasks: &[&dyn Task]) -> ExitCode {
    withhold_writing();
    if tasks::answer(|| cli::command(tasks)) {
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
                .and_then(interrupt::told_to_machines)
                .and_then(|app| tasks::run(&app, cli)),
        },
        Typed::Team(common, task, arguments) => app::App::of_team(common, &ui)
            .and_then(interrupt::told_to_machines)
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

/// Withholds from others the permission to write what this process and its programs create,
/// whatever umask it was started with.
fn withhold_writing() {
    const OTHERS_WRITE: libc::mode_t = 0o022;
    // SAFETY: `umask` takes any mode and cannot fail. No other thread runs yet.
    unsafe {
        let inherited = libc::umask(OTHERS_WRITE);
        libc::umask(inherited | OTHERS_WRITE);
    }
}
