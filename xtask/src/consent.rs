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
            ask("Continue anyway? Type `yes`: ", "yes")?;
        }
        allowed.extend(flags.iter().cloned());
        Ok(())
    }

    fn show_password(&self, username: &str, password: &SecretString) -> Result<(), Refused> {
        // If standard error goes to a file, it would stay in that file.
        if !std::io::stderr().is_terminal() {
            return Err(Refused("a terminal is required to show it".to_owned()));
        }
        let question = format!(
            "mkectl has generated the password of user {username}. Show it here? Type `yes`: "
        );
        ask(&question, "yes")?;
        edge::reveal_on_terminal(password.expose_secret())
            .map_err(|error| Refused(error.to_string()))?;
        ask(
            "Store it in a safe place, then type `kept` to delete the file with it: ",
            "kept",
        )
    }
}

/// Asks the operator for a word.
fn ask(question: &str, word: &str) -> Result<(), Refused> {
    if !std::io::stdin().is_terminal() {
        return Err(Refused("a terminal is required to confirm".to_owned()));
    }
    edge::err(question);
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer).is_err() {
        return Err(Refused("cannot read from the terminal".to_owned()));
    }
    match answer.trim() {
        answer if answer == word => Ok(()),
        "" => Err(Refused("nothing was typed".to_owned())),
        answer => Err(Refused(format!("`{answer}` was typed"))),
    }
}
