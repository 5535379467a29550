//! Arguments of the commands that inspect. Doc comments of fields are help texts.

use camino::Utf8PathBuf;
use clap::{ArgGroup, Args, ValueEnum};

use super::values;

#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Environment
    pub(crate) environment: String,
    /// Form of the output [default: a line for each artifact]
    #[arg(long = "as", value_name = "FORM", value_enum)]
    pub(crate) form: Option<ImagesForm>,
    /// Chart for --as helm: its path in the registry or the end of it, with or without the tag
    #[arg(long, value_name = "NAME", required_if_eq("form", "helm"))]
    pub(crate) chart: Option<String>,
}

/// The consumer that the references are formatted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImagesForm {
    /// The `images:` of a kustomization
    Kustomize,
    /// A hosts.toml of containerd for each upstream host
    Containerd,
    /// An ImageDigestMirrorSet
    Idms,
    /// Helm values by which a chart names the images of the registry
    Helm,
    /// A CycloneDX 1.6 document with digests and purls
    Cyclonedx,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Environment
    pub(crate) environment: String,
    /// Save the plan to FILE for `deploy --plan`
    #[arg(long, value_name = "FILE", value_parser = values::file)]
    pub(crate) out: Option<Utf8PathBuf>,
    /// Read the state of the registry from a file of `snapshot --out`; contact no registry
    #[arg(long, alias = "inventory", value_name = "FILE")]
    pub(crate) snapshot: Option<Utf8PathBuf>,
    /// Plan an upgrade without a backup, for this reason
    #[arg(long, value_name = "REASON", value_parser = values::reason)]
    pub(crate) without_backup: Option<String>,
    /// Print Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "format")]
    pub(crate) markdown: bool,
    /// Exit with code 2 if deploy would change something
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// Environment
    pub(crate) environment: String,
    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE", value_parser = values::file)]
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

#[derive(Debug, Args)]
pub(crate) struct ReleasesArgs {
    /// Release, such as v4.1.5 [default: all]
    pub(crate) release: Option<String>,
    /// Validate environments/releases.yaml and list what it adds
    #[arg(long, conflicts_with = "release")]
    pub(crate) check: bool,
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
    #[arg(long, value_name = "FILE", value_parser = values::file)]
    pub(crate) out: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PreflightArgs {
    /// Environment
    pub(crate) environment: String,
    /// Check the nodes too, read-only and over ssh
    #[arg(long)]
    pub(crate) nodes: bool,
}
