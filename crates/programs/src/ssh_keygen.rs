//! Signs a file by `ssh-keygen`, which knows every kind of key that people have: encrypted, in an
//! agent, on a token.

use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::process::{self, Input, Output};
use crate::{Error, Executable, Exit, Variables};

/// How long it may take: it may ask for a passphrase, or for a touch.
const LIMIT: Duration = Duration::from_secs(300);

/// How much of what it prints is kept, in bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// The variables that it gets: where it finds keys and an agent, and how it asks.
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

/// Signs `file` with the private key in the file `key`, or with the key of an agent whose public
/// half is there. The signature is written beside the file, with `.sig` after its name. Unlike
/// other programs, this one keeps the terminal for its questions.
///
/// # Errors
/// There is no `ssh-keygen`, it takes too long, or does not sign.
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
    let mut said = Vec::new();
    let late = child
        .drain_until(&|| Instant::now() >= deadline, &mut |_, chunk| {
            let room = MAX_ANSWER_BYTES.saturating_sub(said.len());
            said.extend_from_slice(&chunk[..chunk.len().min(room)]);
        })
        .map_err(failed)?;
    let exit = child.reap().map_err(failed)?;
    let command = command.display().to_string();
    match exit {
        _ if late => Err(Error::TimedOut {
            command,
            seconds: LIMIT.as_secs(),
        }),
        Exit::Code(0) => Ok(()),
        exit => Err(Error::Failed {
            command,
            exit,
            output: without_frames(&redaction::text(&said)),
        }),
    }
}

/// Removes the lines that frame a warning of OpenSSH: a message shows only the first lines.
fn without_frames(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("@"));
    lines.collect::<Vec<_>>().join("\n")
}
