//! `deploy`: plans, asks for approval, and executes the plan.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use release::Context;
use release::deploy::Deployed;
use release::plan::{Plan, Purpose, SavedFile};
use release::workspace::Output;
use serde_json::json;

use crate::app::App;
use crate::cli::DeployArgs;
use crate::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, arguments: &DeployArgs) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let take_over = arguments.take_over.take_over;
    let reason = arguments.overrides.override_requires.as_deref();
    let file = arguments.plan.as_deref();
    let saved = file.map(|file| SavedFile::read(file, name)).transpose()?;
    let (environment, lock) = app.lock_environment(name, "deploy")?;
    until_interrupted(app, async {
        let _registry = release::rehearse::serve(&app.workspace, &environment).await?;
        let context = Context {
            without_backup: arguments.without_backup.as_deref(),
            ..app.context()
        };
        let output = Output::below(&app.workspace.environment(name));
        let mut plan =
            release::plan::prepare(&context, environment, output, Purpose::Deploy).await?;
        if let Some(saved) = &saved {
            saved.bind(&mut plan, &app.workspace)?;
        }
        let summary = plan.summary(&app.workspace);
        app.ui.plan(&summary.with_overrides(take_over, reason));
        let take_over = confirm::take_over(&plan, take_over)?;
        let permit = release::plan::permit(plan, reason, take_over, &lock)?;
        if !permit.plan().is_empty() {
            confirm::approve(permit.plan(), &arguments.approval, file.is_some())?;
        }
        let deployed = release::deploy::deploy(&context, &permit).await?;
        report(app, "deployed", permit.plan(), &deployed)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the result of a deploy. `done` is the participle in it: `deployed`.
pub(in crate::tasks) fn report(
    app: &App<'_>,
    done: &str,
    plan: &Plan,
    deployed: &Deployed,
) -> Result<(), Failure> {
    let environment = plan.environment();
    let after = (deployed.applied.as_ref()).and_then(|applied| applied.after_upgrade.as_ref());
    let mut text = if plan.is_empty() {
        format!("{}: nothing to do\n", environment.name)
    } else {
        format!(
            "{}: v{} {done}: {} in {}, {} pushed, {} sent, {}\n",
            environment.name,
            environment.release,
            super::count(deployed.confirmed.artifacts(), "artifact"),
            environment.registry.image_url(),
            deployed.sent.artifacts,
            DecimalBytes(deployed.sent.uploaded_bytes),
            match &deployed.applied {
                Some(applied) => format!("mkectl's log is {}", applied.log),
                None => "mkectl not needed".to_owned(),
            },
        )
    };
    if let Some(after) = after.filter(|after| !after.changes.is_empty()) {
        text.push_str("from the cluster, as the upgrade left it, to what is rendered:\n");
        crate::tasks::inspect::diff::changes(&mut text, &after.changes);
    }
    app.ui.result(
        &text,
        &json!({
            "environment": environment.name,
            "release": format!("v{}", environment.release),
            "registry": environment.registry.image_url(),
            "artifacts": deployed.confirmed.artifacts(),
            "pushed": deployed.sent.artifacts,
            "sent-bytes": deployed.sent.uploaded_bytes,
            "applied": deployed.applied.is_some(),
            "log": deployed.applied.as_ref().map(|applied| &applied.log),
            "upgraded": after.map(|after| json!({ "differences": after.changes, "file": after.file })),
            "nothing-to-do": plan.is_empty(),
            "rehearsal": environment.rehearsal,
        }),
    )
}
