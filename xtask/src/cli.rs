//! What can be typed. The comments of this file are the help texts.

use std::ffi::OsString;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::error::{ContextKind, ContextValue};
use clap::{
    ArgAction, ArgGroup, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser,
    Subcommand, ValueEnum,
};
use release::transfer::connect::Limits;

use crate::team::Task;
use crate::ui::Format;

mod cluster;
mod examples;
mod look;
mod pack;
mod rehearsal;
mod values;

pub(crate) use cluster::{ClusterCommand, MkectlArgs};
pub(crate) use look::{DiffArgs, PlanArgs, ReportArgs, StatusArgs};
pub(crate) use pack::PackArgs;
pub(crate) use rehearsal::{RehearsalArgs, RehearsalCommand};

/// Install and upgrade Mirantis Kubernetes Engine 4 across an air gap
#[derive(Debug, Parser)]
#[command(
    name = "airlock",
    bin_name = "cargo xtask",
    version = env!("AIRLOCK_VERSION"),
    help_template = HELP,
    disable_help_subcommand = true,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommonArgs {
    /// Output format: human or json
    #[arg(
        long, global = true, display_order = LAST, value_enum, default_value_t = Format::Human,
        hide_possible_values = true
    )]
    pub(crate) format: Format,

    /// Workspace folder [default: nearest with environments/]
    #[arg(short = 'C', long, global = true, display_order = LAST + 1, value_name = "DIR")]
    pub(crate) directory: Option<Utf8PathBuf>,

    /// Do not use the internet [env: AIRLOCK_OFFLINE]
    #[arg(long, global = true, display_order = LAST + 2)]
    pub(crate) offline: bool,

    /// Log requests and programs, -vv more [env: AIRLOCK_LOG]
    #[arg(short, long, global = true, display_order = LAST + 3, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Write a log for diagnosis to FILE, as JSON lines
    #[arg(long, global = true, display_order = LAST + 4, value_name = "FILE")]
    pub(crate) trace: Option<Utf8PathBuf>,
}

/// Where a help lists the options of all commands: behind the command's own, before `--help`.
const LAST: usize = 900;

/// The commands, by the road. A test holds that none is forgotten.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Inspect
  list        List environments and locked releases
  show        Print an environment with everything it inherits
  inspect     List the contents of a bundle or a set
  images      Map upstream references to those of the registry
  plan        Show what deploy would do
  snapshot    Write what a registry contains, for plan --snapshot
  diff        Compare environments, releases or sets
  releases    Show the recorded facts of releases and their sources
  status      Compare files, receipts, registries and clusters
  report      Write a page about environments for a browser
  preflight   Find what would stop an installation

Prepare
  new         Write a new environment
  check       Validate environments from their files alone
  lock        Record every digest of a bundle or a set
  learn       Record facts from a real bundle and a real mkectl
  fetch       Download a locked bundle or set and verify it
  pack        Write a medium for a site without internet
  unpack      Verify a medium and import it into the workspace
  render      Write an environment's mke4.yaml
  promote     Write the release of one environment into another
  rehearse    Run a deploy without touching registry or cluster

Deploy
  deploy      Fetch, verify, push, render and apply a release
  push        Push missing artifacts to the registry
  apply       Run mkectl on the rendered mke4.yaml
  migrate     Upgrade an MKE 3 cluster to MKE 4

Maintain
  verify      Read the registry as a node does
  store       Report the contents of the store by release
  receipt     Rebuild a lost receipt from the cluster and the registry
  cluster     Manage the cluster of an environment
  mkectl      Run any command of the cluster's mkectl
  prune       Remove tags that no release needs, by a reviewed plan
  support     Write a support archive without secrets
  completion  Print a shell completion script
  man         Write a manual page for each command
  ci          Run the checks of this workspace's CI

Options:
{options}

Exit codes:
    0  success                         6  no suitable mkectl, or no cluster
    1  failure of this machine         7  mkectl failed
    2  something differs               8  not allowed
    3  workspace file is invalid       9  pushed in part
    4  bundle differs from its lock   64  invalid command line
    5  registry                      130  interrupted
