//! Pushes artifacts and confirms that the registry has them.
//!
//! The order is: blobs, the manifests that refer to them, the indexes that list those, the tag. So
//! the registry never serves an incomplete artifact. This module does not know HTTP.

use std::ops::Range;
use std::sync::Arc;

use oci_spec::image::Digest;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::body::read_checked;
use crate::ensure::UploadContext;
use crate::executor::{Executor, Tags, may_miss_blobs, reports_missing_blobs};
use crate::manifest::LARGEST_MANIFEST;
use crate::{Artifact, Blob, BlobSource, Error, Event, Manifest, Observer, Registry, RequestInfo};

/// An artifact that the registry confirmed, with the counts of its push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the tagged manifest, as the registry confirmed it.
    pub digest: Digest,
    /// Digest that the tag had before, if this push looked the tag up and it was a different one.
    pub replaced: Option<Digest>,
    /// Blobs that were uploaded.
    pub uploaded: Tally,
    /// Blobs that were mounted from a different repository of the registry.
    pub mounted: Tally,
    /// Blobs that the repository already had; all of them if the tag was already right.
    pub present: Tally,
    /// Number of manifests and indexes that were put.
    pub manifests: u64,
}

/// A number of blobs and their total size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of blobs.
    pub blobs: u64,
    /// Total size in bytes.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, size: u64) {
        self.blobs += 1;
        self.bytes += size;
    }
}

/// The outcome of a push of several artifacts.
#[derive(Debug, Default)]
pub struct PushReport {
    /// The outcome of each artifact, in the order of the input. Artifacts that failed for the same
    /// reason share the error.
    pub artifacts: Vec<Result<Pushed, Arc<Error>>>,
    /// Blobs that were uploaded, counted once per repository.
    pub uploaded: Tally,
    /// Blobs that were mounted from a different repository of the registry.
    pub mounted: Tally,
    /// Blobs that their repositories already had.
    pub present: Tally,
    /// Number of manifests and indexes that were put.
    pub manifests: u64,
    /// Whether [`Stop`](crate::Stop) ended the push early. Unfinished artifacts then have
    /// [`Error::Stopped`].
    pub stopped: bool,
}

/// Content that becomes available during a push that begins before the bundle is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// The source can open this blob or manifest now.
    BlobReady(Digest),
    /// The source can open everything, but part of it was not compared with its digest in this run.
    /// Tags are set after the last blob is uploaded, which compares it.
    BundlePresent,
    /// The source can open everything, and all of it was verified. Tags may be set.
    BundleVerified,
}

