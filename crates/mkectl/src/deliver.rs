//! Handing a secret to a program of the operator's, such as a password manager.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use crate::{Command, Error, Exit, Mkectl, Variables};

/// How long such a program may take: it may ask somebody for a passphrase.
const LIMIT: Duration = Duration::from_secs(300);

/// How often to look whether it has ended.
const TURN: Duration = Duration::from_millis(20);

/// Runs a program, which is looked for in `PATH` unless it is a path, with its arguments, and gives it `secret` and a line end on its
/// standard input.
///
/// Nothing that it prints is shown. Unlike mkectl it keeps the terminal, since it may ask for a passphrase there. It has five
/// minutes.
///
/// # Errors
///
/// It cannot be started, takes too long, or ends with another exit code than zero.
pub fn deliver(
    program: &str,
    arguments: &[String],
    variables: &Variables,
    secret: &SecretString,
) -> Result<(), Error> {
    let shown = shown(program, arguments);
    let failed = |source| Error::Start {
        program: program.into(),
        source,
    };
    let handle = start(program, arguments, variables, secret).map_err(failed)?;
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        match handle.try_wait().map_err(failed)? {
            Some(output) => break output.status,
            None if Instant::now() >= deadline => {
                handle.kill().map_err(failed)?;
                return Err(Error::TimedOut {
                    command: shown,
                    seconds: LIMIT.as_secs(),
                });
            }
            None => std::thread::sleep(TURN),
        }
    };
    match Exit::of(status) {
        Exit::Code(0) => Ok(()),
        exit => Err(Error::NotDelivered {
            command: shown,
            exit,
        }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the crate that starts programs"
)]
fn start(
    program: &str,
    arguments: &[String],
    variables: &Variables,
    secret: &SecretString,
) -> std::io::Result<duct::Handle> {
    duct::cmd(program, arguments)
        .full_env(variables.iter())
        .stdin_bytes(format!("{}\n", secret.expose_secret()))
        .stdout_null()
        .stderr_null()
        .unchecked()
        .start()
}

fn shown(program: &str, arguments: &[String]) -> String {
    let command = Command {
        arguments: arguments.to_vec(),
        ..Mkectl::new(program, Variables::default()).command([])
    };
    command.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_comes_on_standard_input_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        let script = format!(
            "cat > {0}; tr '\\0' ' ' < /proc/$$/cmdline >> {0}; env >> {0}",
            kept.display()
        );
        let variables = Variables::inherited([("PATH", "/usr/bin:/bin")]);
        let secret = SecretString::from("aLSgtjNiusU");
        let run = |script: &str| {
            let arguments = ["-c".to_owned(), script.to_owned()];
            deliver("sh", &arguments, &variables, &secret)
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
        // It need not read to its end.
        run("exit 0").unwrap();
        assert!(matches!(
            deliver("no-such-program", &[], &variables, &secret),
            Err(Error::Start { .. })
        ));
    }
}
