//! The error of each step, in one enum.
//!
//! A message does not repeat its cause, because the whole chain of sources is printed.

use camino::Utf8Path;

use crate::{Kind, Workspace, disk};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment's files are wrong.
    #[error(transparent)]
    Environment(#[from] environment::Error),
    /// Another checkout deployed or is deploying the environment, and this checkout lacks its
    /// receipt.
    #[error(transparent)]
    SharedState(#[from] crate::shared_state::Conflict),
    /// A file that a deploy writes after its push cannot be written, or the disk is too small.
    #[error(transparent)]
    NotReady(#[from] crate::transfer::before_push::NotReady),
    /// The file that records a running mkectl is not valid.
    #[error(transparent)]
    RunNote(#[from] crate::cluster::in_progress::InvalidNote),
    /// Another command is changing the environment.
    #[error(transparent)]
    EnvironmentInUse(#[from] crate::environment_lock::InUse),
    /// The release has no offline procedure, or its name is not valid.
    #[error(transparent)]
    Release(#[from] mke::ReleaseError),
    /// A lock cannot be read.
    #[error(transparent)]
    InvalidLock(#[from] bundle::LockError),
    /// The path of a file to be written leads through a symbolic link.
    #[error(transparent)]
    Link(#[from] crate::links::Link),
    /// mkectl cannot be used.
    #[error(transparent)]
    Mkectl(#[from] programs::Error),
    /// mkectl refuses the rendered configuration.
    #[error(transparent)]
    ConfigRefused(#[from] crate::cluster::validate::ConfigRefused),
    /// A proof is used for a lock or environment that it does not cover.
    #[error(transparent)]
    Proof(#[from] crate::proof::Mismatch),
    /// A removal cannot be planned or done.
    #[error(transparent)]
    Prune(#[from] crate::prune::Error),
    /// A release cannot be locked.
    #[error(transparent)]
    Lock(#[from] crate::transfer::lock::Error),
    /// A set cannot be locked or fetched.
    #[error(transparent)]
    Set(#[from] crate::set::Error),
    /// A receipt cannot be read or written.
    #[error(transparent)]
    Receipt(#[from] crate::receipt::Error),
    /// A registry snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] crate::plan::snapshot::Error),
    /// The support archive cannot be written.
    #[error(transparent)]
    Support(#[from] crate::report::support::Error),
    /// Helm values for a chart cannot be computed.
    #[error(transparent)]
    Helm(#[from] crate::report::images::HelmError),
    /// A promotion is refused.
    #[error(transparent)]
    Promote(#[from] crate::config::promote::Error),
    /// A rehearsal cannot begin.
    #[error(transparent)]
    Rehearse(#[from] crate::rehearse::Error),
    /// The demo's bundle cannot be made.
    #[error(transparent)]
    Demo(#[from] crate::demo::Error),
    /// A deploy of a different environment, which this one requires, has not happened.
    #[error(transparent)]
    Requires(#[from] crate::requires::Error),
    /// The operator did not consent to a secret becoming visible.
    #[error(transparent)]
    Consent(#[from] crate::cluster::consent::Error),
    /// A push failed or was stopped.
    #[error(transparent)]
    Push(#[from] crate::transfer::push::Error),
    /// The registry does not serve the locked content to nodes.
    #[error(transparent)]
    Verify(#[from] crate::verify::Error),
    /// A file of the workspace is wrong or missing.
    #[error(transparent)]
    Workspace(#[from] crate::workspace::Error),
    /// A plan cannot be made or used.
    #[error(transparent)]
    Plan(#[from] crate::plan::Error),
    /// A file of this machine, a bundle or the store cannot be used.
    #[error(transparent)]
    Disk(#[from] crate::disk::Error),
    /// The store's garbage collection is refused.
    #[error(transparent)]
    StoreGarbage(#[from] crate::transfer::store::Error),
    /// A registry or its credentials cannot be used.
    #[error(transparent)]
    Connect(#[from] crate::transfer::connect::Error),
    /// Locked content is not on this machine and cannot be downloaded.
    #[error(transparent)]
    Fetch(#[from] crate::transfer::fetch::Error),
    /// A medium cannot be packed.
    #[error(transparent)]
    Pack(#[from] crate::courier::pack::Error),
    /// Facts of a release cannot be learned.
    #[error(transparent)]
    Learn(#[from] crate::transfer::learn::Error),
    /// The kubeconfig is not that of the environment's cluster.
    #[error(transparent)]
    Kubeconfig(#[from] Box<crate::kubeconfig::Error>),
    /// A suitable mkectl is missing, or the environment has no cluster that it could query.
    #[error(transparent)]
    Program(#[from] crate::transfer::program::Error),
    /// mkectl failed, was interrupted, or is still running.
    #[error(transparent)]
    Run(#[from] crate::cluster::run::Error),
    /// The cluster does not respond, or differs from its receipt.
    #[error(transparent)]
    Existing(#[from] crate::cluster::existing::Error),
    /// An upgrade cannot be planned.
    #[error(transparent)]
    Upgrade(#[from] crate::cluster::upgrade::Error),
    /// An upgrade from MKE 3 is refused.
    #[error(transparent)]
    Migrate(#[from] crate::cluster::migrate::Error),
    /// A medium cannot be unpacked, or only in part.
    #[error(transparent)]
    Unpack(#[from] crate::courier::unpack::Error),
    /// A command for a running cluster failed or is refused.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::Error),
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Mkectl(programs::Error::Limit { .. }) => Kind::Machine,
            Self::SharedState(error) => error.kind(),
            Self::NotReady(error) => error.kind(),
            Self::RunNote(error) => error.kind(),
            Self::EnvironmentInUse(error) => error.kind(),
            Self::Link(error) => error.kind(),
            Self::ConfigRefused(error) => error.kind(),
            Self::Proof(error) => error.kind(),
            Self::Prune(error) => error.kind(),
            Self::StoreGarbage(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Set(error) => error.kind(),
            Self::Receipt(error) => error.kind(),
            Self::Snapshot(error) => error.kind(),
            Self::Support(error) => error.kind(),
            Self::Helm(error) => error.kind(),
            Self::Promote(error) => error.kind(),
            Self::Rehearse(error) => error.kind(),
            Self::Demo(error) => error.kind(),
            Self::Requires(error) => error.kind(),
            Self::Consent(error) => error.kind(),
            Self::Push(error) => error.kind(),
            Self::Verify(error) => error.kind(),
            Self::Workspace(error) => error.kind(),
            Self::Plan(error) => error.kind(),
            Self::Disk(error) => error.kind(),
            Self::Connect(error) => error.kind(),
            Self::Fetch(error) => error.kind(),
            Self::Pack(error) => error.kind(),
            Self::Learn(error) => error.kind(),
            Self::Kubeconfig(error) => error.kind(),
            Self::Program(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::Existing(error) => error.kind(),
            Self::Upgrade(error) => error.kind(),
            Self::Migrate(error) => error.kind(),
            Self::Unpack(error) => error.kind(),
            Self::Cluster(error) => error.kind(),
            Self::Environment(_) | Self::Release(_) | Self::InvalidLock(_) => Kind::Workspace,
            Self::Mkectl(_) => Kind::Mkectl,
        }
    }

    /// Returns the problems with their places in files, if the error has any.
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

    pub(crate) fn bundle(
        workspace: &Workspace,
        path: &Utf8Path,
        source: bundle::ReadError,
    ) -> Self {
        disk::Error::bundle(workspace, path, source).into()
    }

    pub(crate) fn store(workspace: &Workspace, source: bundle::StoreError) -> Self {
        disk::Error::store(workspace, source).into()
    }

    pub(crate) fn read(path: &Utf8Path, source: std::io::Error) -> Self {
        disk::Error::read(path, source).into()
    }

    pub(crate) fn io(doing: &'static str, path: &Utf8Path, source: std::io::Error) -> Self {
        disk::Error::io(doing, path, source).into()
    }
}
