//! `plan`: shows what deploy would do.

use std::process::ExitCode;

use release::Context;
use release::plan::snapshot::Snapshot;
use release::plan::{Plan, Purpose, RegistryState};
use release::workspace::{FileKind, Output, check_named};
use serde_json::json;

use crate::app::App;
use crate::cli::PlanArgs;
use crate::failure::{DIFFERS, Failure, code, hints};
use crate::interrupt::until_interrupted;
use crate::ui::{Detail, Ui};

mod markdown;

pub(crate) fn run(app: &App<'_>, arguments: &PlanArgs) -> Result<ExitCode, Failure> {
    let environment = app.environment(&arguments.environment)?;
    if let Some(path) = &arguments.out {
        check_named(&app.workspace, path, FileKind::Plan)?;
    }
    let snapshot = arguments
        .snapshot
        .as_deref()
        .map(Snapshot::read)
        .transpose()?;
    let mut plan = until_interrupted(app, async {
        let _registry = match &snapshot {
            Some(_) => None,
            None => release::rehearse::serve_for_reading(&app.workspace, &environment).await?,
        };
        let output = Output::below(&app.workspace.environment(&arguments.environment));
        let state = snapshot
            .as_ref()
            .map_or(RegistryState::Live, RegistryState::Snapshot);
        let context = Context {
            without_backup: arguments.without_backup.as_deref(),
            ..app.context()
        };
        let purpose = Purpose::Deploy;
        Ok(release::plan::with_state(&context, environment, output, purpose, state).await?)
    })?;
    let summary = plan.summary(&app.workspace);
    let mut value = serde_json::to_value(&summary).unwrap_or_default();
    if let Some(path) = &arguments.out {
        let digest = release::plan::save(&mut plan, &app.workspace, path)?;
        app.ui
            .note(&format!("the plan is in {path}, with SHA-256 {digest}"));
        value["file"] = json!({ "path": path, "sha256": digest });
    }
    match arguments.markdown {
        true => app.ui.document(&markdown::plan(&summary), &value)?,
        false => app
            .ui
            .result(&Ui::plan_text(&summary, Detail::Full), &value)?,
    }
    if let Some(refused) = refusal(app, &plan, false, None) {
        return Ok(refused);
    }
    if arguments.detailed_exitcode && !summary.nothing_to_do {
        return Ok(ExitCode::from(DIFFERS));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the exit code if a deploy would refuse this plan, and prints hints.
pub(in crate::tasks) fn refusal(
    app: &App<'_>,
    plan: &Plan,
    takes_over: bool,
    reason: Option<&str>,
) -> Option<ExitCode> {
    let context = app.context();
    for hint in plan.problem(&context).map(hints).unwrap_or_default() {
        app.ui.note(&format!("hint: {hint}"));
    }
    let kind = plan.refusal(&context, takes_over, reason)?;
    Some(ExitCode::from(code(kind)))
}