";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List environments and locked releases
    List,
    /// Print an environment with everything it inherits
    ///
    /// Each value is shown with the file and line it comes from.
    Show {
        /// Environment
        environment: String,
    },
    /// List the contents of a bundle or a set
    ///
    /// Shows artifacts with kinds, platforms, sizes and shared bytes. With `--format cyclonedx`,
    /// prints a CycloneDX document of all images and charts of an environment.
    Inspect {
        /// Locked release (v4.1.5), set or bundle file, or an environment for cyclonedx
        #[arg(value_name = "RELEASE|SET|FILE")]
        what: String,
    },
    /// Map upstream references to those of the registry
    ///
    /// Lists every artifact of the release and of the sets, with its digest. With --as, prints what
    /// a consumer reads: a kustomization, hosts.toml files of containerd, an ImageDigestMirrorSet,
    /// Helm values for one chart, or a CycloneDX document.
    Images(ImagesArgs),
    /// Show what deploy would do
    #[command(after_help = examples::PLAN)]
    Plan(PlanArgs),
    /// Write what a registry contains, for plan --snapshot
    ///
    /// Lists which tags of the locks the registry has. Inside an air gap, write the file and carry
    /// it out: outside, `plan --snapshot` and `pack --have` read it.
    #[command(alias = "inventory")]
    Snapshot {
        /// Environment
        environment: String,
        /// Output file [default: standard output]
        #[arg(long, value_name = "FILE", value_parser = values::file)]
        out: Option<Utf8PathBuf>,
    },
    /// Compare environments, releases or sets
    ///
    /// With one environment, compares the rendered configuration with the committed and the applied
    /// one. With one set, compares its lock with the committed one: artifacts added, removed and
    /// moved, with digests and the bytes to fetch and to send.
    #[command(after_help = examples::DIFF)]
    Diff(DiffArgs),
    /// Compare files, receipts, registries and clusters
    ///
    /// Prints a line for each environment, then each difference with the command that resolves it.
    /// SHARED STATE is what the registry records of the last deploy from any checkout; DIFFERENCES
    /// counts the differences. Nothing is written.
    Status(StatusArgs),
    /// Write a page about environments for a browser
    ///
    /// Shows what runs where, the plan as a change request, what the last deploy proved, the sets,
    /// and the deploys that receipts record. The page is one HTML file that loads nothing.
    Report(ReportArgs),
    /// Show the recorded facts of releases and their sources
    ///
    /// A team adds facts in environments/releases.yaml, without building.
    Releases {
        /// Release, such as v4.1.5 [default: all]
        release: Option<String>,
        /// Validate environments/releases.yaml and list what it adds
        #[arg(long, conflicts_with = "release")]
        check: bool,
    },
    /// Find what would stop an installation
    ///
    /// Checks files, disk space, certificates, and what the registry accepts. Pushes a small probe
    /// to PROJECT/airlock-preflight and removes it. The exit code is that of the first problem.
    #[command(after_help = examples::PREFLIGHT)]
    Preflight {
        /// Environment
        environment: String,
        /// Check the nodes too, read-only and over ssh
        #[arg(long)]
        nodes: bool,
    },
    /// Write a support archive without secrets
    ///
    /// Contains versions, configuration, plan, receipt, the registry's profile, the last logs and
    /// what preflight finds. Secrets are masked. If the archive still has one, it is not written.
    Support {
        /// Environment
        environment: String,
        /// Archive [default: environments/ENVIRONMENT/logs/support-TIME.tar.gz]
        #[arg(long, value_name = "FILE", value_parser = values::file)]
        out: Option<Utf8PathBuf>,
    },
    /// Write a new environment
    ///
    /// On a terminal, asks a few questions. With options, or without a terminal, asks nothing and
    /// writes examples for the rest.
    New(NewArgs),
    /// Validate environments from their files alone
    Check {
        /// Environment [default: all]
        #[arg(conflicts_with = "all")]
        environment: Option<String>,
        /// All environments
        #[arg(long)]
        all: bool,
        /// Validate the configuration with each release's mkectl too
        #[arg(long)]
        with_mkectl: bool,
        /// Exit with code 3 on warnings, except known issues of the release and what `deploy` does
        /// or waits for
        #[arg(long)]
        strict: bool,
    },
    /// Record every digest of a bundle or a set
    ///
    /// Review and commit the lock. A bundle that differs from it is refused. A set is a file
    /// bundles/NAME.set.yaml that lists images, charts, files and bundles. With --from, a release
    /// is locked from a registry, without its bundle.
    #[command(after_help = examples::LOCK)]
    Lock(LockArgs),
    /// Record facts from a real bundle and a real mkectl
    ///
    /// Writes environments/facts/RELEASE.yaml, which overlays the recorded facts of the release.
    /// Prints every contradiction as a diff. The file and the diff contain no path, host or user of
    /// this machine.
    Learn(LearnArgs),
    /// Download a locked bundle or set and verify it
    ///
    /// With --check, compares the bundle in bundles/ and the downloads of mkectl with the lock.
    /// Nothing is downloaded or written.
    Fetch(FetchArgs),
    /// Verify a medium and import it into the workspace
    ///
    /// Verifies the signature and every piece. Outside a workspace and without -C, creates
    /// ./airlock-workspace. An interrupted run resumes.
    #[command(after_help = examples::UNPACK)]
    Unpack(UnpackArgs),
    /// Write a medium for a site without internet
    ///
    /// The medium has the repository, mkectl, this program, and the blobs that the site lacks
    /// according to its receipts. `START.txt` on it explains how to unpack it.
    #[command(after_help = examples::PACK)]
    Pack(PackArgs),
    /// Write an environment's mke4.yaml
    #[command(group = ArgGroup::new("which").required(true).args(["environment", "all"]))]
    Render {
        /// Environment
        environment: Option<String>,
        /// All environments
        #[arg(long)]
        all: bool,
        /// Write nothing; show changes and exit with code 2 if there are any
        #[arg(long)]
        check: bool,
    },
    /// Write the release of one environment into another
    ///
    /// Renders the second environment. Nothing else in its file changes, and nothing is deployed.
    Promote(PromoteArgs),
    /// Run a deploy without touching registry or cluster
    ///
    /// Uses an embedded registry and a stand-in for mkectl.
    Rehearse {
        /// Environment
        environment: String,
    },
    /// Fetch, verify, push, render and apply a release
    ///
    /// Shows the plan and asks for approval. Writes a receipt at the end. If the run is
    /// interrupted, run it again.
    #[command(after_help = examples::DEPLOY)]
    Deploy {
        /// Environment
        environment: String,
        #[command(flatten)]
        approval: ApprovalArgs,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        consent: ConsentArgs,
        #[command(flatten)]
        overrides: OverrideArgs,
        /// Upgrade without a backup; the receipt records the reason
        #[arg(long, value_name = "REASON", value_parser = values::reason)]
        without_backup: Option<String>,
        #[command(flatten)]
        take_over: TakeOverArgs,
        /// Apply a plan saved by `plan --out`; if anything changed since, list the changes and exit
        /// with code 2
        #[arg(long, value_name = "FILE")]
        plan: Option<Utf8PathBuf>,
    },
    /// Push missing artifacts to the registry
    #[command(after_help = examples::PUSH)]
    Push(PushArgs),
    /// Run mkectl on the rendered mke4.yaml
    ///
    /// Verifies the registry first. Pushes nothing.
    Apply {
        /// Environment
        environment: String,
        #[command(flatten)]
        approval: ApprovalArgs,
        #[command(flatten)]
        consent: ConsentArgs,
        #[command(flatten)]
        overrides: OverrideArgs,
        #[command(flatten)]
        take_over: TakeOverArgs,
    },
    /// Read the registry as a node does
    ///
    /// Checks every tag, manifest and blob of the lock, through the URLs in mke4.yaml and with the
    /// credentials of the nodes. Exits with code 5 if something differs or the registry does not
    /// answer.
    #[command(after_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Report the contents of the store by release
    ///
    /// Configs and manifests count as blobs, too.
    Store {
        #[command(subcommand)]
        command: Option<StoreCommand>,
    },
    /// Upgrade an MKE 3 cluster to MKE 4
    ///
    /// Fetches, verifies and pushes the whole release before mkectl starts.
    #[command(after_help = examples::MIGRATE)]
    Migrate(MigrateArgs),
    /// Rebuild a lost receipt from the cluster and the registry
    Receipt {
        #[command(subcommand)]
        command: ReceiptCommand,
    },
    /// Manage the cluster of an environment
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Run any command of the cluster's mkectl
    ///
    /// If the command has the flag --file, it gets the rendered configuration, with the values of
    /// secrets. The output is logged with secrets masked; the result of kubeconfig, login and certs
    /// is not logged.
    Mkectl(MkectlArgs),
    /// Remove tags that no release needs, by a reviewed plan
    ///
    /// Without --plan, shows what would be removed and removes nothing. Only tags that Airlock
    /// pushed are removed, according to the receipts in the workspace and in git's history. What
    /// stays: every release that an environment on this registry requires, runs, ran before or
    /// failed to deploy.
    #[command(after_help = examples::PRUNE)]
    Prune(PruneArgs),
    /// Print a shell completion script
    ///
    /// The script completes the program by each of its names. It runs the program that printed it,
    /// so keep that program in place.
    #[command(after_help = examples::COMPLETION)]
    Completion {
        /// Shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write a manual page for each command
    Man {
        /// Folder of the pages
        #[arg(long, value_name = "DIR")]
        out: Utf8PathBuf,
    },
    /// Run the checks of this workspace's CI
    Ci {
        /// Steps to run [default: all]
        #[arg(value_enum)]
        steps: Vec<CiStep>,
    },
    /// Play mkectl in a rehearsal
    #[command(hide = true, name = release::rehearse::COMMAND)]
    RehearsalMkectl(RehearsalArgs),
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

/// A shell that completes commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What can be done with a receipt.
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

/// What can be done with the store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Remove blobs that no lock in bundles/ names
    Gc {
        /// Show what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

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

/// How a plan is approved without a question.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApprovalArgs {
    /// Skip the approval of the plan; protected environments still ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Confirm a protected environment by name instead of being prompted
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
}

/// What is set aside for once.
#[derive(Debug, Clone, Args)]
pub(crate) struct OverrideArgs {
    /// Deploy despite an unmet `requires`; the receipt records the reason
    #[arg(long, value_name = "REASON", value_parser = values::reason)]
    pub(crate) override_requires: Option<String>,
}

/// What is done about a deploy from a different checkout.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TakeOverArgs {
    /// Continue after a deploy that was interrupted in a different checkout
    #[arg(long)]
    pub(crate) take_over: bool,
}

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
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "5m", value_parser = values::interval, conflicts_with = "repair")]
    pub(crate) watch: Option<std::time::Duration>,
    /// Write metrics to FILE for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE", value_parser = values::file, conflicts_with = "repair")]
    pub(crate) textfile: Option<Utf8PathBuf>,
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
pub(crate) struct PushArgs {
    /// Environments; shared artifacts are read once
    #[arg(required = true, value_name = "ENVIRONMENT")]
    pub(crate) environments: Vec<String>,
    /// Confirm a protected environment by name instead of being prompted; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Vec<String>,
    /// Stop at this time and leave the rest to the next run: 06:30, 2026-01-31T06:30 or 90m
    #[arg(long, value_name = "TIME", value_parser = crate::until::parse)]
    pub(crate) until: Option<crate::until::Until>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// How much a registry is asked for.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LimitArgs {
    /// Maximum number of concurrent uploads [default: adaptive]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Maximum bytes/s per registry, such as 20MB [default: unlimited]
    #[arg(long, value_name = "BYTES", value_parser = values::rate)]
    pub(crate) max_rate: Option<u64>,
}

