//! Decides the message, the hints and the exit code of each failure.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

use camino::{Utf8Path, Utf8PathBuf};
use release::cluster::consent::Refused;
use release::transfer::{connect, push};
use release::{Error, Kind};

mod cluster;
mod fetch;
mod pack;
mod plan;
mod registry_error;
pub(crate) mod set;
mod transfer;
pub(crate) mod unpack;
mod verify;
mod workspace;

/// Exit code if something differs: `plan --detailed-exitcode`, `diff --detailed-exitcode`,
/// `render --check`.
pub(crate) const DIFFERS: u8 = 2;
/// Exit code for an invalid file of the workspace.
pub(crate) const WRONG: u8 = 3;
/// Exit code for an invalid command line.
pub(crate) const USAGE: u8 = 64;
/// Exit code after a signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// Returns the exit code of a kind of failure. `--help` and docs/troubleshooting.md promise the
/// numbers.
pub(crate) fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Machine => 1,
        Kind::Outdated => DIFFERS,
        Kind::Workspace => WRONG,
        Kind::Content => 4,
        Kind::Registry => 5,
        Kind::Mkectl => 6,
        Kind::MkectlFailed => 7,
        Kind::NotAllowed => 8,
        Kind::Partial => 9,
        Kind::Usage => USAGE,
        Kind::Interrupted => INTERRUPTED,
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Release(#[from] Error),
    #[error("{environment} was not confirmed: {why}")]
    Declined {
        environment: String,
        why: Refused,
        /// Whether the command has the option `--yes`.
        has_yes: bool,
    },
    #[error(
        "{environment} was not confirmed: `--confirm` has `{given}`, but expected `{environment}`"
    )]
    WrongName { environment: String, given: String },
    #[error("the plan for {0} was not approved; nothing was changed")]
    NotApproved(String),
    #[error("the plan for {0} requires approval, but this run has no terminal")]
    NoApproval(String),
    #[error("AIRLOCK_LOG is `{0}`, which is not a level or a list of targets with levels")]
    Log(String),
    #[error("no workspace found: `{0}` and its parents have no folder environments/")]
    NoWorkspace(Utf8PathBuf),
    #[error("the path of the current folder is not UTF-8: `{0}`")]
    NotUtf8(String),
    #[error("`{0}` is not a workspace: it has no folder environments/")]
    NotAWorkspace(Utf8PathBuf),
    #[error("the folder `{0}`, named by `-C`, does not exist")]
    NoFolder(Utf8PathBuf),
    #[error("cannot find the path of this program")]
    NoExecutable,
    #[error("a question was not answered")]
    Questions(#[from] dialoguer::Error),
    #[error("cannot make the report")]
    Report(#[source] minijinja::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot start threads: a limit on processes or memory is reached")]
    Threads(#[source] std::io::Error),
    #[error("this machine's clock is outside of the years 1970 to 9999")]
    Clock,
    #[error("`{0}` is not a release; expected a version such as v4.1.5")]
    NotARelease(String),
    #[error("`{name}` is an environment with {release}; name the release")]
    IsEnvironment { name: String, release: String },
    #[error("`{0}` is a set; name an environment that lists it")]
    IsSet(String),
    #[error("release {0} is neither known to Airlock nor locked")]
    UnknownRelease(String),
    #[error("the name `demo` is reserved for the demo, which reaches no cluster")]
    NameOfDemo,
    #[error("`{0}` is the name of a set; an environment needs a different one")]
    NameOfSet(String),
    #[error("`{option}` is for sets, and `{release}` is not a set")]
    OptionOfSets {
        option: &'static str,
        release: String,
    },
    #[error("`{option}` is for bundles, and `{set}` is a set")]
    OptionOfBundles {
        option: &'static str,
        set: String,
        /// An environment that lists the set: the option can be used with it.
        environment: Option<String>,
    },
    #[error("`{0}` is neither an environment, a locked release nor a set")]
    NeitherEnvironmentNorRelease(String),
    #[error("`{0}` is neither a release, a set nor a bundle's file")]
    NeitherReleaseNorFile(String),
    #[error(
        "`{old}` and `{new}` cannot be compared: name two environments, two releases or two sets"
    )]
    Kinds { old: String, new: String },
    #[error("`{option}` is for {of}, and `{name}` is not one")]
    DiffOption {
        option: &'static str,
        of: &'static str,
        name: String,
    },
    #[error("`--until {0}` is in the past")]
    PastUntil(jiff::civil::DateTime),
    #[error("`--chart` is for `--as helm`")]
    ChartWithoutHelm,
    #[error("name a second release to compare {0} with")]
    OneRelease(String),
    #[error("{} of {total} environments {} wrong", wrong.len(), if wrong.len() == 1 { "is" } else { "are" })]
    Wrong {
        wrong: Vec<(String, Error)>,
        total: usize,
    },
    #[error("`{0}` already exists")]
    Exists(Utf8PathBuf),
    #[error("cannot {doing} `{path}`")]
    Io {
        doing: &'static str,
        path: Utf8PathBuf,
        source: std::io::Error,
    },
    #[error("step `{step}` failed")]
    CiStep {
        step: &'static str,
        source: xshell::Error,
    },
    #[error("task `{task}` failed")]
    Team {
        task: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("a medium is not written to a terminal")]
    StreamToTerminal,
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    #[error(transparent)]
    Interrupted(Box<Failure>),
    #[error("interrupted")]
    Signalled,
    #[error("{} of {total} environments failed", failed.len())]
    Several {
        failed: Vec<(String, Failure)>,
        total: usize,
    },
}

