//! `verify`: the registry, as a node sees it.

use std::process::ExitCode;

use release::verify::Depth;
use serde_json::json;

use crate::app::App;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, name: &str) -> Result<ExitCode, Failure> {
    let environment = app.environment(name)?;
    let locked = release::fetch::locked(&app.workspace, &environment.release)?;
    let confirmed = until_interrupted(app, async {
        let _registry = release::rehearse::serve(&app.workspace, &environment).await?;
        Ok(
            release::verify::everything(&app.context(), &environment, &locked.lock, Depth::Full)
                .await?,
        )
    })?;
    let registry = environment.registry.image_url();
    app.ui.result(
        &format!(
            "{name}: {registry} serves {} of v{} to nodes\n",
            super::count(confirmed.artifacts, "artifact"),
            environment.release
        ),
        &json!({ "environment": name, "registry": registry, "artifacts": confirmed.artifacts }),
    )?;
    Ok(ExitCode::SUCCESS)
}