/// What is done with secrets that mkectl takes only as arguments.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ConsentArgs {
    /// Skip the prompt when mkectl accepts a secret only on its command line, where local users can
    /// read it
    #[arg(long)]
    pub(crate) allow_visible_secrets: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Environment with a `mke3` section
    pub(crate) environment: String,
    /// Show the plan and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) approval: ApprovalArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    #[command(flatten)]
    pub(crate) take_over: TakeOverArgs,
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

/// Who reads the references of an environment.
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

impl Cli {
    /// Returns the environments whose folders this command may write to, or `None` if it writes
    /// nothing to the workspace.
    pub(crate) fn writes(&self) -> Option<Vec<&str>> {
        match &self.command {
            Command::List
            | Command::Show { .. }
            | Command::Inspect { .. }
            | Command::Images(_)
            | Command::Diff(_)
            | Command::Releases { .. }
            | Command::Check { .. }
            | Command::Completion { .. }
            | Command::Man { .. }
            | Command::Ci { .. } => None,
            Command::Fetch(arguments) if arguments.check => None,
            Command::Lock(arguments) if arguments.check => None,
            Command::Push(arguments) => {
                Some(arguments.environments.iter().map(String::as_str).collect())
            }
            Command::Promote(arguments) => Some(vec![arguments.to.as_str()]),
            Command::Deploy { environment, .. }
            | Command::Apply { environment, .. }
            | Command::Support { environment, .. }
            | Command::Migrate(MigrateArgs { environment, .. })
            | Command::Mkectl(MkectlArgs { environment, .. }) => Some(vec![environment.as_str()]),
            Command::Render {
                environment: Some(environment),
                check: false,
                ..
            } => Some(vec![environment.as_str()]),
            Command::Cluster { command } => Some(vec![command.environment()]),
            _ => Some(Vec::new()),
        }
    }

