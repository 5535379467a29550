//! Writes to standard output and standard error. All output passes through here, where secrets are
//! masked and control characters escaped.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write as _};

use redaction::Colours;
use serde_json::Value;

use super::fold::Columns;
use crate::called::{self, BY_CARGO};
use crate::failure::Failure;

/// Writes a text to standard output, wrapped to the terminal. A closed pipe (`| head`) is not an
/// error.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn out(text: &str) -> io::Result<()> {
    let shown = shown(text, console::colors_enabled());
    write_out(&Columns::of_results().fold(&shown))
}

/// Writes a document, such as YAML, to standard output. Its lines are not wrapped.
///
/// # Errors
/// Standard output cannot be written to.
pub(super) fn document(text: &str) -> io::Result<()> {
    write_out(&shown(text, console::colors_enabled()))
}

/// Writes a result that is itself a secret and that the operator requested to standard output.
///
/// # Errors
/// Standard output cannot be written to.
pub(super) fn reveal(text: &str) -> io::Result<()> {
    write_out(&redaction::escape_lines(text))
}

/// Writes a JSON object to standard output, as one line.
///
/// # Errors
/// Standard output cannot be written to.
pub(super) fn json(mut value: Value) -> io::Result<()> {
    mask(&mut value);
    reveal_json(&value)
}

/// Returns a JSON object as a line for a file.
pub(crate) fn object(mut value: Value) -> String {
    mask(&mut value);
    format!("{}\n", redaction::escape_json(&value.to_string()))
}

/// Writes a JSON object with a secret that the operator requested to standard output, as one line.
///
/// # Errors
/// Standard output cannot be written to.
pub(super) fn reveal_json(value: &Value) -> io::Result<()> {
    write_out(&format!("{}\n", redaction::escape_json(&value.to_string())))
}

/// Returns standard output for the bytes of a medium, which are not text.
///
/// # Errors
/// It is a terminal.
pub(crate) fn stream() -> Result<impl io::Write, Failure> {
    match console::Term::stdout().is_term() {
        true => Err(Failure::StreamToTerminal),
        false => Ok(io::BufWriter::with_capacity(1 << 20, io::stdout())),
    }
}

/// Writes a text to standard error, wrapped to the terminal. Errors are ignored.
pub(crate) fn err(text: &str) {
    let mut err = io::stderr().lock();
    // Masked before it is wrapped, because the masker does not recognise a wrapped secret.
    let shown = shown(text, console::colors_enabled_stderr());
    let shown = Columns::of_messages().fold(&shown);
    let _ = err.write_all(shown.as_bytes()).and_then(|()| err.flush());
}

/// Shows the administrator's password on the terminal.
///
/// # Errors
/// The terminal cannot be written to.
pub(crate) fn reveal_on_terminal(password: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{}", redaction::escape(password))
}

/// Escapes foreign text for use within a line: it keeps no colours and no line ends.
pub(crate) fn word(text: impl Display) -> String {
    redaction::escape(&text.to_string()).into_owned()
}

/// Escapes the text of an error. Lines after the first are indented, so they cannot look like
/// messages of Airlock.
pub(super) fn message(text: impl Display) -> String {
    redaction::escape_lines(&text.to_string()).replace('\n', "\n    ")
}

/// Replaces `cargo xtask` in a text: by `command` where a subcommand follows, else by `program`.
/// Inside the air gap, cargo is missing. Applied twice, it changes nothing more.
fn with_program<'a>(text: &'a str, program: &str, command: &str) -> Cow<'a, str> {
    let mut parts = text.split(BY_CARGO);
    let first = parts.next().unwrap_or_default();
    if command == BY_CARGO || first.len() == text.len() {
        return Cow::Borrowed(text);
    }
    let mut named = first.to_owned();
    for part in parts {
        let mut after = part.chars();
        let is_command = after.next() == Some(' ') && after.next().is_some_and(char::is_lowercase);
        named.push_str(if is_command { command } else { program });
        named.push_str(part);
    }
    Cow::Owned(named)
}

/// Replaces `cargo xtask` in a text by the way this run was called.
fn as_called(text: &str) -> Cow<'_, str> {
    with_program(text, &called::program(), &called::command())
}

/// Masks a text and replaces the name of the program, before the text is cut or wrapped.
pub(super) fn masked(text: &str) -> String {
    let masked = redaction::run().mask(text);
    as_called(&masked).into_owned()
}

fn shown(text: &str, is_coloured: bool) -> String {
    let text = &as_called(text);
    let colours = match is_coloured {
        true => Colours::Keep,
        false => Colours::Drop,
    };
    redaction::colours(&redaction::run().mask(text), colours).into_owned()
}

fn mask(value: &mut Value) {
    match value {
        Value::String(text) => {
            *text = redaction::run().mask(&as_called(text)).into_owned();
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            let masked = std::mem::take(fields).into_iter().map(|(key, mut value)| {
                mask(&mut value);
                (redaction::run().mask(&key).into_owned(), value)
            });
            *fields = masked.collect();
        }
        _ => {}
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_in_its_line() {
        assert_eq!(word("a\nerror: b\u{1b}[31m"), "a\\nerror: b\\u{1b}[31m");
        assert_eq!(message("a\nerror: b\r"), "a\n    error: b\\r");
    }

    #[test]
    fn the_program_is_named_as_it_was_called() {
        let hint = "run `cargo xtask plan lab`";
        assert_eq!(with_program(hint, BY_CARGO, BY_CARGO), hint);
        let airlock = "./airlock";
        assert_eq!(
            with_program(hint, airlock, airlock),
            "run `./airlock plan lab`"
        );
        let command = "cargo xtask -C 'a b'";
        let once = with_program(hint, BY_CARGO, command);
        assert_eq!(once, "run `cargo xtask -C 'a b' plan lab`");
        assert_eq!(with_program(&once, BY_CARGO, command), once);
        assert_eq!(with_program("cargo xtask.", airlock, command), "./airlock.");
    }

    #[test]
    fn secrets_and_control_characters_are_removed() {
        redaction::run().add("edge-of-tomorrow");
        let text = "\u{1b}[1medge-of-tomorrow\u{1b}[0m\u{1b}]0;x\u{7}\n";
        assert_eq!(shown(text, false), "***\\u{1b}]0;x\\u{7}\n");
        assert!(shown(text, true).starts_with("\u{1b}[1m***"));
        let mut value = serde_json::json!({"edge-of-tomorrow": ["edge%2Dof%2Dtomorrow", 7]});
        mask(&mut value);
        assert_eq!(value, serde_json::json!({"***": ["***", 7]}));
    }
}
