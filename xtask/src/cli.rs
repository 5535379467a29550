//! What can be typed. The comments of this file are the help texts.

use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::error::{ContextKind, ContextValue};
use clap::{
    ArgGroup, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    ValueEnum,
};
use release::connect::Limits;

use crate::team::Task;

mod cluster;
mod look;
mod rehearsal;
mod values;

pub(crate) use cluster::{ClusterCommand, MkectlArgs};
pub(crate) use look::{DiffArgs, PlanArgs, StatusArgs};
pub(crate) use rehearsal::{RehearsalArgs, RehearsalCommand};

/// Carry a release of Mirantis Kubernetes Engine 4 across an air gap.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    help_template = HELP,
    disable_help_subcommand = true,
    max_term_width = 100,
    subcommand_required = true
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
    /// Output format
    #[arg(long, global = true, display_order = LAST, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,

    /// The folder of environments/ and bundles/ [default: the nearest upwards]
    #[arg(short = 'C', long, global = true, display_order = LAST + 1, value_name = "DIR")]
    pub(crate) directory: Option<Utf8PathBuf>,

    /// Ask only registries, nodes and clusters [env: AIRLOCK_OFFLINE]
    #[arg(long, global = true, display_order = LAST + 2)]
    pub(crate) offline: bool,
}

/// Where the options that all commands have stand in a help: behind the command's own, before `--help`.
const LAST: usize = 900;

/// The commands, by the road. A test holds that none is forgotten.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Look
  list       Show environments and locked releases
  show       Print an environment with everything that it inherits
  inspect    List what a bundle holds
  plan       Say what deploy would do
  snapshot   Write what a registry has, for plans made elsewhere
  diff       Compare an environment with what is committed and applied, two environments, or two releases
  releases   Say what is known of each release, how well, and from where
  status     Compare what is wanted with what receipts, registries and clusters say
  preflight  Find everything from here that would stop an installation

Prepare
  new        Write a new environment
  check      Say everything that is wrong with environments, from their files alone
  lock       Record a release's bundle, byte by byte, in a file to be committed
  learn      Record what a real bundle and a real mkectl of a release show
  fetch      Download a locked bundle and verify it
  render     Write an environment's mke4.yaml
  promote    Give one environment the release of another
  rehearse   Go the whole way without touching registry or cluster

Deploy
  deploy     Do it all: fetch, verify, push, render, apply
  push       Send the registry what it lacks
  apply      Run mkectl on the rendered mke4.yaml
  migrate    Bring an MKE 3 cluster to the release: fetch, verify, push, render, upgrade

Care
  verify     Look at the registry as a node does
  store      Say what the store holds, by release; `store gc` removes what no lock names
  receipt    Rebuild a lost receipt from the cluster and the registry
  cluster    Ask, check, back up, restore or reset a cluster, or get its kubeconfig
  mkectl     Run any other command of an environment's own mkectl
  prune      Plan what an environment's registry needs no more; `prune --plan FILE` removes it
  ci         Run the checks that this workspace's CI runs

Options:
{options}

Exit codes: 0 done, 1 failed, 2 something differs (plan, diff and status --detailed-exitcode, render --check),
3 a file of yours is wrong, 4 the bundle is not what its lock says, 5 the registry, 6 no fitting mkectl,
7 mkectl itself failed, 8 not allowed, 9 pushed in part, 64 wrong command line, 130 interrupted.
";