impl Registry {
    /// Pushes one artifact: sends what the registry lacks, sets the tag and confirms it with a
    /// lookup.
    ///
    /// - If the tag already points at the artifact, one request finds that out and nothing else is
    ///   sent.
    /// - If it points at a different one, it is moved, and [`Pushed::replaced`] has the old digest.
    /// - Pushes may run concurrently. A blob that two of them need in one repository is sent once.
    /// - If the push fails or its future is dropped, the tag has not moved. The next push sends
    ///   what is still missing.
    ///
    /// # Errors
    ///
    /// The first error that keeps the artifact from completion.
    pub async fn push(
        &self,
        artifact: &Artifact,
        blobs: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<Pushed, Error> {
        let report = self
            .push_all(std::slice::from_ref(artifact), blobs, observer)
            .await;
        let outcome = report.artifacts.into_iter().next();
        match outcome {
            Some(Ok(pushed)) => Ok(pushed),
            Some(Err(error)) => Err(Arc::into_inner(error).unwrap_or_else(|| {
                unreachable!("a single artifact shares its error with no other one")
            })),
            None => unreachable!("each artifact is reported"),
        }
    }

    /// Pushes several artifacts as one transfer.
    ///
    /// - Each tag is looked up first. An artifact whose tag is right is complete.
    /// - Each blob is sent once to the registry and mounted in the other repositories that need it.
    /// - An artifact is tagged as soon as everything that it refers to exists.
    /// - An artifact that fails is not tagged, and the others continue. The push ends if the
    ///   registry cannot be reached or refuses the credentials.
    ///
    /// After a stop by [`Settings::stop`](crate::Settings) nothing new is begun:
    ///
    /// - Small uploads and manifests in progress are completed.
    /// - A large upload ends after the last byte that was sent, and its session is stored for the
    ///   next run.
    /// - A request that stalls for [`Settings::stop_timeout`](crate::Settings) is aborted.
    pub async fn push_all(
        &self,
        artifacts: &[Artifact],
        blobs: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> PushReport {
        Executor::new(self, artifacts, blobs, None, Tags::LookedUpByPush, observer)
            .run()
            .await
    }

    /// Pushes artifacts like [`Registry::push_all`] while their blobs are still arriving.
    ///
    /// The caller looks up each tag before and after. Tags are not looked up here, and `artifacts`
    /// contains only what the registry lacks.
    ///
    /// A blob is sent when it has arrived. Manifests and tags are put only after
    /// [`Arrival::BundleVerified`] or [`Arrival::BundlePresent`], so nothing can be pulled that may
    /// still turn out wrong. An arrival that is repeated or not needed has no effect.
    ///
    /// Unfinished artifacts get these errors:
    ///
    /// - [`Error::Withheld`] if content turns out damaged after [`Arrival::BundlePresent`]. No tag
    ///   is set then.
    /// - [`Error::SourceEnded`] if `arrivals` closes before the bundle is complete.
    /// - [`Error::Stopped`] after a [`Stop`](crate::Stop).
    pub async fn push_streamed(
        &self,
        artifacts: &[Artifact],
        blobs: &dyn BlobSource,
        arrivals: UnboundedReceiver<Arrival>,
        observer: &dyn Observer,
    ) -> PushReport {
        let tags = Tags::LookedUpByCaller;
        Executor::new(self, artifacts, blobs, Some(arrivals), tags, observer)
            .run()
            .await
    }

    /// Adds a mount candidate: a push tries to mount the blob from `repository` before it sends it.
    ///
    /// The repository need not have the blob, and the account need not be allowed to read it. After
    /// a few refusals candidates are not tried any more.
    pub fn add_mount_candidate(&self, repository: &str, digest: &Digest) {
        self.inner.recorded.add_mount_candidate(repository, digest);
    }

    /// Records that an earlier push may have left a blob in `repository`. A push looks it up there,
    /// or tries to mount it from there, before it sends the blob.
    ///
    /// The repository need not have the blob. Small blobs without such a record may be sent without
    /// a lookup.
    pub fn expect(&self, repository: &str, digest: &Digest) {
        self.inner.recorded.expect(repository, digest);
    }

    /// Records that a lookup in this run found a blob in `repository`. A push neither looks it up
    /// nor sends it there.
    pub fn note_held(&self, repository: &str, digest: &Digest) {
        self.inner.recorded.note_held(repository, digest);
    }

    /// Puts the manifests in the range `range` of an artifact whose blobs exist, the last one
    /// under the tag.
    ///
    /// If the registry refuses a manifest and lacks blobs that it reported as present, they are
    /// uploaded and the manifests are put again.
    pub(crate) async fn put_and_repair(
        &self,
        artifact: &Artifact,
        range: Range<usize>,
        context: UploadContext<'_>,
    ) -> Result<(), Error> {
        let last = artifact.manifests.len();
        let again = match range.end == last {
            true => 0..last,
            false => range.clone(),
        };
        match self.put_manifests(artifact, range, context).await {
            Err(error) if may_miss_blobs(&error) => {
                match self.reupload_missing(artifact, context).await? {
                    // The registry has every blob, so it refuses the manifest for a different
                    // reason.
                    0 if !reports_missing_blobs(&error) => Err(error),
                    _ => self.put_manifests(artifact, again, context).await,
                }
            }
            outcome => outcome,
        }
    }

    async fn put_manifests(
        &self,
        artifact: &Artifact,
        range: Range<usize>,
        context: UploadContext<'_>,
    ) -> Result<(), Error> {
        let UploadContext {
            source, observer, ..
        } = context;
        let Artifact {
            repository,
            tag,
            manifests,
        } = artifact;
        for index in range {
            let manifest = &manifests[index];
            let reference = match index + 1 == manifests.len() {
                true => tag.as_str(),
                false => manifest.digest.as_ref(),
            };
            self.put_from_source(repository, reference, manifest, source, observer)
                .await?;
        }
        Ok(())
    }

    /// Reads a manifest from its source, puts it under a tag or its digest, and emits
    /// [`Event::ManifestPut`].
    pub(crate) async fn put_from_source(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Manifest,
        source: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let blob = Blob {
            digest: manifest.digest.clone(),
            size: manifest.size,
        };
        let bytes = read_checked(source, &blob, LARGEST_MANIFEST as u64)?;
        self.put_manifest(repository, reference, manifest, bytes, observer)
            .await?;
        observer.event(Event::ManifestPut {
            repository,
            digest: &manifest.digest,
            size: manifest.size,
        });
        Ok(())
    }

    /// Emits [`Event::Tagged`]. If `looks_up` is set, the tag is looked up first.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] if the tag points at a different digest.
    pub(crate) async fn confirm(
        &self,
        artifact: &Artifact,
        looks_up: bool,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let Artifact {
            repository, tag, ..
        } = artifact;
        let digest = &artifact.root()?.digest;
        if looks_up {
            let found = self.tag_digest(repository, tag, observer).await?;
            if found.as_ref() != Some(digest) {
                let url = self.endpoint().manifest_url(repository, tag);
                return Err(Error::DigestMismatch {
                    at: Box::new(RequestInfo::new("HEAD", &url, repository)),
                    expected: digest.clone(),
                    found: found.map_or_else(|| "nothing".to_owned(), |found| found.to_string()),
                });
            }
        }
        observer.event(Event::Tagged {
            repository,
            tag,
            digest,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
