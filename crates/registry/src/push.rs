//! Pushes artifacts, and proves that the registry has them.
//!
//! Blobs first, then the manifests that refer to them, then the indexes that list those, the tag
//! last: at no instant does a registry serve something that is incomplete. Nothing here speaks
//! HTTP.

use std::ops::Range;
use std::sync::Arc;

use oci_spec::image::Digest;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::body::read_whole;
use crate::ensure::Supply;
use crate::executor::{Executor, Tags, makes_doubt, misses_blobs};
use crate::manifest::LARGEST_MANIFEST;
use crate::{Artifact, Blob, BlobSource, Error, Event, Manifest, Observer, Place, Registry};

/// The proof that a registry holds an artifact, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What the tag points at, by the registry's own answer.
    pub digest: Digest,
    /// What the tag pointed at before, if this push asked and it was something else.
    pub replaced: Option<Digest>,
    /// Blobs that were sent.
    pub uploaded: Tally,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted: Tally,
    /// Blobs that the repository held already; all of them if the tag was right from the start.
    pub present: Tally,
    /// How many manifests and indexes were sent.
    pub manifests: u64,
}

/// A number of blobs, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub blobs: u64,
    /// Their sizes' sum in bytes.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, size: u64) {
        self.blobs += 1;
        self.bytes += size;
    }
}

/// What came of a push of many artifacts.
#[derive(Debug)]
pub struct PushReport {
    /// What came of each artifact, in the order in which they were given. One reason may have
    /// stopped several of them.
    pub artifacts: Vec<Result<Pushed, Arc<Error>>>,
    /// Blobs that were sent, each repository's counted by itself.
    pub uploaded: Tally,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted: Tally,
    /// Blobs that their repositories held already.
    pub present: Tally,
    /// How many manifests and indexes were sent.
    pub manifests: u64,
    /// Whether it ended early because [`Stop`](crate::Stop) was requested. The artifacts that were
    /// not done then have [`Error::Stopped`].
    pub stopped: bool,
}

/// What becomes available during a push that begins before the bundle is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// The source can open this blob or manifest now.
    BlobReady(Digest),
    /// Everything can be opened, but not all of it was compared with its digest in this run: tags
    /// are set after the last blob.
    BundlePresent,
    /// Everything can be opened, and everything that was announced is right and complete: tags may
    /// be set.
    BundleVerified,
}

impl Registry {
    /// Makes the registry hold an artifact: whatever is missing is sent, and the tag's own answer
    /// is the proof at the end.
    ///
    /// If the tag points at the artifact already, one request finds it out and nothing else is
    /// done. A tag that points at something else is moved, which [`Pushed::replaced`] counts.
    /// Pushes may run concurrently; a blob that two of them need in one repository is sent once.
    /// When a push fails, or its future is dropped, the tag has not moved; the next push sends what
    /// is still missing.
    ///
    /// # Errors
    ///
    /// The first error after which the artifact cannot be completed. See [`Error`].
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

