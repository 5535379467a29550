//! Consent to pass a secret as an argument: mkectl accepts some secrets only so, and every user of
//! the machine can read arguments.
//!
//! The program decides how consent is given: by a flag, or at the terminal. Every run of mkectl
//! calls `ask`, so none starts without it.

use secrecy::SecretString;

use crate::Context;
use crate::event::Event;

mod error;

pub use error::Error;

/// Returns whether a secret may be seen.
pub trait Consent: Send + Sync {
    /// Returns when the values of these flags may be in the process list. `tell` explains what that
    /// means; it is called once.
    ///
    /// # Errors
    /// They may not, or a terminal is missing.
    fn visible_secrets(&self, flags: &[String], tell: &dyn Fn()) -> Result<(), Refused>;

    /// Shows the administrator's password at the terminal if the operator agrees. Returns when the
    /// operator has stored it, so that it need not be kept elsewhere.
    ///
    /// # Errors
    /// A terminal is missing, the operator declined, or `is_over` before the operator has answered.
    fn show_password(
        &self,
        username: &str,
        password: &SecretString,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), Refused>;
}

/// Why a question at the terminal was not answered as it should be.
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
        /// What agrees.
        expected: String,
    },
    /// The operator typed something else.
    #[error("`{answer}` was typed; expected `{expected}`")]
    Different {
        /// What was typed.
        answer: String,
        /// What agrees.
        expected: String,
    },
}

/// Names the secrets that a command would show, and asks whether it may. Most commands show none.
///
/// # Errors
/// It may not.
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