/// How results and progress are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // No help of their own: the option says what they are, and the help stays within a screen.
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show environments and locked releases
    List,
    /// Print an environment with everything that it inherits, and where each value comes from
    Show {
        /// The environment
        environment: String,
    },
    /// List what a bundle holds: artifacts, kinds, platforms, sizes, shared bytes
    Inspect {
        /// A locked release (v4.1.5), or a bundle's file
        #[arg(value_name = "RELEASE|FILE")]
        what: String,
    },
    /// Say what deploy would do, and write it down to be signed
    Plan(PlanArgs),
    /// Write what a registry has, for plans made elsewhere
    #[command(alias = "inventory")]
    Snapshot {
        /// Environment
        environment: String,
        /// File to write, for `plan --snapshot`
        #[arg(long, value_name = "FILE")]
        out: Option<Utf8PathBuf>,
    },
    /// Compare what is rendered with what is committed and applied; or two environments; or two locked releases
    Diff(DiffArgs),
    /// Say how environments stand: what their files want, what their receipts tell, what their registries have, a line each
    ///
    /// All of them are asked at the same time. Whatever differs is named with the command that mends it. Nothing is written.
    Status(StatusArgs),
    /// Say what is known of each release, or all that is known of one, how well, and from where
    Releases {
        /// The release, such as v4.1.5
        release: Option<String>,
    },
    /// Find everything from here that would stop an installation: files, disk, certificate, and what the registry refuses
    ///
    /// A small probe is pushed to the registry below PROJECT/airlock-preflight and removed again. Exits with the code of the
    /// first problem.
    Preflight {
        /// The environment
        environment: String,
        /// Ask the nodes as well, by the system's ssh, all at once and reading only: do they reach and trust the registry,
        /// is there room, are their clocks right
        #[arg(long)]
        nodes: bool,
    },
    /// Write a new environment, commented, ready to be filled in
    New {
        /// The name of its folder below environments/
        environment: String,
        /// The release that it shall have [default: the newest that is locked, or else known]
        #[arg(long)]
        release: Option<String>,
    },
    /// Say everything that is wrong with environments, without network, credentials or mkectl
    Check {
        /// The environment [default: all of them]
        #[arg(conflicts_with = "all")]
        environment: Option<String>,
        /// Every environment
        #[arg(long)]
        all: bool,
        /// Have each release's mkectl check the configuration too
        #[arg(long)]
        with_mkectl: bool,
        /// Exit with code 3 if there are warnings, for CI
        #[arg(long)]
        strict: bool,
    },
    /// Record a release's bundle, byte by byte, in a file to be committed
    Lock(LockArgs),
    /// Record what a real bundle and a real mkectl of a release show
    ///
    /// Writes environments/facts/RELEASE.yaml, which overlays what Airlock knows of the release. Prints every contradiction as a
    /// diff. The file and the diff contain no path, host or user of this machine.
    Learn(LearnArgs),
    /// Download a locked bundle and verify it
    ///
    /// With --check, compares the bundle in bundles/ with its lock, byte by byte, and the downloads of mkectl that exist. Nothing is
    /// downloaded or written.
    Fetch(FetchArgs),
    /// Write an environment's mke4.yaml
    #[command(group = ArgGroup::new("which").required(true).args(["environment", "all"]))]
    Render {
        /// The environment
        environment: Option<String>,
        /// Every environment
        #[arg(long)]
        all: bool,
        /// Write nothing; show what would change and exit with code 2 if something would
        #[arg(long)]
        check: bool,
    },
    /// Write the release of one environment into the file of another, and render that one
    ///
    /// Nothing else in the file changes, and nothing is deployed. The difference is shown as `diff` shows it.
    Promote(PromoteArgs),
    /// Go the whole way without touching registry or cluster: an embedded registry, a stand-in for mkectl
    Rehearse {
        /// The environment
        environment: String,
    },
    /// Do it all: fetch, verify, push, render, apply, and write the receipt
    Deploy {
        /// The environment
        environment: String,
        /// The environment's name once more, instead of the question that a protected environment asks
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        consent: ConsentArgs,
        #[command(flatten)]
        overrides: OverrideArgs,
        /// Upgrade without a backup; the receipt keeps the reason
        #[arg(long, value_name = "REASON", value_parser = values::reason)]
        without_backup: Option<String>,
        #[command(flatten)]
        take_over: TakeOverArgs,
        /// Do exactly what this file says, written by `plan --out`, or name what has moved since and exit with code 2
        #[arg(long, value_name = "FILE")]
        plan: Option<Utf8PathBuf>,
    },
    /// Send registries what they lack, and look at them as a node does
    Push(PushArgs),
    /// Run mkectl on the rendered mke4.yaml, after looking at the registry
    Apply {
        /// The environment
        environment: String,
        /// The environment's name once more, instead of the question that a protected environment asks
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        consent: ConsentArgs,
        #[command(flatten)]
        overrides: OverrideArgs,
        #[command(flatten)]
        take_over: TakeOverArgs,
    },
    /// Look at the registry as a node does: every tag, manifest and blob of the lock
    ///
    /// Through the URLs in the environment's mke4.yaml, with the credentials that nodes have. Exits with 5 when something is not as the
    /// lock says, or the registry cannot be asked.
    Verify(VerifyArgs),
    /// Report what the store contains: for each lock, what is in it, what is shared, and what it would free
    Store {
        #[command(subcommand)]
        command: Option<StoreCommand>,
    },
    /// Bring an MKE 3 cluster to the release, all of which is in the registry first
    Migrate(MigrateArgs),
    /// Rebuild a lost receipt from the cluster and the registry
    Receipt {
        #[command(subcommand)]
        command: ReceiptCommand,
    },
    /// Ask, check, back up, restore or reset the cluster of an environment, or get its kubeconfig
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Run any other command of the mkectl that an environment's cluster wants, with its configuration
    ///
    /// The configuration, with the values of its references, is handed over by --file where the command has it. What mkectl
    /// writes to standard output comes on standard output; everything is in the log, secrets masked.
    Mkectl(MkectlArgs),
    /// Plan the removal of tags that no release of the environment needs any more, or remove what a reviewed plan names
    ///
    /// Without --plan nothing is removed. Known are the tags that receipts tell of, now and in git's history. What any environment on the same
    /// registry runs, ran before, failed at or wants stays, and so does what others put there.
    Prune(PruneArgs),
    /// Run the checks that this workspace's CI runs, in their order
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

