//! Signs a file with `ssh-keygen`, which supports every kind of key: encrypted, in an agent, on a
//! token.

use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::process::{self, Input, Output};
use crate::{Error, Executable, Exit, Variables};

/// Time limit: `ssh-keygen` may prompt for a passphrase or for a touch.
const LIMIT: Duration = Duration::from_secs(300);

/// Maximum bytes of error output.
const MAX_ANSWER_BYTES: usize = 4096;

/// The variables passed on: the locations of keys and agents, and the prompt program.
const VARIABLES: &[&str] = &[
    "PATH",
    "HOME",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "SSH_ASKPASS_REQUIRE",
    "SSH_SK_PROVIDER",
    "DISPLAY",
    "WAYLAND_DISPLAY",
];

/// Signs `file` with the private key in the file `key`. If `key` has a public key, an agent must
/// have the private one. The signature is written beside the file, with the extension `.sig`.
/// Unlike other programs, `ssh-keygen` keeps the terminal for its prompts.
///
/// # Errors
/// [`Error::TimedOut`] after five minutes, [`Error::Failed`] if it does not sign, and the errors of
/// finding and starting a program.
pub fn sign(
    key: &Utf8Path,
    namespace: &str,
    file: &Utf8Path,
    variables: &Variables,
) -> Result<(), Error> {
    let program = Executable::find("ssh-keygen", variables.only(VARIABLES))?;
    let arguments = [
        "-Y",
        "sign",
        "-q",
        "-f",
        key.as_str(),
        "-n",
        namespace,
        file.as_str(),
    ];
    let command = program.command("ssh-keygen", arguments);
    let failed = |source| Error::start(program.path.clone(), source);
    let mut child = process::start(&command, Input::Nothing, Output::Errors).map_err(failed)?;
    let deadline = Instant::now() + LIMIT;
    let mut output = Vec::new();
    let timed_out = child
        .drain_until(&|| Instant::now() >= deadline, &mut |_, chunk| {
            let room = MAX_ANSWER_BYTES.saturating_sub(output.len());
            output.extend_from_slice(&chunk[..chunk.len().min(room)]);
        })
        .map_err(failed)?;
    let exit = child.reap().map_err(failed)?;
    let command = command.display().to_string();
    match exit {
        _ if timed_out => Err(Error::TimedOut {
            command,
            seconds: LIMIT.as_secs(),
        }),
        Exit::Code(0) => Ok(()),
        exit => Err(Error::Failed {
            command,
            exit,
            output: without_frames(&redaction::text(&output)),
        }),
    }
}

/// Removes the frame lines of OpenSSH warnings: error messages show only the first lines of output.
fn without_frames(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("@"));
    lines.collect::<Vec<_>>().join("\n")
}
