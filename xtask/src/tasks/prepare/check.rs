//! `check`: validates environments from their files alone.

use std::process::ExitCode;

use release::workspace::Output;
use serde_json::json;

use crate::advice;
use crate::app::App;
use crate::cli::CheckArgs;
use crate::failure::{Failure, WRONG};

pub(crate) fn run(app: &App<'_>, arguments: &CheckArgs) -> Result<ExitCode, Failure> {
    let name = arguments.environment.as_deref();
    let names = super::one_or_all(app, name)?;
    let now = (app.tool.now)();
    let checked = release::config::check::all(&app.workspace, &names, now, &app.tool.variables);
    let mut checked = super::collect(&names, checked)?;
    for one in &mut checked {
        one.warnings.extend(one.not_locked.as_ref().map(|name| {
            let advice = advice::not_locked(name);
            format!("{name} is not locked, so `deploy` is refused; {advice}")
        }));
    }
    release::config::check::warn_of_shared_machines(&app.workspace, &mut checked)?;
    if arguments.with_mkectl {
        super::with_each(&names, |name| {
            let environment = app.workspace.load(name)?;
            let output = Output::below(&app.workspace.environment(name));
            if !release::cluster::validate::with_mkectl(&app.context(), environment, &output)? {
                app.ui.note(&format!(
                    "warning: {name}: its mkectl has no command that checks a configuration"
                ));
            }
            Ok(())
        })?;
    }
    for one in &checked {
        for warning in &one.warnings {
            app.ui
                .note(&format!("warning: {}: {warning}", one.environment));
        }
    }
    let warnings: usize = checked.iter().map(|one| one.warnings.len()).sum();
    let warned = match warnings {
        0 => String::new(),
        warnings => format!("; {}", super::count(warnings, "warning")),
    };
    let text = match (&checked[..], name) {
        ([], _) => advice::NO_ENVIRONMENTS.to_owned(),
        ([one], Some(_)) => format!("no errors in {}{warned}\n", one.environment),
        (several, _) => format!(
            "no errors in {}{warned}\n",
            super::count(several.len(), "environment")
        ),
    };
    app.ui.result(
        &text,
        &json!({ "environments": checked, "warnings": warnings }),
    )?;
    let accepted = checked.iter().map(|one| one.known_issues + one.notices);
    if arguments.strict && warnings > accepted.sum() {
        app.ui.note(
            "error: `--strict` treats warnings as errors, except known issues of the release and what `deploy` does or waits for",
        );
        return Ok(ExitCode::from(WRONG));
    }
    Ok(ExitCode::SUCCESS)
}
