//! Arguments of the commands that maintain. Doc comments of fields are help texts.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};

use super::{ConsentArgs, TakeOverArgs, values};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Environment
    pub(crate) environment: String,
    /// Download and hash every byte
    #[arg(long)]
    pub(crate) full: bool,
    /// Push what is missing, from the store or the bundle
    #[arg(long)]
    pub(crate) repair: bool,
    /// Confirm a protected environment by name instead of being prompted
    #[arg(long, value_name = "NAME", requires = "repair")]
    pub(crate) confirm: Option<String>,
    /// Repeat at this interval and report changes [default: 5m]
    #[arg(
        long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "5m",
        value_parser = values::interval, conflicts_with = "repair"
    )]
    pub(crate) watch: Option<Duration>,
    /// Write metrics to FILE for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE", value_parser = values::file, conflicts_with = "repair")]
    pub(crate) textfile: Option<Utf8PathBuf>,
}

/// The subcommands of `store`.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Remove blobs that no lock in bundles/ names
    Gc {
        /// Show what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// The subcommands of `receipt`.
#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Compute the receipt, show it, and write it if confirmed
    Rebuild {
        /// Environment
        environment: String,
        /// Confirm by the environment's name instead of being prompted
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        take_over: TakeOverArgs,
    },
}

/// The subcommands of `cluster`.
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
        #[arg(long, value_name = "FILE", value_parser = values::file)]
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
        #[arg(long, value_name = "FILE", value_parser = values::file)]
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
    /// Returns the name of the environment.
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

/// Flags for mkectl, added to those that Airlock passes.
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

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Environment
    pub(crate) environment: String,
    /// Save the plan to FILE for review
    #[arg(long, value_name = "FILE", value_parser = values::file, conflicts_with = "plan")]
    pub(crate) out: Option<Utf8PathBuf>,
    /// Remove what a saved plan lists; refuse if anything changed since
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<Utf8PathBuf>,
    /// Include tags that a deploy found in the registry and did not push
    #[arg(long, conflicts_with = "plan")]
    pub(crate) also_found: bool,
    /// Confirm a protected environment by name instead of being prompted
    #[arg(long, value_name = "NAME", requires = "plan")]
    pub(crate) confirm: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SupportArgs {
    /// Environment
    pub(crate) environment: String,
    /// Archive [default: environments/ENVIRONMENT/logs/support-TIME.tar.gz]
    #[arg(long, value_name = "FILE", value_parser = values::file)]
    pub(crate) out: Option<Utf8PathBuf>,
}

/// A shell that completes commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// A step of `ci`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CiStep {
    /// Check the formatting
    Format,
    /// Lint all targets
    Lint,
    /// Build the documentation
    Docs,
    /// Run all tests
    Test,
}
