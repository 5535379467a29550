//! The events that steps report while they run. xtask displays them.

use std::fmt;

/// Receives events, from several threads.
pub trait Reporter: Send + Sync {
    /// Takes note of `event`; must return soon.
    fn report(&self, event: Event<'_>);
}

/// A step, named like its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bring what the lock names to this machine.
    Fetch,
    /// Check it, byte by byte, into the store.
    Verify,
    /// Send the registry what it lacks.
    Push,
    /// Look at the registry as a node does.
    Confirm,
    /// Write `mke4.yaml`.
    Render,
    /// Run mkectl on the configuration.
    Apply,
    /// The mkectl of the installed release writes a backup.
    Backup,
    /// Bring the cluster to a later release.
    Upgrade,
    /// Bring an MKE 3 cluster to the release.
    Migrate,
    /// Run another command of mkectl.
    Cluster,
    /// Verify a medium and import it into the workspace.
    Unpack,
    /// Write a medium.
    Pack,
}

impl Step {
    /// Returns its name, by which receipts and logs know it.
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

/// What a step reports.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step begins.
    Started {
        /// Which one.
        step: Step,
        /// What it is about to do.
        what: String,
        /// How many bytes it will go through, where that is known.
        bytes: Option<u64>,
    },
    /// A step advanced by this many bytes.
    Advanced {
        /// Which one.
        step: Step,
        /// Bytes since the last event.
        bytes: u64,
    },
    /// This many bytes of a step need not be moved, since they already exist.
    Spared {
        /// Which one.
        step: Step,
        /// Bytes since the last event.
        bytes: u64,
    },
    /// A step looks at something else now: an archive, an artifact.
    At {
        /// Which one.
        step: Step,
        /// What it looks at.
        item: &'a str,
    },
    /// A step is done.
    Finished {
        /// Which one.
        step: Step,
        /// What came of it.
        what: String,
    },
    /// A request is tried again.
    Retried {
        /// Which step.
        step: Step,
        /// What is tried again, and why.
        why: String,
    },
    /// A line that mkectl printed, without its line end.
    Mkectl(&'a str),
    /// A line that mkectl printed as a result, which an operator may redirect to a file.
    MkectlResult(&'a str),
    /// A line of a result that is a secret as a whole, for which the operator asked: of
    /// `mkectl login`, for example.
    Revealed(&'a str),
    /// Something that people should know and that stops nothing.
    Warning(String),
    /// The same, with a remedy: the program words both.
    Remediable(Remediable),
}

/// What stops nothing, and can be remedied.
#[derive(Debug)]
pub enum Remediable {
    /// No mkectl on PATH prints the defaults of this release, which is locked without them.
    NoDefaults(semver::Version),
    /// mkectl printed the administrator's password in an unknown format.
    PasswordMissed {
        /// Whether this mkectl can set a new one.
        can_reset: bool,
    },
    /// What was observed of a release contradicts what is known.
    Contradiction {
        /// The release, `v4.1.5`.
        release: String,
        /// What contradicts what.
        what: String,
    },
}
