//! `push`: the registry gets what it lacks.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use release::event::Step;
use release::plan::Purpose;
use release::workspace::Output;
use serde_json::json;

use crate::app::App;
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, name: &str, confirmed: Option<&str>) -> Result<ExitCode, Failure> {
    let environment = app.environment(name)?;
    until_interrupted(app, async {
        let _registry = release::rehearse::serve(&app.workspace, &environment).await?;
        let context = app.context();
        let output = Output::below(&app.workspace.environment(name));
        let plan = release::plan::plan(&context, environment, output, Purpose::Push).await?;
        if plan.to_be_pushed().next().is_some() {
            confirm(&plan.environment, confirmed)?;
        }
        let mut step = Step::Fetch;
        let sent = release::deploy::send(&context, &plan, &mut step).await?;
        let confirmed = release::verify::registry(&context, &plan, &sent).await?;
        app.ui.result(
            &format!(
                "{name}: {} in {}, {} pushed, {} sent\n",
                super::count(confirmed.artifacts, "artifact"),
                plan.environment.registry.image_url(),
                sent.artifacts,
                DecimalBytes(sent.uploaded_bytes),
            ),
            &json!({
                "environment": name,
                "artifacts": confirmed.artifacts,
                "pushed": sent.artifacts,
                "sent-bytes": sent.uploaded_bytes,
            }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
