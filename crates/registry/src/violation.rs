//! How a response violates the specification, or how content differs from its manifest.

use oci_spec::image::Digest;

/// How a response violates the specification, so the operation cannot continue. Its text follows
/// `the answer`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// It has no `Location`, although the operation continues there.
    #[error("has no Location")]
    NoLocation,
    /// Its `Location` is not ASCII text.
    #[error("has a Location that cannot be read")]
    UnreadableLocation,
    /// The upload session accepted none of the bytes that were sent.
    #[error("says that nothing of bytes {from}-{to} was taken")]
    NothingTaken {
        /// First byte that was sent.
        from: u64,
        /// Last byte that was sent.
        to: u64,
    },
    /// It does not have the requested part of the blob.
    #[error("does not resume the blob at byte {from}")]
    NotResumed {
        /// First byte that was requested.
        from: u64,
    },
    /// It ended before the blob was complete.
    #[error("ended after {received} of {size} bytes")]
    Short {
        /// Number of bytes that were received.
        received: u64,
        /// Size of the blob in bytes.
        size: u64,
    },
    /// It is longer than the maximum for its kind.
    #[error("is longer than {limit} bytes")]
    Long {
        /// The maximum in bytes.
        limit: usize,
    },
    /// It is not a valid list of tags.
    #[error("is not a list of tags: {0}")]
    Tags(serde_json::Error),
    /// The next page of a list is on a different host or at a different path.
    #[error("continues its {list} at a different place")]
    NextPage {
        /// `tags` or `referrers`.
        list: &'static str,
    },
    /// A list has too many pages.
    #[error("lists {list} on more than {pages} pages")]
    Pages {
        /// `tags` or `referrers`.
        list: &'static str,
        /// Maximum number of pages.
        pages: usize,
    },
    /// It is an HTML page, not the requested file.
    #[error("is an HTML page, not the file")]
    Page,
    /// The token server redirects. The password is sent only to the server that the registry named.
    #[error("of the token server redirects to {to}, which is not followed")]
    TokenRedirect {
        /// Target without its query.
        to: String,
    },
    /// The token server's response is not valid JSON.
    #[error("of the token server cannot be read")]
    UnreadableToken,
    /// The token server's response has no token.
    #[error("of the token server holds no token")]
    NoToken,
    /// The token has characters that are not allowed in a header.
    #[error("of the token server holds a token that no header can carry")]
    Token,
}

/// Why a `Location` cannot be used. Its text follows the `Location`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationFault {
    /// It contains two schemes or hosts, since two proxies set them.
    #[error("in which a proxy named the scheme or the host twice")]
    NamedTwice,
    /// It leads from HTTPS to HTTP, or has a different scheme.
    #[error("which leads away from TLS or is not a web address")]
    LeavesTls,
    /// It is not a URL.
    #[error("which is not a URL")]
    NotAUrl,
    /// It leads to a different host, where the request failed.
    #[error("which is another host than {address}")]
    OtherHost {
        /// Address of the registry.
        address: String,
    },
}

/// How the content that a registry serves to nodes is wrong. Its text follows the reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeFault {
    /// Indexes are nested too deeply.
    #[error("is an index more than {most} deep")]
    Deep {
        /// Maximum depth.
        most: usize,
    },
    /// It is larger than a manifest may be.
    #[error("is longer than {limit} bytes")]
    Long {
        /// The maximum in bytes.
        limit: usize,
    },
    /// It is not a valid manifest.
    #[error("is not a manifest: {0}")]
    Manifest(serde_json::Error),
    /// The size of a blob differs from its manifest.
    #[error("has {found} bytes{}, {expected} by its manifest", if found > expected { " or more" } else { "" })]
    Size {
        /// Number of bytes that were read.
        found: u64,
        /// Size in the manifest in bytes.
        expected: u64,
    },
    /// A tag points at a different digest.
    #[error("is {found}, but the lock records {locked}")]
    Digest {
        /// Digest that it points at.
        found: Digest,
        /// Digest in the lock.
        locked: Digest,
    },
}