    /// Returns whether the command is wrong without the facts of the team's file. The others work
    /// if that file is wrong.
    pub(crate) fn relies_on_facts(&self) -> bool {
        !matches!(
            self.command,
            Command::Unpack(_)
                | Command::Support { .. }
                | Command::Store { .. }
                | Command::Completion { .. }
                | Command::Man { .. }
                | Command::Ci { .. }
        )
    }

    /// Returns whether secrets may be in the process list.
    pub(crate) fn allows_visible_secrets(&self) -> bool {
        match &self.command {
            Command::Deploy { consent, .. }
            | Command::Apply { consent, .. }
            | Command::Migrate(MigrateArgs { consent, .. })
            | Command::Mkectl(MkectlArgs { consent, .. }) => consent.allow_visible_secrets,
            _ => false,
        }
    }

    /// Returns how much registries may be asked for by this command.
    pub(crate) fn limits(&self) -> Limits {
        let (Command::Push(PushArgs { limits, .. })
        | Command::Migrate(MigrateArgs { limits, .. })
        | Command::Deploy { limits, .. }) = &self.command
        else {
            return Limits::default();
        };
        Limits {
            jobs: limits.jobs.map(usize::from),
            max_rate: limits.max_rate,
        }
    }
}

/// What was typed.
pub(crate) enum Typed {
    /// A command of Airlock.
    Ours(Box<Cli>),
    /// A task of the team, by its index.
    Team(CommonArgs, usize, ArgMatches),
}

