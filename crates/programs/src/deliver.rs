//! Passes a secret to a program of the operator, such as a password manager.

use std::cell::Cell;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use crate::process::{self, Input, Output};
use crate::{Error, Executable, Exit, Signal, Variables};

/// Time limit: the program may prompt the operator for a passphrase.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `program` with `secret` and a line end on its standard input. A name without `/` is
/// searched in `PATH`.
///
/// The output is discarded. Unlike mkectl, the program keeps the terminal, since it may prompt for
/// a passphrase. It is killed after five minutes or at the first of `signals`.
///
/// # Errors
///
/// [`Error::TimedOut`], [`Error::NotDelivered`] if the exit code is not zero, and the errors of
/// starting a program.
pub fn deliver(
    program: &str,
    arguments: &[String],
    variables: &Variables,
    secret: &SecretString,
    signals: &Receiver<Signal>,
) -> Result<(), Error> {
    let mut found = Executable::new(program, variables.clone());
    let words = || arguments.iter().map(String::as_str);
    let shown = found.command("", words()).display().to_string();
    if !program.contains('/') {
        found = Executable::find(program, variables.clone())?;
    }
    let failed = |source| Error::start(program.into(), source);
    let input = format!("{}\n", secret.expose_secret());
    let command = found.command("", words());
    let mut child = process::start(&command, Input::Bytes(input.as_bytes()), Output::Terminal)
        .map_err(failed)?;
    let deadline = Instant::now() + LIMIT;
    let is_interrupted = Cell::new(false);
    let is_over = || {
        is_interrupted.set(is_interrupted.get() || signals.try_recv().is_ok());
        is_interrupted.get() || Instant::now() >= deadline
    };
    let is_killed = child
        .drain_until(&is_over, &mut |_, _| {})
        .map_err(failed)?;
    let exit = child.reap().map_err(failed)?;
    if is_killed && !is_interrupted.get() {
        return Err(Error::TimedOut {
            command: shown,
            seconds: LIMIT.as_secs(),
        });
    }
    match exit {
        Exit::Code(0) => Ok(()),
        exit => Err(Error::NotDelivered {
            command: shown,
            exit,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_on_standard_input_only() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        let script = format!(
            "cat > {0}; tr '\\0' ' ' < /proc/$$/cmdline >> {0}; env >> {0}",
            kept.display()
        );
        let variables = Variables::inherited([("PATH", "/usr/bin:/bin")]);
        let secret = SecretString::from("aLSgtjNiusU");
        let (sender, signals) = std::sync::mpsc::channel();
        let run = |script: &str| {
            let arguments = ["-c".to_owned(), script.to_owned()];
            deliver("sh", &arguments, &variables, &secret, &signals)
        };
        run(&script).unwrap();
        let text = std::fs::read_to_string(kept).unwrap();
        assert!(text.starts_with("aLSgtjNiusU\n"), "{text}");
        assert_eq!(text.matches("aLSgtjNiusU").count(), 1, "{text}");

        let error = run("cat; echo it said that; exit 4").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c 'cat; echo it said that; exit 4'` exited with code 4 and may not have kept the password"
        );
        // The program need not read its input.
        run("exit 0").unwrap();
        assert!(matches!(
            deliver("no-such-program", &[], &variables, &secret, &signals),
            Err(Error::NotFound { .. })
        ));
        sender.send(Signal::Interrupt).unwrap();
        let error = run("exec sleep 60").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c 'exec sleep 60'` was ended by signal 9 and may not have kept the password"
        );
    }
}
