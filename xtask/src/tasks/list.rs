//! `list`: what the workspace holds.

use std::process::ExitCode;

use indicatif::DecimalBytes;

use crate::app::App;
use crate::failure::Failure;
use crate::ui::table;

pub(crate) fn run(app: &App<'_>) -> Result<ExitCode, Failure> {
    let listing = release::list::list(&app.workspace)?;
    let mut text = table(
        &["environment", "release", "registry", "protected", "state"],
        &[],
        listing
            .environments
            .iter()
            .map(|row| {
                vec![
                    row.name.clone(),
                    row.release.clone(),
                    row.registry.clone(),
                    if row.protected { "yes" } else { "no" }.to_owned(),
                    row.state.clone(),
                ]
            })
            .collect(),
    );
    text.push('\n');
    if listing.releases.is_empty() {
        text.push_str("No release is locked. `cargo xtask lock v4.1.5` locks one.\n");
    } else {
        text.push_str(&table(
            &["release", "arch", "artifacts", "bundle", "state"],
            &["artifacts", "bundle"],
            listing
                .releases
                .iter()
                .map(|row| {
                    vec![
                        row.release.clone(),
                        row.arch.clone(),
                        row.artifacts.to_string(),
                        DecimalBytes(row.size).to_string(),
                        row.state.clone(),
                    ]
                })
                .collect(),
        ));
    }
    app.ui.result(&text, &listing)?;
    Ok(ExitCode::SUCCESS)
}
