//! The options of the commands that look and change nothing.

use camino::Utf8PathBuf;
use clap::{ArgGroup, Args};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Environment
    pub(crate) environment: String,
    /// Save the plan to FILE for `deploy --plan`
    #[arg(long, value_name = "FILE", value_parser = super::values::file)]
    pub(crate) out: Option<Utf8PathBuf>,
    /// Read the state of the registry from a file of `snapshot --out`; contact no registry
    #[arg(long, alias = "inventory", value_name = "FILE")]
    pub(crate) snapshot: Option<Utf8PathBuf>,
    /// Plan an upgrade without a backup, for this reason
    #[arg(long, value_name = "REASON", value_parser = super::values::reason)]
    pub(crate) without_backup: Option<String>,
    /// Print Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "format")]
    pub(crate) markdown: bool,
    /// Exit with code 2 if deploy would change something
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Environment [default: all]
    #[arg(conflicts_with = "all")]
    pub(crate) environment: Option<String>,
    /// All environments
    #[arg(long)]
    pub(crate) all: bool,
    /// Compare with the live configuration of clusters too
    #[arg(long)]
    pub(crate) live: bool,
    /// Exit with code 2 if something differs or does not answer
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("reported").required(true).args(["environment", "all"]))]
pub(crate) struct ReportArgs {
    /// Environment
    pub(crate) environment: Option<String>,
    /// All environments
    #[arg(long)]
    pub(crate) all: bool,
    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE", value_parser = super::values::file)]
    pub(crate) out: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Environment, release (v4.1.3) or set to compare
    #[arg(value_name = "OLD")]
    pub(crate) old: String,
    /// Second environment, release or set [default: what is committed and applied]
    #[arg(value_name = "NEW")]
    pub(crate) new: Option<String>,
    /// Compare the lock of a release or a set with that of a Git revision [default for sets: HEAD]
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["new", "live"])]
    pub(crate) since: Option<String>,
    /// Compare with the live configuration of the cluster
    #[arg(long, conflicts_with = "new")]
    pub(crate) live: bool,
    /// Print Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "format")]
    pub(crate) markdown: bool,
    /// Exit with code 2 if something differs
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}
