//! Questions about secrets: whether one may be in the process list, where every user of the machine can read it, and whether to show the
//! administrator's password.

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
            ask("Continue anyway? Type `yes`: ", "yes", &|| false)?;
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
            return Err(Refused("a terminal is required to show it".to_owned()));
        }
        let question = format!(
            "mkectl has generated the password of user {username}. Show it here? Type `yes`: "
        );
        ask(&question, "yes", is_over)?;
        edge::reveal_on_terminal(password.expose_secret())
            .map_err(|error| Refused(error.to_string()))?;
        ask(
            "Store it in a safe place, then type `kept` to delete the file with it: ",
            "kept",
            is_over,
        )
    }
}

/// Asks the operator for a word, until `is_over`. It need not be asked again after a signal.
fn ask(question: &str, word: &str, is_over: &dyn Fn() -> bool) -> Result<(), Refused> {
    if !std::io::stdin().is_terminal() {
        return Err(Refused("a terminal is required to confirm".to_owned()));
    }
    edge::err(question);
    // The thread that reads stays behind: nothing else ends what it waits for.
    let (typed, answers) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        typed.send(read.map(|_| answer))
    });
    let answer = loop {
        match answers.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) if is_over() => {
                edge::err("\n");
                ENDED_QUESTION.store(true, Ordering::Relaxed);
                return Err(Refused("interrupted".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Ok(answer)) => break answer,
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                return Err(Refused("cannot read from the terminal".to_owned()));
            }
        }
    };
    match answer.trim() {
        answer if answer == word => Ok(()),
        "" => Err(Refused("nothing was typed".to_owned())),
        answer => Err(Refused(format!("`{answer}` was typed"))),
    }
}
