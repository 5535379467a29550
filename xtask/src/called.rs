//! How the program was called, for usage and hints.

use std::sync::OnceLock;

use camino::Utf8Path;

/// What the program of a medium is called.
const OF_MEDIUM: &str = "airlock";

/// How the program is called by its alias.
pub(crate) const BY_CARGO: &str = "cargo xtask";

/// Returns whether this run is inside the gap, as far as hints go: it is offline, or this is the
/// program of a medium.
#[expect(
    clippy::disallowed_methods,
    reason = "where a run is, the process's variables and arguments tell"
)]
pub(crate) fn is_inside() -> bool {
    let variable = std::env::var_os("AIRLOCK_OFFLINE");
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    is_offline(variable.as_deref())
        || std::path::Path::new(&program).file_name() == Some(OF_MEDIUM.as_ref())
        || arguments.any(|argument| argument == "--offline")
}

/// Returns whether AIRLOCK_OFFLINE asks for an offline run. An unknown value does: a request cannot
/// be undone.
pub(crate) fn is_offline(value: Option<&std::ffi::OsStr>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    !["", "0", "false", "no"].iter().any(|off| value == **off)
}

/// Returns how the program was called: by its alias, which a variable of `cargo` shows, or by a
/// path.
#[expect(
    clippy::disallowed_methods,
    reason = "how the program was called is what the process's variables and arguments tell"
)]
pub(crate) fn program() -> String {
    let is_alias = std::env::var_os("CARGO").is_some();
    let path = std::env::args_os().next().filter(|_| !is_alias);
    match path {
        Some(path) => redaction::escape(&path.to_string_lossy()).into_owned(),
        None => BY_CARGO.to_owned(),
    }
}

/// The folder that was named by `-C`, as a shell reads it.
static DIRECTORY: OnceLock<String> = OnceLock::new();

/// Takes note of the folder that was named by `-C`: commands that are printed need it, too.
pub(crate) fn remember_directory(directory: &Utf8Path) {
    let _ = DIRECTORY.set(quoted(&redaction::escape(directory.as_str())));
}

/// Returns a word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Returns what a command begins with that is printed to be typed.
pub(crate) fn command() -> String {
    match DIRECTORY.get() {
        Some(directory) => format!("{} -C {directory}", program()),
        None => program(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case 7.2
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
