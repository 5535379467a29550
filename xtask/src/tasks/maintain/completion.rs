//! `completion`: prints a script for shells that completes commands, options, environments and
//! releases.
//!
//! At each Tab, the script runs the program with a variable set. The program then prints candidates
//! and exits.

#![expect(
    clippy::disallowed_methods,
    reason = "shells ask by a variable, and paths are completed in the current folder"
)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

use camino::Utf8PathBuf;
use clap::{Arg, Command, ValueHint};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use release::Workspace;
use serde_json::json;

use crate::app::App;
use crate::called;
use crate::cli::Shell;
use crate::failure::Failure;

/// Variable that a script sets to get candidates.
const VARIABLE: &str = "AIRLOCK_COMPLETE";

/// Command that scripts complete, besides `cargo xtask`.
const NAME: &str = "airlock";

/// Workspace folder that `-C` names on the command line being completed.
static DIRECTORY: OnceLock<Utf8PathBuf> = OnceLock::new();

pub(crate) fn run(app: &App<'_>, shell: Shell) -> Result<ExitCode, Failure> {
    let (completer, more): (&dyn EnvCompleter, &str) = match shell {
        Shell::Bash => (&Bash, include_str!("completion/cargo.bash")),
        Shell::Zsh => (&Zsh, include_str!("completion/cargo.zsh")),
        Shell::Fish => (&Fish, include_str!("completion/cargo.fish")),
    };
    let program = std::env::current_exe().map_err(|_| Failure::NoExecutable)?;
    let program = program.to_str().ok_or(Failure::NoExecutable)?;
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, NAME, NAME, "PROGRAM", &mut script)
        .map_err(Failure::Output)?;
    let mut script = String::from_utf8_lossy(&script).into_owned();
    script.push_str(more);
    // The script for bash already has quotes around the program.
    let script = script.replace("\"PROGRAM\"", "PROGRAM");
    let script = script.replace("PROGRAM", &quoted(program, shell));
    app.ui.document(&script, &json!({ "script": script }))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a path quoted for the script. fish parses it twice.
fn quoted(path: &str, shell: Shell) -> String {
    let escapes = match shell {
        Shell::Bash | Shell::Zsh => return called::quoted(path),
        Shell::Fish => [
            ("\\", r"\\\\"),
            ("'", r"\\'"),
            ("\"", r#"\""#),
            ("$", r"\$"),
        ],
    };
    let escaped = (escapes.iter()).fold(path.to_owned(), |path, (from, to)| path.replace(from, to));
    format!("'{escaped}'")
}

/// Prints candidates if a shell asks for them, and returns whether one did.
pub(crate) fn complete(command: impl Fn() -> Command) -> bool {
    let Some(_) = std::env::var_os(VARIABLE) else {
        return false;
    };
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    if let Some(typed) = crate::cli::directory(command(), words) {
        // It has quotes and `~` as typed, because no shell has expanded it yet.
        let mut named = typed.as_str().replace(['\\', '\'', '"'], "");
        if let (Some(rest), Ok(home)) = (named.strip_prefix('~'), std::env::var("HOME")) {
            named = format!("{home}{rest}");
        }
        let _ = DIRECTORY.set(named.into());
    }
    let here = std::env::current_dir().ok();
    let factory = || with_all_candidates(command());
    let answering = CompleteEnv::with_factory(factory).var(VARIABLE).bin(NAME);
    // A shell shows no errors of a completion.
    let answered = answering.try_complete(std::env::args_os(), here.as_deref());
    answered.unwrap_or(true)
}

/// Adds candidates to the values of all arguments.
fn with_all_candidates(command: Command) -> Command {
    command
        .mut_args(with_candidates)
        .mut_subcommands(with_all_candidates)
}

fn with_candidates(arg: Arg) -> Arg {
    let of =
        |find: fn(&Workspace) -> Vec<String>| ArgValueCandidates::new(move || candidates(find));
    let added = match arg.get_id().as_str() {
        "environment" | "environments" | "from" | "to" | "confirm" => of(environments),
        "release" => of(releases),
        "release-or-set" => of(|workspace| [releases(workspace), sets(workspace)].concat()),
        "what" | "old" | "new" => {
            of(|workspace| [environments(workspace), locked(workspace), sets(workspace)].concat())
        }
        _ => {
            let name = arg.get_value_names().and_then(<[_]>::first);
            return match name.map(clap::builder::Str::as_str) {
                Some("FILE") => arg.value_hint(ValueHint::FilePath),
                Some("DIR") => arg.value_hint(ValueHint::DirPath),
                _ => arg,
            };
        }
    };
    arg.add(added)
}

fn candidates(find: fn(&Workspace) -> Vec<String>) -> Vec<CompletionCandidate> {
    let found = crate::app::root(DIRECTORY.get().map(|named| &**named)).map(Workspace::new);
    let names = found.map(|workspace| find(&workspace)).unwrap_or_default();
    let shown = names
        .into_iter()
        .filter(|name| !redaction::has_hidden_characters(name));
    shown.map(CompletionCandidate::new).collect()
}

fn environments(workspace: &Workspace) -> Vec<String> {
    environment::names(workspace.root()).unwrap_or_default()
}

/// Returns the locked releases, from the file names of their locks.
fn locked(workspace: &Workspace) -> Vec<String> {
    let locks = workspace.locks().unwrap_or_default();
    let names = locks.iter().filter_map(|path| {
        let name = Path::new(path)
            .file_name()?
            .to_str()?
            .split(".lock.")
            .next()?;
        let release = name.rsplit_once('-')?.0;
        super::release(release).ok().map(|_| release.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.dedup();
    names
}

fn sets(workspace: &Workspace) -> Vec<String> {
    release::set::names(workspace).unwrap_or_default()
}

/// Returns the releases that have recorded facts or a lock.
fn releases(workspace: &Workspace) -> Vec<String> {
    let known = release::report::releases::all(workspace).unwrap_or_default();
    let known = known.into_iter().map(|row| row.release);
    let mut all: Vec<String> = known.chain(locked(workspace)).collect();
    all.sort();
    all.dedup();
    all
}
