//! `lock`: records the digests of a release's bundle, or of a set.

use std::process::ExitCode;

use release::transfer::lock::{Checksum, Listed, Placed, Request};
use serde_json::json;

use crate::app::App;
use crate::cli::LockArgs;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::ui::lock_changes;

mod set;

pub(crate) fn run(app: &App<'_>, arguments: &LockArgs) -> Result<ExitCode, Failure> {
    let is_set = release::set::exists(&app.workspace, &arguments.release);
    // `4.1.5` is a release without its `v`. A name that begins with a letter is a set, even if that
    // set does not exist.
    let is_like_release = (arguments.release.trim_start_matches('v'))
        .starts_with(|first: char| first.is_ascii_digit());
    if super::release(&arguments.release).is_err() && (is_set || !is_like_release) {
        if !is_set {
            super::refuse_environment(app, &arguments.release)?;
        }
        return set::run(app, arguments);
    }
    if let Some(option) = set::option_of_sets(arguments) {
        return Err(Failure::OptionOfSets {
            option,
            release: arguments.release.clone(),
        });
    }
    let request = Request {
        release: super::release(&arguments.release)?,
        arch: arguments.arch.clone(),
        bundle: arguments.bundle.clone(),
        url: arguments.url.clone(),
        checksum_url: arguments.checksum_url.clone(),
        mkectl_url: arguments.mkectl_url.clone(),
        checksum: arguments.checksum.clone(),
        replace: arguments.replace,
        diff: arguments.diff,
        force_release: arguments.force_release,
        listed: arguments.from.clone().map(|from| Listed {
            from: from.trim_end_matches('/').to_owned(),
            files: arguments.images.clone(),
        }),
    };
    let outcome = until_interrupted(app, async {
        Ok(release::transfer::lock::lock(&app.context(), &request).await?)
    })?;
    let checksum = match &outcome.checksum {
        Checksum::Confirmed(url) => format!("SHA-256 confirmed by {url}"),
        Checksum::NotPublished => {
            "the vendor publishes no checksum for this release: compare it by other means"
                .to_owned()
        }
        Checksum::NotFound(url) => format!("no checksum at {url}: compare it by other means"),
        Checksum::NotAsked => {
            "not compared with a checksum; `--checksum FILE` compares it".to_owned()
        }
        Checksum::Offline => "offline: not compared with the vendor's checksum".to_owned(),
    };
    let action = if outcome.written {
        "wrote"
    } else {
        "unchanged:"
    };
    let artifacts = super::count(outcome.lock.artifacts.len(), "artifact");
    let mut text = match &outcome.lock.from {
        Some(from) => format!(
            "{action} {}: {artifacts}\nlocked from {from}, not from the vendor's bundle\n",
            outcome.path
        ),
        None => format!(
            "{action} {}: {artifacts}, SHA-256 {}\n{checksum}\n",
            outcome.path, outcome.lock.bundle.sha256,
        ),
    };
    if let Some(changes) = &outcome.changes {
        text.push_str("compared with the lock that was replaced:\n");
        text.push_str(&lock_changes(changes));
    }
    let kept = match &outcome.kept {
        Some(Placed::Linked(path)) => Some(("linked", path)),
        Some(Placed::Copied(path)) => Some(("copied", path)),
        None => None,
    };
    if let Some((how, path)) = kept {
        text.push_str(&format!("the bundle is {how} to {path}\n"));
    }
    if let Some(init) = &outcome.init {
        text.push_str(&format!(
            "{init} belongs to the lock: it contains the output of `mkectl init`; commit both\n"
        ));
    }
    app.ui.result(
        &text,
        &json!({
            "path": outcome.path,
            "written": outcome.written,
            "artifacts": outcome.lock.artifacts.len(),
            "from": outcome.lock.from,
            "sha256": outcome.lock.from.is_none().then_some(&outcome.lock.bundle.sha256),
            "checksum": checksum,
            "init": outcome.init,
            "kept": kept.map(|(_, path)| path),
        }),
    )?;
    Ok(ExitCode::SUCCESS)
}
