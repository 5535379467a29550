//! Many artifacts as one transfer, or one of them, and the proof at the end that they are there.
//!
//! Blobs first, then the manifests that refer to them, then the indexes that list those, the tag last: at no instant does
//! a registry serve something that is incomplete. Nothing here speaks HTTP.

use std::sync::Arc;

use oci_spec::image::Digest;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::body::read_whole;
use crate::executor::Executor;
use crate::manifest::LARGEST_MANIFEST;
use crate::{Artifact, Blob, BlobSource, Error, Event, Manifest, Observer, Place, Registry};

/// The proof that a registry holds an artifact, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What the tag points at, by the registry's own answer at the end of this push.
    pub digest: Digest,
    /// What the tag pointed at before, if that was something else.
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
    /// What came of each artifact, in the order in which they were given. One reason may have stopped several of them.
    pub artifacts: Vec<Result<Pushed, Arc<Error>>>,
    /// Blobs that were sent, each repository's counted by itself.
    pub uploaded: Tally,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted: Tally,
    /// Blobs that their repositories held already.
    pub present: Tally,
    /// How many manifests and indexes were sent.
    pub manifests: u64,
    /// Whether it ended early because [`Stop`](crate::Stop) was requested. The artifacts that were not done then have [`Error::Stopped`].
    pub stopped: bool,
}

/// What becomes of the blobs of a push that begins before they are all there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// The source can open this blob or manifest now.
    Blob(Digest),
    /// Everything can be opened, and everything that was announced is right and complete: tags may be set.
    Whole,
}

impl Registry {
    /// Makes the registry hold an artifact: whatever is missing is sent, and the tag's own answer is the proof at the end.
    ///
    /// If the tag points at the artifact already, one request finds it out and nothing else is done. A tag that points at
    /// something else is moved, which [`Pushed::replaced`] tells. Pushes may run side by side; a blob that two of them want in one
    /// repository is sent once. When a push fails, or its future is dropped, the tag has not moved; the next push sends what is still missing.
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
            Some(Err(error)) => Err(Arc::into_inner(error)
                .unwrap_or_else(|| unreachable!("a single artifact shares its error with nobody"))),
            None => unreachable!("each artifact is reported"),
        }
    }

    /// Makes the registry hold many artifacts, as one transfer.
    ///
    /// Each tag is asked for first; what points at its artifact is done. Of the others, each blob is sent once to the registry and
    /// mounted from there into the other repositories that need it. The largest are sent first, with room kept for small ones.
    /// An artifact is tagged as soon as everything that it refers to is there. One that fails stops no other one, and its
    /// tag has not moved; but a registry that cannot be reached, or refuses the credentials, stops them all.
    ///
    /// Once [`Settings::stop`](crate::Settings) is requested, nothing new is begun. Small uploads and manifests that are under way are finished,
    /// a large upload ends where it is, and the session that it leaves is remembered for the next run.
    pub async fn push_all(
        &self,
        artifacts: &[Artifact],
        blobs: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> PushReport {
        Executor::new(self, artifacts, blobs, None, observer)
            .run()
            .await
    }

    /// Makes the registry hold many artifacts like [`Registry::push_all`], while their blobs are still arriving.
    ///
    /// Tags are asked for at once; what is right already needs no arrival. A blob is sent when it has arrived, the largest first
    /// of those that are there. Manifests, and with them tags, are put only after [`Arrival::Whole`], so that nothing can
    /// be pulled of what may still turn out to be wrong. What arrives twice, or is needed by nobody, changes nothing.
    ///
    /// If `arrivals` closes before [`Arrival::Whole`], the push ends at once, and every artifact that is not done has [`Error::SourceEnded`].
    /// After a [`Stop`](crate::Stop) it ends as calmly as without.
    pub async fn push_as_they_come(
        &self,
        artifacts: &[Artifact],
        blobs: &dyn BlobSource,
        arrivals: UnboundedReceiver<Arrival>,
        observer: &dyn Observer,
    ) -> PushReport {
        Executor::new(self, artifacts, blobs, Some(arrivals), observer)
            .run()
            .await
    }

    /// Says that a repository of this registry is believed to hold a blob, so that a push asks to mount it from there before it sends it.
    ///
    /// It need not be true, and the account need not be allowed to read there: after a few refusals nobody asks any more.
    pub fn offer(&self, repository: &str, digest: &Digest) {
        self.inner.known.offer(repository, digest);
    }

    /// Takes note that a repository was found to hold a blob in this run: a push neither asks for it there nor sends it.
    pub fn note_held(&self, repository: &str, digest: &Digest) {
        self.inner.known.note(repository, digest);
    }

    /// Puts the manifests of an artifact whose blobs are there, the tag last, and asks for the tag.
    pub(crate) async fn finish(
        &self,
        artifact: &Artifact,
        blobs: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let Artifact {
            repository,
            tag,
            manifests,
        } = artifact;
        let root = artifact.root()?;
        for manifest in manifests {
            let is_root = manifest.digest == root.digest;
            let reference = if is_root {
                tag.as_str()
            } else {
                manifest.digest.as_ref()
            };
            let bytes = read_manifest(blobs, manifest)?;
            self.put_manifest(repository, reference, manifest, bytes, observer)
                .await?;
            observer.event(Event::ManifestPut {
                repository,
                digest: &manifest.digest,
                size: manifest.size,
            });
        }
        self.confirm(repository, tag, &root.digest, observer)
            .await?;
        observer.event(Event::Tagged {
            repository,
            tag,
            digest: &root.digest,
        });
        Ok(())
    }

    /// Asks the registry what the tag points at now.
    async fn confirm(
        &self,
        repository: &str,
        tag: &str,
        digest: &Digest,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let found = self.tag_digest(repository, tag, observer).await?;
        if found.as_ref() == Some(digest) {
            return Ok(());
        }
        let path = format!("/v2/{repository}/manifests/{tag}");
        let url = self.endpoint().url(&path);
        Err(Error::DigestMismatch {
            at: Box::new(Place::new("HEAD", &url, repository)),
            expected: digest.clone(),
            found: found.map_or_else(|| "nothing".to_owned(), |found| found.to_string()),
        })
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