/// Names arguments as a sentence does: `[ENVIRONMENT]` is ENVIRONMENT, and `<ENVIRONMENT|--all>` is
/// ENVIRONMENT or --all.
fn name_plainly(error: &mut clap::Error) {
    let plain = |name: &String| match name.strip_prefix(['[', '<']) {
        Some(name) => name.replace(['[', ']', '<', '>'], "").replace('|', " or "),
        None => name.clone(),
    };
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        let named = match error.get(kind) {
            Some(ContextValue::String(name)) => ContextValue::String(plain(name)),
            Some(ContextValue::Strings(names)) => {
                ContextValue::Strings(names.iter().map(plain).collect())
            }
            _ => continue,
        };
        error.insert(kind, named);
    }
}

/// Replaces clap's tips where a better one is known, and removes those of names that hardly look
/// alike.
fn suggest(error: &mut clap::Error) {
    let text = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let argument = text(error, ContextKind::InvalidArg);
    let tip = match argument.as_str() {
        "--dry-run" => Some(instead_of_dry_run(std::env::args_os())),
        "--json" => Some("use '--format json'".to_owned()),
        _ => None,
    };
    match tip {
        Some(tip) => {
            error.remove(ContextKind::SuggestedArg);
            let tip = ContextValue::StyledStrs(vec![tip.into()]);
            error.insert(ContextKind::Suggested, tip);
        }
        None => drop(error.remove(ContextKind::Suggested)),
    }
    for (given, suggested) in [
        (argument, ContextKind::SuggestedArg),
        (
            text(error, ContextKind::InvalidSubcommand),
            ContextKind::SuggestedSubcommand,
        ),
    ] {
        let tips = match error.remove(suggested) {
            Some(ContextValue::String(tip)) => vec![tip],
            Some(ContextValue::Strings(tips)) => tips,
            _ => Vec::new(),
        };
        if let Some(tip) = environment::nearest(&given, tips.iter().map(String::as_str)) {
            let tip = tip.to_owned();
            let tip = match suggested {
                ContextKind::SuggestedArg => ContextValue::String(tip),
                _ => ContextValue::Strings(vec![tip]),
            };
            error.insert(suggested, tip);
        }
    }
}

