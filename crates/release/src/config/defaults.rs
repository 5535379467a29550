//! The defaults of a release: the output of `mkectl init`, stored beside the lock, which has its
//! digest. An environment sets only values that differ.

use std::sync::Arc;

use environment::yaml::{self, Node, Source};
use environment::{Environment, Problem};

use crate::{Context, Error, Workspace, sha256, workspace};

/// Keys that Airlock sets itself or that have placeholders.
const NOT_DEFAULTS: [&str; 4] = ["version", "airgap", "registries", "hosts"];

/// Returns the output of `mkectl init`, if the release's mkectl is on PATH, or else the stored
/// file.
///
/// # Errors
/// The output is not a configuration, or the stored file cannot be read.
pub(crate) fn ask(
    context: &Context<'_>,
    release: &semver::Version,
) -> Result<Option<String>, Error> {
    let printed = programs::Mkectl::find(context.tool.variables.clone())
        .ok()
        .filter(|mkectl| mkectl.version().is_ok_and(|found| found == *release))
        .and_then(|mkectl| mkectl.init().ok());
    let Some(text) = printed else {
        return crate::workspace::read_if_exists(&context.workspace.init(release));
    };
    parsed(context.workspace, release, &text)?;
    Ok(Some(text))
}

/// Returns whether missing defaults deserve a warning: a different release has defaults, or a
/// mkectl is on PATH.
///
/// # Errors
/// The folder of locks cannot be listed.
pub(crate) fn are_expected(
    context: &Context<'_>,
    release: &semver::Version,
) -> Result<bool, Error> {
    let is_on_path = || programs::Mkectl::find(context.tool.variables.clone()).is_ok();
    Ok(!crate::demo::is_demo(release)
        && (is_on_path() || !context.workspace.files_with(".init.yaml")?.is_empty()))
}

/// Adds the stored defaults of the release below the environment's own configuration.
///
/// # Errors
/// The stored file differs from the locked one, or is not a configuration.
pub(crate) fn put_under(workspace: &Workspace, environment: &mut Environment) -> Result<(), Error> {
    if let Some(spec) = kept(workspace, &environment.release)? {
        environment.apply_defaults(spec);
    }
    Ok(())
}

/// Returns the `spec` of the stored defaults, if there are any.
///
/// # Errors
/// The stored file differs from the locked one, or is not a configuration.
pub(crate) fn kept(
    workspace: &Workspace,
    release: &semver::Version,
) -> Result<Option<Node>, Error> {
    let path = workspace.init(release);
    let text = crate::workspace::read_if_exists(&path)?;
    let found = text.as_ref().map(|text| sha256(text.as_bytes()));
    if found != locked(workspace, release)? {
        let path = workspace.shown(&path).to_owned();
        let release = format!("v{release}");
        return Err(match text {
            Some(_) => workspace::Error::Defaults { path, release },
            None => workspace::Error::NoDefaults { path, release },
        }
        .into());
    }
    text.map(|text| parsed(workspace, release, &text))
        .transpose()
}

/// Writes a missing file of defaults again, if the release's mkectl on PATH prints the locked text.
///
/// # Errors
/// The file cannot be written.
pub fn restore(context: &Context<'_>, release: &semver::Version) -> Result<(), Error> {
    let path = context.workspace.init(release);
    let Some(expected) = locked(context.workspace, release)?.filter(|_| !path.exists()) else {
        return Ok(());
    };
    match ask(context, release)? {
        Some(text) if sha256(text.as_bytes()) == expected => {
            crate::workspace::write_atomically(&path, &text)
        }
        _ => Ok(()),
    }
}

/// Returns the SHA-256 of the defaults in the release's lock, if it has one.
///
/// Reads one line instead of parsing the lock, since hundreds of environments may be rendered.
fn locked(workspace: &Workspace, release: &semver::Version) -> Result<Option<String>, Error> {
    let path = workspace.lock(&format!("v{release}"), crate::workspace::DEFAULT_ARCH);
    let text = crate::workspace::read_if_exists(&path)?.unwrap_or_default();
    Ok(text
        .lines()
        .take_while(|line| *line != "artifacts:")
        .find_map(|line| line.strip_prefix("init: "))
        // YAML quotes a value that consists of digits.
        .map(|value| value.trim_matches(['\'', '"']).to_owned()))
}

/// Parses the output of `mkectl init` and removes [`NOT_DEFAULTS`].
fn parsed(workspace: &Workspace, release: &semver::Version, text: &str) -> Result<Node, Error> {
    let path = workspace.init(release);
    let source = Arc::new(Source {
        path: workspace.shown(&path).to_owned(),
        text: text.to_owned(),
    });
    let document = yaml::parse(source)?;
    let Some(mut spec) = document.get("spec").cloned() else {
        return Err(Problem::at(&document, "it has no `spec`".to_owned()).into());
    };
    if let Some(keys) = spec.as_mapping_mut() {
        for name in NOT_DEFAULTS {
            let _ = keys.remove(name);
        }
    }
    Ok(spec)
}
