//! Questions about secrets: whether one may be in the process list, where every user of the machine
//! can read it, and whether to show the administrator's password.

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use release::cluster::consent::{Consent, Refused};
use secrecy::{ExposeSecret as _, SecretString};

use crate::ui::edge;

/// Whether a signal ended a question, after which the work came to its end.
pub(crate) static ENDED_QUESTION: AtomicBool = AtomicBool::new(false);

/// How often it is looked whether a question is over.
const LOOK: Duration = Duration::from_millis(50);

/// Asks at the terminal, unless a flag of ours has said it.
pub(crate) struct TerminalConsent {
    is_given: bool,
    /// The flags that were explained and may be visible.
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
    fn visible_secrets(&self, flags: &[String], tell: &dyn Fn()) -> Result<(), Refused> {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if flags.iter().all(|flag| allowed.contains(flag)) {
            return Ok(());
        }
        tell();
        if !self.is_given {
            typed("Continue anyway? Type `yes`: ", "yes", &|| false)?;
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
        // If standard error goes to a file, it would stay in that file.
        if !std::io::stderr().is_terminal() {
            return Err(Refused::NoTerminal("show it"));
        }
        let question = format!(
            "mkectl has generated the password of user {username}. Show it here? Type `yes`: "
        );
        typed(&question, "yes", is_over)?;
        edge::reveal_on_terminal(password.expose_secret()).map_err(Refused::Terminal)?;
        typed(
            "Store it in a safe place, then type `kept` to delete the file with it: ",
            "kept",
            is_over,
        )
    }
}

/// Asks the operator at the terminal to type a word, until `is_over`. It need not be asked again
/// after a signal.
///
/// # Errors
/// Something else was typed, a terminal is missing, or it is over.
pub(crate) fn typed(
    question: &str,
    expected: &str,
    is_over: &dyn Fn() -> bool,
) -> Result<(), Refused> {
    if !std::io::stdin().is_terminal() {
        return Err(Refused::NoTerminal("confirm"));
    }
    edge::err(question);
    // The thread that reads stays behind: nothing else ends what it waits for.
    let (tell, answers) = std::sync::mpsc::channel();
    (std::thread::Builder::new().spawn(move || tell.send(line()))).map_err(Refused::Terminal)?;
    let answer = loop {
        match answers.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) if is_over() => {
                edge::err("\n");
                ENDED_QUESTION.store(true, Ordering::Relaxed);
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

/// Reads what is typed.
pub(crate) fn line() -> std::io::Result<String> {
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer)
}
