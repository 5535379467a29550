//! Masks secrets and escapes control characters in all output.
//!
//! ```text
//! variable, file, token, proxy ──▶ Secrets ──▶ mask ──▶ escape ──▶ terminal, log, JSON, receipt, plan
//! ```
//!
//! Code that reads a secret adds it to [`run`]. Code that prints, logs or stores text masks it with
//! that set. The set is process-wide, because a set that is passed along can be forgotten: the log
//! of a different crate would not know a token that a registry client receives. Tests create their
//! own sets with [`Secrets::default`].
//!
//! This crate does not know where secrets come from or where text goes.

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
