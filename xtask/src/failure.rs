//! The message, the hints and the exit code of each failure. Libraries describe; this decides.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

use camino::{Utf8Path, Utf8PathBuf};
use indicatif::DecimalBytes;
use release::cluster::{BackupError, BackupFailure};
use release::cluster::{consent, existing, migrate, run, upgrade};
use release::config::promote;
use release::event::Step;
use release::kubeconfig::NamedBy;
use release::plan::snapshot;
use release::preflight::RegistryFault;
use release::shared_state::Conflict;
use release::transfer::{connect, fetch, learn, lock, program, push, store};
use release::{
    ArchiveError, Error, Kind, LockError, MkectlError, NotReady, ReadError, StoreError, cluster,
    disk, kubeconfig, plan, prune, receipt, rehearse, requires, verify, workspace,
};

use semver::Version;

use crate::advice::here;

mod pack;
mod registry_error;
pub(crate) mod set;
pub(crate) mod unpack;

/// Something differs: `plan --detailed-exitcode`, `diff --detailed-exitcode`, `render --check`.
pub(crate) const DIFFERS: u8 = 2;
/// A file of the workspace is wrong.
pub(crate) const WRONG: u8 = 3;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// A signal ended it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Returns the exit code of a kind of failure. The numbers are promised in the README and in `--help`.
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
        why: String,
        /// Whether `--confirm` was given.
        has_flag: bool,
        /// Whether the command has `--yes`.
        has_yes: bool,
    },
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
        /// An environment with the set, which takes the option.
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

    /// Returns what came of several environments, of which these failed.
    pub(crate) fn of_several(mut failed: Vec<(String, Self)>, total: usize) -> Result<(), Self> {
        match (failed.len(), total) {
            (0, _) => Ok(()),
            (1, 1) => failed.pop().map_or(Ok(()), |(_, failure)| Err(failure)),
            _ => Err(Self::Several { failed, total }),
        }
    }

    /// Returns whether everything that failed did so because it was asked to stop.
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

    /// Returns the exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        code(self.kind())
    }

    /// Returns what machines are told of it.
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
            Self::Declined { .. } | Self::NotApproved(_) | Self::NoApproval(_) => Kind::NotAllowed,
            Self::Exists(_)
            | Self::NeitherEnvironmentNorRelease(_)
            | Self::NeitherReleaseNorFile(_)
            | Self::UnknownRelease(_)
            | Self::NoWorkspace(_)
            | Self::NotUtf8(_)
            | Self::NotAWorkspace(_)
            | Self::NoFolder(_)
            | Self::Wrong { .. } => Kind::Workspace,
            Self::Interrupted(_) => Kind::Interrupted,
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

    /// Returns what can be done about it, a line each.
    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::Release(error) => hints(error),
            Self::Interrupted(failure) => failure.hints(),
            Self::Wrong { wrong, .. } => {
                let mut hints: Vec<String> = wrong.iter().flat_map(|(_, one)| hints(one)).collect();
                hints.sort();
                hints.dedup();
                hints
            }
            Self::Several { failed, .. } => {
                let mut hints: Vec<String> =
                    failed.iter().flat_map(|(_, one)| one.hints()).collect();
                hints.sort();
                hints.dedup();
                hints
            }
            Self::Declined {
                environment,
                has_flag: true,
                ..
            } => vec![format!("use `--confirm {environment}`")],
            Self::Declined { environment, .. } if std::io::stdin().is_terminal() => {
                vec![format!("run it again and type `{environment}`")]
            }
            Self::Declined {
                environment,
                has_yes,
                ..
            } => {
                let yes = match has_yes {
                    true => "; `--yes` alone does not confirm",
                    false => "",
                };
                vec![format!(
                    "add `--confirm {environment}` for runs without a terminal{yes}"
                )]
            }
            Self::NoApproval(_) => {
                vec![
                    "review the plan and add `--yes`; or save it with `plan --out FILE`, and run `deploy --plan FILE`"
                        .to_owned(),
                ]
            }
            Self::Log(_) => {
                vec![
                    "set it to `debug` or `trace`, or to a list such as `registry=trace,bundle=debug`"
                        .to_owned(),
                ]
            }
            Self::NoWorkspace(_) => {
                vec!["change to the workspace folder, or name it with `-C DIR`".to_owned()]
            }
            Self::NotUtf8(_) => {
                vec!["rename the folder, or move the workspace to a path in UTF-8".to_owned()]
            }
            Self::NotAWorkspace(_) => {
                vec!["name the workspace folder itself with `-C DIR`".to_owned()]
            }
            Self::UnknownRelease(release) => vec![format!(
                "`cargo xtask releases` lists the known releases; to use a different one, lock it first: `cargo xtask lock {release}`"
            )],
            Self::NameOfDemo | Self::NameOfSet(_) => {
                vec!["choose a different name".to_owned()]
            }
            Self::NoFolder(_) => vec!["correct the path after `-C`".to_owned()],
            Self::NeitherReleaseNorFile(_) => {
                vec![
                    "name a release such as v4.1.5; `cargo xtask list` shows environments with their releases, and what is locked"
                        .to_owned(),
                ]
            }
            Self::NotARelease(text) => match meant(&format!("{text}/")) {
                Some(meant) if meant.starts_with('v') && meant != *text => {
                    vec![format!("did you mean `{meant}`?")]
                }
                _ => vec!["`cargo xtask list` shows environments with their releases".to_owned()],
            },
            Self::Exists(path) if path.ends_with("environment.yaml") => {
                vec![format!("edit `{path}`, or choose a different name")]
            }
            Self::Exists(_) => vec!["name a different file, or move this one away".to_owned()],
            Self::OneRelease(release) => {
                vec![format!(
                    "`cargo xtask diff {release} OTHER` compares two; with `--since REVISION` its lock is compared with a committed one; `cargo xtask releases {release}` shows the facts of one"
                )]
            }
            Self::CiStep { step, .. } => {
                vec![format!(
                    "run `cargo xtask ci {step}` to repeat this step alone"
                )]
            }
            Self::NeitherEnvironmentNorRelease(_) => {
                vec!["`cargo xtask list` shows all of them".to_owned()]
            }
            Self::OptionOfSets {
                option: "--check",
                release,
            } => {
                vec![format!(
                    "compare its bundle: `cargo xtask fetch {release} --check`"
                )]
            }
            Self::OptionOfBundles {
                environment: Some(name),
                ..
            } => vec![format!(
                "compare what the environment {name} has of it: `cargo xtask fetch {name} --check`"
            )],
            Self::StreamToTerminal => {
                vec!["redirect standard output, or name a folder with `--out DIR`".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// What to do about a cluster that does not answer.
const CLUSTER_IS_UP: &str = "check that the cluster is up, and that `kubeconfig:` in environment.yaml, KUBECONFIG, or otherwise \
                             ~/.mke/mke.kubeconf leads to it";

/// Returns what can be done about an error, a line each.
pub(crate) fn hints(error: &Error) -> Vec<String> {
    let hint = match error {
        Error::Environment(environment::Error::Unknown { nearest: Some(nearest), .. }) => {
            format!("did you mean `{nearest}`? `cargo xtask list` shows them all")
        }
        Error::Environment(environment::Error::Unknown { .. }) => {
            "`cargo xtask list` shows the environments; `cargo xtask new NAME` creates one".to_owned()
        }
        Error::Environment(environment::Error::Name { name, .. }) => match meant(name) {
            Some(_) if name.strip_prefix('v').is_some_and(|version| Version::parse(version).is_ok()) => {
                "this is a release; `cargo xtask list` shows the environments with their releases".to_owned()
            }
            Some(meant) => format!("did you mean `{meant}`?"),
            None => return Vec::new(),
        },
        Error::SharedState(conflict) => return conflict_hints(conflict, "add `--take-over`"),
        Error::UnderWay(note) => {
            let logs = note.path.parent().unwrap_or(Utf8Path::new("."));
            let environment = logs.parent().and_then(Utf8Path::file_name).unwrap_or_default();
            return vec![
                format!(
                    "check with `pgrep -a mkectl` that none is running, read the newest log in {logs}, then delete {}",
                    note.path
                ),
                format!("then run mkectl again: `cargo xtask apply {environment}`"),
            ];
        }
        Error::Plan(plan::Error::Outdated(_)) => "run it again: it computes a new plan".to_owned(),
        Error::Unpack(error) => return unpack::hints(error),
        Error::Set(error) => return set::hints(error),
        Error::Helm(error) => return set::hints_of_chart(error),
        Error::InvalidLock(LockError::Contradiction { path, .. } | LockError::Syntax { path, .. }) => {
            let name = path.file_name().unwrap_or_default();
            let name = name.strip_suffix(".lock.yaml").unwrap_or(name);
            let release = name.rsplit_once('-').map(|(release, _)| release);
            let release = release.filter(|one| one.starts_with('v') && Version::parse(&one[1..]).is_ok());
            format!(
                "restore it: `git checkout -- {path}`; or delete it and run `cargo xtask lock {}`",
                release.unwrap_or(name)
            )
        }
        Error::NotReady(NotReady::Unwritable { .. }) => "make it writable; nothing was sent".to_owned(),
        Error::NotReady(NotReady::NoRoom { .. }) => {
            "free some space; `cargo xtask store gc` removes what no lock names".to_owned()
        }
        Error::EnvironmentInUse(_) => WAIT.to_owned(),
        Error::Workspace(workspace::Error::NotLocked { nearest: Some(nearest), .. }) => {
            format!("did you mean `{nearest}`?")
        }
        Error::Workspace(workspace::Error::NotLocked { release, .. }) => {
            release::locked::how_to_lock(release)
        }
        Error::Workspace(workspace::Error::NoFolder { .. }) => {
            "create the folder, or name a different file".to_owned()
        }
        Error::Workspace(workspace::Error::Defaults { release, .. }) => format!(
            "restore the committed file, or lock again on a machine that has mkectl {release}: `cargo xtask lock {release} --replace`"
        ),
        Error::Workspace(workspace::Error::NoDefaults { path, release }) => format!(
            "commit it where the release was locked: `git add {path}`; or put mkectl {release} on PATH and run `cargo xtask fetch {release}`, which \
             writes it"
        ),
        Error::Workspace(workspace::Error::NotRegular { kind, .. }) => match kind.option() {
            Some(option) => {
                format!("name a regular file; without `{option}`, the result goes to standard output")
            }
            None => "name a regular file".to_owned(),
        },
        Error::Workspace(workspace::Error::Committed { instead, .. }) => {
            format!("name a file outside of the repository, or {instead}, which .gitignore lists")
        }
        Error::Workspace(
            workspace::Error::DifferentKind { .. } | workspace::Error::Reserved { .. },
        ) => "name a different file".to_owned(),
        Error::Lock(lock::Error::WrongRelease { .. }) => {
            "lock it as the release that it contains; to insist on this one, add `--force-release`".to_owned()
        }
        Error::Lock(lock::Error::Differs { difference: lock::Difference::BesideBundle, .. }) => {
            "check the URL and the mkectl on PATH; `--diff` shows all lines, `--replace` writes the new lock".to_owned()
        }
        Error::Lock(lock::Error::Differs { difference: lock::Difference::Registry, .. }) => {
            "`--diff` shows all lines, `--replace` writes the new lock; review it before you commit it".to_owned()
        }
        Error::Lock(lock::Error::Differs { .. }) => {
            "keep the committed lock, which was reviewed, unless the vendor confirms that the bundle was replaced; `--diff` shows all lines, `--replace` writes the new lock".to_owned()
        }
        Error::Link(link) => format!(
            "move {} away; to keep data on another disk, only bundles/, bundles/store/, environments/ and an environment's folder may be \
             symbolic links",
            link.path
        ),
        Error::Disk(disk::Error::Full(full)) => format!(
            "free space on {} and run the command again: it resumes; `cargo xtask store gc` removes blobs that no lock names",
            full.mount
        ),
        Error::Pack(error) => return pack::hints(error),
        Error::Fetch(fetch::Error::Offline { what, .. })
            if !what.starts_with("bundles") && !what.as_str().contains(' ') =>
        {
            "run it on a machine with internet, without `--offline` and AIRLOCK_OFFLINE".to_owned()
        }
        Error::Fetch(fetch::Error::Offline { what, .. }) => missing(what),
        Error::Fetch(fetch::Error::NoBundle { path }) => missing(path),
        Error::Fetch(fetch::Error::Nowhere { environment, .. } | fetch::Error::NoMatrix { environment, .. }) => {
            return crate::advice::to_be_carried(environment);
        }
        Error::Fetch(fetch::Error::NoPlatform { known, .. }) => match known.first() {
            Some(known) => format!("name a platform of the lock, such as `--platform {known}`"),
            None => return Vec::new(),
        },
        Error::Lock(lock::Error::VendorChecksum { path, .. }) => {
            let what = here("download", "copy");
            format!("replace {path} by a new {what}; if the checksum still differs, ask the vendor")
        }
        Error::Lock(lock::Error::NotSha256 { .. }) => {
            "copy all 64 digits of the checksum, or name a checksum file with `--checksum FILE`".to_owned()
        }
        Error::Lock(lock::Error::Checksum { .. }) => {
            "no lock was written: check the checksum's file or URL, or compare the bundle by other means and lock it with `--bundle FILE`"
                .to_owned()
        }
        Error::Fetch(fetch::Error::Download { source, path, .. }) => return download_hints(source, path),
        Error::Disk(disk::Error::BundleSize { path, .. }) => replace(path),
        Error::Workspace(workspace::Error::Observations { path, .. }) => {
            format!("edit {path}, or delete it and run `cargo xtask learn` again")
        }
        Error::Learn(learn::Error::Nothing { release, .. }) => {
            format!("name them: `cargo xtask learn {release} --bundle FILE --mkectl FILE`; one of the two is enough")
        }
        Error::Learn(learn::Error::NoArchives { .. }) => {
            "name a bundle of the vendor's: a gzip'd tar with one OCI archive for each image and chart".to_owned()
        }
        Error::Learn(learn::Error::OtherBundle { .. }) => {
            "name the release that the bundle contains; to insist on this one, add `--force-release`".to_owned()
        }
        Error::Learn(learn::Error::OtherMkectl { .. }) => {
            "name the mkectl of the release that you want to learn".to_owned()
        }
        Error::Disk(disk::Error::Bundle {
            source: ReadError::Name { .. } | ReadError::Archive { source: ArchiveError::Roots { .. } | ArchiveError::NoLayout { .. }, .. },
            path,
            release,
        }) => format!(
            "run `cargo xtask learn {} --bundle {path}`: it records how such archives are read, and `lock` follows it",
            release.as_deref().unwrap_or("RELEASE")
        ),
        Error::Disk(disk::Error::Bundle { path, .. }) if path.starts_with("bundles") => {
            replace(path)
        }
        Error::Disk(disk::Error::Bundle { path, .. }) => {
            let again = here("download or copy", "copy");
            format!("check that {path} is the complete and unchanged bundle of the vendor; {again} it again")
        }
        Error::Disk(disk::Error::Store { source: StoreError::Corrupt { path, .. }, .. }) => {
            let restore = here("run `cargo xtask fetch`, which restores it", "unpack its medium again");
            format!("delete {path}, then {restore}")
        }
        Error::Disk(disk::Error::Store { source: StoreError::InUse { .. }, .. }) => {
            "run it again after the other command ends".to_owned()
        }
        Error::Disk(disk::Error::StoreLost { .. }) => "run it again: the missing blob is looked for again".to_owned(),
        Error::Connect(connect::Error::Registry { source, .. }) => return registry_error::hints(source),
        Error::Connect(connect::Error::NotAnonymous { .. }) => crate::advice::registry(RegistryFault::NotAnonymous).to_owned(),
        Error::Push(push::Error::Failed { failed, .. }) => {
            let mut hints: Vec<String> = failed.iter().flat_map(|(_, source)| registry_error::hints(source)).collect();
            hints.sort();
            hints.dedup();
            let again = match failed.iter().all(|(_, source)| registry_error::is_final(source)) {
                true => "then run it again",
                false => "run it again",
            };
            hints.push(format!("{again}: pushed artifacts stay, and the next run resumes"));
            return hints;
        }
        Error::Push(push::Error::Stopped { sent, .. }) => format!(
            "run it again to resume: the {} that were sent are not sent again",
            DecimalBytes(sent.uploaded_bytes)
        ),
        Error::Verify(verify::Error::NotConfirmed { environment, findings, .. }) if findings.iter().any(|finding| finding.kind.is_damage()) => {
            return damage(environment);
        }
        Error::Verify(verify::Error::NotConfirmed { environment, findings, .. }) if release::verify::is_below_right_tags(findings) => format!(
            "the registry lost blobs of existing tags, and a push trusts tags: \
             `cargo xtask verify {environment} --repair` restores them"
        ),
        Error::Verify(verify::Error::NotConfirmed { environment, .. }) => format!(
            "`cargo xtask push {environment}` pushes missing and different tags; `cargo xtask verify {environment} --repair` restores what is below tags too"
        ),
        Error::Verify(verify::Error::NotRepaired { environment, .. }) => return damage(environment),
        Error::Lock(lock::Error::Incomplete { release, .. }) => format!(
            "check that the bundle is complete and mkectl is that of {release}; push what is missing to the registry by other means, or \
             write `accept: [incomplete-lock]` if the cluster does not need it"
        ),
        Error::StoreGarbage(store::Error::GitRefused { source }) => pack::untrusted(source)
            .unwrap_or_else(|| "nothing was removed; make `git status` work in the workspace".to_owned()),
        Error::StoreGarbage(store::Error::LocksMissing { locks }) => {
            let locks = locks.join(" ");
            format!(
                "nothing was removed; to keep the blobs: `git restore {locks}`; to drop them: `git rm {locks}`, and commit"
            )
        }
        Error::Prune(prune::Error::LockUnknown { .. }) => "lock it, or restore its lock: without it the artifacts to keep are unknown".to_owned(),
        Error::Prune(prune::Error::RecordedLockUnknown { reference, release, .. }) => format!(
            "run `git pull`, or restore the lock of {release}: without it the artifacts to keep are unknown; if that cluster no longer exists, \
             remove {reference} with the registry's own tools"
        ),
        Error::Prune(prune::Error::SharedState(Conflict::Invalid { .. })) => {
            "remove it from the registry if Airlock did not write it".to_owned()
        }
        Error::Prune(prune::Error::SharedState(
            conflict @ (Conflict::Unfinished { environment, .. }
            | Conflict::InUse { environment, .. }
            | Conflict::Differs { environment, .. }
            | Conflict::Overtaken { environment }),
        )) => {
            let take_over = format!("run `cargo xtask deploy {environment} --take-over` first");
            return conflict_hints(conflict, &take_over);
        }
        Error::Prune(prune::Error::OtherEnvironment { path, planned, .. }) => {
            format!("`cargo xtask prune {planned} --plan {path}`, or name a plan of this environment")
        }
        Error::Prune(prune::Error::Refused { environment, path, .. }) => format!(
            "nothing was removed; compute and review a new plan: `cargo xtask prune {environment} --out {path}`"
        ),
        Error::Prune(prune::Error::RemovesNothing { .. }) => {
            "for registry:2, set REGISTRY_STORAGE_DELETE_ENABLED=true; for other registries, ask the administrator, or remove there what the plan names"
                .to_owned()
        }
        Error::Prune(prune::Error::NotRemoved { .. }) => "run it again with the same plan: what is gone is left out".to_owned(),
        Error::Verify(verify::Error::NoPulls { path, .. }) => format!(
            "write it again: `cargo xtask render {}`",
            path.parent().and_then(Utf8Path::file_name).unwrap_or("ENVIRONMENT")
        ),
        Error::Verify(verify::Error::PullsElsewhere { environment, .. }) => format!(
            "Airlock pushes only to the environment's own registry; if the file is outdated, `cargo xtask render {environment}` writes it again"
        ),
        Error::Lock(lock::Error::UrlWithCredentials { .. }) => {
            "download the bundle by other means, then give the file with `--bundle FILE` and the URL without credentials".to_owned()
        }
        Error::Rehearse(rehearse::Error::Registry { source: release::EmbeddedError::Directory { path, .. }, .. }) => {
            format!("make {path} a writable folder")
        }
        Error::Rehearse(rehearse::Error::Registry { .. }) => {
            rehearse::ADDRESS_IN_USE.to_owned()
        }
        Error::Receipt(receipt::Error::Version { .. }) => {
            "use the version of Airlock that wrote it, or a newer one".to_owned()
        }
        Error::Receipt(receipt::Error::File { .. }) => {
            "restore the committed file: it records what the cluster runs".to_owned()
        }
        Error::Plan(plan::Error::ReleaseChanged { refusal: Some(_), applied, wanted, .. }) => {
            format!("set `release` back to {applied}; `cargo xtask releases {wanted}` lists the releases that can be upgraded to it")
        }
        Error::Plan(plan::Error::ReleaseChanged { refusal: None, .. }) => {
            "run `cargo xtask deploy`, which upgrades the cluster".to_owned()
        }
        Error::Program(program::Error::NoOldMkectl { release }) => {
            let first = here(
                format!("`cargo xtask fetch {release}` downloads it if {release} is locked"),
                format!("copy `mkectl` and `mkectl.tar.gz` to {}/", program::folder(release)),
            );
            let new = here("fetched", "there");
            format!(
                "{first}; or put it on PATH, with the new one {new} or named in the environment: `mkectl: ./path/to/mkectl`"
            )
        }
        Error::Upgrade(upgrade::Error::NoReleaseMatrix { .. }) => {
            "take the vendor's release-matrix.json, unmodified, and name it in the environment: `release-matrix: ./release-matrix.json`"
                .to_owned()
        }
        Error::Kubeconfig(error) => kubeconfig_hint(error),
        Error::Existing(existing::Error::Contradiction { is_meant: false, .. }) => {
            "unset KUBECONFIG, or name the kubeconfig of this cluster as `kubeconfig:` in environment.yaml; without both mkectl uses \
             ~/.mke/mke.kubeconf"
                .to_owned()
        }
        Error::Existing(existing::Error::Contradiction { is_meant: true, .. }) => {
            "the cluster was changed without Airlock, or the receipt is outdated: find out which, and restore the correct receipt"
                .to_owned()
        }
        Error::Existing(existing::Error::Silent { .. }) => CLUSTER_IS_UP.to_owned(),
        Error::Plan(plan::Error::Moved { environment, path, .. }) => format!(
            "nothing was changed: compute a new plan with `cargo xtask plan {environment} --out {path}` and have it reviewed"
        ),
        Error::Plan(plan::Error::OtherEnvironment { path, planned, environment }) => {
            format!("`cargo xtask deploy {planned} --plan {path}`, or name a plan of {environment}")
        }
        Error::Plan(plan::Error::Applied { environment, .. }) => {
            format!("nothing is left to do; for further changes, make a new plan: `cargo xtask plan {environment} --out FILE`")
        }
        Error::Plan(plan::Error::Incomplete { source, .. }) => return hints(source),
        Error::Program(program::Error::Missing { release, is_locked, .. }) => {
            crate::advice::mkectl(release, Some(*is_locked))
        }
        Error::Snapshot(snapshot::Error::OtherRegistry { environment, .. }) => {
            format!("take a snapshot of this environment: `cargo xtask snapshot {environment} --out FILE`")
        }
        Error::Requires(requires::Error::Unmet { environment, requires, .. }) => format!(
            "`cargo xtask status {requires}` shows more; `cargo xtask deploy {environment} --override-requires REASON` ignores the requirement, and the receipt records the reason"
        ),
        Error::Promote(promote::Error::Refused { source, from, to }) if matches!(**source, release::config::promote::Refusal::Unproven(_)) => format!(
            "deploy to {from} first, then promote; to promote anyway: `cargo xtask promote {from} {to} --unproven`"
        ),
        Error::Promote(promote::Error::Refused { source, from, to }) if matches!(**source, release::config::promote::Refusal::Rehearsal(_)) => format!(
            "promote from an environment with a cluster; to promote anyway: `cargo xtask promote {from} {to} --unproven`"
        ),
        Error::Connect(connect::Error::Credentials { .. }) => crate::advice::CREDENTIALS.to_owned(),
        Error::Mkectl(MkectlError::Missing { .. }) => {
            "correct the path after `mkectl:` in environment.yaml, or remove the key to use a downloaded mkectl".to_owned()
        }
        Error::Mkectl(MkectlError::NotFound { .. }) => {
            "install the release's mkectl on PATH, or name it in the environment: `mkectl: ./path/to/mkectl`".to_owned()
        }
        Error::Mkectl(MkectlError::Limit { .. }) => {
            "raise the limits of this shell or container: `ulimit -u`, `ulimit -n`, pids.max".to_owned()
        }
        Error::Mkectl(MkectlError::NotExecutable { path }) => format!("chmod +x {path}"),
        Error::Mkectl(MkectlError::WrongPlatform { .. }) => {
            "use the mkectl build for this operating system and processor".to_owned()
        }
        Error::Mkectl(MkectlError::Failed { output, .. }) if output.to_ascii_lowercase().contains("kubeconfig") => {
            "set `kubeconfig` in environment.yaml, or KUBECONFIG".to_owned()
        }
        Error::Mkectl(MkectlError::Failed { command, .. } | MkectlError::TimedOut { command, .. }) if command.contains(" config get") => {
            CLUSTER_IS_UP.to_owned()
        }
        Error::Mkectl(MkectlError::NoVersion { .. } | MkectlError::Failed { .. } | MkectlError::TimedOut { .. }) => {
            "check that this is the mkectl of MKE 4; name a different one in the environment: `mkectl: ./path/to/mkectl`"
                .to_owned()
        }
        Error::Program(program::Error::Version { wanted, .. }) => format!("install mkectl {wanted}: each mkectl serves one release"),
        Error::Program(program::Error::NoPullFlags { .. }) => {
            "let nodes pull without credentials and remove `credentialsSecretName`; if nodes get the pull credentials by other means, write \
             `accept: [pull-secret]`"
                .to_owned()
        }
        Error::Program(program::Error::Refused { folder, .. }) => {
            here(
                format!("delete {folder} and run `cargo xtask fetch` again, or copy it again"),
                format!("delete {folder} and copy it again"),
            )
        }
        Error::Run(run::Error::Running { note, .. }) => {
            format!("wait until it ends; if the process is not mkectl, delete {note}")
        }
        Error::Plan(plan::Error::Contradicting { .. }) => {
            "nothing was pushed: lock the set of both again, or give one of them a different `project`".to_owned()
        }
        Error::Plan(plan::Error::OneCluster { environment, other, .. }) => format!(
            "deploy {other}; `cargo xtask push {environment}` pushes alone. If {environment} replaces {other}, move environments/{other}/receipt.yaml \
             to environments/{environment}/"
        ),
        Error::Plan(plan::Error::StillMke3 { environment, .. }) => format!(
            "`cargo xtask migrate {environment}` upgrades them; if they are new machines, remove `mke3` from the environment"
        ),
        Error::Migrate(migrate::Error::NoMke3 { environment }) => format!(
            "describe the cluster in environment.yaml: `mke3: {{ version: 3.8.2, credentials: {{ env: NAME }} }}`; if there is none, run \
             `cargo xtask deploy {environment}`"
        ),
        Error::Migrate(migrate::Error::StaleKubeconfig { path }) => {
            format!("if it is not needed, move it: mv {path} {path}.before")
        }
        Error::Connect(connect::Error::Mke3Credentials { .. }) => {
            "set the variables that mke3.credentials names".to_owned()
        }
        Error::Cluster(cluster::Error::NoChecks { environment, .. }) => {
            format!("check the machines with `cargo xtask preflight {environment} --nodes`")
        }
        Error::Cluster(cluster::Error::Protected { .. }) => {
            "to reset it, remove `protected` from environment.yaml in a reviewed change".to_owned()
        }
        Error::Cluster(cluster::Error::Backup(failure)) => return backup_hints(failure),
        Error::Cluster(cluster::Error::NoArchive { environment, folder, .. }) => {
            format!("name an archive of {environment}; they are written to {folder}/")
        }
        Error::Cluster(cluster::Error::NoMatchingMkectl { version, .. }) => format!(
            "copy it to {}/, or name it in the environment: `mkectl: ./path/to/mkectl`",
            program::folder(version)
        ),
        Error::Consent(consent::Error::VisibleSecrets { .. }) => {
            "on a machine without other users, answer `yes`, or add `--allow-visible-secrets` for runs without a terminal".to_owned()
        }
        Error::Run(run::Error::Failed { environment, step: Step::Backup, log, .. }) => {
            return vec![format!("its output is in {log}"), without_backup(environment)];
        }
        Error::Run(run::Error::Failed { log, .. }) | Error::Run(run::Error::Interrupted { log, .. }) => {
            format!("its output is in {log}")
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

fn backup_hints(failure: &BackupFailure) -> Vec<String> {
    let environment = &failure.environment;
    let mut hints = vec![match failure.problem {
        BackupError::Unsupported { .. } => format!(
            "keep its backup by other means, `cargo xtask mkectl {environment} -- backup create --name NAME` for example"
        ),
        _ => format!("find the cause in the newest log in environments/{environment}/logs/"),
    }];
    if failure.is_before_upgrade {
        hints.push(without_backup(environment));
    }
    hints
}

fn without_backup(environment: &str) -> String {
    format!(
        "`cargo xtask deploy {environment} --without-backup REASON` upgrades without a backup, and the receipt records the reason"
    )
}

fn kubeconfig_hint(error: &kubeconfig::Error) -> String {
    match error {
        kubeconfig::Error::OtherCluster { kubeconfig, .. } => {
            let path = &kubeconfig.path;
            match kubeconfig.named_by {
                NamedBy::Variable => "unset KUBECONFIG, or name the kubeconfig of this environment as `kubeconfig:` in environment.yaml".to_owned(),
                NamedBy::Default => format!(
                    "if the file belongs to another environment, move it and name it there as `kubeconfig:` in environment.yaml: mv {path} FILE"
                ),
                _ => format!("correct `kubeconfig:` in environment.yaml: {path} leads to that cluster"),
            }
        }
        kubeconfig::Error::Missing {
            environment,
            kubeconfig,
        } => format!(
            "write it with `cargo xtask cluster kubeconfig {environment} --output {}`, or correct what names it",
            kubeconfig.path
        ),
        _ => CLUSTER_IS_UP.to_owned(),
    }
}

/// What to do while another command changes an environment.
const WAIT: &str = "wait until that command ends, then run this one again";

/// Returns what to do about a deploy from a different checkout; `take_over` is what to do if this checkout is right.
fn conflict_hints(conflict: &Conflict, take_over: &str) -> Vec<String> {
    // The other operator may not have pushed the receipt yet: then `git pull` alone gets nothing.
    let unpushed =
        "if `git pull` brings no receipt, wait until the other operator commits and pushes it";
    match conflict {
        Conflict::Unfinished { .. } => vec![
            "wait until it ends, then run `git pull`".to_owned(),
            unpushed.to_owned(),
            format!("if it was interrupted, {take_over}"),
        ],
        Conflict::InUse { .. } => vec![WAIT.to_owned()],
        Conflict::Differs { environment, .. } => vec![
            "run `git pull` to get the receipt of that deploy, then run this command again"
                .to_owned(),
            unpushed.to_owned(),
            format!(
                "if that receipt is lost, rebuild it: `cargo xtask receipt rebuild {environment}`"
            ),
            format!("if this checkout is right, {take_over}"),
        ],
        Conflict::Invalid { .. } => vec![format!(
            "remove it from the registry if Airlock did not write it, or {take_over}"
        )],
        // It has no receipt yet that could be pulled.
        Conflict::Overtaken { .. } => {
            vec![
                "wait until that deploy ends, then run `git pull` and this command again"
                    .to_owned(),
                unpushed.to_owned(),
            ]
        }
    }
}

/// Returns what to do about a bundle that is not the one that was locked. The file may be the only copy that the operator has.
fn replace(path: &Utf8Path) -> String {
    let download = "; to download it, move it away and run `cargo xtask fetch`";
    format!(
        "trust {}, which was reviewed and committed, not the copied bundle: compare {path} with its source, and copy it again{}",
        lock_of(path),
        here(download, "")
    )
}

/// Returns the lock of a bundle with the vendor's file name.
fn lock_of(path: &Utf8Path) -> String {
    let name = path.file_name().unwrap_or_default();
    let named = name
        .strip_prefix("mke_bundle_")
        .and_then(|name| name.strip_suffix(".tar.gz"))
        .and_then(|name| name.rsplit_once('_'));
    match named {
        Some((release, arch)) => format!("the lock bundles/{release}-{arch}.lock.yaml"),
        None => "the lock".to_owned(),
    }
}

/// Returns what to do about a registry that serves different bytes under a digest than were pushed.
fn damage(environment: &str) -> Vec<String> {
    vec![
        "the registry's storage is damaged, and the registry keeps the damaged bytes when the right ones are sent again. Delete the named \
         digests there (registry:2: the folders docker/registry/v2/blobs/sha256/XX/DIGEST; other registries: delete the repositories and \
         run garbage collection)"
            .to_owned(),
        format!("then restore them: `cargo xtask verify {environment} --full --repair`"),
    ]
}

/// Returns the name that was meant by a folder's path, by capitals, or by a release without its `v`.
fn meant(name: &str) -> Option<String> {
    let last = name.trim_end_matches('/').rsplit('/').next()?;
    let meant = last.to_lowercase();
    if meant.split('.').count() == 3 && meant.split('.').all(|part| part.parse::<u64>().is_ok()) {
        return Some(format!("v{meant}"));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (meant != name && !meant.is_empty() && meant.chars().all(fits)).then_some(meant)
}

/// Returns whether the downloaded content is not the expected one.
fn is_another_file(error: &release::DownloadError) -> bool {
    use release::DownloadError::{Html, NotGzip, Sha256, Size};
    matches!(
        error,
        Html { .. } | NotGzip { .. } | Size { .. } | Sha256 { .. }
    )
}

/// Returns what to do about a file that is not on this machine and is not downloaded.
fn missing(path: &Utf8Path) -> String {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    match path.file_name() {
        Some("mkectl.tar.gz") => format!(
            "copy mkectl's archive to {path}, or put the release's mkectl on PATH{}",
            here(
                "; a connected machine downloads it with `cargo xtask fetch --platform`",
                ""
            )
        ),
        Some(name) if folder == "bundles" => format!("copy the file to bundles/{name}"),
        _ if path.as_str().contains(' ') => "give it as a file with `--checksum FILE`".to_owned(),
        _ => format!("check the path {path}"),
    }
}

fn download_hints(error: &release::DownloadError, path: &Utf8Path) -> Vec<String> {
    use release::RequestError::{Connect, Name, TimedOut};
    // Of a release, the name of the bundle is known.
    let name = path.file_name().unwrap_or_default();
    let is_of_set =
        path.starts_with("bundles") && !name.starts_with("mke_bundle_") && name != "mkectl.tar.gz";
    let hint = match error {
        release::DownloadError::Request(Name { .. } | Connect { .. } | TimedOut { .. }) => {
            return vec![
                format!(
                    "on a machine without internet, {}, and add `--offline`",
                    missing(path)
                ),
                "behind a proxy, set HTTPS_PROXY".to_owned(),
            ];
        }
        release::DownloadError::Request(release::RequestError::NotFound { .. }) if is_of_set => {
            "check the URL in the set's file; a bundle that is copied to bundles/ is not downloaded"
        }
        release::DownloadError::Request(release::RequestError::NotFound { .. }) => {
            "check the release; name a different URL with `cargo xtask lock --url URL`, or a file with \
             `--bundle FILE`; a bundle that is copied to bundles/ is not downloaded"
        }
        release::DownloadError::Html { .. } => {
            "a proxy or portal answers instead of the server, or requires a login: open the URL in a browser. \
             Behind a proxy, set HTTPS_PROXY"
        }
        release::DownloadError::Request(release::RequestError::ProxyFailed { .. }) => {
            "check the proxy and its variable, or add the host to NO_PROXY; a bundle that is copied to bundles/ is not downloaded"
        }
        release::DownloadError::Request(release::RequestError::Proxy { .. }) => {
            "set the variable to http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with special characters in the password \
             percent-encoded; to connect directly, add the host to NO_PROXY"
        }
        release::DownloadError::Request(error) if error.has_no_authorities() => {
            "install the package ca-certificates, or set SSL_CERT_FILE to a file of CA certificates; a bundle that is copied to \
             bundles/ is not downloaded"
        }
        error if is_another_file(error) && is_of_set => {
            "the file at the URL is not the one of the set or its lock: ask the vendor whether it was replaced; nothing of the download was kept"
        }
        error if is_another_file(error) => {
            "trust the committed lock, and ask the vendor whether the file at the URL was replaced; nothing of the download was kept"
        }
        release::DownloadError::Request(
            release::RequestError::TooManyRedirects { .. }
            | release::RequestError::InsecureRedirect { .. },
        ) => {
            "the server redirects in a loop or to an insecure URL; download the bundle by other means and copy it to bundles/"
        }
        release::DownloadError::Request(release::RequestError::Status {
            status: 401 | 403,
            ..
        }) if is_of_set => {
            "log in to the server with Docker, Podman or Skopeo, or correct the login; a bundle that is copied to bundles/ is not \
             downloaded"
        }
        release::DownloadError::Request(error) if let Some(tls) = error.tls() => {
            match RegistryFault::of_tls(tls, false) {
                RegistryFault::UnknownAuthority | RegistryFault::AuthorityAsServer if is_of_set => {
                    "name the server's CA by `ca` below `registries` in the set's file; a bundle that is copied to bundles/ is not downloaded"
                }
                RegistryFault::UnknownAuthority | RegistryFault::AuthorityAsServer => {
                    "a proxy may inspect TLS: add its CA to the system's certificates, or name a file with it as SSL_CERT_FILE; a bundle \
                     that is copied to bundles/ is not downloaded"
                }
                RegistryFault::Expired | RegistryFault::NotYetValid => {
                    "correct this machine's clock; if it is right, the server needs a new certificate. A bundle that is copied to \
                     bundles/ is not downloaded"
                }
                RegistryFault::WrongName => {
                    "use the server's own name in the URL; a bundle that is copied to bundles/ is not downloaded"
                }
                RegistryFault::WeakKey | RegistryFault::UnsupportedSignature => {
                    "the server needs a certificate with a stronger key or signature; download the bundle by other means and copy it \
                     to bundles/"
                }
                _ => {
                    "the server needs TLS 1.2 or 1.3 with a modern cipher; download the bundle by other means and copy it to bundles/"
                }
            }
        }
        release::DownloadError::Request(release::RequestError::Status { status: 429, .. }) => {
            "the server limits requests: run it again later; the download resumes"
        }
        _ => "run it again: the download resumes. Behind a proxy, set HTTPS_PROXY",
    };
    vec![hint.to_owned()]
}
