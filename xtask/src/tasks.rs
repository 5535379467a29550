//! One file a command: flags in, one call of `release`, a result out.

mod apply;
mod check;
mod ci;
mod cluster;
mod completion;
mod deploy;
mod diff;
mod fetch;
mod images;
mod inspect;
mod learn;
mod list;
mod lock;
mod man;
mod migrate;
mod mkectl;
mod new;
mod pack;
mod plan;
mod preflight;
mod promote;
mod prune;
mod push;
mod receipt;
mod rehearsal_mkectl;
mod rehearse;
mod releases;
mod render;
mod report;
mod show;
mod snapshot;
mod status;
mod store;
mod support;
mod unpack;
mod verify;

use std::process::ExitCode;

use environment::count;
use semver::Version;

use crate::app::App;
use crate::cli::{Cli, Command, RehearsalArgs, StoreCommand};
use crate::failure::Failure;

/// Runs the command that was typed.
pub(crate) fn run(app: &App<'_>, cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::List => list::run(app),
        Command::Show { environment } => show::run(app, environment),
        Command::Images(arguments) => images::run(app, arguments),
        Command::Inspect { what } => inspect::run(app, what),
        Command::Plan(arguments) => plan::run(app, arguments),
        Command::Snapshot { environment, out } => snapshot::run(app, environment, out.as_deref()),
        Command::Diff(arguments) => diff::run(app, arguments),
        Command::Releases { release, check } => releases::run(app, release.as_deref(), *check),
        Command::Status(arguments) => status::run(app, arguments),
        Command::Report(arguments) => report::run(app, arguments),
        Command::Promote(arguments) => promote::run(app, arguments),
        Command::Preflight { environment, nodes } => preflight::run(app, environment, *nodes),
        Command::Support { environment, out } => support::run(app, environment, out.as_deref()),
        Command::New(arguments) => new::run(app, arguments),
        Command::Check {
            environment,
            all: _,
            with_mkectl,
            strict,
        } => check::run(app, environment.as_deref(), *with_mkectl, *strict),
        Command::Learn(arguments) => learn::run(app, arguments),
        Command::Lock(arguments) => lock::run(app, arguments),
        Command::Fetch(arguments) => fetch::run(app, arguments),
        Command::Unpack(arguments) => unpack::run(app, arguments),
        Command::Render {
            environment,
            all: _,
            check,
        } => render::run(app, environment.as_deref(), *check),
        Command::Rehearse { environment } => rehearse::run(app, environment),
        Command::Deploy {
            environment,
            approval,
            limits: _,
            consent: _,
            overrides,
            without_backup,
            take_over,
            plan,
        } => deploy::run(
            app,
            environment,
            plan.as_deref(),
            approval,
            overrides.override_requires.as_deref(),
            without_backup.as_deref(),
            take_over.take_over,
        ),
        Command::Pack(arguments) => pack::run(app, arguments),
        Command::Push(arguments) => push::run(app, arguments),
        Command::Apply {
            environment,
            approval,
            consent: _,
            overrides,
            take_over,
        } => apply::run(
            app,
            environment,
            approval,
            overrides.override_requires.as_deref(),
            take_over.take_over,
        ),
        Command::Migrate(arguments) => migrate::run(app, arguments),
        Command::Receipt { command } => receipt::run(app, command),
        Command::Cluster { command } => cluster::run(app, command),
        Command::Verify(arguments) => verify::run(app, arguments),
        Command::Mkectl(arguments) => mkectl::run(app, arguments),
        Command::Store { command: None } => store::run(app),
        Command::Store {
            command: Some(StoreCommand::Gc { dry_run }),
        } => store::collect(app, *dry_run),
        Command::Prune(arguments) => prune::run(app, arguments),
        Command::Completion { shell } => completion::run(*shell),
        Command::Man { out } => man::run(app, out),
        Command::Ci { steps } => ci::run(app, steps),
        Command::RehearsalMkectl(arguments) => rehearsal_mkectl(arguments),
    }
}

pub(crate) use completion::answer;

/// Plays mkectl in a rehearsal. All its paths are absolute, so it needs no workspace: the folder that it is started in
/// may be outside.
pub(crate) fn rehearsal_mkectl(arguments: &RehearsalArgs) -> Result<ExitCode, Failure> {
    rehearsal_mkectl::run(arguments)
}

/// Reads a release as people write it: `v4.1.5`.
fn release(text: &str) -> Result<Version, Failure> {
    text.strip_prefix('v')
        .and_then(|version| Version::parse(version).ok())
        .ok_or_else(|| Failure::NotARelease(text.to_owned()))
}

/// Returns the environment that was named, or the names of all.
fn one_or_all(app: &App<'_>, name: Option<&str>) -> Result<Vec<String>, Failure> {
    match name {
        Some(name) => Ok(vec![name.to_owned()]),
        None => environment::names(app.workspace.root())
            .map_err(|error| Failure::from(release::Error::Environment(error))),
    }
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
