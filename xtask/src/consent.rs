//! Prompts about secrets: whether a secret may be in the process list, where every user of the
//! machine can read it, and whether to show the administrator's password.

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use release::cluster::consent::{Consent, Refused};
use secrecy::{ExposeSecret as _, SecretString};

use crate::ui::edge;

/// Whether a signal ended a prompt. The work then still runs to its end.
pub(crate) static PROMPT_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Interval between checks whether a prompt is over.
const POLL: Duration = Duration::from_millis(50);

/// Asks for consent at the terminal, or takes it from `--allow-visible-secrets`.
pub(crate) struct TerminalConsent {
    is_given: bool,
    /// The flags of mkectl for which the operator gave consent.
    allowed: Mutex<Vec<String>>,
}

impl TerminalConsent {
    pub(crate) fn new(is_given: bool) -> Self {
        Self {
            is_given,
            allowed: Mutex::default(),
        }
    }
}

impl Consent for TerminalConsent {
    fn visible_secrets(&self, flags: &[String], explain: &dyn Fn()) -> Result<(), Refused> {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if flags.iter().all(|flag| allowed.contains(flag)) {
            return Ok(());
        }
        explain();
        if !self.is_given {
            ask_for("Continue anyway? Type `yes`: ", "yes", &|| false)?;
        }
        allowed.extend(flags.iter().cloned());
        Ok(())
    }

    fn show_password(
        &self,
        username: &str,
        password: &SecretString,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), Refused> {
        // In a file, the password would stay readable.
        if !std::io::stderr().is_terminal() {
            return Err(Refused::NoTerminal("show it"));
        }
        let question = format!(
            "mkectl has generated the password of user {username}. Show it here? Type `yes`: "
        );
        ask_for(&question, "yes", is_over)?;
        edge::reveal_on_terminal(password.expose_secret()).map_err(Refused::Terminal)?;
        ask_for(
            "Store it in a safe place, then type `kept` to delete the file with it: ",
            "kept",
            is_over,
        )
    }
}

/// Asks the operator at the terminal to type a word. The prompt ends when `is_over` returns true.
///
/// # Errors
/// - [`Refused::NoTerminal`] without a terminal
/// - [`Refused::Interrupted`] if `is_over` ended the prompt
/// - [`Refused::Nothing`] or [`Refused::Different`] if the answer is not `expected`
/// - [`Refused::Terminal`] if the terminal cannot be read
pub(crate) fn ask_for(
    question: &str,
    expected: &str,
    is_over: &dyn Fn() -> bool,
) -> Result<(), Refused> {
    if !std::io::stdin().is_terminal() {
        return Err(Refused::NoTerminal("confirm"));
    }
    edge::err(question);
    // A blocked read cannot be cancelled, so it has a thread of its own, which may be left behind.
    let (sender, answers) = std::sync::mpsc::channel();
    let reader = std::thread::Builder::new().spawn(move || sender.send(read_line()));
    reader.map_err(Refused::Terminal)?;
    let answer = loop {
        match answers.recv_timeout(POLL) {
            Err(RecvTimeoutError::Timeout) if is_over() => {
                edge::err("\n");
                PROMPT_INTERRUPTED.store(true, Ordering::Relaxed);
                return Err(Refused::Interrupted);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(answer) => break answer.map_err(Refused::Terminal)?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Refused::Terminal(std::io::ErrorKind::BrokenPipe.into()));
            }
        }
    };
    let expected = expected.to_owned();
    match answer.trim() {
        answer if answer == expected => Ok(()),
        "" => Err(Refused::Nothing { expected }),
        answer => Err(Refused::Different {
            answer: answer.to_owned(),
            expected,
        }),
    }
}

/// Reads a line from standard input.
pub(crate) fn read_line() -> std::io::Result<String> {
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer)
}
