//! `learn`: records facts of a release from a real bundle and a real mkectl.

use std::process::ExitCode;

use release::transfer::learn::{Outcome, Request};
use serde_json::json;

use crate::app::App;
use crate::cli::LearnArgs;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::ui::coloured;

pub(crate) fn run(app: &App<'_>, arguments: &LearnArgs) -> Result<ExitCode, Failure> {
    let request = Request {
        release: super::release(&arguments.release)?,
        arch: arguments.arch.clone(),
        bundle: arguments.bundle.clone(),
        checksum: arguments.checksum.clone(),
        mkectl: arguments.mkectl.clone(),
        force_release: arguments.force_release,
    };
    let outcome = until_interrupted(app, async {
        Ok(release::transfer::learn::learn(&app.context(), &request)?)
    })?;
    app.ui.result(
        &text(&outcome),
        &json!({
            "path": outcome.path,
            "written": outcome.written,
            "observations": outcome.observations,
            "undecided": outcome.undecided.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "contradictions": outcome.contradictions.iter().map(|one| json!({
                "subject": one.subject,
                "known": one.known,
                "certainty": one.certainty.name(),
                "observed": one.observed,
            })).collect::<Vec<_>>(),
        }),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn text(outcome: &Outcome) -> String {
    let Outcome {
        path, observations, ..
    } = outcome;
    let action = if outcome.written {
        "wrote"
    } else {
        "unchanged:"
    };
    let mut text = format!("{action} {path}\n");
    for (arch, bundle) in &observations.bundles {
        text.push_str(&format!(
            "bundle {arch}: {} below {}/, {}\n",
            super::count(bundle.kinds.values().sum(), "archive"),
            bundle.top_folder,
            super::count(bundle.exceptions.len(), "exception"),
        ));
        for exception in &bundle.exceptions {
            let reading = match (&exception.skip, &exception.reference, &exception.root) {
                (Some(reason), _, _) => format!("skipped: {reason}"),
                (None, Some(reference), _) => format!("mirrored as {reference}"),
                (None, None, Some(root)) => format!("root {root}"),
                (None, None, None) => "undecided".to_owned(),
            };
            text.push_str(&format!(
                "  {}: {}\n    {reading}\n",
                exception.archive, exception.problem
            ));
        }
    }
    if let Some(mkectl) = &observations.mkectl {
        text.push_str(&format!(
            "mkectl: {}, {}\n",
            mkectl.version,
            super::count(mkectl.help.len(), "help page")
        ));
    }
    for undecided in &outcome.undecided {
        text.push_str(&format!("decide before `lock`: {undecided}\n"));
    }
    if outcome.report.is_empty() {
        text.push_str("no contradiction with the recorded facts of the release\n");
    } else {
        text.push_str(&format!(
            "\n{}\nplease report this diff to the project: it contains nothing of this machine\n",
            coloured(&outcome.report)
        ));
    }
    text
}
