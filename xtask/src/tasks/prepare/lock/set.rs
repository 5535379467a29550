//! `lock` of a set: records the digests of its entries; `--check` compares them with upstream.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use release::set::Moved;
use release::transfer::set::lock::{Request, compare, lock};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::LockArgs;
use crate::failure::set::moved_hints;
use crate::failure::{DIFFERS, Failure};
use crate::interrupt::until_interrupted;
use crate::tasks::prepare::fetch::warn_of_unlocked;

/// Returns the first option on the command line that is for sets only.
pub(super) fn option_of_sets(arguments: &LockArgs) -> Option<&'static str> {
    match (arguments.check, arguments.update.is_empty()) {
        (true, _) => Some("--check"),
        (false, false) => Some("--update"),
        (false, true) => None,
    }
}

/// Returns the first option on the command line that is for bundles only.
fn option_of_bundles(arguments: &LockArgs) -> Option<&'static str> {
    let options = [
        (arguments.bundle.is_some(), "--bundle"),
        (arguments.url.is_some(), "--url"),
        (arguments.checksum.is_some(), "--checksum"),
        (arguments.checksum_url.is_some(), "--checksum-url"),
        (arguments.mkectl_url.is_some(), "--mkectl-url"),
        (arguments.arch.is_some(), "--arch"),
        (arguments.from.is_some(), "--from"),
        (arguments.diff, "--diff"),
        (arguments.force_release, "--force-release"),
    ];
    let typed = options.into_iter().find(|(is_typed, _)| *is_typed);
    typed.map(|(_, option)| option)
}

pub(super) fn run(app: &App<'_>, arguments: &LockArgs) -> Result<ExitCode, Failure> {
    let set = arguments.release.as_str();
    if let Some(option) = option_of_bundles(arguments) {
        return Err(Failure::OptionOfBundles {
            option,
            set: set.to_owned(),
            environment: None,
        });
    }
    if arguments.check {
        return check(app, set);
    }
    let request = Request {
        set: set.to_owned(),
        update: arguments.update.clone(),
        replace: arguments.replace,
    };
    let outcome = until_interrupted(app, async { Ok(lock(&app.context(), &request).await?) })?;
    let action = match outcome.written {
        true => "wrote",
        false => "unchanged:",
    };
    let bytes = outcome.lock.unique_bytes();
    let mut text = format!(
        "{action} {}: {}, {}\n",
        outcome.path,
        super::super::count(outcome.lock.artifacts.len(), "artifact"),
        DecimalBytes(bytes),
    );
    for moved in &outcome.updated {
        text.push_str(&format!(
            "updated: {} from {}{}\n",
            moved.reference,
            moved.locked,
            moved
                .now
                .as_ref()
                .map_or_else(String::new, |now| format!(" to {now}"))
        ));
    }
    for moved in &outcome.moved {
        text.push_str(&format!("kept as locked; {moved}\n"));
    }
    for hint in moved_hints(set, &outcome.moved) {
        text.push_str(&format!("{hint}\n"));
    }
    let unlocked = warn_of_unlocked(&outcome.unlocked, &mut text);
    app.ui.result(
        &text,
        &json!({
            "path": outcome.path,
            "written": outcome.written,
            "artifacts": outcome.lock.artifacts.len(),
            "bytes": bytes,
            "updated": outcome.updated.iter().map(value).collect::<Vec<_>>(),
            "moved": outcome.moved.iter().map(value).collect::<Vec<_>>(),
            "unlocked": unlocked,
        }),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn check(app: &App<'_>, set: &str) -> Result<ExitCode, Failure> {
    let found = until_interrupted(app, async { Ok(compare(&app.context(), set).await?) })?;
    let is_same = found.moved.is_empty() && found.differences.is_empty();
    let mut text = String::new();
    for difference in &found.differences {
        text.push_str(&format!("{difference}\n"));
    }
    if !found.differences.is_empty() {
        text.push_str(&format!("`cargo xtask lock {set}` updates the lock\n"));
    }
    for moved in &found.moved {
        text.push_str(&format!("{moved}\n"));
    }
    for hint in moved_hints(set, &found.moved) {
        text.push_str(&format!("{hint}\n"));
    }
    for url in &found.by_size {
        text.push_str(&format!(
            "only the size was compared: {url}; with a `key` in the set, its signature is compared\n"
        ));
    }
    for reference in &found.unreached {
        text.push_str(&format!("not compared: {reference}\n"));
    }
    if is_same {
        let artifacts = super::super::count(found.artifacts, "artifact");
        text.push_str(&match found.unreached.is_empty() {
            true => format!("{}: {artifacts} as upstream has them\n", found.path),
            false => format!("{}: the others are as upstream has them\n", found.path),
        });
    }
    app.ui.result(
        &text,
        &json!({
            "path": found.path,
            "artifacts": found.artifacts,
            "differences": found.differences,
            "moved": found.moved.iter().map(value).collect::<Vec<_>>(),
            "compared-by-size": found.by_size,
            "not-compared": found.unreached,
        }),
    )?;
    Ok(match is_same {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(DIFFERS),
    })
}

fn value(moved: &Moved) -> Value {
    json!({ "reference": moved.reference, "locked": moved.locked, "now": moved.now })
}
