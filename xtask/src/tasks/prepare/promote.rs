//! `promote`: writes the release of one environment into the file and `mke4.yaml` of another.

use std::process::ExitCode;

use release::config::promote::Promoted;

use crate::app::App;
use crate::cli::PromoteArgs;
use crate::failure::Failure;
use crate::tasks::inspect::diff::Comparison as _;
use crate::ui::coloured;

pub(crate) fn run(app: &App<'_>, arguments: &PromoteArgs) -> Result<ExitCode, Failure> {
    let (_, _lock) = app.lock_environment(&arguments.to, "promote")?;
    let promoted = release::config::promote::promote(
        &app.workspace,
        &arguments.from,
        &arguments.to,
        arguments.unproven,
    )?;
    for warning in &promoted.warnings {
        app.ui.note(&format!("warning: {warning}"));
    }
    match arguments.markdown {
        true => app.ui.document(&markdown(&promoted), &promoted)?,
        false => app.ui.result(&text(&promoted), &promoted)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(promoted: &Promoted) -> String {
    let Promoted {
        to, old, new, edit, ..
    } = promoted;
    let mut text = match edit.as_str() {
        "" => format!("{to} has {new} already\n"),
        edit => format!("{to}: {old} → {new}\n\n{}", coloured(edit)),
    };
    text.push_str(&match &promoted.config {
        Some(config) => format!("\n{}", config.text()),
        None => format!("\n{} is written\n", promoted.config_path),
    });
    if let Some(releases) = &promoted.releases {
        text.push_str(&format!("\n{}", releases.text()));
    }
    if !edit.is_empty() {
        text.push_str(&format!(
            "\nNothing was deployed. Commit {} and {}, then run `cargo xtask plan {to}`\n",
            promoted.path, promoted.config_path
        ));
    }
    text
}

fn markdown(promoted: &Promoted) -> String {
    let mut text = format!(
        "### {} → {}: {} → {}\n\n",
        promoted.from, promoted.to, promoted.old, promoted.new
    );
    if !promoted.edit.is_empty() {
        text.push_str(&format!("```diff\n{}```\n\n", promoted.edit));
    }
    match &promoted.config {
        Some(config) => text.push_str(&config.markdown()),
        None => text.push_str(&format!("`{}` is new.\n", promoted.config_path)),
    }
    if let Some(releases) = &promoted.releases {
        text.push_str(&format!("\n{}", releases.markdown()));
    }
    text
}