impl Failure {
    pub(crate) fn io(doing: &'static str, path: &Utf8Path, source: std::io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// Returns `Ok` if no environment failed, and the failure itself if there was only one
    /// environment.
    ///
    /// # Errors
    /// [`Failure::Several`] if some of several environments failed.
    pub(crate) fn of_several(mut failed: Vec<(String, Self)>, total: usize) -> Result<(), Self> {
        match (failed.len(), total) {
            (0, _) => Ok(()),
            (1, 1) => failed.pop().map_or(Ok(()), |(_, failure)| Err(failure)),
            _ => Err(Self::Several { failed, total }),
        }
    }

    /// Returns whether every failure is a push that was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        match self {
            Self::Release(
                Error::Push(push::Error::Stopped { .. })
                | Error::Connect(connect::Error::Registry {
                    source: release::RegistryError::Stopped,
                    ..
                }),
            ) => true,
            Self::Several { failed, .. } => failed.iter().all(|(_, failure)| failure.is_stopped()),
            _ => false,
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        code(self.kind())
    }

    /// Returns the failure as JSON.
    pub(crate) fn value(&self) -> serde_json::Value {
        serde_json::json!({ "error": crate::ui::json::described(self, self.exit_code()) })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Release(error) => error.kind(),
            Self::NotARelease(_)
            | Self::IsEnvironment { .. }
            | Self::IsSet(_)
            | Self::NameOfDemo
            | Self::NameOfSet(_)
            | Self::Log(_)
            | Self::OptionOfSets { .. }
            | Self::OptionOfBundles { .. }
            | Self::Kinds { .. }
            | Self::DiffOption { .. }
            | Self::PastUntil(_)
            | Self::ChartWithoutHelm
            | Self::StreamToTerminal
            | Self::OneRelease(_) => Kind::Usage,
            Self::Declined { .. }
            | Self::WrongName { .. }
            | Self::NotApproved(_)
            | Self::NoApproval(_) => Kind::NotAllowed,
            Self::Exists(_)
            | Self::NeitherEnvironmentNorRelease(_)
            | Self::NeitherReleaseNorFile(_)
            | Self::UnknownRelease(_)
            | Self::NoWorkspace(_)
            | Self::NotUtf8(_)
            | Self::NotAWorkspace(_)
            | Self::NoFolder(_)
            | Self::Wrong { .. } => Kind::Workspace,
            Self::Interrupted(_) | Self::Signalled => Kind::Interrupted,
            Self::Several { failed, total } if failed.len() < *total => Kind::Partial,
            Self::Several { failed, .. } => {
                let kinds: BTreeSet<Kind> = failed.iter().map(|(_, one)| one.kind()).collect();
                match kinds.first() {
                    Some(kind) if kinds.len() == 1 => *kind,
                    _ => Kind::Machine,
                }
            }
            Self::NoExecutable
            | Self::Runtime(_)
            | Self::Threads(_)
            | Self::Clock
            | Self::Io { .. }
            | Self::CiStep { .. }
            | Self::Team { .. }
            | Self::Output(_)
            | Self::Questions(_)
            | Self::Report(_) => Kind::Machine,
        }
    }

    /// Returns the hints, one line each.
    pub(crate) fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Release(error) => return hints(error),
            Self::Interrupted(failure) => return failure.hints(),
            Self::Wrong { wrong, .. } => {
                return without_repeats(wrong.iter().flat_map(|(_, one)| hints(one)).collect());
            }
            Self::Several { failed, .. } => {
                return without_repeats(failed.iter().flat_map(|(_, one)| one.hints()).collect());
            }
            Self::Signalled => "run the command again to resume".to_owned(),
            Self::WrongName { environment, .. } => format!("use `--confirm {environment}`"),
            Self::Declined { environment, .. } if std::io::stdin().is_terminal() => {
                format!("run it again and type `{environment}`")
            }
            Self::Declined {
                environment,
                has_yes,
                ..
            } => format!(
                "add `--confirm {environment}` for runs without a terminal{}",
                match has_yes {
                    true => "; `--yes` alone does not confirm",
                    false => "",
                }
            ),
            Self::NoApproval(_) => {
                "review the plan and add `--yes`; or save it with `plan --out FILE`, and run `deploy --plan FILE`".to_owned()
            }
            Self::Log(_) => {
                "set it to `debug` or `trace`, or to a list such as `registry=trace,bundle=debug`".to_owned()
            }
            Self::NoWorkspace(_) => {
                "change to the workspace folder, or name it with `-C DIR`".to_owned()
            }
            Self::NotUtf8(_) => {
                "rename the folder, or move the workspace to a path in UTF-8".to_owned()
            }
            Self::NotAWorkspace(_) => "name the workspace folder itself with `-C DIR`".to_owned(),
            Self::UnknownRelease(release) => format!(
                "`cargo xtask releases` lists the known releases; to use a different one, lock it first: `cargo xtask lock {release}`"
            ),
            Self::NameOfDemo | Self::NameOfSet(_) => "choose a different name".to_owned(),
            Self::NoFolder(_) => "correct the path after `-C`".to_owned(),
            Self::NeitherReleaseNorFile(_) => {
                "name a release such as v4.1.5; `cargo xtask list` shows environments with their releases, and what is locked".to_owned()
            }
            Self::NotARelease(text) => match workspace::meant(&format!("{text}/")) {
                Some(meant) if meant.starts_with('v') && meant != *text => {
                    format!("did you mean `{meant}`?")
                }
                _ => "`cargo xtask list` shows environments with their releases".to_owned(),
            },
            Self::Exists(path) if path.ends_with("environment.yaml") => {
                format!("edit `{path}`, or choose a different name")
            }
            Self::Exists(_) => "name a different file, or move this one away".to_owned(),
            Self::OneRelease(release) => format!(
                "`cargo xtask diff {release} OTHER` compares two; with `--since REVISION` its lock is compared with a committed one; `cargo xtask releases {release}` shows the facts of one"
            ),
            Self::CiStep { step, .. } => {
                format!("run `cargo xtask ci {step}` to repeat this step alone")
            }
            Self::NeitherEnvironmentNorRelease(_) => {
                "`cargo xtask list` shows all of them".to_owned()
            }
            Self::OptionOfSets {
                option: "--check",
                release,
            } => format!("compare its bundle: `cargo xtask fetch {release} --check`"),
            Self::OptionOfBundles {
                environment: Some(name),
                ..
            } => format!(
                "compare what the environment {name} has of it: `cargo xtask fetch {name} --check`"
            ),
            Self::StreamToTerminal => {
                "redirect standard output, or name a folder with `--out DIR`".to_owned()
            }
            _ => return Vec::new(),
        };
        vec![hint]
    }
}

