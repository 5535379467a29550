//! Arguments of the hidden command that plays mkectl in a rehearsal. Only Airlock itself runs it.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct RehearsalArgs {
    /// The release whose mkectl is played
    #[arg(long)]
    pub(crate) release: String,
    /// The lock that lists what nodes pull
    #[arg(long)]
    pub(crate) lock: Utf8PathBuf,
    #[command(subcommand)]
    pub(crate) command: RehearsalCommand,
}

/// The flags of `upgrade`. The help of each release lists those that it has.
#[derive(Debug, Args)]
pub(crate) struct RehearsalUpgradeArgs {
    /// Print the flags of the release
    #[arg(short, long)]
    pub(crate) help: bool,
    /// The configuration
    #[arg(short, long, default_value = "mke4.yaml")]
    pub(crate) file: Utf8PathBuf,
    /// The release to upgrade to
    #[arg(long, default_value = "")]
    pub(crate) upgrade_version: String,
    /// The release matrix
    #[arg(long)]
    pub(crate) release_matrix: Option<Utf8PathBuf>,
    /// Accepted: no backup is written
    #[arg(long)]
    pub(crate) backup_path: Option<Utf8PathBuf>,
    /// Accepted: no snapshot is written
    #[arg(long)]
    pub(crate) etcd_snapshot_path: Option<Utf8PathBuf>,
    /// Accepted and ignored
    #[arg(long)]
    pub(crate) gateway_http_node_port: Option<u16>,
    /// Accepted and ignored
    #[arg(long)]
    pub(crate) gateway_https_node_port: Option<u16>,
}

/// The mkectl commands that a rehearsal supports.
#[derive(Debug, Subcommand)]
pub(crate) enum RehearsalCommand {
    /// Print the version
    Version,
    /// Check the configuration and pull everything as nodes would
    Apply {
        /// The configuration
        #[arg(short, long, default_value = "mke4.yaml")]
        file: Utf8PathBuf,
        /// Accepted and ignored
        #[arg(long)]
        no_color: bool,
        /// Accepted, as mkectl accepts it: nothing is pretty-printed
        #[arg(long)]
        no_pretty_print: bool,
    },
    /// Check the release matrix, and pull everything of the new release as nodes would
    #[command(disable_help_flag = true)]
    Upgrade(RehearsalUpgradeArgs),
    /// Print what a backup would contain
    Backup {
        /// The configuration
        #[arg(short, long, default_value = "mke4.yaml")]
        file: Utf8PathBuf,
        /// The archive
        #[arg(long, default_value = "backup.tar")]
        name: String,
    },
}
