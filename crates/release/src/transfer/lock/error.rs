//! Errors of locking a release.

use camino::Utf8PathBuf;

use super::Changes;
use crate::Kind;

/// How a committed lock differs from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Only keys other than the bundle differ, such as the output of `mkectl init`.
    BesideBundle,
    /// The bundle differs.
    Bundle,
    /// The lock was made from a registry, and its content or other keys differ.
    Registry,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::BesideBundle => "locks the same bundle, but differs in other keys",
            Self::Bundle => "locks a different bundle",
            Self::Registry => "differs from what the registry has now",
        })
    }
}

/// Errors of locking a release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle's URL is not valid.
    #[error(transparent)]
    Url(bundle::RequestError),
    /// The bundle is of a different release or architecture.
    #[error("this {what} is not {release} for {arch}: {}", contradictions.join("; "))]
    WrongRelease {
        /// Source with the contradictions: `bundle` or `list`.
        what: &'static str,
        /// Release to lock, such as `v4.1.5`.
        release: String,
        /// Architecture to lock.
        arch: String,
        /// Each contradiction.
        contradictions: Vec<String>,
    },
    /// A different lock is committed.
    #[error("`{path}` {difference}")]
    Differs {
        /// Path of the lock, relative to the workspace.
        path: Utf8PathBuf,
        /// Kind of the difference.
        difference: Difference,
        /// Summary of the differences; empty if the committed lock is not valid.
        changes: Changes,
        /// Unified diff, if the operator requested it.
        diff: Option<String>,
    },
    /// The bundle differs from its checksum.
    #[error("`{path}` has SHA-256 {found}, and {url} says {expected}")]
    VendorChecksum {
        /// Path of the bundle, relative to the workspace.
        path: Utf8PathBuf,
        /// Source of the checksum: a URL, a file, or the command line.
        url: String,
        /// Expected SHA-256.
        expected: String,
        /// SHA-256 of the bundle.
        found: String,
    },
    /// The checksum cannot be read or downloaded.
    #[error("cannot compare the bundle with its checksum")]
    Checksum {
        /// Cause.
        source: bundle::ChecksumError,
    },
    /// The checksum on the command line is not a SHA-256.
    #[error("`{given}` is not a SHA-256, which has 64 hexadecimal digits")]
    NotSha256 {
        /// The argument.
        given: String,
    },
    /// A URL to be locked has a user or password. Locks are committed.
    #[error("the URL {url} carries credentials, which must not be in a lock: it is committed")]
    UrlWithCredentials {
        /// URL without the credentials.
        url: String,
    },
    /// The lock lacks artifacts that the release's mkectl lists.
    #[error("the lock of {release} lacks {} that its mkectl lists: {}", if lacking.len() == 1 { "something" } else { "things" }, lacking.join(", "))]
    Incomplete {
        /// Release, such as `v4.1.5`.
        release: String,
        /// The missing references, as mkectl lists them.
        lacking: Vec<String>,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Url(_) => Kind::Usage,
            Self::WrongRelease { .. } => Kind::Content,
            Self::Differs { difference, .. } => match difference {
                Difference::BesideBundle => Kind::Workspace,
                Difference::Bundle => Kind::Content,
                Difference::Registry => Kind::Outdated,
            },
            Self::VendorChecksum { .. } => Kind::Content,
            Self::UrlWithCredentials { .. } | Self::NotSha256 { .. } => Kind::Usage,
            Self::Incomplete { .. } => Kind::Workspace,
            Self::Checksum { source } => checksum_kind(source),
        }
    }
}

fn checksum_kind(error: &bundle::ChecksumError) -> Kind {
    use bundle::ChecksumError::{Html, None, NotListed, Read, Request, TooLarge};
    match error {
        Read { .. } => Kind::Workspace,
        Request(_) => Kind::Machine,
        Html { .. } | TooLarge { .. } | None { .. } | NotListed { .. } => Kind::Content,
    }
}
