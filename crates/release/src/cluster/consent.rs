//! Consent to pass a secret as an argument. mkectl accepts some secrets only this way, and every
//! user of the machine can read arguments.
//!
//! xtask decides how the operator consents: by a flag, or at the terminal. Every run of mkectl
//! calls `ask` first.

use secrecy::SecretString;

use crate::Context;
use crate::event::Event;

mod error;

pub use error::Error;

/// Questions to the operator before a secret becomes visible.
pub trait Consent: Send + Sync {
    /// Asks whether the values of these flags may be in the process list. Calls `tell` once, which
    /// explains the risk.
    ///
    /// # Errors
    /// [`Refused`] if the operator declines, or cannot be asked.
    fn visible_secrets(&self, flags: &[String], tell: &dyn Fn()) -> Result<(), Refused>;

    /// Shows the administrator password at the terminal, if the operator agrees. Returns when the
    /// operator has stored it, so no other copy is needed.
    ///
    /// # Errors
    /// [`Refused`] if the operator declines or cannot be asked, or `is_over` returns true first.
    fn show_password(
        &self,
        username: &str,
        password: &SecretString,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), Refused>;
}

/// Why the operator did not consent.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The operator cannot be asked.
    #[error("a terminal is required to {0}")]
    NoTerminal(&'static str),
    /// The terminal cannot be read or written.
    #[error("cannot use the terminal: {0}")]
    Terminal(std::io::Error),
    /// A signal ended the question.
    #[error("interrupted")]
    Interrupted,
    /// The operator typed nothing.
    #[error("nothing was typed; expected `{expected}`")]
    Nothing {
        /// The word that means consent.
        expected: String,
    },
    /// The operator typed something else.
    #[error("`{answer}` was typed; expected `{expected}`")]
    Different {
        /// The typed text.
        answer: String,
        /// The word that means consent.
        expected: String,
    },
}

/// Asks for consent if a command has secrets as arguments. Most commands have none.
///
/// # Errors
/// [`Error::VisibleSecrets`] if the operator does not consent.
pub(crate) fn ask(context: &Context<'_>, command: &programs::Command) -> Result<(), crate::Error> {
    let flags = command.secret_arguments.iter();
    let flags: Vec<String> = flags.map(|(flag, _)| flag.clone()).collect();
    if flags.is_empty() {
        return Ok(());
    }
    let tell = || {
        context.reporter.report(Event::Warning(format!(
            "mkectl takes {} only as an argument: while it runs, every user of this machine can read it in the process list",
            flags.join(" and ")
        )));
    };
    (context.consent.visible_secrets(&flags, &tell))
        .map_err(|why| Error::VisibleSecrets { flags, why }.into())
}
