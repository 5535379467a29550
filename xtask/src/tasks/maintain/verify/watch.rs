//! `verify --watch`: prints a line when the state of a registry changes, until a signal ends it.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use release::Context;
use release::event::{Event, Reporter};
use release::verify::{Depth, Round, State};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::VerifyArgs;
use crate::failure::{self, Failure};
use crate::interrupt::until_interrupted;
use crate::tasks::maintain::verify::other_release;
use crate::ui::Ui;

pub(super) fn run(
    app: &App<'_>,
    arguments: &VerifyArgs,
    depth: Depth,
    interval: Duration,
) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let environment = app.environment(name)?;
    let quiet = Quiet {
        ui: app.ui,
        warnings: Mutex::default(),
    };
    let mut last = None;
    let each = |round: &Round| {
        if let Some(path) = &arguments.textfile {
            release::verify::write_textfile(&app.workspace, path, round)?;
        }
        let state = round.state();
        if last.as_ref() != Some(&state) {
            let mut value = value(round, &state);
            let elsewhere = match &round.release {
                Some(release) => other_release(app, name, release, &mut value),
                None => String::new(),
            };
            app.ui.result(&text(round, &state, &elsewhere), &value)?;
            last = Some(state);
        }
        Ok::<_, Failure>(())
    };
    until_interrupted(app, async {
        let _registry = release::rehearse::serve_for_reading(&app.workspace, &environment).await?;
        let context = Context {
            reporter: &quiet,
            ..app.context()
        };
        release::verify::watch(&context, name, depth, interval, each).await
    })?;
    match app.ui.is_human() {
        true => Ok(ExitCode::from(failure::INTERRUPTED)),
        false => Err(Failure::Signalled),
    }
}

/// Hides the progress of each check, and reports each warning once.
struct Quiet<'a> {
    ui: &'a Ui,
    /// Warnings that were reported.
    warnings: Mutex<BTreeSet<String>>,
}

impl Reporter for Quiet<'_> {
    fn report(&self, event: Event<'_>) {
        let Event::Warning(text) = event else { return };
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.insert(text.clone()) {
            self.ui.report(Event::Warning(text));
        }
    }
}

fn text(round: &Round, state: &State, elsewhere: &str) -> String {
    let (at, name) = (round.at.strftime("%Y-%m-%dT%H:%M:%SZ"), &round.environment);
    match state {
        State::Served { artifacts, .. } => format!(
            "{at} {name}: {} of {} are served{elsewhere}\n",
            crate::tasks::count(*artifacts, "artifact"),
            round.release.as_deref().unwrap_or_default()
        ),
        State::Wrong(findings) => {
            let first = findings.first().map(ToString::to_string);
            let more = match findings.len() {
                0 | 1 => String::new(),
                all => format!(", and {} more", all - 1),
            };
            format!(
                "{at} {name}: {}{more}{elsewhere}\n",
                first.unwrap_or_default()
            )
        }
        State::Unknown(error) => {
            // Several problems are several lines, but a state is one line.
            let error: Vec<&str> = error.lines().map(str::trim).collect();
            format!("{at} {name}: unknown: {}{elsewhere}\n", error.join("; "))
        }
    }
}

fn value(round: &Round, state: &State) -> Value {
    let (word, findings, error) = match state {
        State::Served { .. } => ("served", json!([]), Value::Null),
        State::Wrong(findings) => ("wrong", json!(findings), Value::Null),
        State::Unknown(error) => ("unknown", json!([]), json!(error)),
    };
    json!({
        "environment": round.environment,
        "release": round.release,
        "at": round.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "state": word,
        "findings": findings,
        "error": error,
    })
}