/// Parses the command line.
///
/// # Errors
/// With the exit code, after the help or the complaint was printed. clap's own code for a wrong
/// command line is 2, which here means that something differs.
pub(crate) fn parse(tasks: &[&dyn Task]) -> Result<Typed, ExitCode> {
    typed(tasks).map_err(|mut error| {
        suggest(&mut error);
        name_plainly(&mut error);
        let code = if error.use_stderr() {
            crate::failure::USAGE
        } else {
            0
        };
        let text = error.render();
        if redaction::has_hidden_characters(&text.to_string()) {
            // An argument has them. It is shown without colours, of which it may have some of its
            // own.
            crate::ui::edge::err(&redaction::escape_lines(&text.to_string()));
        } else if code == 0 {
            let _ = crate::ui::edge::out(&text.ansi().to_string());
        } else {
            crate::ui::edge::err(&text.ansi().to_string());
        }
        if code == crate::failure::USAGE && wants_json(std::env::args_os()) {
            let message = error.to_string();
            crate::ui::wrong_command_line(message.trim_start_matches("error: ").trim_end(), code);
        }
        ExitCode::from(code)
    })
}

/// Returns all commands, with the tasks of the team.
pub(crate) fn command(tasks: &[&dyn Task]) -> clap::Command {
    let mut command = Cli::command();
    if !tasks.is_empty() {
        let mut listed = "Of this team\n".to_owned();
        for task in tasks.iter().map(|task| task.command()) {
            let about = task.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            listed.push_str(&format!("  {:<10}  {about}\n", task.get_name()));
            command = command.subcommand(task);
        }
        command = command.help_template(HELP.replace("Options:", &format!("{listed}\nOptions:")));
    }
    command
}

/// Gives a command one usage, for its help and for errors. In errors clap leaves out what was not
/// typed, which looks like a rule.
fn with_whole_usage(command: clap::Command) -> clap::Command {
    let mut command = command.mut_subcommands(with_whole_usage);
    let usage = command.render_usage().to_string();
    match usage.strip_prefix("Usage: ") {
        Some(usage) => command.override_usage(usage.to_owned()),
        None => command,
    }
}

fn typed(tasks: &[&dyn Task]) -> Result<Typed, clap::Error> {
    let mut command = command(tasks);
    command.build();
    let mut command = command.mut_subcommands(with_whole_usage);
    // clap's own `help` would be listed among the commands.
    let mut typed: Vec<OsString> = std::env::args_os().collect();
    if typed.get(1).is_some_and(|first| first == "help") {
        typed.remove(1);
        typed.push("--help".into());
    }
    let matches = command.clone().try_get_matches_from(typed)?;
    let common = CommonArgs::from_arg_matches(&matches)?;
    if common.format == Format::Cyclonedx && matches.subcommand_name() != Some("inspect") {
        let instead = "`--format cyclonedx` is for `cargo xtask inspect ENVIRONMENT`";
        return Err(command.error(clap::error::ErrorKind::InvalidValue, instead));
    }
    if let Some((name, arguments)) = matches.subcommand() {
        let named = |task: &&dyn Task| task.command().get_name() == name;
        if let Some(index) = tasks.iter().position(named) {
            return Ok(Typed::Team(common, index, arguments.clone()));
        }
    }
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => Ok(Typed::Ours(Box::new(cli))),
        Err(error) => Err(error.format(&mut command)),
    }
}

