//! The kinds of failures. The kind alone decides the exit code.

/// The kind of a failure: what the operator has to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A download, or a file, folder or program of this machine failed.
    Machine,
    /// Something changed since a plan was computed.
    Outdated,
    /// A file of the operator is wrong or missing: environment, lock, receipt, credentials.
    Workspace,
    /// The bundle, or what was downloaded, differs from what its lock or the vendor's checksum
    /// records.
    Content,
    /// The registry is not reachable, refuses, or does not serve what it should.
    Registry,
    /// A fitting mkectl is missing, or the cluster does not answer it.
    Mkectl,
    /// mkectl ran and failed.
    MkectlFailed,
    /// The command is not allowed to change the environment, or to show a secret.
    NotAllowed,
    /// Some artifacts were pushed, others were not.
    Partial,
    /// The command line is wrong.
    Usage,
    /// A signal ended the command.
    Interrupted,
}
