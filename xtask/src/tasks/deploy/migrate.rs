//! `migrate`: deploys to a cluster of MKE 3, which mkectl upgrades to MKE 4.

use std::process::ExitCode;

use release::plan::Purpose;
use release::workspace::Output;

use crate::app::App;
use crate::cli::MigrateArgs;
use crate::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::tasks::inspect::plan::refusal;
use crate::ui::{Detail, Ui};

pub(crate) fn run(app: &App<'_>, arguments: &MigrateArgs) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let (environment, lock) = app.lock_environment(name, "migrate")?;
    let take_over = arguments.take_over.take_over;
    let reason = arguments.overrides.override_requires.as_deref();
    until_interrupted(app, async {
        let context = app.context();
        let output = Output::below(&app.workspace.environment(name));
        let plan = match arguments.dry_run {
            true => release::plan::plan(&context, environment, output, Purpose::Migrate).await?,
            false => {
                release::plan::prepare(&context, environment, output, Purpose::Migrate).await?
            }
        };
        let summary = plan.summary(&app.workspace);
        let summary = summary.with_overrides(take_over, reason);
        if arguments.dry_run {
            let text = Ui::plan_text(&summary, Detail::Full);
            app.ui.result(&text, &summary)?;
            let refused = refusal(app, &plan, take_over, reason);
            return Ok(refused.unwrap_or(ExitCode::SUCCESS));
        }
        app.ui.plan(&summary);
        let take_over = confirm::take_over(&plan, take_over)?;
        let permit = release::plan::permit(plan, reason, take_over, &lock)?;
        confirm::approve(permit.plan(), &arguments.approval, false)?;
        let deployed = release::deploy::deploy(&context, &permit).await?;
        super::deploy::report(app, "deployed over MKE 3", permit.plan(), &deployed)?;
        Ok(ExitCode::SUCCESS)
    })
}
