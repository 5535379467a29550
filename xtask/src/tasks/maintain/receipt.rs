//! `receipt rebuild`: computes a lost receipt from the state of the cluster and the registry.

use std::process::ExitCode;

use serde_json::json;

use crate::app::App;
use crate::cli::ReceiptCommand;
use crate::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::ui::coloured;

pub(crate) fn run(app: &App<'_>, command: &ReceiptCommand) -> Result<ExitCode, Failure> {
    let ReceiptCommand::Rebuild {
        environment: name,
        confirm,
        take_over,
    } = command;
    let (environment, _lock) = app.lock_environment(name, "receipt rebuild")?;
    until_interrupted(app, async {
        let context = app.context();
        let rebuilt = release::cluster::rebuild(&context, environment, take_over.take_over).await?;
        for warning in &rebuilt.warnings {
            app.ui.note(&format!("warning: {warning}"));
        }
        let diff = rebuilt.diff(&context)?;
        app.ui.note(coloured(&diff).trim_end());
        let question = format!("Type {name} to write this receipt: ");
        confirm::ask(rebuilt.environment(), &question, confirm.as_deref())?;
        let warnings = rebuilt.warnings.clone();
        let path = rebuilt.write(&context).await?;
        app.ui.result(
            &format!("{name}: wrote {path}; commit it\n"),
            &json!({ "environment": name, "path": path, "diff": diff, "warnings": warnings }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
