//! How the program was called, for usage and hints.

/// How the program is called by its alias.
pub(crate) const BY_CARGO: &str = "cargo xtask";

/// Returns how the program was called: by its alias, which a variable of `cargo` shows, or by a path.
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
