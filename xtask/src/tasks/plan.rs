//! `plan`: what deploy would do.

use std::process::ExitCode;

use release::plan::Purpose;
use release::workspace::Output;

use crate::app::App;
use crate::failure::{DIFFERS, Failure};
use crate::interrupt::until_interrupted;
use crate::ui::{Detail, Ui};

pub(crate) fn run(app: &App<'_>, name: &str, detailed_exitcode: bool) -> Result<ExitCode, Failure> {
    let environment = app.environment(name)?;
    let summary = until_interrupted(app, async {
        let _registry = release::rehearse::serve(&app.workspace, &environment).await?;
        let output = Output::below(&app.workspace.environment(name));
        let plan =
            release::plan::plan(&app.context(), environment, output, Purpose::Deploy).await?;
        Ok(plan.summary(&app.workspace))
    })?;
    app.ui
        .result(&Ui::plan_text(&summary, Detail::Full), &summary)?;
    if detailed_exitcode && !summary.nothing_to_do {
        return Ok(ExitCode::from(DIFFERS));
    }
    Ok(ExitCode::SUCCESS)
}
