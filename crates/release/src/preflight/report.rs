//! What the checks of a preflight come to.

use std::fmt;

use registry::probe::{Fault as RegistryFault, Verdict};
use serde::{Serialize, Serializer};

use super::nodes::{NodeFault, Nodes, Shared};
use crate::Kind;

/// The results of all checks.
#[derive(Debug)]
pub struct Report {
    /// The environment's name.
    pub environment: String,
    /// The release, `v4.1.5`.
    pub release: String,
    /// The registry and project.
    pub registry: String,
    /// Everything that was looked at. Of nodes there is a check for each thing that is wrong with
    /// some of them.
    pub checks: Vec<Check>,
    /// What each node answered, if they were asked.
    pub nodes: Option<Nodes>,
}

/// One check and its result.
#[derive(Debug)]
pub struct Check {
    /// Where it belongs to.
    pub group: Group,
    /// Its name, in words with hyphens between them.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What is wrong, if something is.
    pub fault: Option<Fault>,
    /// What was seen, in a sentence without its end.
    pub text: String,
    /// The nodes that it is about.
    pub shared: Shared,
}

/// Where a check belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Files and folders of this machine.
    Workspace,
    /// The registry.
    Registry,
    /// The machines of the cluster.
    Nodes,
}

/// What is wrong, as far as other things would be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Here.
    Workspace(WorkspaceFault),
    /// In the registry, or on the way to it.
    Registry(RegistryFault),
    /// On nodes, or on the way to them.
    Node(NodeFault),
}

/// What is wrong on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkspaceFault {
    /// The release is unknown, or the configuration cannot be rendered for it.
    Configuration,
    /// The certificate in `registry.ca` is out of its time.
    AuthorityOutOfDate,
    /// The credentials that the environment names are missing.
    CredentialsMissing,
    /// The release is not locked.
    NotLocked,
    /// A set is not locked, or its lock is not of what it lists.
    SetNotLocked,
    /// The lock cannot be read.
    LockBroken,
    /// Neither bundle nor store has what the lock names.
    BundleMissing,
    /// Neither the store nor the registry has some of what the lock names.
    BlobsMissing,
    /// The bundle's file is not the one that was locked.
    BundleDiffers,
    /// No mkectl of the release is here, or it cannot be run.
    MkectlMissing,
    /// The disk has not enough room for what will be written.
    DiskFull,
    /// What the environment requires of another one has not happened.
    RequirementUnmet,
    /// Something is needed that no bundle has.
    NotInBundle,
    /// A program is missing on this machine.
    ToolMissing,
}

impl Fault {
    /// Returns the kind of the failure, as the same problem has it in a deploy.
    pub fn kind(self) -> Kind {
        match self {
            Self::Workspace(fault) => fault.kind(),
            Self::Registry(_) => Kind::Registry,
            Self::Node(fault) => fault.kind(),
        }
    }
}

impl WorkspaceFault {
    fn kind(self) -> Kind {
        match self {
            Self::Configuration
            | Self::AuthorityOutOfDate
            | Self::CredentialsMissing
            | Self::NotLocked
            | Self::SetNotLocked
            | Self::LockBroken => Kind::Workspace,
            Self::BundleDiffers => Kind::Content,
            Self::MkectlMissing => Kind::Mkectl,
            Self::RequirementUnmet => Kind::NotAllowed,
            Self::BundleMissing
            | Self::BlobsMissing
            | Self::DiskFull
            | Self::NotInBundle
            | Self::ToolMissing => Kind::Machine,
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Workspace(fault) => fault.serialize(serializer),
            Self::Registry(fault) => fault.serialize(serializer),
            Self::Node(fault) => fault.serialize(serializer),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Workspace => "workspace",
            Self::Registry => "registry",
            Self::Nodes => "nodes",
        })
    }
}

impl Report {
    /// Returns the checks that an installation would fail by, in their order.
    pub fn problems(&self) -> impl Iterator<Item = &Check> {
        let checks = self.checks.iter();
        checks.filter(|check| check.verdict == Verdict::Problem)
    }

    /// Counts the checks that came to `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.verdict == verdict).count()
    }
}

impl Check {
    pub(super) fn new(
        name: &'static str,
        verdict: Verdict,
        fault: Option<WorkspaceFault>,
        text: String,
    ) -> Self {
        Self {
            group: Group::Workspace,
            name,
            verdict,
            fault: fault.map(Fault::Workspace),
            text,
            shared: Shared::default(),
        }
    }

    pub(super) fn fine(name: &'static str, text: String) -> Self {
        Self::new(name, Verdict::Ok, None, text)
    }

    pub(super) fn wrong(name: &'static str, fault: WorkspaceFault, text: String) -> Self {
        Self::new(name, Verdict::Problem, Some(fault), text)
    }
}
