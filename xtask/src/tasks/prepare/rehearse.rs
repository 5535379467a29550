//! `rehearse`: runs a deploy with an embedded registry and a stand-in for mkectl.

use std::process::ExitCode;

use release::environment_lock::EnvironmentLock;

use crate::app::App;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, name: &str) -> Result<ExitCode, Failure> {
    let environment = app.environment(name)?;
    let lock = EnvironmentLock::acquire_rehearsal(&app.context(), name)?;
    until_interrupted(app, async {
        let context = app.context();
        let rehearsal = release::rehearse::prepare(&context, environment).await?;
        app.ui.note(&format!(
            "A rehearsal: its results are below {}, and nothing outside {} is changed.",
            app.workspace.shown(&app.workspace.rehearsal(name)),
            app.workspace.shown(&app.workspace.bundles())
        ));
        if let Some(stand_in) = &rehearsal.stand_in {
            app.ui.note(&format!(
                "v{} is not fetched here, so the small bundle of {stand_in} is used instead.",
                rehearsal.plan.environment().release
            ));
        }
        let done = match &rehearsal.stand_in {
            Some(stand_in) => format!("rehearsed with the bundle of {stand_in}"),
            None => "rehearsed".to_owned(),
        };
        app.ui.plan(&rehearsal.plan.summary(&app.workspace));
        let (permit, deployed) = release::rehearse::run(&context, rehearsal, &lock).await?;
        crate::tasks::deploy::deploy::report(app, &done, permit.plan(), &deployed)
    })?;
    Ok(ExitCode::SUCCESS)
}