/// Returns how a command without `--dry-run` shows what it would do.
fn instead_of_dry_run(arguments: impl Iterator<Item = OsString>) -> String {
    let arguments: Vec<_> = arguments.collect();
    let named = |command: &str| arguments.iter().any(|argument| argument == command);
    let environment = typed_name(arguments.iter().cloned());
    if named("render") {
        format!(
            "`cargo xtask render {environment} --check` shows what would change, and writes nothing"
        )
    } else if named("prune") {
        format!(
            "`cargo xtask prune {environment}` shows what would be removed, and removes nothing"
        )
    } else {
        format!("`cargo xtask plan {environment}` shows what `deploy`, `push` and `apply` would do")
    }
}

/// Returns the word after the command of a command line that cannot be parsed, if it may be the
/// name of an environment.
fn typed_name(arguments: impl Iterator<Item = OsString>) -> String {
    let commands = Cli::command();
    let words = arguments.map(|word| word.to_string_lossy().into_owned());
    let mut words = words.skip_while(|word| commands.find_subcommand(word).is_none());
    let is_name = |name: &String| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && (name.chars()).all(|c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let name = words.nth(1).filter(is_name);
    name.unwrap_or_else(|| "ENVIRONMENT".to_owned())
}

/// Returns whether a command line that cannot be parsed asks for JSON: a machine that reads on
/// waits for the last object.
fn wants_json(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let arguments: Vec<_> = arguments.take_while(|argument| argument != "--").collect();
    arguments.iter().any(|argument| argument == "--format=json")
        || arguments
            .windows(2)
            .any(|pair| pair == ["--format", "json"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Returns all commands that the help shows, and their subcommands.
    fn shown(command: &clap::Command) -> Vec<clap::Command> {
        let subcommands = command.get_subcommands();
        let shown_ones = subcommands.filter(|command| !command.is_hide_set());
        shown_ones
            .flat_map(|command| [vec![command.clone()], shown(command)].concat())
            .collect()
    }

    #[test]
    fn a_summary_is_short_and_the_one_of_the_overview() {
        let all = Cli::command();
        for command in shown(&all) {
            let name = command.get_name();
            let about = command.get_about().unwrap().to_string();
            assert!(about.chars().count() <= 60, "{name}: {about}");
            assert!(!about.ends_with('.'), "{name}: {about}");
            let listed = (HELP.lines()).find_map(|line| line.trim().strip_prefix(name));
            if let Some(listed) = listed.filter(|rest| rest.starts_with("  ")) {
                let of_overview = all.find_subcommand(name).and_then(|one| one.get_about());
                assert_eq!(listed.trim(), of_overview.unwrap().to_string(), "{name}");
            }
        }
    }

    #[test]
    fn commands_that_people_type_often_have_examples() {
        for name in [
            "deploy",
            "plan",
            "lock",
            "push",
            "preflight",
            "verify",
            "diff",
            "prune",
            "pack",
            "unpack",
            "migrate",
        ] {
            let mut command = Cli::command();
            command.build();
            let help = command
                .find_subcommand_mut(name)
                .unwrap()
                .render_long_help();
            let help = help.to_string();
            let (_, examples) = help.split_once("\nExamples:\n").unwrap();
            for example in examples.lines().filter(|line| line.starts_with("  cargo")) {
                let words = example.split_once('#').map_or(example, |(typed, _)| typed);
                let words = words.split_whitespace().skip(1);
                assert!(Cli::try_parse_from(words).is_ok(), "{example}");
            }
        }
    }

    #[test]
    fn help_names_every_command_once_and_no_other() {
        let listed: Vec<&str> = HELP
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let mut listed = listed;
        listed.sort_unstable();
        let command = Cli::command();
        let mut known: Vec<&str> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(clap::Command::get_name)
            .collect();
        known.sort_unstable();
        assert_eq!(listed, known);
    }
}