/// What can be done with a receipt.
#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Compute the receipt anew, show it, and write it if confirmed
    Rebuild {
        /// The environment
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
    /// Show what no lock in bundles/ names, and remove it
    Gc {
        /// Show it, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// The environment that the release was tried on
    pub(crate) from: String,
    /// The environment that gets it
    pub(crate) to: String,
    /// Do it also where the receipt of FROM does not show that its release was deployed there with success
    #[arg(long)]
    pub(crate) unproven: bool,
    /// Write Markdown, for a comment on a pull request
    #[arg(long, conflicts_with = "format")]
    pub(crate) markdown: bool,
}

/// What is set aside for once.
#[derive(Debug, Clone, Args)]
pub(crate) struct OverrideArgs {
    /// Go on although what the environment `requires` has not happened; the receipt keeps the reason
    #[arg(long, value_name = "REASON", value_parser = values::reason)]
    pub(crate) override_requires: Option<String>,
}

/// What is done about a deploy from a different checkout.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TakeOverArgs {
    /// Continue after a deploy that was interrupted elsewhere, or without its receipt
    #[arg(long)]
    pub(crate) take_over: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The environment
    pub(crate) environment: String,
    /// Read and hash every byte, instead of asking whether it is there
    #[arg(long)]
    pub(crate) full: bool,
    /// Put back what is missing, from the store or the bundle, and send nothing else
    #[arg(long)]
    pub(crate) repair: bool,
    /// The environment's name once more, instead of the question that a protected environment asks before a repair
    #[arg(long, value_name = "NAME", requires = "repair")]
    pub(crate) confirm: Option<String>,
    /// Look again and again, and tell when something changes [default: every 5m]
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "5m", value_parser = values::interval, conflicts_with = "repair")]
    pub(crate) watch: Option<std::time::Duration>,
    /// Write what came of it to FILE too, as Prometheus reads it by node_exporter's textfile collector
    #[arg(long, value_name = "FILE", conflicts_with = "repair")]
    pub(crate) textfile: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// The environment
    pub(crate) environment: String,
    /// Write the plan to FILE, for a review
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    pub(crate) out: Option<Utf8PathBuf>,
    /// Remove exactly what this plan names, or refuse if anything has moved since
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<Utf8PathBuf>,
    /// Plan also for tags that receipts tell to have been found there, as after `push`, and not to have been pushed by a deploy
    #[arg(long, conflicts_with = "plan")]
    pub(crate) also_found: bool,
    /// The environment's name once more, instead of the question that a protected environment asks before a removal
    #[arg(long, value_name = "NAME", requires = "plan")]
    pub(crate) confirm: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The environments; what several of them want is read once
    #[arg(required = true, value_name = "ENVIRONMENT")]
    pub(crate) environments: Vec<String>,
    /// The environment's name once more, instead of the question that a protected environment asks; once for each of them
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Vec<String>,
    /// Stop at this time and leave the rest to the next run: 06:30, 2026-01-31T06:30, or 90m from now
    #[arg(long, value_name = "TIME", value_parser = crate::until::parse)]
    pub(crate) until: Option<crate::until::Until>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// How much a registry is asked for.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LimitArgs {
    /// Upload at most so many blobs at once [default: as many as the registry gets faster by]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Send each registry at most so many bytes a second, such as 20MB
    #[arg(long, value_name = "BYTES", value_parser = values::rate)]
    pub(crate) max_rate: Option<u64>,
}

