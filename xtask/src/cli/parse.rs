//! Parses the command line, and improves clap's usage errors.

use std::ffi::OsString;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::{Cli, CommonArgs, HELP};
use crate::called;
use crate::failure::USAGE;
use crate::team::Task;
use crate::ui::Format;

/// A parsed command line.
pub(crate) enum Typed {
    /// A command of Airlock.
    Ours(Box<Cli>),
    /// A task of the team, by its index in the list of tasks.
    Team(CommonArgs, usize, ArgMatches),
}

/// Writes names of arguments as prose: `[ENVIRONMENT]` becomes ENVIRONMENT, and
/// `<ENVIRONMENT|--all>` becomes ENVIRONMENT or --all.
fn name_arguments_in_prose(error: &mut clap::Error) {
    let plain = |name: &String| match name.strip_prefix(['[', '<']) {
        Some(name) => name.replace(['[', ']', '<', '>'], "").replace('|', " or "),
        None => name.clone(),
    };
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        let named = match error.get(kind) {
            Some(ContextValue::String(name)) => ContextValue::String(plain(name)),
            Some(ContextValue::Strings(names)) => {
                ContextValue::Strings(names.iter().map(plain).collect())
            }
            _ => continue,
        };
        error.insert(kind, named);
    }
}

/// Replaces clap's tips by better ones, and removes suggestions of names that are not similar.
fn improve_tips(error: &mut clap::Error) {
    let text = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let argument = text(error, ContextKind::InvalidArg);
    let tip = match argument.as_str() {
        "--dry-run" => Some(instead_of_dry_run(std::env::args_os())),
        "--json" => Some("use '--format json'".to_owned()),
        _ => None,
    };
    match tip {
        Some(tip) => {
            error.remove(ContextKind::SuggestedArg);
            let tip = ContextValue::StyledStrs(vec![tip.into()]);
            error.insert(ContextKind::Suggested, tip);
        }
        None => drop(error.remove(ContextKind::Suggested)),
    }
    for (given, suggested) in [
        (argument, ContextKind::SuggestedArg),
        (
            text(error, ContextKind::InvalidSubcommand),
            ContextKind::SuggestedSubcommand,
        ),
    ] {
        let tips = match error.remove(suggested) {
            Some(ContextValue::String(tip)) => vec![tip],
            Some(ContextValue::Strings(tips)) => tips,
            _ => Vec::new(),
        };
        if let Some(tip) = environment::nearest(&given, tips.iter().map(String::as_str)) {
            let tip = tip.to_owned();
            let tip = match suggested {
                ContextKind::SuggestedArg => ContextValue::String(tip),
                _ => ContextValue::Strings(vec![tip]),
            };
            error.insert(suggested, tip);
        }
    }
}

/// Parses the command line.
///
/// # Errors
/// The exit code, after the help or the usage error was printed. It is 64 for a usage error: clap's
/// own code is 2, which here means that something differs.
pub(crate) fn parse(tasks: &[&dyn Task]) -> Result<Typed, ExitCode> {
    typed(tasks).map_err(|mut error| {
        improve_tips(&mut error);
        name_arguments_in_prose(&mut error);
        let code = match error.use_stderr() {
            true => USAGE,
            false => 0,
        };
        if code == USAGE
            && let Some(directory) = directory(command(tasks), std::env::args_os())
        {
            called::remember_directory(&directory);
        }
        let text = error.render();
        if redaction::has_hidden_characters(&text.to_string()) {
            // An argument may contain colour codes, so the whole text is shown without colours.
            crate::ui::edge::err(&redaction::escape_lines(&text.to_string()));
        } else if code == 0 {
            let _ = crate::ui::edge::out(&text.ansi().to_string());
        } else {
            crate::ui::edge::err(&text.ansi().to_string());
        }
        if code == USAGE && asks_for_json(std::env::args_os()) {
            let message = error.to_string();
            crate::ui::wrong_command_line(message.trim_start_matches("error: ").trim_end(), code);
        }
        ExitCode::from(code)
    })
}

