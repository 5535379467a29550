//! How an answer breaks the specification, or a registry's content its own manifests.

use oci_spec::image::Digest;

/// How an answer breaks the specification, so the request cannot continue. Follows `the answer`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// It has no `Location`, although something continues there.
    #[error("has no Location")]
    NoLocation,
    /// Its `Location` is not text.
    #[error("has a Location that cannot be read")]
    UnreadableLocation,
    /// A session took nothing of what was sent to it.
    #[error("says that nothing of bytes {from}-{to} was taken")]
    NothingTaken {
        /// The first byte that was sent.
        from: u64,
        /// The last byte that was sent.
        to: u64,
    },
    /// It does not resume a blob where that was asked.
    #[error("does not resume the blob at byte {from}")]
    NotResumed {
        /// The byte.
        from: u64,
    },
    /// It ended before the blob did.
    #[error("ended after {received} of {size} bytes")]
    Short {
        /// What came, in bytes.
        received: u64,
        /// The blob's size in bytes.
        size: u64,
    },
    /// It is longer than what it should be can be.
    #[error("is longer than {limit} bytes")]
    Long {
        /// What is read at most, in bytes.
        limit: usize,
    },
    /// It cannot be parsed as a list of tags.
    #[error("is not a list of tags: {0}")]
    Tags(serde_json::Error),
    /// It continues a list on another host or at another place.
    #[error("continues its {list} at a different place")]
    NextPage {
        /// What is listed.
        list: &'static str,
    },
    /// It continues a list without end.
    #[error("lists {list} on more than {pages} pages")]
    Pages {
        /// What is listed.
        list: &'static str,
        /// How many pages are read.
        pages: usize,
    },
    /// A web server answers with a page.
    #[error("is an HTML page, not the file")]
    Page,
    /// A token server is said to be elsewhere. The password is shown only where the registry says.
    #[error("of the token server redirects to {to}, which is not followed")]
    TokenRedirect {
        /// Where to, without its query.
        to: String,
    },
    /// A token server's answer cannot be parsed.
    #[error("of the token server cannot be read")]
    UnreadableToken,
    /// A token server's answer has no token.
    #[error("of the token server holds no token")]
    NoToken,
    /// A token has characters that a header cannot have.
    #[error("of the token server holds a token that no header can carry")]
    Token,
}

/// Why a `Location` of a registry cannot be used. Follows the `Location`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationFault {
    /// It begins with two schemes or hosts.
    #[error("in which a proxy named the scheme or the host twice")]
    NamedTwice,
    /// It leads from HTTPS to HTTP, or has a different scheme.
    #[error("which leads away from TLS or is not a web address")]
    LeavesTls,
    /// It cannot be parsed.
    #[error("which is not a URL")]
    NotAUrl,
    /// It leads to another host, where a request failed.
    #[error("which is another host than {address}")]
    OtherHost {
        /// The registry's address.
        address: String,
    },
}

/// How what a registry serves to nodes differs from what it should be. Follows its reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeFault {
    /// An index lists indexes, and these others.
    #[error("is an index more than {most} deep")]
    Deep {
        /// How deep an index is read.
        most: usize,
    },
    /// It is longer than a manifest may be.
    #[error("is longer than {limit} bytes")]
    Long {
        /// What is read at most, in bytes.
        limit: usize,
    },
    /// It cannot be parsed as a manifest.
    #[error("is not a manifest: {0}")]
    Manifest(serde_json::Error),
    /// A blob has a size of its own.
    #[error("has {found} bytes{}, {expected} by its manifest", if found > expected { " or more" } else { "" })]
    Size {
        /// What was read, in bytes.
        found: u64,
        /// The size in the manifest, in bytes.
        expected: u64,
    },
    /// A tag points at something else.
    #[error("is {found}, but the lock records {locked}")]
    Digest {
        /// What it points at.
        found: Digest,
        /// What it should point at.
        locked: Digest,
    },
}