/// What is done with secrets that mkectl takes only as arguments.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ConsentArgs {
    /// Go on, instead of the question, where mkectl takes a secret only as an argument, which everybody on this machine can read
    #[arg(long)]
    pub(crate) allow_visible_secrets: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// The environment, whose `mke3` says what is there
    pub(crate) environment: String,
    /// Show the plan, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The environment's name once more, instead of the question that a protected environment asks
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
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
    /// The release, such as v4.1.5
    pub(crate) release: String,
    /// Bundle to look at [default: the release's bundle in bundles/, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<Utf8PathBuf>,
    /// Checksum file that the vendor publishes for the bundle
    #[arg(long, value_name = "FILE")]
    pub(crate) checksum: Option<Utf8PathBuf>,
    /// Program mkectl to ask [default: the one that was fetched, or the one on PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) mkectl: Option<Utf8PathBuf>,
    /// Architecture of the bundle [default: amd64]
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Record a bundle that contradicts the release or architecture
    #[arg(long)]
    pub(crate) force_release: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// The release, such as v4.1.5
    pub(crate) release: String,
    /// Bundle on this machine, instead of a download; linked or copied to bundles/
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<Utf8PathBuf>,
    /// URL of the bundle, http:, https: or file: [default: the vendor's]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Checksum of the bundle: 64 hexadecimal digits, or a checksum file
    #[arg(long, value_name = "HEX|FILE", conflicts_with = "checksum_url")]
    pub(crate) checksum: Option<String>,
    /// URL of the bundle's checksum, http:, https: or file: [default: the vendor's]
    #[arg(long, value_name = "URL")]
    pub(crate) checksum_url: Option<String>,
    /// Where mkectl is, instead of the vendor's URL for this release; {system} and {machine} stand for linux and x86_64
    #[arg(long, value_name = "URL")]
    pub(crate) mkectl_url: Option<String>,
    /// The bundle's architecture, as in its file name [default: amd64]
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Replace a committed lock that differs
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
    /// An environment, or a locked release (v4.1.5)
    #[arg(value_name = "ENVIRONMENT|RELEASE")]
    pub(crate) what: String,
    /// Compare the bundle with its lock; download and write nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// Bundle to check, if it is not in bundles/
    #[arg(long, value_name = "FILE", requires = "check")]
    pub(crate) bundle: Option<Utf8PathBuf>,
    /// Download mkectl for this platform, such as linux-x86_64; repeatable [default: this machine's]
    #[arg(long, value_name = "PLATFORM", conflicts_with = "check")]
    pub(crate) platform: Vec<String>,
}

