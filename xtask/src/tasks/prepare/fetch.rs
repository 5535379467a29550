//! `fetch`: downloads a locked bundle or set and verifies it; `--check` verifies only.

use std::process::ExitCode;

use camino::Utf8Path;
use release::locked::Locked;
use release::transfer::fetch::Found;
use release::transfer::local::Read;
use release::transfer::set::Unlocked;
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::FetchArgs;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, arguments: &FetchArgs) -> Result<ExitCode, Failure> {
    let what = arguments.what.as_str();
    if super::release(what).is_err() && release::set::exists(&app.workspace, what) {
        return fetch_set(app, arguments);
    }
    let (release, environment) = match super::release(what) {
        Ok(release) => (release, None),
        Err(_) => match app.environment(what) {
            Ok(environment) => (environment.release.clone(), Some(environment)),
            Err(Failure::Release(release::Error::Environment(environment::Error::Unknown {
                nearest: None,
                ..
            }))) => {
                return Err(Failure::NeitherEnvironmentNorRelease(
                    redaction::without_login(what),
                ));
            }
            Err(failure) => return Err(failure),
        },
    };
    let locked = match &environment {
        Some(environment) => release::locked::of(&app.workspace, environment)?,
        None => release::locked::read(&app.workspace, &release)?,
    };
    if arguments.check {
        return check(app, &locked, arguments.bundle.as_deref());
    }
    let sets = || locked.sets.keys().map(String::as_str);
    until_interrupted(app, async {
        let context = app.context();
        release::transfer::stream::fetch(&context, &locked.lock).await?;
        if arguments.platform.is_empty() {
            let named = environment.as_ref().and_then(|one| one.mkectl.as_deref());
            release::transfer::program::fetch(&context, &locked.lock, named).await?;
        } else {
            release::transfer::program::fetch_for(&context, &locked.lock, &arguments.platform)
                .await?;
        }
        if let Some(environment) = &environment {
            release::transfer::program::fetch_earlier(&context, &environment.name, &release)
                .await?;
        }
        release::config::defaults::restore(&context, &release)?;
        release::transfer::set::warn_of_unlocked(&context, sets())?;
        release::transfer::set::fetch::compare(&context, sets()).await?;
        Ok(())
    })?;
    let artifacts = locked.lock.artifacts.len();
    app.ui.result(
        &format!(
            "v{release} is fetched: {}{}; `--check` reads every byte\n",
            super::count(artifacts, "artifact"),
            match locked.sets.is_empty() {
                true => String::new(),
                false => format!(" with those of {}", sets().collect::<Vec<_>>().join(", ")),
            }
        ),
        &json!({ "release": format!("v{release}"), "artifacts": artifacts }),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Downloads the artifacts in the lock of a set.
fn fetch_set(app: &App<'_>, arguments: &FetchArgs) -> Result<ExitCode, Failure> {
    let set = arguments.what.as_str();
    let option = match (arguments.check, arguments.platform.is_empty()) {
        (true, _) => Some("--check"),
        (false, false) => Some("--platform"),
        (false, true) => None,
    };
    if let Some(option) = option {
        let names = environment::names(app.workspace.root()).unwrap_or_default();
        let lists = |name: &String| {
            let loaded = app.workspace.load(name);
            loaded.is_ok_and(|one| one.set_names().contains(&set))
        };
        return Err(Failure::OptionOfBundles {
            option,
            set: set.to_owned(),
            environment: names
                .into_iter()
                .find(|name| arguments.check && lists(name)),
        });
    }
    let (fetched, unlocked) = until_interrupted(app, async {
        Ok(release::transfer::set::fetch::fetch(&app.context(), set).await?)
    })?;
    let mut text = format!(
        "the set {set} is fetched: {}, {}\n",
        super::count(fetched.blobs, "new blob"),
        indicatif::DecimalBytes(fetched.bytes),
    );
    let unlocked = warn_of_unlocked(&unlocked, &mut text);
    app.ui.result(
        &text,
        &json!({ "set": set, "blobs": fetched.blobs, "bytes": fetched.bytes, "unlocked": unlocked }),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Adds warnings to `text` about images that charts name and no lock has. Returns these as JSON.
pub(super) fn warn_of_unlocked(unlocked: &[Unlocked], text: &mut String) -> Value {
    for one in unlocked {
        text.push_str(&format!("warning: {one}\n"));
    }
    if !unlocked.is_empty() {
        text.push_str("hint: list an image in a set if the cluster needs it\n");
    }
    let unlocked = unlocked.iter();
    unlocked
        .map(|one| json!({ "image": one.image, "charts": one.charts }))
        .collect()
}

/// Compares a bundle with its lock.
fn check(app: &App<'_>, locked: &Locked, file: Option<&Utf8Path>) -> Result<ExitCode, Failure> {
    let lock = &locked.lock;
    let checked = until_interrupted(app, async {
        Ok(release::transfer::local::check(&app.context(), lock, file).await?)
    })?;
    let word = |found: &Found| match found {
        Found::Verified => "verified",
        Found::Missing => "missing",
    };
    let mut text = match &checked.read {
        Read::Bundle(bundle) => format!(
            "{bundle} matches the lock of {}: {}, SHA-256 {}\n",
            lock.release,
            super::count(lock.artifacts.len(), "artifact")
                + match locked.sets.is_empty() {
                    true => "",
                    false => " with sets",
                },
            lock.bundle.sha256,
        ),
        Read::Store { blobs, missing: 0 } => format!(
            "the store has everything that the lock of {} names: {} in it match their digests\n",
            lock.release,
            super::count(*blobs, "blob"),
        ),
        Read::Store { blobs, missing } => format!(
            "the store has a part of {}: {} in it match their digests; {} missing, which the registry must have\n",
            lock.release,
            super::count(*blobs, "blob"),
            environment::count_with_verb(*missing, "blob"),
        ),
    };
    let verified = (checked.mkectl.iter()).filter(|(_, found)| matches!(found, Found::Verified));
    let verified: Vec<&str> = verified.map(|(platform, _)| platform.as_str()).collect();
    if !verified.is_empty() {
        text.push_str(&format!("mkectl verified: {}\n", verified.join(", ")));
    }
    let here = release::transfer::program::platform();
    let is_missing =
        |(platform, found): &(String, Found)| *platform == here && matches!(found, Found::Missing);
    if checked.mkectl.iter().any(is_missing) {
        text.push_str("mkectl for this machine is missing\n");
    }
    let mkectl: serde_json::Map<String, Value> = (checked.mkectl.iter())
        .map(|(platform, found)| (platform.clone(), word(found).into()))
        .collect();
    let value = match &checked.read {
        Read::Bundle(bundle) => json!({
            "release": lock.release,
            "bundle": bundle,
            "artifacts": lock.artifacts.len(),
            "sha256": lock.bundle.sha256,
            "mkectl": mkectl,
        }),
        Read::Store { blobs, missing } => json!({
            "release": lock.release,
            "blobs": blobs,
            "missing-blobs": missing,
            "mkectl": mkectl,
        }),
    };
    app.ui.result(&text, &value)?;
    Ok(ExitCode::SUCCESS)
}
