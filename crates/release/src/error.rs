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
    /// A release cannot be learnt.
    #[error(transparent)]
    Learn(crate::learn::LearnError),
    /// A lock that cannot be read.
    #[error(transparent)]
    InvalidLock(bundle::LockError),
    /// Something that a lock names is not on this machine.
    #[error(transparent)]
    Fetch(crate::fetch::FetchError),
    /// A symbolic link is where something is to be written.
    #[error(transparent)]
    Link(crate::links::Link),
    /// A disk is full.
    #[error(transparent)]
    Full(crate::disk::DiskFull),
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
    /// A proof is used for something that it does not prove.
    #[error(transparent)]
    Proof(crate::proof::Mismatch),
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
    /// A removal cannot be planned or done.
    #[error(transparent)]
    Prune(#[from] crate::prune::Error),
    /// A lock is not written.
    #[error(transparent)]
    Lock(#[from] crate::lock::Error),
    /// A receipt cannot be read or written.
    #[error(transparent)]
    Receipt(#[from] crate::receipt::Error),
    /// A registry snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::Error),
    /// A promotion is refused.
    #[error(transparent)]
    Promote(#[from] crate::promote::Error),
    /// A rehearsal cannot begin.
    #[error(transparent)]
    Rehearse(#[from] crate::rehearse::Error),
    /// The demo's bundle cannot be made.
    #[error(transparent)]
    Demo(#[from] crate::demo::Error),
    /// What an environment requires of another one has not happened.
    #[error(transparent)]
    Requires(#[from] crate::requires::Error),
    /// A secret would be visible.
    #[error(transparent)]
    Consent(#[from] crate::consent::Error),
    /// A push failed or was stopped.
    #[error(transparent)]
    Push(#[from] crate::push::Error),
    /// Nodes do not get what the lock names.
    #[error(transparent)]
    Verify(#[from] crate::verify::Error),
    /// A file of the workspace is wrong or missing.
    #[error(transparent)]
    Workspace(#[from] crate::workspace::Error),
    /// A plan cannot be made or used.
    #[error(transparent)]
    Plan(#[from] crate::plan::Error),
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Mkectl(programs::Error::Limit { .. }) => Kind::Machine,
            Self::Learn(error) => error.kind(),
            Self::Fetch(error) => error.kind(),
            Self::Download { source, .. } => download_kind(source),
            Self::Backup(error) => error.kind(),
            Self::Prune(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Receipt(error) => error.kind(),
            Self::Snapshot(error) => error.kind(),
            Self::Promote(error) => error.kind(),
            Self::Rehearse(error) => error.kind(),
            Self::Demo(error) => error.kind(),
            Self::Requires(error) => error.kind(),
            Self::Consent(error) => error.kind(),
            Self::Push(error) => error.kind(),
            Self::Verify(error) => error.kind(),
            Self::Workspace(error) => error.kind(),
            Self::Plan(error) => error.kind(),
            Self::Environment(_)
            | Self::UnderWay(_)
            | Self::Release(_)
            | Self::InvalidLock(_)
            | Self::Link(_)
            | Self::Credentials { .. }
            | Self::NoReleaseMatrix { .. }
            | Self::Contradiction { .. }
            | Self::NoCluster { .. }
            | Self::NoMigration { .. }
            | Self::StaleKubeconfig { .. }
            | Self::Mke3Credentials { .. }
            | Self::BackupExists { .. }
            | Self::ConfigRefused(_)
            | Self::Mke3Unfit(_)
            | Self::Kubeconfig(_)
            | Self::BackupNote { .. }
            | Self::NoController { .. } => Kind::Workspace,
            Self::SharedState(_) | Self::EnvironmentInUse(_) | Self::Protected { .. } => {
                Kind::NotAllowed
            }
            Self::Unready(_)
            | Self::Full(_)
            | Self::BundleUnread { .. }
            | Self::Store { .. }
            | Self::Io { .. } => Kind::Machine,
            Self::BundleSize { .. } | Self::Bundle { .. } | Self::StoreLost { .. } => Kind::Content,
            Self::Registry { .. } => Kind::Registry,
            Self::NoOldMkectl { .. }
            | Self::ClusterSilent { .. }
            | Self::Mkectl(_)
            | Self::MkectlVersion { .. }
            | Self::MkectlRefused { .. }
            | Self::MkectlRunning { .. }
            | Self::MkectlLacks { .. }
            | Self::NoMatchingMkectl { .. } => Kind::Mkectl,
            Self::MkectlFailed { .. } | Self::NoKubeconfig { .. } => Kind::MkectlFailed,
            Self::MkectlInterrupted { .. } => Kind::Interrupted,
            Self::Proof(_) => Kind::Outdated,
        }
    }

    /// Returns the places in files where it was found, if it was found in any.
    pub fn problems(&self) -> Option<&environment::Problems> {
        match self {
            Self::Environment(environment::Error::Wrong(problems))
            | Self::Workspace(
                crate::workspace::Error::Configuration(problems)
                | crate::workspace::Error::WriteOnce(problems),
            ) => Some(problems),
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
