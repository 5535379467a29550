//! The events that steps report while they run. xtask displays them.

use std::fmt;

/// Receives events from several threads.
pub trait Reporter: Send + Sync {
    /// Handles an event. Must return quickly.
    fn report(&self, event: Event<'_>);
}

/// A step, named after its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Download the artifacts of the lock.
    Fetch,
    /// Verify every byte of the download and write it to the store.
    Verify,
    /// Push missing artifacts to the registry.
    Push,
    /// Read the registry as a node does.
    Confirm,
    /// Write `mke4.yaml`.
    Render,
    /// Run `mkectl apply`.
    Apply,
    /// Back up the cluster with the mkectl of the installed release.
    Backup,
    /// Upgrade the cluster to a later release.
    Upgrade,
    /// Upgrade an MKE 3 cluster.
    Migrate,
    /// Run a different command of mkectl.
    Cluster,
    /// Verify a medium and import it into the workspace.
    Unpack,
    /// Write a medium.
    Pack,
}

impl Step {
    /// Returns the name of the step in receipts and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Push => "push",
            Self::Confirm => "confirm",
            Self::Render => "render",
            Self::Apply => "apply",
            Self::Backup => "backup",
            Self::Upgrade => "upgrade",
            Self::Migrate => "migrate",
            Self::Cluster => "mkectl",
            Self::Unpack => "unpack",
            Self::Pack => "pack",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// An event of a step.
#[derive(Debug)]
pub enum Event<'a> {
    /// The step started.
    Started {
        /// The step.
        step: Step,
        /// Description of its work.
        what: String,
        /// Total bytes to process, if known.
        bytes: Option<u64>,
    },
    /// The step processed more bytes.
    Advanced {
        /// The step.
        step: Step,
        /// Bytes since the last event.
        bytes: u64,
    },
    /// More bytes need no transfer, because the destination already has them.
    Skipped {
        /// The step.
        step: Step,
        /// Bytes since the last event.
        bytes: u64,
    },
    /// The step started to process an item.
    Item {
        /// The step.
        step: Step,
        /// Name of an archive or an artifact.
        item: &'a str,
    },
    /// The step is complete.
    Finished {
        /// The step.
        step: Step,
        /// Description of the result.
        what: String,
    },
    /// A request is retried.
    Retried {
        /// The step.
        step: Step,
        /// The error, and the pause before the retry.
        why: String,
    },
    /// A line that mkectl printed, without its line end.
    Mkectl(&'a str),
    /// A line of mkectl's result, which the operator may redirect to a file.
    MkectlResult(&'a str),
    /// A line of a secret result that the operator requested, such as that of `mkectl login`.
    Revealed(&'a str),
    /// A warning.
    Warning(String),
    /// A warning with a remedy. xtask words both.
    Remediable(Remediable),
}

/// A warning that has a remedy.
#[derive(Debug)]
pub enum Remediable {
    /// The release was locked without defaults, because its mkectl is not on PATH.
    NoDefaults(semver::Version),
    /// mkectl printed the administrator password in an unknown format.
    PasswordMissed {
        /// Whether this mkectl can set a new one.
        can_reset: bool,
    },
    /// An observation contradicts the table of releases.
    Contradiction {
        /// The release, such as `v4.1.5`.
        release: String,
        /// Description of the contradiction.
        what: String,
    },
}
