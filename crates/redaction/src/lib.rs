//! What leaves the program: one masker for secrets and one sanitiser for control characters.
//!
//! ```text
//! variable, file, token, proxy ──▶ Secrets ──▶ mask ──▶ escape ──▶ terminal, log, JSON, receipt, plan
//! ```
//!
//! Code that reads a secret adds it to [`run`]. Code that prints, logs or stores text takes it from
//! there. The set is process-wide because a set that is passed along can be forgotten: a token that
//! a registry client receives would be unknown to the log that another crate writes. Tests make
//! sets of their own by [`Secrets::default`].
//!
//! This crate must not know where secrets come from or where text goes.

mod secrets;
mod index;
mod written;
mod encoded;
mod generic;
mod login;
mod escape;
pub mod yaml;

pub use escape::{
    Colours, colours, escape, escape_json, escape_lines, has_hidden_characters, hidden_rule,
    is_hidden, line, text,
};
pub use login::without_login;
pub use secrets::{SHORTEST, Secrets, run};
