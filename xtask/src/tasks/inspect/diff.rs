//! `diff`: compares environments, releases and sets, as text, Markdown or JSON.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use release::config::diff::{self, Area, Drift, EnvironmentDiff, Releases};
use semver::Version;
use serde::Serialize;

use crate::app::App;
use crate::cli::DiffArgs;
use crate::failure::{DIFFERS, Failure};

mod markdown;
mod text;

pub(in crate::tasks) use markdown::code;
pub(in crate::tasks) use text::changes;

pub(crate) fn run(app: &App<'_>, arguments: &DiffArgs) -> Result<ExitCode, Failure> {
    let workspace = &app.workspace;
    let old = arguments.old.as_str();
    let new = arguments.new.as_deref().map(|new| (new, side(app, new)));
    let since = arguments.since.as_deref();
    let option_of = |option, of| Failure::DiffOption {
        option,
        of,
        name: old.to_owned(),
    };
    let differs = match (side(app, old), new) {
        (Side::Set, None) if arguments.live => return Err(option_of("--live", "an environment")),
        (Side::Release(release), None) => {
            let since = since.ok_or_else(|| Failure::OneRelease(old.to_owned()))?;
            let locked = release::locked::read(workspace, &release)?;
            show(
                app,
                arguments,
                &diff::since(&app.context(), &locked, since)?,
            )
        }
        (Side::Set, None) => {
            let locked = release::locked::read_set(workspace, old)?;
            let since = since.unwrap_or("HEAD");
            show(
                app,
                arguments,
                &diff::since(&app.context(), &locked, since)?,
            )
        }
        (Side::Release(one), Some((_, Side::Release(other)))) => {
            show(app, arguments, &diff::releases(workspace, &one, &other)?)
        }
        (Side::Set, Some((new, Side::Set))) => {
            show(app, arguments, &diff::sets(workspace, old, new)?)
        }
        (Side::Environment, None) if since.is_some() => {
            return Err(option_of("--since", "a release or a set"));
        }
        (Side::Environment, None) if arguments.live => show(
            app,
            arguments,
            &release::cluster::differences(&app.context(), old)?,
        ),
        (Side::Environment, None) => show(app, arguments, &diff::environment(workspace, old)?),
        (Side::Environment, Some((new, Side::Environment))) => {
            show(app, arguments, &diff::environments(workspace, old, new)?)
        }
        (_, Some((new, _))) => {
            for name in [old, new] {
                let is_environment = matches!(side(app, name), Side::Environment);
                if is_environment && !workspace.environment(name).is_dir() {
                    return Err(Failure::NeitherEnvironmentNorRelease(name.to_owned()));
                }
            }
            return Err(Failure::Kinds {
                old: old.to_owned(),
                new: new.to_owned(),
            });
        }
    }?;
    Ok(match arguments.detailed_exitcode && differs {
        true => ExitCode::from(DIFFERS),
        false => ExitCode::SUCCESS,
    })
}

/// What a name on the command line refers to.
enum Side {
    Release(Version),
    Set,
    Environment,
}

fn side(app: &App<'_>, name: &str) -> Side {
    match super::release(name) {
        Ok(release) => Side::Release(release),
        Err(_) if release::set::exists(&app.workspace, name) => Side::Set,
        Err(_) => Side::Environment,
    }
}

/// A comparison that can be shown as text and as Markdown.
pub(in crate::tasks) trait Comparison: Serialize {
    /// Returns whether anything differs.
    fn differs(&self) -> bool;
    /// Returns the text for a terminal.
    fn text(&self) -> String;
    /// Returns Markdown for a comment on a pull request.
    fn markdown(&self) -> String;
}

impl Comparison for Drift {
    fn differs(&self) -> bool {
        Drift::differs(self)
    }
    fn text(&self) -> String {
        text::drift(self)
    }
    fn markdown(&self) -> String {
        markdown::drift(self)
    }
}

impl Comparison for EnvironmentDiff {
    fn differs(&self) -> bool {
        !self.changes.is_empty()
    }
    fn text(&self) -> String {
        text::pair(self)
    }
    fn markdown(&self) -> String {
        markdown::pair(self)
    }
}

impl Comparison for Releases {
    fn differs(&self) -> bool {
        Releases::differs(self)
    }
    fn text(&self) -> String {
        text::releases(self)
    }
    fn markdown(&self) -> String {
        markdown::releases(self)
    }
}

/// Shows a comparison, and returns whether anything differs.
fn show(
    app: &App<'_>,
    arguments: &DiffArgs,
    comparison: &impl Comparison,
) -> Result<bool, Failure> {
    match arguments.markdown {
        true => app.ui.document(&comparison.markdown(), comparison)?,
        false => app.ui.result(&comparison.text(), comparison)?,
    }
    Ok(comparison.differs())
}

/// Returns sentences about the last apply.
fn applied(drift: &Drift) -> Vec<String> {
    use release::config::diff::AppliedConfig;
    let Some(last) = &drift.applied else {
        return vec!["nothing was applied yet".to_owned()];
    };
    let when = &last.when;
    let mut lines = vec![match last.config {
        AppliedConfig::Rendered => format!("what is rendered was applied at {when}"),
        AppliedConfig::Committed => format!(
            "{} was applied at {when} as it is now; the differences are not applied yet",
            drift.path
        ),
        AppliedConfig::Another => format!(
            "a different configuration was applied at {when}; the receipt records only its digest, but the git history of {} has its text",
            drift.path
        ),
    }];
    for update in &last.changes {
        lines.push(format!(
            "since then the {} changed from {} to {}",
            update.subject, update.old, update.new
        ));
    }
    if let Some(step) = &last.failed_later {
        lines.push(format!(
            "a later deploy failed at {step}: the cluster may be partly changed"
        ));
    }
    lines
}

/// Returns a sentence about the committed file, compared with the rendered configuration.
fn committed(drift: &Drift) -> String {
    use release::config::diff::State;
    let path = &drift.path;
    match drift.committed {
        State::Same => format!("{path} is up to date"),
        State::SameValues => {
            format!("{path} has the same values as what is rendered, written differently")
        }
        State::Different => format!("{path} differs from what is rendered"),
        State::Missing => format!("{path} does not exist yet; `render` writes it"),
    }
}

/// Returns the title of a part of the configuration.
fn area(area: Area) -> &'static str {
    match area {
        Area::Version => "release",
        Area::Registry => "registry",
        Area::ApiServer => "API server",
        Area::Hosts => "hosts",
        Area::Network => "network",
        Area::Other => "the rest",
    }
}

/// Returns the numbers of added, removed, changed and unchanged artifacts.
fn artifact_counts(releases: &Releases) -> String {
    format!(
        "{} added, {} removed, {} changed, {} the same",
        super::count(releases.added.len(), "artifact"),
        releases.removed.len(),
        releases.changed.len(),
        releases.unchanged
    )
}

/// Returns what must be sent to a registry that has the old lock's artifacts.
fn to_send(releases: &Releases) -> String {
    format!(
        "to send to {}: {} of {} and manifests of {}; all of {} is {}",
        match releases.unchanged + releases.changed.len() + releases.removed.len() {
            0 => "an empty registry".to_owned(),
            _ => format!("a registry that has {}", releases.old),
        },
        super::count(releases.blobs, "blob"),
        DecimalBytes(releases.blob_bytes),
        DecimalBytes(releases.manifest_bytes),
        releases.new,
        DecimalBytes(releases.unique_bytes),
    )
}
