//! The report of a preflight: checks, faults and their groups.

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
    /// All checks. For nodes, there is one check for each fault, not for each node.
    pub checks: Vec<Check>,
    /// The results of each node, if nodes were checked.
    pub nodes: Option<Nodes>,
}

/// One check and its result.
#[derive(Debug)]
pub struct Check {
    /// The group of the check.
    pub group: Group,
    /// Its name, in words with hyphens between them.
    pub name: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// The fault, if one was found.
    pub fault: Option<Fault>,
    /// The observation, a sentence without its full stop.
    pub text: String,
    /// The nodes with the fault; empty for other groups.
    pub shared: Shared,
}

/// The group of a check.
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

/// A fault that a check found. Each has its own fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// On this machine.
    Workspace(WorkspaceFault),
    /// In the registry, or on the way to it.
    Registry(RegistryFault),
    /// On nodes, or on the way to them.
    Node(NodeFault),
}

/// A fault on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkspaceFault {
    /// The release is unknown, or the configuration cannot be rendered for it.
    Configuration,
    /// The certificate in `registry.ca` is expired or not valid yet.
    AuthorityOutOfDate,
    /// The credentials that the environment names are missing.
    CredentialsMissing,
    /// A reference in the configuration has no value.
    SecretMissing,
    /// An SSH key is missing, or is not a regular file.
    SshKey,
    /// The release is not locked.
    NotLocked,
    /// A set is not locked, or its lock is outdated.
    SetNotLocked,
    /// The lock cannot be read.
    LockBroken,
    /// The bundle's file is missing, and the store does not replace it.
    BundleMissing,
    /// Neither the store nor the registry has some blobs of the lock.
    BlobsMissing,
    /// The bundle's file is not the one that was locked.
    BundleDiffers,
    /// The release's mkectl is missing, or it cannot be run.
    MkectlMissing,
    /// The disk lacks space for the bytes that must be written.
    DiskFull,
    /// The environment's `requires` is not met.
    RequirementUnmet,
    /// The configuration needs something that is not in the bundle.
    NotInBundle,
    /// This machine lacks kubectl or helm.
    ToolMissing,
}

impl Fault {
    /// Returns the kind of the failure; the same problem has it in a deploy.
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
            | Self::SecretMissing
            | Self::SshKey
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
    /// Returns the checks with a problem, in their order.
    pub fn problems(&self) -> impl Iterator<Item = &Check> {
        let checks = self.checks.iter();
        checks.filter(|check| check.verdict == Verdict::Problem)
    }

    /// Returns the number of checks with a verdict.
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
