//! The commands for a deployed cluster.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use super::{ConsentArgs, TakeOverArgs};

/// What can be done with a cluster after it was deployed.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the receipt and the state of the cluster
    Status {
        /// Environment
        environment: String,
    },
    /// Write a backup and a note about the mkectl that made it
    Backup {
        /// Environment
        environment: String,
        /// Archive [default: environments/ENVIRONMENT/backups/TIME-RELEASE.tar]
        #[arg(long, value_name = "FILE", value_parser = super::values::file)]
        output: Option<Utf8PathBuf>,
        #[command(flatten)]
        take_over: TakeOverArgs,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// Restore a backup with the mkectl that made it
    Restore {
        /// Environment
        environment: String,
        /// Archive, with its note in the same folder
        archive: Utf8PathBuf,
        /// Hosts file to restore to [default: the first controller of the environment]
        #[arg(long, value_name = "FILE")]
        hosts: Option<Utf8PathBuf>,
        /// Confirm by the environment's name instead of being prompted
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        take_over: TakeOverArgs,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// Print the kubeconfig of the cluster
    ///
    /// It is written to no log. A file gets mode 600.
    Kubeconfig {
        /// Environment
        environment: String,
        /// Output file [default: standard output]
        #[arg(long, value_name = "FILE", value_parser = super::values::file)]
        output: Option<Utf8PathBuf>,
        /// Replace an existing file
        #[arg(long, requires = "output")]
        replace: bool,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// Run mkectl's checks of machines and ports
    Check {
        /// Environment
        environment: String,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// Uninstall MKE from all machines of an environment
    ///
    /// Protected environments are refused.
    Reset {
        /// Environment
        environment: String,
        /// Confirm by the environment's name instead of being prompted
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        take_over: TakeOverArgs,
        #[command(flatten)]
        more: MoreArgs,
    },
}

impl ClusterCommand {
    /// Returns the environment that the command is about.
    pub(crate) fn environment(&self) -> &str {
        match self {
            Self::Status { environment, .. }
            | Self::Backup { environment, .. }
            | Self::Restore { environment, .. }
            | Self::Kubeconfig { environment, .. }
            | Self::Check { environment, .. }
            | Self::Reset { environment, .. } => environment,
        }
    }
}

/// Flags that the operator adds to those of Airlock.
#[derive(Debug, Args)]
pub(crate) struct MoreArgs {
    /// Additional flags for mkectl
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MkectlArgs {
    /// Environment
    pub(crate) environment: String,
    /// Confirm a protected environment by name instead of being prompted
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    /// Arguments of mkectl
    #[arg(last = true, required = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
}
