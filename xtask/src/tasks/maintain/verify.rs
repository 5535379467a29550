//! `verify`: reads the registry as a node does: once, repeatedly, or with a repair.

use std::process::ExitCode;

use environment::Environment;
use indicatif::DecimalBytes;
use release::receipt::Receipt;
use release::verify::{Depth, Repaired, Served, affected};
use release::workspace::{FileKind, Output, check_named};
use serde_json::json;

use crate::app::App;
use crate::cli::VerifyArgs;
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

mod watch;

pub(crate) fn run(app: &App<'_>, arguments: &VerifyArgs) -> Result<ExitCode, Failure> {
    if let Some(path) = &arguments.textfile {
        check_named(&app.workspace, path, FileKind::Metrics)?;
    }
    let depth = match arguments.full {
        true => Depth::Bytes,
        false => Depth::Full,
    };
    match arguments.watch {
        Some(interval) => watch::run(app, arguments, depth, interval),
        None if arguments.repair => repair(app, arguments, depth),
        None => once(app, arguments, depth),
    }
}

fn once(app: &App<'_>, arguments: &VerifyArgs, depth: Depth) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let environment = app.environment(name)?;
    let round = until_interrupted(app, async {
        let _registry = release::rehearse::serve_for_reading(&app.workspace, &environment).await?;
        Ok(release::verify::verify_once(&app.context(), name, depth).await)
    })?;
    if let Some(path) = &arguments.textfile {
        release::verify::write_textfile(&app.workspace, path, &round)?;
    }
    let served = round.outcome?;
    let mut value = value(name, &served);
    let locked = release::locked::of(&app.workspace, &environment)?;
    value["unlocked"] = json!(release::verify::warn_of_incomplete_lock(
        &app.context(),
        &environment,
        &locked
    ));
    let release = format!("v{}", environment.release);
    let elsewhere = other_release(app, name, &release, &mut value);
    let text = format!(
        "{name}: {}{elsewhere}\n",
        served_text(&served, &environment)
    );
    if !(served.findings.is_empty() || elsewhere.is_empty()) {
        app.ui
            .note(&format!("{name} requires {release}{elsewhere}"));
    }
    served.require_all(&environment)?;
    app.ui.result(&text, &value)?;
    Ok(ExitCode::SUCCESS)
}

fn repair(app: &App<'_>, arguments: &VerifyArgs, depth: Depth) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let (environment, _lock) = app.lock_environment(name, "verify --repair")?;
    let locked = release::locked::of(&app.workspace, &environment)?;
    let (served, repaired) = until_interrupted(app, async {
        let _registry = release::rehearse::serve(&app.workspace, &environment).await?;
        let context = app.context();
        let served = release::verify::served(&context, &environment, &locked.lock, depth).await?;
        if served.findings.is_empty() {
            return Ok((served, Repaired::default()));
        }
        app.ui.findings(&served.findings);
        confirm(&environment, arguments.confirm.as_deref())?;
        let repaired =
            release::verify::repair(&context, &environment, &locked.lock, &served.findings).await?;
        Ok((served, repaired))
    })?;
    let done = match served.findings.len() {
        0 => "nothing to repair".to_owned(),
        _ => format!(
            "{} repaired: {}",
            super::count(affected(&served.findings), "artifact"),
            restored(&repaired)
        ),
    };
    let mut value = value(name, &served);
    value["findings"] = json!(served.findings);
    value["repaired"] = json!({
        "tags": repaired.tags,
        "manifests": repaired.manifests,
        "sent-blobs": repaired.sent_blobs,
        "sent-bytes": repaired.sent_bytes,
        "mounted-blobs": repaired.mounted_blobs,
    });
    let release = format!("v{}", environment.release);
    let elsewhere = other_release(app, name, &release, &mut value);
    let text = format!(
        "{name}: {done}; {}{elsewhere}\n",
        served_text(&served, &environment)
    );
    app.ui.result(&text, &value)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the numbers of restored tags, manifests and blobs, without zeros.
fn restored(repaired: &Repaired) -> String {
    let sent = format!("sent ({})", DecimalBytes(repaired.sent_bytes));
    let parts = [
        (repaired.tags, "tag", "set"),
        (repaired.manifests, "manifest", "set"),
        (repaired.sent_blobs, "blob", &sent),
        (repaired.mounted_blobs, "blob", "mounted"),
    ];
    let parts = parts.iter().filter(|(count, ..)| *count > 0);
    let parts = parts.map(|(count, what, done)| format!("{} {done}", super::count(*count, what)));
    parts.collect::<Vec<_>>().join(", ")
}

/// Adds the verified and the deployed release to `value`. Returns a clause about the deployed one
/// if it is different. A receipt that cannot be read is ignored, because `status` reports it.
fn other_release(
    app: &App<'_>,
    name: &str,
    verified: &str,
    value: &mut serde_json::Value,
) -> String {
    let output = Output::below(&app.workspace.environment(name));
    let receipt = Receipt::read(&output.receipt).ok().flatten();
    let applied = receipt.and_then(|receipt| receipt.applied);
    let runs = applied.map(|applied| applied.release);
    value["release"] = json!(verified);
    value["deployed"] = json!(runs);
    match runs.filter(|runs| *runs != verified) {
        Some(runs) => format!("; according to the receipt, the cluster runs {runs}"),
        None => String::new(),
    }
}

/// Returns the sentence for a registry that serves everything.
fn served_text(served: &Served, environment: &Environment) -> String {
    let mut of = format!("v{}", environment.release);
    for set in environment.set_names() {
        of.push_str(&format!(" and {set}"));
    }
    let mut text = format!("{} serves ", served.images);
    if served.charts != served.images {
        text = format!("{} and {} serve ", served.images, served.charts);
    }
    text.push_str(&format!(
        "{} of {of} to nodes",
        super::count(served.artifacts, "artifact")
    ));
    if served.read_bytes > 0 {
        text.push_str(&format!(
            ", {} of them read and hashed",
            DecimalBytes(served.read_bytes)
        ));
    }
    text
}

fn value(name: &str, served: &Served) -> serde_json::Value {
    json!({
        "environment": name,
        "registry": served.images,
        "chart-registry": served.charts,
        "artifacts": served.artifacts,
        "manifests": served.manifests,
        "blobs": served.blobs,
        "read-bytes": served.read_bytes,
    })
}
