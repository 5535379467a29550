//! Finds, queries and supervises the programs that a release needs: `mkectl`, `git`, `ssh`, and
//! programs of the operator.
//!
//! Programs are started in one place only ([`run()`] and everything else end in `process`). Three
//! rules hold for all of them:
//!
//! - A program receives exactly the [`Variables`] passed to it and nothing else of this process's
//!   environment.
//! - Secrets are passed as variables and masked in the log and in every line. Secrets that a
//!   program accepts only on its command line are kept apart ([`Command::secret_arguments`]): the
//!   caller must ask the operator first.
//! - A program leads its own session. Signals reach it and every process it starts, and a prompt on
//!   the terminal fails immediately instead of waiting. [`deliver()`] is the exception.
//!
//! [`Executable`] is a file to execute, and [`Command`] one call of it. [`run()`] runs a command to
//! its end: it reports each line, keeps a log and forwards signals. Short queries are limited in
//! time and in the length of the answer. [`Mkectl`], [`Git`], [`ssh`], [`deliver()`] and
//! [`ask_credential_helper()`] build on these.
//!
//! This crate does not know YAML, registries, environments or the user interface. It does not read
//! this process's environment either: callers pass the variables that a program inherits.

mod variables;
mod executable;
mod platform;
mod command;
mod process;
mod lines;
mod password;
mod event;
mod run;
mod ask;
mod mkectl;
mod git;
pub mod ssh;
mod ssh_keygen;
mod credential_helper;
mod deliver;
mod cargo;
pub mod portable;
mod error;

pub use cargo::vendor;
pub use command::{Command, Results};
pub use credential_helper::{HelperError, ask_credential_helper};
pub use deliver::deliver;
pub use error::Error;
pub use event::{Event, Observer};
pub use executable::Executable;
pub use git::{Absent, Git, Head, Past, Receiver, State};
pub use mkectl::{
    Archives, Check, GATEWAY_LISTENER_PORT, GATEWAY_PORTS, GatewayPorts, Help, Migration, Mkectl,
    Needed, NodePorts, Pulled, STAND_IN, Upgrade, document, unlisted_registry_users,
};
pub use password::AdminPassword;
pub use process::{exists, is_running};
pub use run::{CLEANUP, Exit, Finished, PASSWORD_MISSED, Signal, run};
pub use ssh_keygen::sign;
pub use variables::Variables;
