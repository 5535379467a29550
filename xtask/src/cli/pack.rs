//! What can be typed of `pack`. The comments of this file are the help texts.

use camino::Utf8PathBuf;
use clap::{ArgGroup, Args};

use super::values;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("medium").required(true).multiple(true).args(["out", "dry_run"]))]
pub(crate) struct PackArgs {
    /// Environments [with --return, default: all that were deployed here]
    #[arg(required_unless_present = "returns", value_name = "ENVIRONMENT")]
    pub(crate) environments: Vec<String>,
    /// Folder of the medium, or - for a tar stream to standard output
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<Utf8PathBuf>,
    /// Print sizes; download and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Sign with this OpenSSH key; with a public key, ssh-agent signs
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<Utf8PathBuf>,
    /// Split into volumes of at most this size, such as 4GiB
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) volume: Option<u64>,
    /// Leave out the blobs of this release, instead of those in receipts
    #[arg(long, value_name = "RELEASE")]
    pub(crate) since: Option<String>,
    /// Leave out what a registry snapshot or an earlier manifest.yaml lists, instead of what
    /// receipts record; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) have: Vec<Utf8PathBuf>,
    /// Leave out nothing
    #[arg(long, conflicts_with_all = ["since", "have"])]
    pub(crate) all: bool,
    /// Replace these pieces of an earlier medium: at least 8 digits of each name, or history
    #[arg(long, value_name = "PIECE[,PIECE...]", value_delimiter = ',', value_parser = values::piece, conflicts_with_all = ["since", "have"])]
    pub(crate) only: Vec<String>,
    /// Platform of mkectl; repeatable [default: linux-x86_64]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Vec<String>,
    /// Program for the medium [default: this one]
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<Utf8PathBuf>,
    /// Build the program for Linux with glibc 2.17 or later
    #[arg(long, conflicts_with = "program")]
    pub(crate) portable: bool,
    /// Add the sources of all dependencies, for cargo inside
    #[arg(long)]
    pub(crate) sources: bool,
    /// Return receipts, logs, commits and a registry snapshot to the other side
    #[arg(long = "return", conflicts_with_all = ["volume", "since", "have", "all", "only", "platform", "program", "portable", "sources"])]
    pub(crate) returns: bool,
}
