//! Kinds of failures. The kind alone decides the exit code.

/// Kind of a failure: where the operator has to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A download, or a file, folder or program of this machine failed.
    Machine,
    /// The environment, a lock or the registry changed since the plan was computed, or upstream
    /// content changed since it was locked.
    Outdated,
    /// A file of the operator is wrong or missing: an environment, lock, receipt or credentials
    /// file.
    Workspace,
    /// The bundle or a download differs from its lock or from the vendor's checksum.
    Content,
    /// The registry is not reachable, refuses a request, or does not serve the locked content.
    Registry,
    /// A suitable mkectl is missing, or the cluster does not respond to it.
    Mkectl,
    /// mkectl was started and failed.
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
