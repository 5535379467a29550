//! How the program was called, for commands in usage and hints.

use std::sync::OnceLock;

use camino::Utf8Path;

/// File name of the program on a medium.
const ON_MEDIUM: &str = "airlock";

/// The program's cargo alias.
pub(crate) const BY_CARGO: &str = "cargo xtask";

/// Returns whether hints assume that this run is inside the air gap: it is offline, or the program
/// comes from a medium.
#[expect(
    clippy::disallowed_methods,
    reason = "it depends on the process's variables and arguments"
)]
pub(crate) fn is_inside() -> bool {
    let variable = std::env::var_os("AIRLOCK_OFFLINE");
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    is_offline(variable.as_deref())
        || std::path::Path::new(&program).file_name() == Some(ON_MEDIUM.as_ref())
        || arguments.any(|argument| argument == "--offline")
}

/// Returns whether a value of AIRLOCK_OFFLINE requires an offline run. An unknown value does,
/// because a request cannot be undone.
pub(crate) fn is_offline(value: Option<&std::ffi::OsStr>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    !["", "0", "false", "no"].iter().any(|off| value == **off)
}

/// Returns how the program was called: `cargo xtask` if the variable CARGO is set, else its path.
#[expect(
    clippy::disallowed_methods,
    reason = "it depends on the process's variables and arguments"
)]
pub(crate) fn program() -> String {
    let is_alias = std::env::var_os("CARGO").is_some();
    let path = std::env::args_os().next().filter(|_| !is_alias);
    match path {
        Some(path) => redaction::escape(&path.to_string_lossy()).into_owned(),
        None => BY_CARGO.to_owned(),
    }
}

/// The folder that `-C` names, quoted for a shell.
static DIRECTORY: OnceLock<String> = OnceLock::new();

/// Adds `-C DIRECTORY` to all commands that this run prints.
pub(crate) fn remember_directory(directory: &Utf8Path) {
    let _ = DIRECTORY.set(quoted(&redaction::escape(directory.as_str())));
}

/// Quotes a word for a shell, if necessary.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Returns the beginning of a command to be typed: the program, and `-C DIR` if this run has it.
pub(crate) fn command() -> String {
    match DIRECTORY.get() {
        Some(directory) => format!("{} -C {directory}", program()),
        None => program(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_value_of_the_variable_means_offline() {
        for (value, expected) in [
            ("1", true),
            ("true", true),
            ("on", true),
            ("0", false),
            ("False", false),
            ("", false),
        ] {
            assert_eq!(is_offline(Some(value.as_ref())), expected, "{value}");
        }
        assert!(!is_offline(None));
    }
}
