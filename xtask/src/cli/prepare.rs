//! Arguments of the commands that prepare a deploy. Doc comments of fields are help texts.

use camino::Utf8PathBuf;
use clap::{ArgGroup, Args};

use super::values;

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Name of the folder in environments/
    pub(crate) environment: String,
    /// MKE release [default: newest locked, else newest with published hashes]
    #[arg(long)]
    pub(crate) release: Option<String>,
    /// Address of the registry, HOST[:PORT]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) registry: Option<String>,
    /// Path in the registry
    #[arg(long, value_name = "PATH")]
    pub(crate) project: Option<String>,
    /// Address at which clients find the API server
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) external_address: Option<String>,
    /// Address of the first controller
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// User of the SSH login
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Write examples without asking
    #[arg(long)]
    pub(crate) defaults: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Environment [default: all]
    #[arg(conflicts_with = "all")]
    pub(crate) environment: Option<String>,
    /// All environments
    #[arg(long)]
    pub(crate) all: bool,
    /// Validate the configuration with each release's mkectl too
    #[arg(long)]
    pub(crate) with_mkectl: bool,
    /// Exit with code 3 on warnings, except known issues of the release and what `deploy` does
    /// or waits for
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Release, such as v4.1.5, or set
    #[arg(id = "release-or-set", value_name = "RELEASE|SET")]
    pub(crate) release: String,
    /// Compare a set's lock with its upstream; exit with code 2 if it differs
    #[arg(long, conflicts_with_all = ["update", "replace"])]
    pub(crate) check: bool,
    /// Entry of a set to lock as it is upstream now; repeatable
    #[arg(long, value_name = "NAME", conflicts_with = "replace")]
    pub(crate) update: Vec<String>,
    /// Bundle on this machine, instead of a download; linked or copied to bundles/
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<Utf8PathBuf>,
    /// URL of the bundle, http:, https: or file: [default: the vendor's]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Registry and path to lock the release from, without a bundle, such as
    /// registry.mirantis.com/mke
    #[arg(long, value_name = "REGISTRY/PATH", requires = "images", conflicts_with_all = ["bundle", "url", "checksum", "checksum_url"])]
    pub(crate) from: Option<String>,
    /// File with what `mkectl airgap list-images` and `list-charts` print, for --from; repeatable
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) images: Vec<Utf8PathBuf>,
    /// Checksum of the bundle: 64 hexadecimal digits, or a checksum file
    #[arg(long, value_name = "HEX|FILE", conflicts_with = "checksum_url")]
    pub(crate) checksum: Option<String>,
    /// URL of the bundle's checksum, http:, https: or file: [default: the vendor's]
    #[arg(long, value_name = "URL")]
    pub(crate) checksum_url: Option<String>,
    /// URL of mkectl, with {system} and {machine} for linux and x86_64 [default: the vendor's]
    #[arg(long, value_name = "URL")]
    pub(crate) mkectl_url: Option<String>,
    /// Architecture of the bundle, amd64 or arm64 [default: amd64]
    #[arg(long, value_parser = values::arch)]
    pub(crate) arch: Option<String>,
    /// Replace a committed lock that differs; for a set, update all entries
    #[arg(long)]
    pub(crate) replace: bool,
    /// Show all lines that differ from a committed lock
    #[arg(long)]
    pub(crate) diff: bool,
    /// Lock a bundle whose name or content contradicts RELEASE
    #[arg(long)]
    pub(crate) force_release: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LearnArgs {
    /// Release, such as v4.1.5
    pub(crate) release: String,
    /// Bundle to read [default: the release's bundle in bundles/, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<Utf8PathBuf>,
    /// Checksum file that the vendor publishes for the bundle
    #[arg(long, value_name = "FILE")]
    pub(crate) checksum: Option<Utf8PathBuf>,
    /// Program mkectl to ask [default: the one that was fetched, or the one on PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) mkectl: Option<Utf8PathBuf>,
    /// Architecture of the bundle, amd64 or arm64 [default: amd64]
    #[arg(long, value_parser = values::arch)]
    pub(crate) arch: Option<String>,
    /// Record a bundle that contradicts the release or architecture
    #[arg(long)]
    pub(crate) force_release: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// Environment, locked release (v4.1.5) or set
    #[arg(value_name = "ENVIRONMENT|RELEASE|SET")]
    pub(crate) what: String,
    /// Compare the bundle with its lock; download and write nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// Bundle to check, if it is not in bundles/
    #[arg(long, value_name = "FILE", requires = "check")]
    pub(crate) bundle: Option<Utf8PathBuf>,
    /// Download mkectl for this platform, such as linux-x86_64; repeatable [default: this
    /// machine's]
    #[arg(long, value_name = "PLATFORM", conflicts_with = "check")]
    pub(crate) platform: Vec<String>,
}

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

#[derive(Debug, Args)]
pub(crate) struct UnpackArgs {
    /// Media or their volumes, or - for a tar stream on standard input
    #[arg(required = true, value_name = "DIR")]
    pub(crate) folders: Vec<Utf8PathBuf>,
    /// Fingerprint that the signing key must have, instead of being prompted
    #[arg(long, value_name = "SHA256:...", value_parser = values::fingerprint, conflicts_with = "allow_unsigned")]
    pub(crate) fingerprint: Option<String>,
    /// Accept a medium without a signature
    #[arg(long)]
    pub(crate) allow_unsigned: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["environment", "all"]))]
pub(crate) struct RenderArgs {
    /// Environment
    pub(crate) environment: Option<String>,
    /// All environments
    #[arg(long)]
    pub(crate) all: bool,
    /// Write nothing; show changes and exit with code 2 if there are any
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// Environment that runs the release
    pub(crate) from: String,
    /// Environment that receives the release
    pub(crate) to: String,
    /// Accept a release that was never deployed successfully to FROM
    #[arg(long)]
    pub(crate) unproven: bool,
    /// Print Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "format")]
    pub(crate) markdown: bool,
}
