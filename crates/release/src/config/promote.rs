//! Promotion: writes the release of one environment into the file of a different one, for review.
//! Nothing is deployed.

use camino::Utf8PathBuf;
use environment::Environment;
use environment::yaml::Source;
use semver::Version;
use serde::Serialize;

use crate::config::diff::{self, EnvironmentDiff, Releases};
use crate::config::{check, render};
use crate::receipt::Receipt;
use crate::workspace::{Output, read_if_exists, write_atomically};
use crate::{Workspace, locked};

mod error;

pub use error::Error;

/// The result of a promotion.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Promoted {
    /// Environment that the release was tried on.
    pub from: String,
    /// Environment whose file changed.
    pub to: String,
    /// Release of `to` before, possibly inherited.
    pub old: String,
    /// Release of `to` now.
    pub new: String,
    /// Path of the changed file, relative to the workspace.
    pub path: Utf8PathBuf,
    /// Unified diff of the changed file; empty if it had the release already.
    pub edit: String,
    /// Path of the rendered configuration, relative to the workspace.
    pub config_path: Utf8PathBuf,
    /// Changes of the rendered configuration; `None` if it did not exist before.
    pub config: Option<EnvironmentDiff>,
    /// Changes between the releases, if both are locked.
    pub releases: Option<Releases>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Why a promotion is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// `from` and `to` are the same environment.
    #[error("they are the same environment")]
    Same,
    /// The release was not deployed to `from` successfully. Contains the reason.
    #[error("{0}")]
    Unproven(String),
    /// `from` is a rehearsal, which has no cluster.
    #[error("{0} is a rehearsal: a deploy to it reaches no cluster")]
    Rehearsal(String),
    /// The vendor supports no upgrade from the release that the cluster of `to` runs.
    #[error("the cluster of {to} runs {applied}")]
    Upgrade {
        /// Name of the environment.
        to: String,
        /// Release in its receipt.
        applied: String,
        /// The vendor's restriction.
        source: mke::UpgradeError,
    },
}

/// Writes the release of `from` into the file of `to`, and renders `to`.
///
/// With `unproven`, the receipt of `from` need not show a successful deploy of the release, and
/// `from` may be a rehearsal.
///
/// # Errors
/// A file is not valid, the release is not locked, the promotion is refused, or `to` cannot be
/// rendered with that release. Then its file is unchanged.
pub fn promote(
    workspace: &Workspace,
    from: &str,
    to: &str,
    unproven: bool,
) -> Result<Promoted, crate::Error> {
    let refused = |source| {
        crate::Error::Promote(Error::Refused {
            from: from.to_owned(),
            to: to.to_owned(),
            source: Box::new(source),
        })
    };
    if from == to {
        return Err(refused(Refusal::Same));
    }
    let source = workspace.load(from)?;
    let target = workspace.load(to)?;
    let release = source.release.clone();
    let locked = locked::read(workspace, &release)?;
    let mut warnings = Vec::new();
    if let Some(missing) = unproven_by(workspace, &source, &locked.digest)? {
        match unproven {
            true => warnings.push(missing.to_string()),
            false => return Err(refused(missing)),
        }
    }
    warnings.extend(
        upgrade(workspace, &target, &release).map_err(|error| match error {
            Ok(refusal) => refused(refusal),
            Err(error) => error,
        })?,
    );

    let output = Output::below(&workspace.environment(to));
    let path = workspace.environment(to).join("environment.yaml");
    let shown = workspace.shown(&path).to_owned();
    let before = read_if_exists(&path)?.unwrap_or_default();
    let edit = if target.release == release {
        String::new()
    } else {
        let file = Source {
            path: shown.clone(),
            text: before.clone(),
        };
        let after = environment::with_release(&file.into(), &release)?;
        write_atomically(&path, &after)?;
        render::diff(&shown, Some(&before), &after)
    };
    let config = match rendered(workspace, to, &output) {
        Ok(config) => config,
        Err(error) => {
            if !edit.is_empty() {
                write_atomically(&path, &before)?;
            }
            return Err(error);
        }
    };
    let releases = match target.release == release {
        false => diff::releases(workspace, &target.release, &release).ok(),
        true => None,
    };
    Ok(Promoted {
        from: from.to_owned(),
        to: to.to_owned(),
        old: format!("v{}", target.release),
        new: format!("v{release}"),
        path: shown,
        edit,
        config_path: workspace.shown(&output.config).to_owned(),
        config,
        releases,
        warnings,
    })
}

/// Renders an environment into its file, and returns the changes.
fn rendered(
    workspace: &Workspace,
    name: &str,
    output: &Output,
) -> Result<Option<EnvironmentDiff>, crate::Error> {
    let drift = diff::environment(workspace, name)?;
    let mut environment = workspace.load(name)?;
    let text = check::rendered(workspace, &mut environment)?.text;
    if drift.committed != diff::State::Same {
        write_atomically(&output.config, &text)?;
    }
    Ok(
        (drift.committed != diff::State::Missing).then(|| EnvironmentDiff {
            old: "the current mke4.yaml".to_owned(),
            new: "the rendered one".to_owned(),
            changes: drift.changes,
        }),
    )
}

/// Returns why the release of an environment does not count as deployed there, if it does not.
fn unproven_by(
    workspace: &Workspace,
    environment: &Environment,
    lock: &str,
) -> Result<Option<Refusal>, crate::Error> {
    let name = &environment.name;
    if environment.rehearsal {
        return Ok(Some(Refusal::Rehearsal(name.clone())));
    }
    let release = format!("v{}", environment.release);
    let receipt = Receipt::read(&Output::below(&workspace.environment(name)).receipt)?;
    let (applied, failed) =
        receipt.map_or((None, None), |receipt| (receipt.applied, receipt.failed));
    let missing = match (applied, failed) {
        (_, Some(failed)) => Some(format!(
            "the last deploy to {name}, of {}, failed at {}",
            failed.release, failed.step
        )),
        (None, None) => Some(format!("{name} has no receipt of a deploy of {release}")),
        (Some(applied), None) if applied.release != release => Some(format!(
            "the files of {name} require {release}, but its receipt records {}",
            applied.release
        )),
        (Some(applied), None) if applied.lock != lock => {
            Some(format!("{name} got {release} from a different lock"))
        }
        (Some(_), None) => None,
    };
    Ok(missing.map(Refusal::Unproven))
}

/// Returns the warnings of an upgrade from the release that the cluster runs. A new cluster accepts
/// any release.
fn upgrade(
    workspace: &Workspace,
    target: &Environment,
    release: &Version,
) -> Result<Vec<String>, Result<Refusal, crate::Error>> {
    let receipt =
        Receipt::read(&Output::below(&workspace.environment(&target.name)).receipt).map_err(Err)?;
    let Some(applied) = receipt.and_then(|receipt| receipt.applied) else {
        return Ok(Vec::new());
    };
    if applied.release == format!("v{release}") {
        return Ok(Vec::new());
    }
    let facts = mke::Release::of(release).map_err(|error| Err(crate::Error::Release(error)))?;
    match check::upgrade(&facts, &applied) {
        Some(Err(source)) => Err(Ok(Refusal::Upgrade {
            to: target.name.clone(),
            applied: applied.release,
            source,
        })),
        Some(Ok(upgrade)) => Ok(upgrade.warnings),
        None => Ok(Vec::new()),
    }
}