    /// Makes the registry hold many artifacts, as one transfer.
    ///
    /// Each tag is asked for first; what points at its artifact is done. Of the others, each blob
    /// is sent once to the registry and mounted from there into the other repositories that need
    /// it. Small ones are sent beside large ones. An artifact is tagged as soon as everything that
    /// it refers to exists. One that fails stops no other one, and its tag has not moved; but a
    /// registry that cannot be reached, or refuses the credentials, stops them all.
    ///
    /// Once [`Settings::stop`](crate::Settings) is requested, nothing new is begun. Small uploads
    /// and manifests that are under way are finished, a large upload ends where it is, and the
    /// session that it leaves is stored for the next run. What stalls for
    /// [`Settings::stop_timeout`](crate::Settings) is abandoned.
    pub async fn push_all(
        &self,
        artifacts: &[Artifact],
        blobs: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> PushReport {
        Executor::new(self, artifacts, blobs, None, Tags::Asked, observer)
            .run()
            .await
    }

    /// Makes the registry hold many artifacts like [`Registry::push_all`], while their blobs are
    /// still arriving.
    ///
    /// The caller has asked for each tag, and asks again afterwards: no tag is asked for here, and
    /// each artifact is one that the registry lacks. A blob is sent when it has arrived. Manifests,
    /// and with them tags, are put only after [`Arrival::BundleVerified`] or
    /// [`Arrival::BundlePresent`], so nothing can be pulled that may still turn out to be wrong.
    /// What arrives twice, or is not needed, changes nothing.
    ///
    /// If content turns out to be damaged after [`Arrival::BundlePresent`], no tag is set, and what
    /// is not done has [`Error::Withheld`]. If `arrivals` closes before both, the push ends, and
    /// every artifact that is not done has [`Error::SourceEnded`]. After a [`Stop`](crate::Stop) it
    /// ends as calmly as without.
    pub async fn push_streamed(
        &self,
        artifacts: &[Artifact],
        blobs: &dyn BlobSource,
        arrivals: UnboundedReceiver<Arrival>,
        observer: &dyn Observer,
    ) -> PushReport {
        let tags = Tags::AskedByCaller;
        Executor::new(self, artifacts, blobs, Some(arrivals), tags, observer)
            .run()
            .await
    }

    /// Reports that a repository of this registry is believed to hold a blob, so a push asks to
    /// mount it from there before it sends it.
    ///
    /// It need not be true, and the account need not be allowed to read there: after a few refusals
    /// it is not tried again.
    pub fn add_mount_candidate(&self, repository: &str, digest: &Digest) {
        self.inner.recorded.add_mount_candidate(repository, digest);
    }

    /// Reports that a repository may hold a blob from an earlier push, so a push asks for it there,
    /// or asks to mount it from there, before it sends the blob.
    ///
    /// It need not be true. A blob that is small and not expected may be sent without a question.
    pub fn expect(&self, repository: &str, digest: &Digest) {
        self.inner.recorded.expect(repository, digest);
    }

    /// Takes note that a repository was found to hold a blob in this run: a push neither asks for
    /// it there nor sends it.
    pub fn note_held(&self, repository: &str, digest: &Digest) {
        self.inner.recorded.note(repository, digest);
    }

    /// Puts manifests of an artifact whose blobs are there, the last one under the tag. If the
    /// registry contradicts itself about what they refer to, that is brought first, and they are
    /// put once more.
    pub(crate) async fn put_surely(
        &self,
        artifact: &Artifact,
        places: Range<usize>,
        supply: Supply<'_>,
    ) -> Result<(), Error> {
        let last = artifact.manifests.len();
        let again = match places.end == last {
            true => 0..last,
            false => places.clone(),
        };
        match self.put_manifests(artifact, places, supply).await {
            Err(error) if makes_doubt(&error) => {
                match self.bring_surely(artifact, supply).await? {
                    // It has every blob, so it refuses the manifest for a different reason.
                    0 if !misses_blobs(&error) => Err(error),
                    _ => self.put_manifests(artifact, again, supply).await,
                }
            }
            outcome => outcome,
        }
    }

    async fn put_manifests(
        &self,
        artifact: &Artifact,
        places: Range<usize>,
        supply: Supply<'_>,
    ) -> Result<(), Error> {
        let Supply {
            source, observer, ..
        } = supply;
        let Artifact {
            repository,
            tag,
            manifests,
        } = artifact;
        for place in places {
            let manifest = &manifests[place];
            let reference = match place + 1 == manifests.len() {
                true => tag.as_str(),
                false => manifest.digest.as_ref(),
            };
            self.put_from(repository, reference, manifest, source, observer)
                .await?;
        }
        Ok(())
    }

    /// Reads a manifest, puts it under a tag or its digest, and reports it.
    pub(crate) async fn put_from(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Manifest,
        source: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let bytes = read_manifest(source, manifest)?;
        self.put_manifest(repository, reference, manifest, bytes, observer)
            .await?;
        observer.event(Event::ManifestPut {
            repository,
            digest: &manifest.digest,
            size: manifest.size,
        });
        Ok(())
    }

    /// Reports that an artifact is tagged, after asking the registry what the tag points at now if
    /// `asks` is set.
    pub(crate) async fn confirm(
        &self,
        artifact: &Artifact,
        asks: bool,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let Artifact {
            repository, tag, ..
        } = artifact;
        let digest = &artifact.root()?.digest;
        if asks {
            let found = self.tag_digest(repository, tag, observer).await?;
            if found.as_ref() != Some(digest) {
                let path = format!("/v2/{repository}/manifests/{tag}");
                let url = self.endpoint().url(&path);
                return Err(Error::DigestMismatch {
                    at: Box::new(Place::new("HEAD", &url, repository)),
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

pub(crate) fn read_manifest(
    source: &dyn BlobSource,
    manifest: &Manifest,
) -> Result<bytes::Bytes, Error> {
    let blob = Blob {
        digest: manifest.digest.clone(),
        size: manifest.size,
    };
    read_whole(source, &blob, LARGEST_MANIFEST as u64)
}

#[cfg(test)]
mod tests;
