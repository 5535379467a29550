//! `show`: prints an environment with everything that it inherits.

use std::process::ExitCode;

use serde_json::json;

use crate::app::App;
use crate::failure::Failure;

pub(crate) fn run(app: &App<'_>, name: &str) -> Result<ExitCode, Failure> {
    let environment = app.environment(name)?;
    let text = environment::yaml::emit_with_origins(&environment.merged);
    let files: Vec<_> = environment.files.iter().map(|file| &file.path).collect();
    let value = json!({
        "environment": environment.name,
        "files": files,
        "merged": environment::yaml::emit(&environment.merged),
    });
    app.ui.document(&text, &value)?;
    Ok(ExitCode::SUCCESS)
}
