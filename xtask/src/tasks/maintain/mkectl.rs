//! `mkectl`: runs any command of the cluster's mkectl.

use std::process::ExitCode;

use release::cluster::mkectl::Typed;

use crate::app::App;
use crate::cli::MkectlArgs;
use crate::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, arguments: &MkectlArgs) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let typed = Typed::new(arguments.arguments.clone());
    let (environment, _lock) = match typed.changes() {
        true => {
            let (environment, lock) = app.lock_environment(name, "mkectl")?;
            (environment, Some(lock))
        }
        false => (app.environment(name)?, None),
    };
    let confirmation = arguments.confirm.as_deref();
    if typed.resets() {
        release::cluster::refuse_protected(&environment)?;
        let question = format!(
            "This removes MKE and everything in the cluster of {name}, and keeps the receipt; `cargo xtask cluster reset {name}` also \
             removes that. Type {name} to continue: "
        );
        confirm::ask(&environment, &question, confirmation)?;
    } else if typed.changes() {
        confirm::confirm(&environment, confirmation)?;
    }
    until_interrupted(app, async {
        let logged = release::cluster::mkectl::run(&app.context(), environment, &typed)?;
        // Standard output has only mkectl's output.
        app.ui.result("", &logged)?;
        app.ui
            .note(&format!("mkectl has finished; its log is {}", logged.log));
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
