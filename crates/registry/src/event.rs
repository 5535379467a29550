//! What a push reports to its caller while it runs. This crate draws nothing.

use std::time::Duration;

use oci_spec::image::Digest;

use crate::Error;

/// Something that happened during a push.
#[derive(Debug, Clone, Copy)]
#[expect(
    missing_docs,
    reason = "the fields are what their names say; sizes and counts are in bytes"
)]
pub enum Event<'a> {
    /// The tag pointed at the right digest before anything was sent; nothing else follows for this
    /// artifact.
    ArtifactPresent {
        repository: &'a str,
        tag: &'a str,
        digest: &'a Digest,
    },
    /// The repository holds the blob already.
    BlobPresent {
        repository: &'a str,
        digest: &'a Digest,
        size: u64,
    },
    /// The registry took the blob over from another of its repositories.
    BlobMounted {
        repository: &'a str,
        digest: &'a Digest,
        size: u64,
    },
    /// An upload begins, or begins again after [`Event::Retrying`].
    BlobStarted {
        repository: &'a str,
        digest: &'a Digest,
        size: u64,
    },
    /// The session that an upload resumes holds so much of the blob from before.
    BlobResumed {
        repository: &'a str,
        digest: &'a Digest,
        held: u64,
    },
    /// So much of the blob was handed to the connection since its last [`Event::BlobStarted`]. Told
    /// a few times a second at most.
    BlobProgress {
        repository: &'a str,
        digest: &'a Digest,
        sent: u64,
        size: u64,
    },
    /// The registry confirmed the blob.
    BlobUploaded {
        repository: &'a str,
        digest: &'a Digest,
        size: u64,
    },
    /// The registry confirmed a manifest or an index.
    ManifestPut {
        repository: &'a str,
        digest: &'a Digest,
        size: u64,
    },
    /// The registry answered that the tag points at the artifact; this is the last event of a push
    /// that sent something.
    Tagged {
        repository: &'a str,
        tag: &'a str,
        digest: &'a Digest,
    },
    /// A request failed in a way that may pass; it is made again after `pause`.
    Retrying {
        error: &'a Error,
        attempt: u32,
        attempts: u32,
        pause: Duration,
    },
}

/// Receives the events of a push. Called from several tasks concurrently; it must return quickly.
pub trait Observer: Send + Sync {
    /// Takes note of one event.
    fn event(&self, event: Event<'_>);
}

/// Takes note of nothing.
impl Observer for () {
    fn event(&self, _: Event<'_>) {}
}
