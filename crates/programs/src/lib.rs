//! Finds, asks and supervises the programs that a release needs: `mkectl`, `git`, `ssh`, and
//! programs of the operator's.
//!
//! Every program is started in one place. Three things hold for all of them:
//!
//! - A program gets exactly the [`Variables`] that it is given and nothing of this process's own
//!   environment.
//! - Secrets travel as variables. Those that a program takes only as arguments are kept apart
//!   ([`Command::secret_arguments`]), and the operator is asked first. Their values are masked in
//!   the log and in every line.
//! - A program leads a session of its own. It and all that it starts are signalled as one, and a
//!   question to the terminal fails immediately instead of waiting for an answer. [`deliver()`] is
//!   the exception.
//!
//! [`Executable`] is a file to execute, and [`Command`] one call of it. [`run()`] runs a command to
//! its end, hands over each line as it comes, keeps a log, and passes signals on. Short questions
//! have a limit on time and on the length of the answer. Above these are [`Mkectl`], [`Git`],
//! [`ssh`], [`deliver()`] and [`ask_credential_helper()`].
//!
//! This crate must not know what the YAML means, what a registry or an environment is, or how
//! anything is drawn. Nor does it read this process's environment: what a program is to inherit is
//! passed in.

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
