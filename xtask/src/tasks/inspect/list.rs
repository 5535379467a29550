//! `list`: lists environments, locked releases and sets.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use release::report::list::Listing;

use crate::advice;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::table;

pub(crate) fn run(app: &App<'_>) -> Result<ExitCode, Failure> {
    let listing = release::report::list::list(&app.workspace)?;
    let mut text = if listing.environments.is_empty() {
        advice::NO_ENVIRONMENTS.to_owned()
    } else {
        environments(&listing)
    };
    text.push('\n');
    if listing.releases.is_empty() {
        text.push_str(advice::no_locks());
    } else {
        text.push_str(&releases(&listing));
    }
    if !listing.sets.is_empty() {
        text.push('\n');
        text.push_str(&sets(&listing));
    }
    app.ui.result(&text, &listing)?;
    Ok(ExitCode::SUCCESS)
}

fn environments(listing: &Listing) -> String {
    table(
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
    )
}

fn sets(listing: &Listing) -> String {
    table(
        &["set", "artifacts", "size", "state"],
        &["artifacts", "size"],
        listing
            .sets
            .iter()
            .map(|row| {
                vec![
                    row.set.clone(),
                    row.artifacts.to_string(),
                    DecimalBytes(row.size).to_string(),
                    row.state.clone(),
                ]
            })
            .collect(),
    )
}

fn releases(listing: &Listing) -> String {
    table(
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
    )
}