/// Sorts hints and removes repeated ones.
fn without_repeats(mut hints: Vec<String>) -> Vec<String> {
    hints.sort();
    hints.dedup();
    hints
}

/// Returns the hints for an error, one line each.
pub(crate) fn hints(error: &Error) -> Vec<String> {
    match error {
        Error::Environment(error) => workspace::environment(error),
        Error::InvalidLock(error) => workspace::invalid_lock(error),
        Error::Workspace(error) => workspace::workspace(error),
        Error::Disk(error) => workspace::disk(error),
        Error::Link(error) => workspace::link(error),
        Error::Receipt(error) => workspace::receipt(error),
        Error::EnvironmentInUse(_) => vec![WAIT.to_owned()],
        Error::SharedState(conflict) => plan::conflict(conflict, "add `--take-over`"),
        Error::Plan(error) => plan::plan(error),
        Error::Promote(error) => plan::promote(error),
        Error::Snapshot(error) => plan::snapshot(error),
        Error::Requires(error) => plan::requires(error),
        Error::Lock(error) => transfer::lock(error),
        Error::Set(error) => set::hints(error),
        Error::Helm(error) => set::hints_of_chart(error),
        Error::Learn(error) => transfer::learn(error),
        Error::Fetch(error) => fetch::hints(error),
        Error::StoreGarbage(error) => transfer::store(error),
        Error::NotReady(error) => transfer::not_ready(error),
        Error::Connect(error) => transfer::connect(error),
        Error::Push(error) => transfer::push(error),
        Error::Pack(error) => pack::hints(error),
        Error::Unpack(error) => unpack::hints(error),
        Error::Verify(error) => verify::verify(error),
        Error::Prune(error) => verify::prune(error),
        Error::Mkectl(error) => cluster::mkectl(error),
        Error::Program(error) => cluster::program(error),
        Error::Run(error) => cluster::run(error),
        Error::RunNote(note) => cluster::invalid_run_note(note),
        Error::Existing(error) => cluster::existing(error),
        Error::Upgrade(error) => cluster::upgrade(error),
        Error::Migrate(error) => cluster::migrate(error),
        Error::Kubeconfig(error) => cluster::kubeconfig(error),
        Error::Consent(error) => cluster::consent(error),
        Error::Cluster(error) => cluster::cluster(error),
        Error::Rehearse(error) => cluster::rehearse(error),
        _ => Vec::new(),
    }
}

/// The hint if another command changes an environment.
const WAIT: &str = "wait until that command ends, then run this one again";
