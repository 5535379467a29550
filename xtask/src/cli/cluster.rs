//! What can be done with a cluster that is there.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use super::{ConsentArgs, TakeOverArgs};

/// What can be done with a cluster after it was deployed.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Say what its receipt tells of a cluster, and what it says of itself
    Status {
        /// The environment
        environment: String,
    },
    /// Write a backup, and beside it which mkectl wrote it
    Backup {
        /// The environment
        environment: String,
        /// The archive [default: environments/ENVIRONMENT/backups/TIME-RELEASE.tar]
        #[arg(long, value_name = "FILE")]
        output: Option<Utf8PathBuf>,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// Put a backup back, by the very mkectl that wrote it
    Restore {
        /// The environment
        environment: String,
        /// The archive, with its note beside it
        archive: Utf8PathBuf,
        /// The file of the host to begin with, instead of one for the environment's first controller
        #[arg(long, value_name = "FILE")]
        hosts: Option<Utf8PathBuf>,
        /// The environment's name once more, instead of the question for it
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        take_over: TakeOverArgs,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// Print the cluster's kubeconfig, or write it to a file for you alone; it is in no log
    Kubeconfig {
        /// The environment
        environment: String,
        /// The file, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<Utf8PathBuf>,
        /// Replace a file that is there
        #[arg(long, requires = "output")]
        replace: bool,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// Run mkectl's own checks of the machines and of the ports between them, where it has any
    Check {
        /// The environment
        environment: String,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// Take MKE off every machine of an environment that is not protected
    Reset {
        /// The environment
        environment: String,
        /// The environment's name once more, instead of the question for it
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        take_over: TakeOverArgs,
        #[command(flatten)]
        more: MoreArgs,
    },
}

/// What mkectl is given beside what it is given anyway.
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

#[derive(Debug, Args)]
pub(crate) struct MoreArgs {
    /// More flags for mkectl, as its help lists them
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MkectlArgs {
    /// The environment
    pub(crate) environment: String,
    /// The environment's name once more, instead of the question that a protected environment asks
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    /// What mkectl is to be run with
    #[arg(last = true, required = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
}
