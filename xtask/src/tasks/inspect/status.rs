//! `status`: shows the state of environments, one row each, and a fix for each difference.

use std::process::ExitCode;

use release::report::status::{Fix, Status};
use release::shared_state::{Phase, State};
use serde_json::{Value, json};

use crate::advice;
use crate::app::App;
use crate::cli::StatusArgs;
use crate::failure::{DIFFERS, Failure};
use crate::interrupt::until_interrupted;
use crate::ui::table;

pub(crate) fn run(app: &App<'_>, arguments: &StatusArgs) -> Result<ExitCode, Failure> {
    let named = arguments.environment.as_deref();
    let names = super::existing_or_all(app, named)?;
    let all = until_interrupted(app, async {
        Ok(release::report::status::status(&app.context(), &names, arguments.live).await)
    })?;
    let text = match all.is_empty() {
        true => advice::NO_ENVIRONMENTS.to_owned(),
        false => text(&all, arguments.live),
    };
    let values: Vec<Value> = all.iter().map(value).collect();
    app.ui.result(&text, &json!({ "environments": values }))?;
    if arguments.detailed_exitcode && all.iter().any(|status| !status.drift.is_empty()) {
        return Ok(ExitCode::from(DIFFERS));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(all: &[Status], live: bool) -> String {
    let mut titles = vec!["environment", "wanted", "deployed", "registry"];
    let has_shared = all.iter().any(|status| status.shared.is_some());
    if has_shared {
        titles.push("shared state");
    }
    if live {
        titles.push("cluster");
    }
    titles.push("differences");
    let rows = (all.iter())
        .map(|status| row(status, has_shared, live))
        .collect();
    let mut text = table(&titles, &["differences"], rows);
    for status in all {
        if let (Some(from), Some(release)) = (&status.locked_from, &status.release) {
            text.push_str(&format!(
                "\n{}: {release} is locked from {from}, not from the vendor's bundle\n",
                status.environment
            ));
        }
    }
    if all.iter().any(|status| !status.drift.is_empty()) {
        text.push('\n');
    }
    for status in all {
        // Adjacent differences with the same fix share its line.
        for drifts in status.drift.chunk_by(|one, next| one.fix == next.fix) {
            for drift in drifts {
                text.push_str(&format!("{}: {}\n", status.environment, drift.what));
            }
            let fix = match &drifts[0].fix {
                Fix::Lock(name) => advice::not_locked(name),
                other => fix(other, &status.environment),
            };
            text.push_str(&format!("    {fix}\n"));
        }
    }
    text
}

fn row(status: &Status, has_shared: bool, live: bool) -> Vec<String> {
    let nothing = || "-".to_owned();
    let deployed = status.deployed.as_ref().map_or_else(nothing, |deployed| {
        let release = deployed.release.as_deref().unwrap_or("nothing");
        match &deployed.failed_at {
            Some(step) => format!(
                "{release}; the last deploy failed at {step}, {}",
                deployed.ended
            ),
            None => format!("{release} {}", deployed.ended),
        }
    });
    let registry =
        status
            .registry
            .as_ref()
            .map_or_else(nothing, |registry| match registry.served {
                Some(served) => format!("{served} of {}", registry.artifacts),
                None => "no answer".to_owned(),
            });
    let mut row = vec![
        status.environment.clone(),
        status
            .release
            .clone()
            .unwrap_or_else(|| "invalid".to_owned()),
        deployed,
        registry,
    ];
    if has_shared {
        let shared = status.shared.as_ref();
        row.push(shared.map_or_else(nothing, |state| shared_state(status, state)));
    }
    if live {
        row.push(match status.cluster_changes {
            None => nothing(),
            Some(0) => "as rendered".to_owned(),
            Some(changes) => super::count(changes, "difference"),
        });
    }
    row.push(match status.drift.len() {
        0 => "none".to_owned(),
        drifts => drifts.to_string(),
    });
    row
}

/// Returns the cell for the shared state. It does not record how a deploy ended: only the receipt
/// in the checkout of that deploy does.
fn shared_state(status: &Status, state: &State) -> String {
    let State { release, time, .. } = state;
    let is_own = state.receipt == status.receipt_sha256;
    let failed = (status.deployed.as_ref()).is_some_and(|deployed| deployed.failed_at.is_some());
    match (state.phase, &state.receipt) {
        (Phase::Began, _) => format!("{release} deploying since {time}"),
        (Phase::Ended, None) => format!("reset {time}"),
        (Phase::Ended, Some(_)) if is_own && failed => {
            format!("a deploy of {release} failed {time}")
        }
        (Phase::Ended, Some(_)) if is_own => format!("{release} deployed {time}"),
        (Phase::Ended, Some(_)) => format!("a deploy of {release} ended {time}"),
    }
}

/// Returns the state of an environment as JSON, with the text of each fix.
pub(super) fn value(status: &Status) -> Value {
    let mut value = json!(status);
    for (index, drift) in status.drift.iter().enumerate() {
        value["drift"][index]["fix"] = fix(&drift.fix, &status.environment).into();
    }
    value
}

/// Returns the fix for a difference of an environment: a command or advice.
fn fix(fix: &Fix, name: &str) -> String {
    match fix {
        Fix::Check => format!("cargo xtask check {name}"),
        Fix::Render => format!("cargo xtask render {name}"),
        Fix::Push => format!("cargo xtask push {name}"),
        Fix::Deploy => format!("cargo xtask deploy {name}"),
        Fix::Migrate => format!("cargo xtask migrate {name}"),
        Fix::Apply => format!("cargo xtask apply {name}"),
        Fix::Lock(name) => format!("cargo xtask lock {name}"),
        Fix::Plan => format!("cargo xtask plan {name}"),
        Fix::Preflight => format!("cargo xtask preflight {name}"),
        Fix::DiffLive => format!("cargo xtask diff {name} --live"),
        Fix::Releases(release) => format!("cargo xtask releases {release}"),
        Fix::Required(required) => format!("cargo xtask status {required}"),
        Fix::Pull => "git pull".to_owned(),
        Fix::Wait => "wait until that command ends".to_owned(),
        Fix::FreeAddress => advice::ADDRESS_IN_USE.to_owned(),
        Fix::Restore(path) => format!("git checkout HEAD -- {path}"),
        Fix::NewerAirlock => advice::NEWER_AIRLOCK.to_owned(),
        Fix::List(path) => format!("ls -l {path}"),
        Fix::Follow(path) => format!("tail -f {path}"),
    }
}
