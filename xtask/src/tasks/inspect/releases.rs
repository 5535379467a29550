//! `releases`: shows the recorded facts of releases.

use std::process::ExitCode;

use console::style;
use release::report::releases::{Answer, Certainties, ReleaseFacts, Row, all, check, one};
use serde_json::json;

use crate::app::App;
use crate::cli::ReleasesArgs;
use crate::failure::Failure;
use crate::ui::table;

pub(crate) fn run(app: &App<'_>, arguments: &ReleasesArgs) -> Result<ExitCode, Failure> {
    if arguments.check {
        return check_overlay(app);
    }
    match &arguments.release {
        Some(release) => {
            if super::release(release).is_err() {
                super::refuse_environment(app, release)?;
            }
            let facts = one(&app.workspace, &super::release(release)?)?;
            app.ui.result(&details(&facts), &facts)?;
        }
        None => {
            let rows = all(&app.workspace)?;
            app.ui.result(&overview(&rows), &rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what the team's file adds. An invalid file was refused before.
fn check_overlay(app: &App<'_>) -> Result<ExitCode, Failure> {
    let Some(overlaid) = check(&app.workspace)? else {
        let path = app.workspace.releases();
        let path = app.workspace.shown(&path);
        let text = format!("{path} does not exist; only the facts of this program are used\n");
        app.ui.result(&text, &json!({ "file": null }))?;
        return Ok(ExitCode::SUCCESS);
    };
    for warning in &overlaid.warnings {
        app.ui.note(warning);
    }
    let mut text = format!("no errors in {}\n", overlaid.file);
    for (what, releases) in [("adds", &overlaid.added), ("changes", &overlaid.changed)] {
        if !releases.is_empty() {
            text.push_str(&format!("{what} {}\n", releases.join(", ")));
        }
    }
    app.ui.result(&text, &overlaid)?;
    Ok(ExitCode::SUCCESS)
}

fn overview(rows: &[Row]) -> String {
    let mut text = table(
        &[
            "release",
            "checksum",
            "private ca",
            "anonymous pull",
            "external address",
            "mkectl hashes",
            "issues",
        ],
        &["mkectl hashes", "issues"],
        rows.iter()
            .map(|row| {
                vec![
                    row.release.clone(),
                    short(&row.checksum),
                    short(&row.private_ca),
                    short(&row.anonymous_pull),
                    short(&row.external_address),
                    row.mkectl_hashes.to_string(),
                    row.faults.len().to_string(),
                ]
            })
            .collect(),
    );
    let mut all = Certainties::new();
    for (certainty, count) in rows.iter().flat_map(|row| &row.certainties) {
        *all.entry(certainty).or_default() += count;
    }
    text.push_str(&format!(
        "\n~ inferred, ? unverified, all else documented; over all releases {}\n\
         `cargo xtask releases v4.1.5` shows all facts about one, with their sources\n",
        counted(&all)
    ));
    text
}

/// Returns the number of facts, and the number of each certainty.
fn counted(certainties: &Certainties) -> String {
    let of_each = certainties.iter().filter(|(_, count)| **count > 0);
    let of_each: Vec<String> = of_each
        .map(|(certainty, count)| format!("{count} {certainty}"))
        .collect();
    let all: usize = certainties.values().sum();
    format!("{}: {}", super::count(all, "fact"), of_each.join(", "))
}

/// Returns an answer, with a sign unless it is documented.
fn short(answer: &Answer) -> String {
    match answer.certainty {
        "documented" => answer.value.to_owned(),
        // `private_ca` has the value `unverified`.
        "unverified" if answer.value == "unverified" => "?".to_owned(),
        "unverified" => format!("{} ?", answer.value),
        _ => format!("{} ~", answer.value),
    }
}

fn details(facts: &ReleaseFacts) -> String {
    let mut text = format!(
        "{}\n{}\n",
        style(&facts.release).bold(),
        counted(&facts.certainties)
    );
    for warning in &facts.warnings {
        text.push_str(&format!(
            "{} {warning}\n",
            style("warning:").yellow().bold()
        ));
    }
    for fact in &facts.facts {
        text.push_str(&format!("\n{:<16} {}\n", fact.subject, fact.value));
        let mut line = |words: &str| text.push_str(&format!("{:<16} {words}\n", ""));
        line(&style(fact.certainty).dim().to_string());
        for source in &fact.sources {
            line(&style(source).dim().to_string());
        }
        if let Some(command) = fact.overridden_by {
            line(&format!("overridden by `{command}`"));
        }
    }
    for download in &facts.mkectl {
        text.push_str(&format!(
            "\n{:<16} {}\n{:<16} {}\n",
            download.platform,
            download.url,
            "",
            download.sha256.map_or_else(
                || "no published hash".to_owned(),
                |hash| format!("SHA-256 {hash}")
            )
        ));
    }
    text
}
