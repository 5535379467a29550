//! `render`: writes mke4.yaml, or compares it with the environment.

use std::process::ExitCode;

use release::config::render::{Outcome, keep, one};
use serde_json::json;

use crate::app::App;
use crate::cli::RenderArgs;
use crate::failure::{DIFFERS, Failure};
use crate::ui::coloured;

pub(crate) fn run(app: &App<'_>, arguments: &RenderArgs) -> Result<ExitCode, Failure> {
    let (name, check) = (arguments.environment.as_deref(), arguments.check);
    let names = super::one_or_all(app, name)?;
    let outcomes = super::with_each(&names, |name| one(&app.workspace, name))?;
    // Written after all were rendered: an invalid environment must not leave some files rewritten.
    if !check {
        let stale = outcomes.iter().filter(|outcome| !outcome.diff.is_empty());
        let locked = stale.map(|outcome| app.lock_environment(&outcome.environment, "render"));
        let locked = locked.collect::<Result<Vec<_>, Failure>>()?;
        for (environment, _) in &locked {
            // Rendered again: a command that held the lock before may have changed the environment.
            keep(&app.workspace, &one(&app.workspace, &environment.name)?)?;
        }
    }
    for warning in outcomes.iter().flat_map(|outcome| &outcome.warnings) {
        app.ui.note(&format!("warning: {warning}"));
    }
    let stale = outcomes.iter().any(|outcome| !outcome.diff.is_empty());
    let text: String = outcomes
        .iter()
        .map(|outcome| text(outcome, check))
        .collect();
    let value: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "environment": outcome.environment,
                "path": outcome.path,
                "changed": !outcome.diff.is_empty(),
                "diff": outcome.diff,
                "warnings": outcome.warnings,
            })
        })
        .collect();
    app.ui.result(&text, &value)?;
    if check && stale {
        app.ui.note(&format!(
            "hint: `cargo xtask render {}` writes what is stale; commit it",
            name.unwrap_or("--all")
        ));
        return Ok(ExitCode::from(DIFFERS));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(outcome: &Outcome, check: bool) -> String {
    match (outcome.diff.is_empty(), check) {
        (true, _) => format!("{} is up to date\n", outcome.path),
        (false, true) => format!("{} is stale\n{}", outcome.path, coloured(&outcome.diff)),
        (false, false) => format!("wrote {}\n", outcome.path),
    }
}
