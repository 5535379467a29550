//! The commands of a cluster's later life that need no more than the configuration.

use camino::Utf8Path;

use super::{Help, Mkectl};
use crate::Command;

/// What `mkectl check` looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The machines: system, disks, processors, memory.
    Hosts,
    /// The ports between them.
    Ports,
}

impl Check {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Hosts, Self::Ports];

    /// Returns the word that it is called by.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Ports => "ports",
        }
    }
}

impl Mkectl {
    /// Builds `mkectl check hosts` or `check ports`. `help` is the answer to [`Mkectl::help`] for
    /// it.
    pub fn check(&self, check: Check, config: &Utf8Path, help: &Help) -> Command {
        let words = ["check", check.word(), "-f", config.as_str()];
        self.command(words.into_iter().chain(help.plain()))
    }

    /// Builds `mkectl kubeconfig`, which prints it to standard output. `help` is the answer to
    /// [`Mkectl::help`] for it.
    pub fn kubeconfig(&self, config: &Utf8Path, help: &Help) -> Command {
        let words = ["kubeconfig", "-f", config.as_str()];
        self.for_cluster(words.into_iter().chain(help.plain()))
    }

    /// Builds `mkectl reset`, without its question where `help`, the answer to [`Mkectl::help`] for
    /// it, lists `--force`: it is given no terminal to ask on.
    pub fn reset(&self, config: &Utf8Path, help: &Help) -> Command {
        let words = ["reset", "-f", config.as_str()];
        let force = Some("--force").filter(|flag| help.lists(flag));
        self.for_cluster(words.into_iter().chain(force).chain(help.plain()))
    }
}