/// Returns the folder that `-C` names. If the command line is not valid, finds it only before the
/// first invalid argument.
pub(crate) fn directory(
    command: clap::Command,
    arguments: impl Iterator<Item = OsString>,
) -> Option<Utf8PathBuf> {
    let matches = command.ignore_errors(true).try_get_matches_from(arguments);
    matches.ok()?.get_one("directory").cloned()
}

/// Returns all commands, with the tasks of the team.
pub(crate) fn command(tasks: &[&dyn Task]) -> clap::Command {
    let mut command = Cli::command();
    if !tasks.is_empty() {
        let mut listed = "Of this team\n".to_owned();
        for task in tasks.iter().map(|task| task.command()) {
            let about = task.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            listed.push_str(&format!("  {:<10}  {about}\n", task.get_name()));
            command = command.subcommand(task);
        }
        command = command.help_template(HELP.replace("Options:", &format!("{listed}\nOptions:")));
    }
    command
}

/// Makes a command show the same usage in its help and in errors. In errors, clap leaves out
/// arguments that were not typed, as if they were not allowed.
fn with_full_usage(command: clap::Command) -> clap::Command {
    let mut command = command.mut_subcommands(with_full_usage);
    let usage = command.render_usage().to_string();
    match usage.strip_prefix("Usage: ") {
        Some(usage) => command.override_usage(usage.to_owned()),
        None => command,
    }
}

fn typed(tasks: &[&dyn Task]) -> Result<Typed, clap::Error> {
    let mut command = command(tasks);
    command.build();
    let mut command = command.mut_subcommands(with_full_usage);
    // clap's own command `help` is disabled, because the overview would have to list it.
    let mut typed: Vec<OsString> = std::env::args_os().collect();
    if typed.get(1).is_some_and(|first| first == "help") {
        typed.remove(1);
        typed.push("--help".into());
    }
    let matches = command.clone().try_get_matches_from(typed)?;
    let common = CommonArgs::from_arg_matches(&matches)?;
    if common.format == Format::Cyclonedx && matches.subcommand_name() != Some("inspect") {
        let instead = "`--format cyclonedx` is for `cargo xtask inspect ENVIRONMENT`";
        return Err(command.error(clap::error::ErrorKind::InvalidValue, instead));
    }
    if let Some((name, arguments)) = matches.subcommand() {
        let named = |task: &&dyn Task| task.command().get_name() == name;
        if let Some(index) = tasks.iter().position(named) {
            return Ok(Typed::Team(common, index, arguments.clone()));
        }
    }
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => Ok(Typed::Ours(Box::new(cli))),
        Err(error) => Err(error.format(&mut command)),
    }
}

/// Returns the tip for a command that has no `--dry-run`: the command that shows its effects.
fn instead_of_dry_run(arguments: impl Iterator<Item = OsString>) -> String {
    let arguments: Vec<_> = arguments.collect();
    let named = |command: &str| arguments.iter().any(|argument| argument == command);
    let environment = typed_name(arguments.iter().cloned());
    if named("render") {
        format!(
            "`cargo xtask render {environment} --check` shows what would change, and writes nothing"
        )
    } else if named("prune") {
        format!(
            "`cargo xtask prune {environment}` shows what would be removed, and removes nothing"
        )
    } else {
        format!("`cargo xtask plan {environment}` shows what `deploy`, `push` and `apply` would do")
    }
}

/// Returns the word after the command if it can be the name of an environment, else `ENVIRONMENT`.
/// The command line cannot be parsed, so clap does not provide it.
fn typed_name(arguments: impl Iterator<Item = OsString>) -> String {
    let commands = Cli::command();
    let words = arguments.map(|word| word.to_string_lossy().into_owned());
    let mut words = words.skip_while(|word| commands.find_subcommand(word).is_none());
    let is_name = |name: &String| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && (name.chars()).all(|c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let name = words.nth(1).filter(is_name);
    name.unwrap_or_else(|| "ENVIRONMENT".to_owned())
}

/// Returns whether a command line that cannot be parsed has `--format json`. A program that reads
/// JSON waits for the object of the error.
fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<_> = arguments.take_while(|argument| argument != "--").collect();
    arguments.iter().any(|argument| argument == "--format=json")
        || arguments
            .windows(2)
            .any(|pair| pair == ["--format", "json"])
}
