//! The options of the commands that look and change nothing.

use camino::Utf8PathBuf;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The environment
    pub(crate) environment: String,
    /// Write the plan to this file, too, for `deploy --plan`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<Utf8PathBuf>,
    /// Take what the registry has from a file of `snapshot --out`, without asking it
    #[arg(long, alias = "inventory", value_name = "FILE")]
    pub(crate) snapshot: Option<Utf8PathBuf>,
    /// Plan an upgrade without a backup, for this reason
    #[arg(long, value_name = "REASON", value_parser = super::values::reason)]
    pub(crate) without_backup: Option<String>,
    /// Write Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "format")]
    pub(crate) markdown: bool,
    /// Exit with code 2 when something is to be done
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The environment [default: all of them]
    pub(crate) environment: Option<String>,
    /// Ask clusters as well, by `mkectl config get`
    #[arg(long)]
    pub(crate) live: bool,
    /// Exit with code 2 when something differs or could not be asked
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The environment, or the release (v4.1.3), that others are compared with
    #[arg(value_name = "ENVIRONMENT|RELEASE")]
    pub(crate) old: String,
    /// Another one of the same kind [default: what is committed and applied of the environment]
    #[arg(value_name = "ENVIRONMENT|RELEASE")]
    pub(crate) new: Option<String>,
    /// Compare with what the cluster has, by mkectl, instead of with what is committed
    #[arg(long, conflicts_with = "new")]
    pub(crate) live: bool,
    /// Write Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "format")]
    pub(crate) markdown: bool,
    /// Exit with code 2 when something differs
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}
