//! `apply`: runs mkectl on the rendered configuration.

use std::process::ExitCode;

use release::plan::Purpose;
use release::workspace::Output;
use serde_json::json;

use crate::app::App;
use crate::cli::ApplyArgs;
use crate::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, arguments: &ApplyArgs) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let take_over = arguments.take_over.take_over;
    let reason = arguments.overrides.override_requires.as_deref();
    let (environment, lock) = app.lock_environment(name, "apply")?;
    until_interrupted(app, async {
        let _registry = release::rehearse::serve(&app.workspace, &environment).await?;
        let context = app.context();
        let output = Output::below(&app.workspace.environment(name));
        let plan = release::plan::prepare(&context, environment, output, Purpose::Apply).await?;
        let summary = plan.summary(&app.workspace);
        app.ui.plan(&summary.with_overrides(take_over, reason));
        let take_over = confirm::take_over(&plan, take_over)?;
        let permit = release::plan::permit(plan, reason, take_over, &lock)?;
        confirm::approve(permit.plan(), &arguments.approval, false)?;
        let deployed = release::deploy::apply_alone(&context, &permit).await?;
        let log = deployed.applied.map(|applied| applied.log);
        app.ui.result(
            &format!(
                "{name}: applied; mkectl's log is {}\n",
                log.as_deref().unwrap_or("none".into())
            ),
            &json!({ "environment": name, "log": log }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
