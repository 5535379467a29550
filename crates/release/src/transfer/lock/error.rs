//! Why a bundle is not locked as a release.

use camino::Utf8PathBuf;

use super::Changes;
use crate::Kind;

/// In what a committed lock differs from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Something beside the bundle, such as what mkectl prints.
    BesideBundle,
    /// The bundle.
    Bundle,
    /// What the registry has that the release is locked from, or something beside it.
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

/// Why a lock is not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle's URL is not valid.
    #[error(transparent)]
    Url(bundle::RequestError),
    /// The bundle is of a different release or architecture.
    #[error("this {what} is not {release} for {arch}: {}", contradictions.join("; "))]
    WrongRelease {
        /// What contradicts it: `bundle` or `list`.
        what: &'static str,
        /// The release that was to be locked.
        release: String,
        /// The architecture.
        arch: String,
        /// What contradicts.
        contradictions: Vec<String>,
    },
    /// A different lock is committed.
    #[error("`{path}` {difference}")]
    Differs {
        /// The committed lock.
        path: Utf8PathBuf,
        /// In what it differs.
        difference: Difference,
        /// What differs, if the committed lock is valid.
        changes: Changes,
        /// All lines that differ, as a unified diff, if it was requested.
        diff: Option<String>,
    },
    /// The bundle does not have the checksum that the vendor publishes for it.
    #[error("`{path}` has SHA-256 {found}, and {url} says {expected}")]
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
    /// The vendor's checksum is not available.
    #[error("cannot compare the bundle with its checksum")]
    Checksum {
        /// Why not.
        source: bundle::ChecksumError,
    },
    /// The checksum on the command line is not a SHA-256.
    #[error("`{given}` is not a SHA-256, which has 64 hexadecimal digits")]
    NotSha256 {
        /// What was given.
        given: String,
    },
    /// A URL to be locked carries a user or a password, and locks are committed.
    #[error("the URL {url} carries credentials, which must not be in a lock: it is committed")]
    UrlWithCredentials {
        /// The URL, without the credentials.
        url: String,
    },
    /// The release's own mkectl lists what the lock lacks.
    #[error("the lock of {release} lacks {} that its mkectl lists: {}", if lacking.len() == 1 { "something" } else { "things" }, lacking.join(", "))]
    Incomplete {
        /// The release.
        release: String,
        /// The references, as they are listed.
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
