//! What a release's own mkectl would configure: the output of `mkectl init`, kept beside the lock
//! and named in it. An environment therefore sets only what differs.

use std::sync::Arc;

use environment::yaml::{self, Node, Source};
use environment::{Environment, Problem};

use crate::{Context, Error, Workspace, sha256, workspace};

/// What Airlock decides itself, and what needs a placeholder.
const NOT_DEFAULTS: [&str; 4] = ["version", "airgap", "registries", "hosts"];

/// Returns what the release's own mkectl would configure, if it is on the PATH; else what was kept
/// of it before.
///
/// # Errors
/// Its output is not a configuration, or the stored file cannot be read.
pub(crate) fn ask(
    context: &Context<'_>,
    release: &semver::Version,
) -> Result<Option<String>, Error> {
    let printed = programs::Mkectl::find(context.tool.variables.clone())
        .ok()
        .filter(|mkectl| mkectl.version().is_ok_and(|found| found == *release))
        .and_then(|mkectl| mkectl.init().ok());
    let Some(text) = printed else {
        return crate::workspace::read_if_there(&context.workspace.init(release));
    };
    parsed(context.workspace, release, &text)?;
    Ok(Some(text))
}

/// Returns whether the defaults of a release are missed: another release has some, or a mkectl of
/// another release is on the PATH.
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

/// Puts an environment over what its release's mkectl would configure, if that was kept.
///
/// # Errors
/// The file is not the one that was locked, or is not a configuration.
pub(crate) fn put_under(workspace: &Workspace, environment: &mut Environment) -> Result<(), Error> {
    if let Some(spec) = kept(workspace, &environment.release)? {
        environment.apply_defaults(spec);
    }
    Ok(())
}

/// Returns what a release's mkectl would configure, the keys of its `spec`, if that was kept.
///
/// # Errors
/// The file is not the one that was locked, or is not a configuration.
pub(crate) fn kept(
    workspace: &Workspace,
    release: &semver::Version,
) -> Result<Option<Node>, Error> {
    let path = workspace.init(release);
    let text = crate::workspace::read_if_there(&path)?;
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

/// Brings the file that the lock names back, where it is not here and the release's mkectl on the
/// PATH prints just that.
///
/// # Errors
/// The file cannot be written.
pub fn restore(context: &Context<'_>, release: &semver::Version) -> Result<(), Error> {
    let path = context.workspace.init(release);
    let Some(wanted) = locked(context.workspace, release)?.filter(|_| !path.exists()) else {
        return Ok(());
    };
    match ask(context, release)? {
        Some(text) if sha256(text.as_bytes()) == wanted => {
            crate::workspace::write_whole(&path, &text)
        }
        _ => Ok(()),
    }
}

/// Returns the SHA-256 that the lock of a release names; none if there is no lock, or it names
/// none.
///
/// Users of a lock parse and check all of it. Here one line is enough, since hundreds of
/// environments may be rendered.
fn locked(workspace: &Workspace, release: &semver::Version) -> Result<Option<String>, Error> {
    let path = workspace.lock(&format!("v{release}"), crate::workspace::DEFAULT_ARCH);
    let text = crate::workspace::read_if_there(&path)?.unwrap_or_default();
    Ok(text
        .lines()
        .take_while(|line| *line != "artifacts:")
        .find_map(|line| line.strip_prefix("init: "))
        // Digits alone would be written in quotes.
        .map(|value| value.trim_matches(['\'', '"']).to_owned()))
}

/// Returns the defaults in the output of `mkectl init`.
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
