//! Commands for a running cluster that need only the configuration.

use camino::Utf8Path;

use super::{Help, Mkectl};
use crate::Command;

/// The subcommand of `mkectl check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// System, disks, processors and memory of the machines.
    Hosts,
    /// Open ports between the machines.
    Ports,
}

impl Check {
    /// Both subcommands.
    pub const ALL: [Self; 2] = [Self::Hosts, Self::Ports];

    /// Returns the subcommand's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Ports => "ports",
        }
    }
}

impl Mkectl {
    /// Builds `mkectl check hosts` or `check ports`. `help` is the page of [`Mkectl::help`] for it.
    pub fn check(&self, check: Check, config: &Utf8Path, help: &Help) -> Command {
        let words = ["check", check.word(), "-f", config.as_str()];
        self.command(words.into_iter().chain(help.plain()))
    }

    /// Builds `mkectl kubeconfig`, which prints a kubeconfig to standard output. `help` is the page
    /// of [`Mkectl::help`] for it.
    pub fn kubeconfig(&self, config: &Utf8Path, help: &Help) -> Command {
        let words = ["kubeconfig", "-f", config.as_str()];
        self.for_cluster(words.into_iter().chain(help.plain()))
    }

    /// Builds `mkectl reset`. `help` is the page of [`Mkectl::help`] for it. With `--force` in it,
    /// the prompt is skipped: the command has no terminal.
    pub fn reset(&self, config: &Utf8Path, help: &Help) -> Command {
        let words = ["reset", "-f", config.as_str()];
        let force = Some("--force").filter(|flag| help.lists(flag));
        self.for_cluster(words.into_iter().chain(force).chain(help.plain()))
    }
}
