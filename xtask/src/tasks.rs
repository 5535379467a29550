//! One file a command: flags in, one call of `release`, a result out. Groups and order are those of
//! the help.

/// Commands that read and report.
mod inspect {
    use super::{count, existing_or_all, release};

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
    use super::{all_done, count, one_or_all, release, with_each};

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

/// Commands for what is deployed, and for the program itself.
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
use crate::cli::{Cli, Command, RehearsalArgs, StoreCommand};
use crate::failure::Failure;

/// Runs the command that was typed.
pub(crate) fn run(app: &App<'_>, cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::List => inspect::list::run(app),
        Command::Show { environment } => inspect::show::run(app, environment),
        Command::Images(arguments) => inspect::images::run(app, arguments),
        Command::Inspect { what } => inspect::inspect::run(app, what, cli.common.format),
        Command::Plan(arguments) => inspect::plan::run(app, arguments),
        Command::Snapshot { environment, out } => {
            inspect::snapshot::run(app, environment, out.as_deref())
        }
        Command::Diff(arguments) => inspect::diff::run(app, arguments),
        Command::Releases { release, check } => {
            inspect::releases::run(app, release.as_deref(), *check)
        }
        Command::Status(arguments) => inspect::status::run(app, arguments),
        Command::Report(arguments) => inspect::report::run(app, arguments),
        Command::Promote(arguments) => prepare::promote::run(app, arguments),
        Command::Preflight { environment, nodes } => {
            inspect::preflight::run(app, environment, *nodes)
        }
        Command::Support { environment, out } => {
            maintain::support::run(app, environment, out.as_deref())
        }
        Command::New(arguments) => prepare::new::run(app, arguments),
        Command::Check {
            environment,
            all: _,
            with_mkectl,
            strict,
        } => prepare::check::run(app, environment.as_deref(), *with_mkectl, *strict),
        Command::Learn(arguments) => prepare::learn::run(app, arguments),
        Command::Lock(arguments) => prepare::lock::run(app, arguments),
        Command::Fetch(arguments) => prepare::fetch::run(app, arguments),
        Command::Unpack(arguments) => prepare::unpack::run(app, arguments),
        Command::Render {
            environment,
            all: _,
            check,
        } => prepare::render::run(app, environment.as_deref(), *check),
        Command::Rehearse { environment } => prepare::rehearse::run(app, environment),
        Command::Deploy {
            environment,
            approval,
            limits: _,
            consent: _,
            overrides,
            without_backup,
            take_over,
            plan,
        } => deploy::deploy::run(
            app,
            environment,
            plan.as_deref(),
            approval,
            overrides.override_requires.as_deref(),
            without_backup.as_deref(),
            take_over.take_over,
        ),
        Command::Pack(arguments) => prepare::pack::run(app, arguments),
        Command::Push(arguments) => deploy::push::run(app, arguments),
        Command::Apply {
            environment,
            approval,
            consent: _,
            overrides,
            take_over,
        } => deploy::apply::run(
            app,
            environment,
            approval,
            overrides.override_requires.as_deref(),
            take_over.take_over,
        ),
        Command::Migrate(arguments) => deploy::migrate::run(app, arguments),
        Command::Receipt { command } => maintain::receipt::run(app, command),
        Command::Cluster { command } => maintain::cluster::run(app, command),
        Command::Verify(arguments) => maintain::verify::run(app, arguments),
        Command::Mkectl(arguments) => maintain::mkectl::run(app, arguments),
        Command::Store { command: None } => maintain::store::run(app),
        Command::Store {
            command: Some(StoreCommand::Gc { dry_run }),
        } => maintain::store::collect(app, *dry_run),
        Command::Prune(arguments) => maintain::prune::run(app, arguments),
        Command::Completion { shell } => maintain::completion::run(app, *shell),
        Command::Man { out } => maintain::man::run(app, out),
        Command::Ci { steps } => maintain::ci::run(app, steps),
        Command::RehearsalMkectl(arguments) => rehearsal_mkectl(arguments),
    }
}

pub(crate) use maintain::completion::answer;

/// Plays mkectl in a rehearsal. All its paths are absolute, so it needs no workspace: the folder
/// that it is started in may be outside.
pub(crate) fn rehearsal_mkectl(arguments: &RehearsalArgs) -> Result<ExitCode, Failure> {
    prepare::rehearsal_mkectl::run(arguments)
}

/// Reads a release as people write it: `v4.1.5`.
fn release(text: &str) -> Result<Version, Failure> {
    text.strip_prefix('v')
        .and_then(|version| Version::parse(version).ok())
        .ok_or_else(|| Failure::NotARelease(redaction::without_login(text)))
}

/// Returns the failure for the name of an environment where a release is expected, if it is one.
pub(crate) fn environment_instead(app: &App<'_>, name: &str) -> Result<(), Failure> {
    match environment::load(app.workspace.root(), name) {
        Ok(environment) => Err(Failure::IsEnvironment {
            name: name.to_owned(),
            release: format!("v{}", environment.release),
        }),
        Err(_) => Ok(()),
    }
}

/// Returns the environment that was named, or the names of all.
fn one_or_all(app: &App<'_>, name: Option<&str>) -> Result<Vec<String>, Failure> {
    match name {
        Some(name) => Ok(vec![name.to_owned()]),
        None => environment::names(app.workspace.root())
            .map_err(|error| Failure::from(release::Error::Environment(error))),
    }
}

/// Returns the environment that was named, if it exists, or the names of all.
fn existing_or_all(app: &App<'_>, name: Option<&str>) -> Result<Vec<String>, Failure> {
    let loaded = name.map(|name| environment::load(app.workspace.root(), name));
    if let Some(Err(error @ environment::Error::Unknown { .. })) = loaded {
        return Err(release::Error::Environment(error).into());
    }
    one_or_all(app, name)
}

/// Does something with each environment, and continues if one of them is wrong.
///
/// # Errors
/// What is wrong with all of them.
fn with_each<T>(
    names: &[String],
    mut work: impl FnMut(&str) -> Result<T, release::Error>,
) -> Result<Vec<T>, Failure> {
    all_done(names, names.iter().map(|name| work(name)).collect())
}

/// Returns what was done with each environment.
///
/// # Errors
/// What is wrong with all of them.
fn all_done<T>(
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
