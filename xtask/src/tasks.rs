//! Runs commands. Each has a file, which takes arguments, calls `release` once, and shows the
//! result. Groups and their order are those of the help.

/// Commands that read and report.
mod inspect {
    use super::{count, existing_or_all, refuse_environment, release};

    pub(super) mod list;
    pub(super) mod show;
    pub(super) mod inspect;
    pub(super) mod images;
    pub(super) mod plan;
    pub(super) mod snapshot;
    pub(super) mod diff;
    pub(super) mod releases;
    pub(super) mod status;
    pub(super) mod report;
    pub(super) mod preflight;
}

/// Commands that write files of the workspace and media.
mod prepare {
    use super::{collect, count, one_or_all, refuse_environment, release, with_each};

    pub(super) mod new;
    pub(super) mod check;
    pub(super) mod lock;
    pub(super) mod learn;
    pub(super) mod fetch;
    pub(super) mod pack;
    pub(super) mod unpack;
    pub(super) mod render;
    pub(super) mod promote;
    pub(super) mod rehearse;
    pub(super) mod rehearsal_mkectl;
}

/// Commands that change a registry or a cluster.
mod deploy {
    use super::count;

    pub(super) mod deploy;
    pub(super) mod push;
    pub(super) mod apply;
    pub(super) mod migrate;
}

/// Commands for deployed environments, and for the program itself.
mod maintain {
    use super::{count, release};

    pub(super) mod verify;
    pub(super) mod store;
    pub(super) mod receipt;
    pub(super) mod cluster;
    pub(super) mod mkectl;
    pub(super) mod prune;
    pub(super) mod support;
    pub(super) mod completion;
    pub(super) mod man;
    pub(super) mod ci;
}

use std::process::ExitCode;

use environment::count;
use semver::Version;

use crate::app::App;
use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// Runs a command.
pub(crate) fn run(app: &App<'_>, cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::List => inspect::list::run(app),
        Command::Show { environment } => inspect::show::run(app, environment),
        Command::Inspect { what } => inspect::inspect::run(app, what, cli.common.format),
        Command::Images(arguments) => inspect::images::run(app, arguments),
        Command::Plan(arguments) => inspect::plan::run(app, arguments),
        Command::Snapshot(arguments) => inspect::snapshot::run(app, arguments),
        Command::Diff(arguments) => inspect::diff::run(app, arguments),
        Command::Releases(arguments) => inspect::releases::run(app, arguments),
        Command::Status(arguments) => inspect::status::run(app, arguments),
        Command::Report(arguments) => inspect::report::run(app, arguments),
        Command::Preflight(arguments) => inspect::preflight::run(app, arguments),

        Command::New(arguments) => prepare::new::run(app, arguments),
        Command::Check(arguments) => prepare::check::run(app, arguments),
        Command::Lock(arguments) => prepare::lock::run(app, arguments),
        Command::Learn(arguments) => prepare::learn::run(app, arguments),
        Command::Fetch(arguments) => prepare::fetch::run(app, arguments),
        Command::Pack(arguments) => prepare::pack::run(app, arguments),
        Command::Unpack(arguments) => prepare::unpack::run(app, arguments),
        Command::Render(arguments) => prepare::render::run(app, arguments),
        Command::Promote(arguments) => prepare::promote::run(app, arguments),
        Command::Rehearse { environment } => prepare::rehearse::run(app, environment),

        Command::Deploy(arguments) => deploy::deploy::run(app, arguments),
        Command::Push(arguments) => deploy::push::run(app, arguments),
        Command::Apply(arguments) => deploy::apply::run(app, arguments),
        Command::Migrate(arguments) => deploy::migrate::run(app, arguments),

        Command::Verify(arguments) => maintain::verify::run(app, arguments),
        Command::Store { command } => maintain::store::run(app, command.as_ref()),
        Command::Receipt { command } => maintain::receipt::run(app, command),
        Command::Cluster { command } => maintain::cluster::run(app, command),
        Command::Mkectl(arguments) => maintain::mkectl::run(app, arguments),
        Command::Prune(arguments) => maintain::prune::run(app, arguments),
        Command::Support(arguments) => maintain::support::run(app, arguments),
        Command::Completion { shell } => maintain::completion::run(app, *shell),
        Command::Man { out } => maintain::man::run(app, out),
        Command::Ci { steps } => maintain::ci::run(app, steps),

        Command::RehearsalMkectl(arguments) => rehearsal_mkectl(arguments),
    }
}

pub(crate) use maintain::completion::complete;
pub(crate) use prepare::rehearsal_mkectl::run as rehearsal_mkectl;

/// Returns the beginning of a digest, for tables: `sha256:` and 12 digits.
fn short_digest(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

/// Parses a release such as `v4.1.5`.
fn release(text: &str) -> Result<Version, Failure> {
    text.strip_prefix('v')
        .and_then(|version| Version::parse(version).ok())
        .ok_or_else(|| Failure::NotARelease(redaction::without_login(text)))
}

/// Checks that `name`, which is not a release, is not an environment either.
///
/// # Errors
/// [`Failure::IsEnvironment`] if it is one.
fn refuse_environment(app: &App<'_>, name: &str) -> Result<(), Failure> {
    match environment::load(app.workspace.root(), name) {
        Ok(environment) => Err(Failure::IsEnvironment {
            name: name.to_owned(),
            release: format!("v{}", environment.release),
        }),
        Err(_) => Ok(()),
    }
}

/// Returns `name`, or the names of all environments.
fn one_or_all(app: &App<'_>, name: Option<&str>) -> Result<Vec<String>, Failure> {
    match name {
        Some(name) => Ok(vec![name.to_owned()]),
        None => environment::names(app.workspace.root())
            .map_err(|error| Failure::from(release::Error::Environment(error))),
    }
}

/// Returns `name`, or the names of all environments.
///
/// # Errors
/// The environment `name` does not exist.
fn existing_or_all(app: &App<'_>, name: Option<&str>) -> Result<Vec<String>, Failure> {
    let loaded = name.map(|name| environment::load(app.workspace.root(), name));
    if let Some(Err(error @ environment::Error::Unknown { .. })) = loaded {
        return Err(release::Error::Environment(error).into());
    }
    one_or_all(app, name)
}

/// Calls `work` with the name of each environment, also after an error.
///
/// # Errors
/// The error of a single environment, else [`Failure::Wrong`] with all errors.
fn with_each<T>(
    names: &[String],
    mut work: impl FnMut(&str) -> Result<T, release::Error>,
) -> Result<Vec<T>, Failure> {
    collect(names, names.iter().map(|name| work(name)).collect())
}

/// Returns the results of all environments.
///
/// # Errors
/// The error of a single environment, else [`Failure::Wrong`] with all errors.
fn collect<T>(
    names: &[String],
    results: Vec<Result<T, release::Error>>,
) -> Result<Vec<T>, Failure> {
    let mut done = Vec::with_capacity(names.len());
    let mut wrong = Vec::new();
    for (name, result) in names.iter().zip(results) {
        match result {
            Ok(one) => done.push(one),
            Err(error) => wrong.push((name.clone(), error)),
        }
    }
    match (wrong.len(), names.len()) {
        (0, _) => Ok(done),
        (1, 1) => wrong
            .pop()
            .map_or(Ok(done), |(_, error)| Err(Failure::from(error))),
        (_, total) => Err(Failure::Wrong { wrong, total }),
    }
}
