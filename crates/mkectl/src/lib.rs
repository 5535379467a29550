//! Finds, asks and runs `mkectl`, the vendor's program that installs MKE.
//!
//! Every program that a release starts is started here: [`Mkectl::version`], [`Mkectl::help`] and others ask short questions,
//! [`Mkectl::apply`] and [`Mkectl::upgrade`] build a [`Command`] without running it, and [`run()`] runs one to its end, hands over
//! each line as it comes, keeps a log, and passes signals on. [`deliver()`] gives a secret to a program of the operator's.
//! [`Git`] asks what the history of the workspace's files is, [`ssh`] asks many machines concurrently.
//!
//! Three things hold for all of them. A program gets exactly the [`Variables`] that it is given and nothing of this
//! process's own environment. Secrets travel as variables; those that a program takes only as arguments are kept apart
//! ([`Command::secret_arguments`]), because the operator must consent. Their values are masked in the log and in every line. A program leads
//! a session of its own: it and all that it starts can be signalled as one, and a question to the terminal fails immediately instead of waiting for an answer.
//!
//! This crate must not know what the YAML means, what a registry or an environment is, or how anything is drawn.
//! Nor does it read this process's environment: what a program is to inherit is passed in.

mod cluster;
mod command;
mod credential_helper;
mod deliver;
mod error;
mod event;
mod find;
mod git;
mod help;
mod lines;
mod memory;
mod migrate;
mod other;
mod pages;
mod password;
mod platform;
mod probe;
mod process;
mod question;
mod run;
pub mod ssh;
mod upgrade;
mod variables;
mod version;

pub use cluster::Check;
pub use command::{Command, Mkectl, Pulled, Results, unlisted_registry_users};
pub use credential_helper::{HelperError, ask_credential_helper};
pub use deliver::deliver;
pub use error::Error;
pub use event::{Event, Observer};
pub use find::find;
pub use git::{Absent, Git, Past, State};
pub use help::Help;
pub use migrate::Migration;
pub use password::AdminPassword;
pub use process::is_running;
pub use question::{Needed, document};
pub use run::{CLEANUP, Exit, Finished, Signal, run};
pub use upgrade::{
    Archives, GATEWAY_LISTENER_PORT, GATEWAY_PORTS, GatewayPorts, NodePorts, Upgrade,
};
pub use variables::Variables;