impl Cli {
    /// Returns the environments whose folders this command may write to, or `None` if it writes nothing to the workspace.
    pub(crate) fn writes(&self) -> Option<Vec<&str>> {
        match &self.command {
            Command::List
            | Command::Show { .. }
            | Command::Inspect { .. }
            | Command::Diff(_)
            | Command::Releases { .. }
            | Command::Check { .. }
            | Command::Ci { .. } => None,
            Command::Fetch(arguments) if arguments.check => None,
            Command::Push(arguments) => {
                Some(arguments.environments.iter().map(String::as_str).collect())
            }
            Command::Promote(arguments) => Some(vec![arguments.to.as_str()]),
            Command::Deploy { environment, .. }
            | Command::Apply { environment, .. }
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

    /// Says whether secrets may stand in the process list.
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

/// Parses the command line.
///
/// # Errors
/// With the exit code, after the help or the complaint was printed. clap's own code for a wrong command line is 2,
/// which here means that something differs.
pub(crate) fn parse(tasks: &[&dyn Task]) -> Result<Typed, ExitCode> {
    typed(tasks).map_err(|mut error| {
        let is_dry_run = matches!(
            error.get(ContextKind::InvalidArg),
            Some(ContextValue::String(argument)) if argument == "--dry-run"
        );
        if is_dry_run {
            let way = instead_of_dry_run(std::env::args_os());
            error.insert(
                ContextKind::Suggested,
                ContextValue::StyledStrs(vec![way.into()]),
            );
        }
        let code = if error.use_stderr() {
            crate::failure::USAGE
        } else {
            0
        };
        let text = error.render();
        if redaction::has_hidden_characters(&text.to_string()) {
            // An argument has them. It is shown without colours, of which it may have some of its own.
            crate::ui::edge::err(&redaction::escape_lines(&text.to_string()));
        } else {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
        }
        if code == crate::failure::USAGE && wants_json(std::env::args_os()) {
            let message = error.to_string();
            crate::ui::wrong_command_line(message.trim_start_matches("error: ").trim_end(), code);
        }
        ExitCode::from(code)
    })
}

fn typed(tasks: &[&dyn Task]) -> Result<Typed, clap::Error> {
    let mut command = Cli::command();
    if !tasks.is_empty() {
        let mut listed = "Of this team\n".to_owned();
        for task in tasks.iter().map(|task| task.command()) {
            let about = task.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            listed.push_str(&format!("  {:<9}  {about}\n", task.get_name()));
            command = command.subcommand(task);
        }
        command = command.help_template(HELP.replace("Options:", &format!("{listed}\nOptions:")));
    }
    let matches = command.clone().try_get_matches()?;
    if let Some((name, arguments)) = matches.subcommand() {
        let named = |task: &&dyn Task| task.command().get_name() == name;
        if let Some(index) = tasks.iter().position(named) {
            let common = CommonArgs::from_arg_matches(&matches)?;
            return Ok(Typed::Team(common, index, arguments.clone()));
        }
    }
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => Ok(Typed::Ours(Box::new(cli))),
        Err(error) => Err(error.format(&mut command)),
    }
}

/// Returns how a command without `--dry-run` shows what it would do.
fn instead_of_dry_run(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> &'static str {
    let mut named = |command: &str| arguments.any(|argument| argument == command);
    if named("render") {
        "`cargo xtask render --check` shows what would change, and writes nothing"
    } else {
        "`cargo xtask plan ENVIRONMENT` shows what `deploy`, `push` and `apply` would do"
    }
}

/// Says whether a command line that cannot be understood asks for JSON: a machine that reads on waits for the last object.
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

    #[test]
    fn help_names_every_command_once_and_no_other() {
        let listed: Vec<&str> = HELP
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
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
