//! The command line: options of every command, the overview of `--help`, and the commands.
//!
//! The modules `inspect`, `prepare`, `deploy` and `maintain` have the arguments of the commands in
//! each group of the help. Doc comments of commands and arguments are help texts.

use camino::Utf8PathBuf;
use clap::{ArgAction, Args, Parser, Subcommand};
use release::transfer::connect::Limits;

use crate::ui::Format;

mod inspect;
mod prepare;
mod deploy;
mod maintain;
mod rehearsal;

mod examples;
mod values;

mod parse;

pub(crate) use deploy::{
    ApplyArgs, ApprovalArgs, ConsentArgs, DeployArgs, MigrateArgs, PushArgs, TakeOverArgs,
};
pub(crate) use inspect::{
    DiffArgs, ImagesArgs, ImagesForm, PlanArgs, PreflightArgs, ReleasesArgs, ReportArgs,
    SnapshotArgs, StatusArgs,
};
pub(crate) use maintain::{
    CiStep, ClusterCommand, MkectlArgs, PruneArgs, ReceiptCommand, Shell, StoreCommand,
    SupportArgs, VerifyArgs,
};
pub(crate) use parse::{Typed, command, directory, parse};
pub(crate) use prepare::{
    CheckArgs, FetchArgs, LearnArgs, LockArgs, NewArgs, PackArgs, PromoteArgs, RenderArgs,
    UnpackArgs,
};
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

/// Display order of the options of every command: after the command's own, before `--help`.
const LAST: usize = 900;

/// The overview of `--help`. A test checks that it lists every command.
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
    Snapshot(SnapshotArgs),
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
    Releases(ReleasesArgs),
    /// Find what would stop an installation
    ///
    /// Checks files, disk space, certificates, and what the registry accepts. Pushes a small probe
    /// to PROJECT/airlock-preflight and removes it. The exit code is that of the first problem.
    #[command(after_help = examples::PREFLIGHT)]
    Preflight(PreflightArgs),
    /// Write a support archive without secrets
    ///
    /// Contains versions, configuration, plan, receipt, the registry's profile, the last logs and
    /// what preflight finds. Secrets are masked. If the archive still has one, it is not written.
    Support(SupportArgs),
    /// Write a new environment
    ///
    /// On a terminal, asks a few questions. With options, or without a terminal, asks nothing and
    /// writes examples for the rest.
    New(NewArgs),
    /// Validate environments from their files alone
    Check(CheckArgs),
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
    Render(RenderArgs),
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
    Deploy(DeployArgs),
    /// Push missing artifacts to the registry
    #[command(after_help = examples::PUSH)]
    Push(PushArgs),
    /// Run mkectl on the rendered mke4.yaml
    ///
    /// Verifies the registry first. Pushes nothing.
    Apply(ApplyArgs),
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

impl Cli {
    /// Returns the environments whose folders this command may write to, or `None` if it writes
    /// nothing to the workspace.
    pub(crate) fn writes(&self) -> Option<Vec<&str>> {
        let environment = match &self.command {
            Command::List
            | Command::Show { .. }
            | Command::Inspect { .. }
            | Command::Images(_)
            | Command::Diff(_)
            | Command::Releases(_)
            | Command::Check(_)
            | Command::Completion { .. }
            | Command::Man { .. }
            | Command::Ci { .. }
            | Command::Fetch(FetchArgs { check: true, .. })
            | Command::Lock(LockArgs { check: true, .. }) => return None,
            Command::Push(arguments) => {
                return Some(arguments.environments.iter().map(String::as_str).collect());
            }
            Command::Promote(arguments) => &arguments.to,
            Command::Deploy(DeployArgs { environment, .. })
            | Command::Apply(ApplyArgs { environment, .. })
            | Command::Support(SupportArgs { environment, .. })
            | Command::Migrate(MigrateArgs { environment, .. })
            | Command::Mkectl(MkectlArgs { environment, .. })
            | Command::Render(RenderArgs {
                environment: Some(environment),
                check: false,
                ..
            }) => environment,
            Command::Cluster { command } => command.environment(),
            _ => return Some(Vec::new()),
        };
        Some(vec![environment])
    }

    /// Returns whether the command needs the team's file of release facts. The other commands run
    /// even if that file is invalid.
    pub(crate) fn needs_facts(&self) -> bool {
        !matches!(
            self.command,
            Command::Unpack(_)
                | Command::Support(_)
                | Command::Store { .. }
                | Command::Completion { .. }
                | Command::Man { .. }
                | Command::Ci { .. }
        )
    }

    /// Returns whether the operator allowed secrets in the process list.
    pub(crate) fn allows_visible_secrets(&self) -> bool {
        match &self.command {
            Command::Deploy(DeployArgs { consent, .. })
            | Command::Apply(ApplyArgs { consent, .. })
            | Command::Migrate(MigrateArgs { consent, .. })
            | Command::Mkectl(MkectlArgs { consent, .. }) => consent.allow_visible_secrets,
            _ => false,
        }
    }

    /// Returns the limits on the load of registries.
    pub(crate) fn limits(&self) -> Limits {
        let (Command::Push(PushArgs { limits, .. })
        | Command::Migrate(MigrateArgs { limits, .. })
        | Command::Deploy(DeployArgs { limits, .. })) = &self.command
        else {
            return Limits::default();
        };
        Limits {
            jobs: limits.jobs.map(usize::from),
            max_rate: limits.max_rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

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
