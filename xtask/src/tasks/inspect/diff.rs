//! `diff`: what a reviewer needs to know, as text, as Markdown, or for machines.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use release::config::diff::{self, Area, Drift, Pair, Releases};
use semver::Version;
use serde::Serialize;

use crate::app::App;
use crate::cli::DiffArgs;
use crate::failure::{DIFFERS, Failure};

mod markdown;
mod text;

pub(in crate::tasks) use markdown::code;

pub(crate) fn run(app: &App<'_>, arguments: &DiffArgs) -> Result<ExitCode, Failure> {
    let (old, new) = (arguments.old.as_str(), arguments.new.as_deref());
    let workspace = &app.workspace;
    let since = arguments.since.as_deref();
    let locks = match (side(app, old), new.map(|new| side(app, new))) {
        (Side::Set, None) if arguments.live => {
            return Err(Failure::DiffOption {
                option: "--live",
                of: "an environment",
                name: old.to_owned(),
            });
        }
        (Side::Release(one), None) => {
            let Some(since) = since else {
                return Err(Failure::OneRelease(old.to_owned()));
            };
            let locked = release::locked::read(workspace, &one)?;
            Some(diff::since(&app.context(), &locked, since)?)
        }
        (Side::Set, None) => {
            let locked = release::locked::read_set(workspace, old)?;
            let since = since.unwrap_or("HEAD");
            Some(diff::since(&app.context(), &locked, since)?)
        }
        (Side::Release(one), Some(Side::Release(other))) => {
            Some(diff::releases(workspace, &one, &other)?)
        }
        (Side::Set, Some(Side::Set)) => Some(diff::sets(workspace, old, new.unwrap_or(old))?),
        (Side::Environment, None) if since.is_some() => {
            return Err(Failure::DiffOption {
                option: "--since",
                of: "a release or a set",
                name: old.to_owned(),
            });
        }
        (Side::Environment, None | Some(Side::Environment)) => None,
        (_, Some(_)) => {
            let names = [Some(old), new].into_iter().flatten();
            for name in names.filter(|name| matches!(side(app, name), Side::Environment)) {
                if !workspace.environment(name).is_dir() {
                    return Err(Failure::NeitherEnvironmentNorRelease(name.to_owned()));
                }
            }
            return Err(Failure::Kinds {
                old: old.to_owned(),
                new: new.unwrap_or_default().to_owned(),
            });
        }
    };
    let differs = match (&locks, new) {
        (Some(locks), _) => {
            show(app, arguments, locks)?;
            locks.differs()
        }
        (None, None) if arguments.live => {
            let pair = release::cluster::differences(&app.context(), old)?;
            show(app, arguments, &pair)?;
            !pair.changes.is_empty()
        }
        (None, None) => {
            let drift = diff::environment(workspace, old)?;
            show(app, arguments, &drift)?;
            drift.differs()
        }
        (None, Some(new)) => {
            let pair = diff::environments(workspace, old, new)?;
            show(app, arguments, &pair)?;
            !pair.changes.is_empty()
        }
    };
    if arguments.detailed_exitcode && differs {
        return Ok(ExitCode::from(DIFFERS));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a name on the command line names.
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

/// Returns differences for a terminal, a line each.
pub(in crate::tasks) fn text_of_changes(changes: &[release::config::diff::Change]) -> String {
    let mut text = String::new();
    text::changes(&mut text, changes);
    text
}

/// Returns a difference for a terminal, for a command that shows one beside other things.
pub(in crate::tasks) fn text_of(result: &impl Shown) -> String {
    result.text()
}

/// Returns a difference for a comment on a pull request.
pub(in crate::tasks) fn markdown_of(result: &impl Shown) -> String {
    result.markdown()
}

/// A result that can be written for a terminal and for a page.
pub(in crate::tasks) trait Shown: Serialize {
    /// Returns it for a terminal.
    fn text(&self) -> String;
    /// Returns it for a comment on a pull request.
    fn markdown(&self) -> String;
}

impl Shown for Drift {
    fn text(&self) -> String {
        text::drift(self)
    }
    fn markdown(&self) -> String {
        markdown::drift(self)
    }
}

impl Shown for Pair {
    fn text(&self) -> String {
        text::pair(self)
    }
    fn markdown(&self) -> String {
        markdown::pair(self)
    }
}

impl Shown for Releases {
    fn text(&self) -> String {
        text::releases(self)
    }
    fn markdown(&self) -> String {
        markdown::releases(self)
    }
}

fn show(app: &App<'_>, arguments: &DiffArgs, result: &impl Shown) -> Result<(), Failure> {
    match arguments.markdown {
        true => app.ui.document(&result.markdown(), result),
        false => app.ui.result(&result.text(), result),
    }
}

/// Returns what became of the last apply, in sentences that both forms share.
fn applied(drift: &Drift) -> Vec<String> {
    use release::config::diff::Which;
    let Some(last) = &drift.applied else {
        return vec!["nothing was applied yet".to_owned()];
    };
    let when = &last.when;
    let mut lines = vec![match last.config {
        Which::Rendered => format!("what is rendered was applied at {when}"),
        Which::Committed => format!(
            "{} was applied at {when} as it is now; the differences are not applied yet",
            drift.path
        ),
        Which::Another => format!(
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

/// Returns how the committed file compares with what is rendered.
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

/// Returns what a part of the configuration is called.
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

/// Returns how many artifacts came, went and stayed.
fn shares(releases: &Releases) -> String {
    format!(
        "{} added, {} removed, {} changed, {} the same",
        super::count(releases.added.len(), "artifact"),
        releases.removed.len(),
        releases.changed.len(),
        releases.unchanged
    )
}

/// Returns a digest as tables show it: its beginning.
fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

/// Returns what a registry that holds the one lock lacks of the other.
fn lacks(releases: &Releases) -> String {
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
