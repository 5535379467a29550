//! Questions about secrets: whether one may be in the process list, where every user of the machine can read it, and whether to show the
//! administrator's password.

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Mutex;
use std::sync::PoisonError;

use release::cluster::consent::{Consent, Refused};
use secrecy::{ExposeSecret as _, SecretString};

use crate::ui::edge;

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
            typed("Continue anyway? Type `yes`: ", "yes")?;
        }
        allowed.extend(flags.iter().cloned());
        Ok(())
    }

    fn show_password(&self, username: &str, password: &SecretString) -> Result<(), Refused> {
        // If standard error goes to a file, it would stay in that file.
        if !std::io::stderr().is_terminal() {
            return Err(Refused::NoTerminal("show it"));
        }
        let question = format!(
            "mkectl has generated the password of user {username}. Show it here? Type `yes`: "
        );
        typed(&question, "yes")?;
        edge::reveal_on_terminal(password.expose_secret()).map_err(Refused::Terminal)?;
        typed(
            "Store it in a safe place, then type `kept` to delete the file with it: ",
            "kept",
        )
    }
}

/// Asks the operator at the terminal to type a word.
///
/// # Errors
/// Something else was typed, or a terminal is missing.
pub(crate) fn typed(question: &str, expected: &str) -> Result<(), Refused> {
    if !std::io::stdin().is_terminal() {
        return Err(Refused::NoTerminal("confirm"));
    }
    edge::err(question);
    let expected = expected.to_owned();
    match line().map_err(Refused::Terminal)?.trim() {
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
