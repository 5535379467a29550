//! Runs any command of mkectl, with the program of the cluster's release and the rendered
//! configuration.

use environment::Environment;
use programs::Results;

use crate::cluster::in_progress;
use crate::cluster::run::Completed;
use crate::cluster::{Cluster, Logged, require_kubeconfig};
use crate::{Context, Error};

/// Commands that print secrets, so their result is not logged.
const PRINT_SECRETS: &[&str] = &["certs", "kubeconfig", "login", "reset-password"];

/// Commands that need no kubeconfig, or write one.
const WITHOUT_CLUSTER: &[&str] = &[
    "",
    "airgap",
    "completion",
    "help",
    "init",
    "kubeconfig",
    "login",
    "version",
];

/// Commands that do not change the cluster, even if they fail.
const WITHOUT_CHANGES: &[&str] = &[
    "airgap",
    "backup",
    "check",
    "completion",
    "config",
    "etcd",
    "help",
    "init",
    "kubeconfig",
    "login",
    "version",
];

/// Arguments for mkectl that the operator typed.
#[derive(Debug)]
pub struct Typed {
    arguments: Vec<String>,
}

impl Typed {
    /// Wraps the arguments, without the program's name.
    pub fn new(arguments: Vec<String>) -> Self {
        Self { arguments }
    }

    /// Returns whether the command uninstalls the cluster.
    pub fn resets(&self) -> bool {
        self.changes() && self.arguments.first().is_some_and(|word| word == "reset")
    }

    /// Returns whether the command may change the cluster. Unknown commands may.
    pub fn changes(&self) -> bool {
        let mut words = self.arguments.iter().map(String::as_str);
        let first = words.next().unwrap_or("help");
        let is_help = |word: &String| ["-h", "--help"].contains(&word.as_str());
        let is_restore = words.next() == Some("restore");
        !self.arguments.iter().any(is_help) && (!WITHOUT_CHANGES.contains(&first) || is_restore)
    }
}

/// Runs mkectl with arguments that the operator typed. If the command has the flag `--file` and it
/// was not typed, the flag is added with the rendered configuration, in which references are
/// replaced by their values.
///
/// # Errors
/// A suitable mkectl is missing, or it failed.
pub fn run(
    context: &Context<'_>,
    environment: Environment,
    typed: &Typed,
) -> Result<Logged, Error> {
    let cluster = Cluster::of(context, environment)?;
    let help = (cluster.mkectl().help_of(&typed.arguments))?;
    let first = typed.arguments.first().map_or("", String::as_str);
    if !WITHOUT_CLUSTER.contains(&first) {
        require_kubeconfig(context, &cluster.environment, cluster.receipt.as_ref())?;
    }
    let results = match PRINT_SECRETS.contains(&first) {
        true => Results::Unlogged,
        false => Results::Apart,
    };
    let ran = cluster.run(context, "mkectl", typed.changes(), |config| {
        let command = cluster
            .mkectl()
            .other(&typed.arguments, Some(config), &help);
        command.results(results)
    });
    // No receipt records such a command: its result is in the log only.
    let log = match &ran {
        Ok(Completed { log }) => Some(log),
        Err(Error::Run(error)) => error.log(),
        Err(_) => None,
    };
    log.map_or(Ok(()), |log| in_progress::remove(&cluster.output, log))?;
    Ok(Logged {
        environment: cluster.environment.name.clone(),
        log: ran?.log,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_change_the_cluster_is_distinguished_from_what_cannot() {
        for (typed, expected) in [
            ("apply", true),
            ("certs rotate", true),
            ("etcd restore --name x", true),
            ("etcd backup --name x", false),
            ("config get", false),
            ("reset --force", true),
            ("reset --help", false),
            ("--version", true),
            ("", false),
        ] {
            let arguments = typed.split_whitespace().map(str::to_owned).collect();
            assert_eq!(Typed::new(arguments).changes(), expected, "{typed}");
        }
    }
}
