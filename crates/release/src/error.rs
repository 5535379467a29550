//! Everything that can go wrong on the way, each with what a reader needs to act.
//!
//! Causes are sources and never repeated in a message: the whole chain is shown.

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::Kind;
use crate::disk::DiskFull;

/// Why a step failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment's files are wrong.
    #[error(transparent)]
    Environment(environment::Error),
    /// A different deploy of the environment has begun or ended, and this checkout does not know how.
    #[error(transparent)]
    SharedState(crate::shared_state::Conflict),
    /// The files changed while a plan was carried out.
    #[error(transparent)]
    PlanOutdated(crate::plan::Outdated),
    /// What comes after a push would fail.
    #[error(transparent)]
    Unready(crate::before_push::Unready),
    /// The note of a running mkectl is not valid.
    #[error(transparent)]
    UnderWay(crate::under_way::InvalidNote),
    /// Another command changes the environment.
    #[error(transparent)]
    EnvironmentInUse(crate::environment_lock::InUse),
    /// The release has no offline procedure, or its name is none.
    #[error(transparent)]
    Release(mke::ReleaseError),
    /// The configuration cannot be rendered.
    #[error("{0}")]
    Render(environment::Problems),
    /// What was observed of a release cannot be used.
    #[error("{path} cannot be used")]
    Facts {
        /// The file, relative to the workspace.
        path: Utf8PathBuf,
        /// Why not.
        source: mke::ObservationsError,
    },
    /// A release cannot be learnt.
    #[error(transparent)]
    Learn(crate::learn::LearnError),
    /// No lock is committed for a release.
    #[error("release {release} is not locked: there is no {path}")]
    NotLocked {
        /// The release.
        release: String,
        /// Where its lock would be, relative to the workspace.
        path: Utf8PathBuf,
    },
    /// A lock that cannot be read.
    #[error(transparent)]
    Lock(bundle::LockError),
    /// What a release's mkectl would configure is not what was locked.
    #[error("{path} is not what the lock of {release} says")]
    Defaults {
        /// The file.
        path: Utf8PathBuf,
        /// The release.
        release: String,
    },
    /// A lock is not written.
    #[error(transparent)]
    LockRefused(crate::lock::Refusal),
    /// Something that a lock names is not on this machine.
    #[error(transparent)]
    Fetch(crate::fetch::FetchError),
    /// A symbolic link is where something is to be written.
    #[error(transparent)]
    Link(crate::links::Link),
    /// A disk is full.
    #[error(transparent)]
    Full(crate::disk::DiskFull),
    /// The bundle does not have the checksum that the vendor publishes for it.
    #[error("{path} has SHA-256 {found}, and {url} says {expected}")]
    VendorChecksum {
        /// The bundle.
        path: Utf8PathBuf,
        /// Where the vendor publishes the checksum.
        url: String,
        /// What it says.
        expected: String,
        /// What the bundle has.
        found: String,
    },
    /// The download failed.
    #[error("cannot download {url}")]
    Download {
        /// What was to be downloaded.
        url: String,
        /// The file that it was to become, relative to the workspace.
        path: Utf8PathBuf,
        /// Why.
        source: bundle::DownloadError,
    },
    /// A URL to be locked carries a user or a password, and locks are committed.
    #[error("the URL {url} carries credentials, which must not be in a lock: it is committed")]
    UrlWithCredentials {
        /// The URL, without the credentials.
        url: String,
    },
    /// The vendor's checksum cannot be had.
    #[error("cannot compare the bundle with its checksum")]
    Checksum {
        /// Why not.
        source: bundle::ChecksumError,
    },
    /// The demo's bundle cannot be made.
    #[error("cannot make {path}")]
    Demo {
        /// The bundle.
        path: Utf8PathBuf,
        /// Why not.
        source: bundle::make::MakeError,
    },
    /// The bundle's file is there and not of the size that the lock says.
    #[error("{path} has {found} bytes, and its lock says {expected}")]
    BundleSize {
        /// The bundle.
        path: Utf8PathBuf,
        /// Its size.
        found: u64,
        /// The lock's.
        expected: u64,
    },
    /// The bundle cannot be read, or is not what its lock says.
    #[error("{path} is refused")]
    Bundle {
        /// The bundle.
        path: Utf8PathBuf,
        /// Why.
        source: bundle::ReadError,
    },
    /// The bundle could not be read to its end, or not be kept. It need not be to blame.
    #[error("cannot read {path} to its end")]
    BundleUnread {
        /// The bundle.
        path: Utf8PathBuf,
        /// Why not.
        source: bundle::ReadError,
    },
    /// The store of blobs failed.
    #[error("the store at {path} failed")]
    Store {
        /// The store.
        path: Utf8PathBuf,
        /// Why.
        source: bundle::StoreError,
    },
    /// The store lacks something that was checked to be there.
    #[error("the store at {path} lost blob {digest} while it was used")]
    StoreLost {
        /// The store.
        path: Utf8PathBuf,
        /// What is not there any more.
        digest: String,
    },
    /// The registry cannot be used.
    #[error("registry {address} cannot be used")]
    Registry {
        /// Its address.
        address: String,
        /// Why.
        source: registry::Error,
    },
    /// Credentials for the registry cannot be had.
    #[error("no credentials for registry {address}")]
    Credentials {
        /// The registry.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Some artifacts could not be pushed. The others were.
    #[error("{} of {} could not be pushed to {address}", failed.len(), environment::count(*total, "artifact"))]
    Push {
        /// The registry.
        address: String,
        /// How many were to be pushed.
        total: usize,
        /// What was sent nevertheless.
        sent: crate::push::Sent,
        /// Which ones failed, and why. One reason may have stopped several of them.
        failed: Vec<(String, std::sync::Arc<registry::Error>)>,
    },
    /// A push was asked to stop, and did. Nothing of what was begun is lost.
    #[error("stopped with {left} of {} still to be pushed to {address}", environment::count(*total, "artifact"))]
    Stopped {
        /// The registry.
        address: String,
        /// How many artifacts were to be pushed.
        total: usize,
        /// How many of them were not.
        left: usize,
        /// What was sent and is complete. The next run does not send it again.
        sent: crate::push::Sent,
        /// Those among them that had failed before, and why.
        failed: Vec<(String, std::sync::Arc<registry::Error>)>,
    },
    /// The registry does not serve what the lock names.
    #[error("registry {address} does not serve what the lock names")]
    NotConfirmed {
        /// The environment.
        environment: String,
        /// The registry.
        address: String,
        /// What is wrong, each thing once.
        findings: Vec<crate::verify::Finding>,
    },
    /// Everything that was missing was put back, and the registry still serves something else.
    #[error(
        "registry {address} still does not serve what the lock names, after everything was put back"
    )]
    NotRepaired {
        /// The environment.
        environment: String,
        /// The registry.
        address: String,
        /// What is wrong still, each thing once.
        findings: Vec<crate::verify::Finding>,
    },
    /// A removal cannot be planned or done.
    #[error(transparent)]
    Prune(crate::prune::PruneError),
    /// The release's own mkectl lists what the lock lacks.
    #[error("the lock of {release} lacks {} that its mkectl lists: {}", if lacking.len() == 1 { "something" } else { "things" }, lacking.join(", "))]
    Unlocked {
        /// The release.
        release: String,
        /// The references, as they are listed.
        lacking: Vec<String>,
    },
    /// An `mke4.yaml` does not say where nodes pull from.
    #[error("{path} does not say where nodes pull from: {}", wrong.join("; "))]
    NoPulls {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        wrong: Vec<String>,
    },
    /// Nodes pull from a registry that is not the environment's, so that nothing can be sent there.
    #[error("{path} has nodes pull from {url}, and the registry of {environment} is {registry}")]
    PullsElsewhere {
        /// The file.
        path: Utf8PathBuf,
        /// The environment.
        environment: String,
        /// What stands in the file.
        url: String,
        /// What stands in the environment.
        registry: String,
    },
    /// Nodes would not get what push credentials can read.
    #[error("registry {address} does not serve {repository} without credentials")]
    NotAnonymous {
        /// The registry.
        address: String,
        /// The first repository that was refused.
        repository: String,
        /// What the registry answered.
        source: registry::Error,
    },
    /// The embedded registry cannot be started.
    #[error("the embedded registry cannot be started at {address}")]
    Embedded {
        /// Where it was to listen.
        address: String,
        /// Why.
        source: registry::embedded::EmbeddedError,
    },
    /// A rehearsal's registry wants an IP address, since it is listened at.
    #[error("a rehearsal's registry.address is an IP address with a port, not {address}")]
    EmbeddedAddress {
        /// What was given.
        address: String,
    },
    /// The receipt cannot be read or written.
    #[error("{path} is no receipt")]
    Receipt {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: serde_yaml::Error,
    },
    /// The receipt is of a format that this version does not know.
    #[error(
        "{path} is a receipt of version {version}, which this version of Airlock does not know"
    )]
    ReceiptVersion {
        /// The file.
        path: Utf8PathBuf,
        /// Its format's version.
        version: u32,
    },
    /// The environment would change what its cluster keeps for good.
    #[error("{0}")]
    WriteOnce(environment::Problems),
    /// The environment names another release than its cluster runs.
    #[error("the cluster of {environment} runs {applied}, and its environment now says {wanted}")]
    ReleaseChanged {
        /// The environment.
        environment: String,
        /// What the receipt says.
        applied: String,
        /// What the files say.
        wanted: String,
        /// Why the vendor supports no upgrade from the one to the other, where it does not.
        #[source]
        refusal: Option<Box<mke::UpgradeError>>,
    },
    /// A file that was given as a plan is none.
    #[error("{path} is no plan")]
    PlanFile {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: serde_yaml::Error,
    },
    /// A plan is of a format that this version does not know.
    #[error("{path} is a plan of version {version}, which this version of Airlock does not know")]
    PlanVersion {
        /// The file.
        path: Utf8PathBuf,
        /// Its format's version.
        version: u32,
    },
    /// Something is not any more as it was when a plan was made.
    #[error("{path} is not what a deploy would do now")]
    PlanMoved {
        /// The environment.
        environment: String,
        /// The plan.
        path: Utf8PathBuf,
        /// Everything that has moved.
        moved: Vec<crate::plan::Moved>,
    },
    /// A plan is to be written, and nobody can say what mkectl would be run for.
    #[error("the plan for {environment} would not say what is run: {problem}")]
    PlanWithoutMkectl {
        /// The environment.
        environment: String,
        /// What is wrong with mkectl.
        problem: String,
    },
    /// A file that was given as an inventory is none.
    #[error("{path} is no inventory")]
    InventoryFile {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: serde_yaml::Error,
    },
    /// An inventory is of a format that this version does not know.
    #[error(
        "{path} is an inventory of version {version}, which this version of Airlock does not know"
    )]
    InventoryVersion {
        /// The file.
        path: Utf8PathBuf,
        /// Its format's version.
        version: u32,
    },
    /// An inventory is of another registry.
    #[error("the inventory is of {found}, and the environment's registry is {wanted}")]
    InventoryOfAnother {
        /// The inventory's registry.
        found: String,
        /// The environment's.
        wanted: String,
    },
    /// A promotion that makes no sense.
    #[error("{to} does not get the release of {from}")]
    Promotion {
        /// The environment with the release.
        from: String,
        /// The environment that was to get it.
        to: String,
        /// Why not.
        source: Box<crate::promote::Senseless>,
    },
    /// What the environment requires of another one has not happened.
    #[error("{environment} requires {requires}: {missing}")]
    RequirementUnmet {
        /// The environment.
        environment: String,
        /// The environment that it requires.
        requires: String,
        /// What is missing.
        missing: String,
    },
    /// The mkectl of the release that is there is needed, for the backup before an upgrade.
    #[error("the backup before the upgrade is written by mkectl {release}, and there is none")]
    NoOldMkectl {
        /// The release that is there.
        release: String,
    },
    /// An upgrade without internet wants the vendor's release matrix, and the bundle had none.
    #[error(
        "the upgrade wants a release matrix, and the lock of {release} names none: its bundle holds none"
    )]
    NoReleaseMatrix {
        /// The release to come to.
        release: String,
    },
    /// The receipt tells of another cluster, or of another release, than the cluster itself.
    #[error(
        "the receipt of {environment} tells of {receipt}, and the cluster that mkectl reaches {cluster}"
    )]
    Contradiction {
        /// The environment.
        environment: String,
        /// What the receipt says.
        receipt: String,
        /// What `mkectl config get` says.
        cluster: String,
        /// Whether that may be the environment's cluster at all: it has a machine or the address in common.
        is_meant: bool,
    },
    /// The cluster has to be asked before an upgrade, and does not answer.
    #[error(
        "the cluster of {environment} cannot be asked for its configuration, and an upgrade keeps that first"
    )]
    ClusterSilent {
        /// The environment.
        environment: String,
        /// Why not.
        source: programs::Error,
    },
    /// A rehearsal was asked for what only a cluster knows.
    #[error("{environment} is a rehearsal: there is no cluster that could be asked")]
    NoCluster {
        /// The environment.
        environment: String,
    },
    /// mkectl cannot be used.
    #[error(transparent)]
    Mkectl(programs::Error),
    /// mkectl is not the release's own.
    #[error("{program} is mkectl {found}, and release {wanted} wants its own")]
    MkectlVersion {
        /// The program.
        program: Utf8PathBuf,
        /// What it says it is.
        found: String,
        /// What is needed.
        wanted: String,
    },
    /// The mkectl that was fetched is not the one that was locked.
    #[error("the mkectl in {folder} is refused")]
    MkectlRefused {
        /// The folder of the program and its download.
        folder: Utf8PathBuf,
        /// What is wrong with it.
        source: bundle::ProgramError,
    },
    /// A mkectl that an earlier run started is still at work.
    #[error("mkectl for {release} is still at work, as process {process}; its log is {log}")]
    MkectlRunning {
        /// The release.
        release: String,
        /// Its process id.
        process: u32,
        /// Its log.
        log: Utf8PathBuf,
        /// The note that tells of it.
        note: Utf8PathBuf,
    },
    /// mkectl ran and failed.
    #[error("`{name}` {}{exit}", over(*limit))]
    MkectlFailed {
        /// The command by its words, `mkectl upgrade`.
        name: String,
        /// All of it, as one would type it, with secrets masked.
        command: String,
        /// How it ended: its own exit code, or the signal that ended it.
        exit: programs::Exit,
        /// The time limit, where it passed.
        limit: Option<std::time::Duration>,
        /// Where everything that it printed is kept.
        log: Utf8PathBuf,
        /// The last lines that it printed.
        last_lines: Vec<String>,
    },
    /// mkectl ran, got a signal because the program got one, and ended.
    #[error("`{name}` was interrupted and {exit}")]
    MkectlInterrupted {
        /// The command by its words, `mkectl upgrade`.
        name: String,
        /// All of it, as one would type it, with secrets masked.
        command: String,
        /// How it ended.
        exit: programs::Exit,
        /// Where everything that it printed is kept.
        log: Utf8PathBuf,
    },
    /// The vendor supports no way from the MKE 3 cluster to the release.
    #[error("the MKE 3 cluster cannot be upgraded")]
    NoMigration {
        /// Why not.
        source: mke::MigrationError,
    },
    /// A cluster that was deployed is no MKE 3 any more.
    #[error("the cluster of {environment} runs {applied} already, by its receipt")]
    AlreadyMigrated {
        /// The environment.
        environment: String,
        /// What it runs.
        applied: String,
    },
    /// An installation would go over a cluster of MKE 3.
    #[error(
        "the machines of {environment} are an MKE {version} cluster, which `mkectl apply` is not for"
    )]
    StillMke3 {
        /// The environment.
        environment: String,
        /// The version of MKE 3.
        version: String,
    },
    /// An earlier try has left its kubeconfig, which would make the next one fail.
    #[error(
        "{path} is left of another cluster or an earlier try, and an upgrade from MKE 3 fails where it is"
    )]
    StaleKubeconfig {
        /// The kubeconfig.
        path: Utf8PathBuf,
    },
    /// The credentials of MKE 3's administrator cannot be had.
    #[error("no credentials for the MKE 3 cluster of {environment}")]
    Mke3Credentials {
        /// The environment.
        environment: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This mkectl cannot do what it is wanted for.
    #[error("{program} lists no {what}, which this needs")]
    MkectlLacks {
        /// The program.
        program: Utf8PathBuf,
        /// The flag.
        what: String,
    },
    /// A backup would be written over something that is there.
    #[error("{path} exists already, and backups are never written over")]
    BackupExists {
        /// What is there.
        path: Utf8PathBuf,
    },
    /// mkectl refuses the rendered configuration.
    #[error(transparent)]
    ConfigRefused(crate::validate::ConfigRefused),
    /// The settings of the MKE 3 cluster keep it from an upgrade.
    #[error(transparent)]
    Mke3Unfit(mke::Mke3Unfit),
    /// The kubeconfig is not that of the environment's cluster.
    #[error(transparent)]
    Kubeconfig(Box<crate::kubeconfig::KubeconfigError>),
    /// There is no backup that could be restored.
    #[error(transparent)]
    Backup(crate::cluster::BackupError),
    /// A backup's note is missing, or it does not fit.
    #[error("{path} {problem}")]
    BackupNote {
        /// The note, or the archive.
        path: Utf8PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The mkectl that wrote a backup is not here.
    #[error("{archive} was written by mkectl {version} of SHA-256 {sha256}, which is not here")]
    NoMatchingMkectl {
        /// The backup.
        archive: Utf8PathBuf,
        /// The version of that mkectl.
        version: String,
        /// The SHA-256 of its file.
        sha256: String,
    },
    /// There is no host to begin with.
    #[error("{environment} has no controller")]
    NoController {
        /// The environment.
        environment: String,
    },
    /// The machines in a configuration cannot be read, or not be written in another form.
    #[error("the hosts of the configuration are not understood")]
    Hosts {
        /// Why not.
        source: serde_yaml::Error,
    },
    /// mkectl printed no kubeconfig.
    #[error("mkectl prints no kubeconfig; what it printed beside it is in {log}")]
    NoKubeconfig {
        /// The log.
        log: Utf8PathBuf,
    },
    /// A protected cluster is not taken down.
    #[error("{environment} is protected, and a protected cluster is not reset")]
    Protected {
        /// The environment.
        environment: String,
    },
    /// A secret would be visible to others, and nobody said that it may be.
    #[error("{} would be visible in the process list: {why}", flags.join(" and "))]
    VisibleSecrets {
        /// The flags that have secrets.
        flags: Vec<String>,
        /// Why nobody said so.
        why: String,
    },
    /// A file or folder failed.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// With which file or folder.
        path: Utf8PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Environment(_)
            | Self::Release(_)
            | Self::Render(_)
            | Self::Facts { .. }
            | Self::NotLocked { .. }
            | Self::Lock(_)
            | Self::Defaults { .. }
            | Self::Link(_)
            | Self::Credentials { .. }
            | Self::Unlocked { .. }
            | Self::NoPulls { .. }
            | Self::PullsElsewhere { .. }
            | Self::EmbeddedAddress { .. }
            | Self::Receipt { .. }
            | Self::UnderWay(_)
            | Self::ReceiptVersion { .. }
            | Self::WriteOnce(_)
            | Self::ReleaseChanged { .. }
            | Self::PlanFile { .. }
            | Self::PlanVersion { .. }
            | Self::InventoryFile { .. }
            | Self::InventoryVersion { .. }
            | Self::InventoryOfAnother { .. }
            | Self::Promotion { .. }
            | Self::NoReleaseMatrix { .. }
            | Self::Contradiction { .. }
            | Self::NoCluster { .. }
            | Self::NoMigration { .. }
            | Self::AlreadyMigrated { .. }
            | Self::StillMke3 { .. }
            | Self::StaleKubeconfig { .. }
            | Self::Mke3Credentials { .. }
            | Self::BackupExists { .. }
            | Self::ConfigRefused(_)
            | Self::Mke3Unfit(_)
            | Self::Kubeconfig(_)
            | Self::BackupNote { .. }
            | Self::NoController { .. }
            | Self::Hosts { .. } => Kind::Workspace,
            Self::Mkectl(programs::Error::Limit { .. })
            | Self::Unready(_)
            | Self::Full(_)
            | Self::Demo { .. }
            | Self::BundleUnread { .. }
            | Self::Store { .. }
            | Self::Io { .. } => Kind::Machine,
            Self::VendorChecksum { .. }
            | Self::BundleSize { .. }
            | Self::Bundle { .. }
            | Self::StoreLost { .. } => Kind::Content,
            Self::Registry { .. }
            | Self::NotConfirmed { .. }
            | Self::NotRepaired { .. }
            | Self::NotAnonymous { .. }
            | Self::Embedded { .. } => Kind::Registry,
            Self::PlanWithoutMkectl { .. }
            | Self::NoOldMkectl { .. }
            | Self::ClusterSilent { .. }
            | Self::Mkectl(_)
            | Self::MkectlVersion { .. }
            | Self::MkectlRefused { .. }
            | Self::MkectlRunning { .. }
            | Self::MkectlLacks { .. }
            | Self::NoMatchingMkectl { .. } => Kind::Mkectl,
            Self::MkectlFailed { .. } | Self::NoKubeconfig { .. } => Kind::MkectlFailed,
            Self::MkectlInterrupted { .. } => Kind::Interrupted,
            Self::SharedState(_)
            | Self::EnvironmentInUse(_)
            | Self::RequirementUnmet { .. }
            | Self::Protected { .. }
            | Self::VisibleSecrets { .. } => Kind::NotAllowed,
            Self::PlanOutdated(_) | Self::PlanMoved { .. } => Kind::Outdated,
            Self::UrlWithCredentials { .. } => Kind::Usage,
            Self::Stopped { .. } => Kind::Partial,
            Self::Push { failed, total, .. } => match failed.len() < *total {
                true => Kind::Partial,
                false => Kind::Registry,
            },
            Self::Checksum { source } => checksum_kind(source),
            Self::Download { source, .. } => download_kind(source),
            Self::Learn(error) => error.kind(),
            Self::LockRefused(refusal) => refusal.kind(),
            Self::Fetch(error) => error.kind(),
            Self::Prune(error) => error.kind(),
            Self::Backup(error) => error.kind(),
        }
    }

    /// Returns the places in files where it was found, if it was found in any.
    pub fn problems(&self) -> Option<&environment::Problems> {
        match self {
            Self::Environment(environment::Error::Wrong(problems))
            | Self::Render(problems)
            | Self::WriteOnce(problems) => Some(problems),
            _ => None,
        }
    }

    /// Tells what is wrong with a bundle from what is wrong with the machine that reads it: nobody shall throw a bundle away since the
    /// disk is full.
    pub(crate) fn bundle(
        workspace: &crate::Workspace,
        path: &Utf8Path,
        source: bundle::ReadError,
    ) -> Self {
        use bundle::ReadError::{Input, Sink, Thread};
        let path = workspace.shown(path).to_owned();
        match source {
            Sink { source, .. } if source.is_full() => Self::store(workspace, source),
            Input { .. } | Sink { .. } | Thread { .. } => Self::BundleUnread { path, source },
            source => Self::Bundle { path, source },
        }
    }

    pub(crate) fn store(workspace: &crate::Workspace, source: bundle::StoreError) -> Self {
        let path = workspace.store();
        let shown = workspace.shown(&path).to_owned();
        match source {
            bundle::StoreError::Full { source, .. } => {
                Self::Full(DiskFull::new(&path, &shown, source))
            }
            bundle::StoreError::Io { source, .. } if DiskFull::is_meant_by(&source) => {
                Self::Full(DiskFull::new(&path, &shown, source))
            }
            source => Self::Store {
                path: shown,
                source,
            },
        }
    }

    /// Returns whether something could not be downloaded since its server was not reached, or was not to be.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Download {
                source: bundle::DownloadError::Request(_),
                ..
            } | Self::Fetch(crate::fetch::FetchError::Offline { .. })
        )
    }

    pub(crate) fn io(doing: &'static str, path: &Utf8Path, source: std::io::Error) -> Self {
        if DiskFull::is_meant_by(&source) {
            return Self::Full(DiskFull::new(path, path, source));
        }
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

fn checksum_kind(error: &bundle::ChecksumError) -> Kind {
    use bundle::ChecksumError::{Html, None, NotListed, Read, Request, TooLarge};
    match error {
        Request(_) | Read { .. } => Kind::Machine,
        Html { .. } | TooLarge { .. } | None { .. } | NotListed { .. } => Kind::Content,
    }
}

fn download_kind(error: &bundle::DownloadError) -> Kind {
    use bundle::DownloadError::{Busy, Full, Html, Io, NotGzip, Request, Sha256, Size};
    match error {
        Request(_) | Busy { .. } | Full { .. } | Io { .. } => Kind::Machine,
        Html { .. } | NotGzip { .. } | Size { .. } | Sha256 { .. } => Kind::Content,
    }
}

/// Returns what goes before the exit of a mkectl whose time was up.
fn over(limit: Option<std::time::Duration>) -> String {
    limit.map_or_else(String::new, |limit| {
        format!("took longer than {} s and ", limit.as_secs())
    })
}

#[cfg(test)]
mod tests {
    use bundle::{Place, ReadError, StoreError};

    use super::*;

    // case 6.4
    #[test]
    fn a_full_disk_is_not_blamed_on_the_bundle() {
        let full = ReadError::Sink {
            place: Place::Start,
            source: StoreError::Full {
                path: "bundles/store".into(),
                size: 1,
                source: std::io::ErrorKind::StorageFull.into(),
            },
        };
        let workspace = crate::Workspace::new("/proc");
        let path = Utf8Path::new("/proc/bundles/bundle.tar.gz");
        assert_eq!(
            Error::bundle(&workspace, path, full).to_string(),
            "no space left on the file system /proc, which contains bundles/store"
        );
        assert!(matches!(
            Error::bundle(&workspace, path, ReadError::NotGzip),
            Error::Bundle { path, .. } if path == "bundles/bundle.tar.gz"
        ));
        let quota = std::io::ErrorKind::QuotaExceeded.into();
        assert!(matches!(Error::io("write", path, quota), Error::Full(_)));
    }
}
