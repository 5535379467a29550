//! Progress events of a push. This crate draws nothing.

use std::time::Duration;

use oci_spec::image::Digest;

use crate::Error;

/// An event during a push.
#[derive(Debug, Clone, Copy)]
#[expect(
    missing_docs,
    reason = "the fields are what their names say; sizes and counts are in bytes"
)]
pub enum Event<'a> {
    /// The tag already pointed at the right digest. No further event follows for this artifact.
    ArtifactPresent {
        repository: &'a str,
        tag: &'a str,
        digest: &'a Digest,
    },
    /// The repository already has the blob.
    BlobPresent {
        repository: &'a str,
        digest: &'a Digest,
        size: u64,
    },
    /// The blob was mounted from a different repository of the registry.
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
    /// The session that the upload resumes already contains `held` bytes of the blob.
    BlobResumed {
        repository: &'a str,
        digest: &'a Digest,
        held: u64,
    },
    /// `sent` bytes were passed to the connection since the last [`Event::BlobStarted`]. Emitted at
    /// most five times a second.
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
    /// The registry confirmed that the tag points at the artifact. Last event of an artifact.
    Tagged {
        repository: &'a str,
        tag: &'a str,
        digest: &'a Digest,
    },
    /// A request failed with a transient error. Attempt number `attempt` follows after `pause`.
    Retrying {
        error: &'a Error,
        attempt: u32,
        attempts: u32,
        pause: Duration,
    },
}

/// Receives the events of a push, concurrently from several tasks. Must return quickly.
pub trait Observer: Send + Sync {
    /// Receives one event.
    fn event(&self, event: Event<'_>);
}

/// Ignores all events.
impl Observer for () {
    fn event(&self, _: Event<'_>) {}
}
