//! Restores one blob or manifest that a registry lost.
//!
//! A push trusts tags: an artifact whose tag is right is done. What is missing below a correct tag
//! is named by the caller that looked there, and comes back through here.

use bytes::Bytes;
use oci_spec::image::Digest;
use reqwest::Method;
use reqwest::header::HeaderValue;

use crate::artifact::{check_reference, check_repository};
use crate::digest::{check_digest, parse_digest, sha256};
use crate::ensure::{Outcome, UploadContext};
use crate::transport::{Access, Content, Request, TAKEN};
use crate::{Blob, BlobSource, Error, Manifest, Observer, Registry};

/// How a blob came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// The repository turned out to hold it.
    Present,
    /// The registry took it over from another of its repositories.
    Mounted,
    /// It was sent.
    Sent,
}

impl Registry {
    /// Makes the repository hold a blob again.
    ///
    /// `holders` are repositories of the same registry that were found to hold it; the blob is
    /// mounted from one of them where the registry does that, and sent otherwise.
    ///
    /// # Errors
    ///
    /// Why the repository does not hold it.
    pub async fn restore_blob(
        &self,
        repository: &str,
        blob: &Blob,
        holders: &[&str],
        source: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<Restored, Error> {
        check_repository(repository)?;
        check_digest(&blob.digest)?;
        // The caller has checked.
        self.inner.recorded.forget(repository, &blob.digest);
        for holder in holders {
            self.inner.recorded.note_held(holder, &blob.digest);
        }
        let context = UploadContext {
            source,
            observer,
            runs_trials: false,
        };
        let outcome = self.ensure_blob(repository, blob, context).await?;
        Ok(match outcome {
            Outcome::Present => Restored::Present,
            Outcome::Mounted => Restored::Mounted,
            Outcome::Uploaded => Restored::Sent,
        })
    }

    /// Puts a blob of two bytes into a repository, which shows who may write there and, when it is
    /// asked for, who may read. It is the empty configuration of the OCI specification, which
    /// registries remove like any blob that nothing refers to.
    ///
    /// # Errors
    ///
    /// Why the repository does not hold it.
    pub async fn put_empty_blob(&self, repository: &str) -> Result<Digest, Error> {
        const EMPTY: &[u8] = b"{}";
        check_repository(repository)?;
        let digest = parse_digest(&sha256(EMPTY))?;
        let session = self.open_session(repository, &()).await;
        let mut url = session.map_err(|failure| failure.error)?.url;
        url.query_pairs_mut().append_pair("digest", digest.as_ref());
        let content = Content::Bytes(Bytes::from_static(EMPTY));
        let request = Request::new(Method::PUT, url, repository)
            .access(Access::Push)
            .content(
                content,
                HeaderValue::from_static("application/octet-stream"),
            )
            .expect_status(&TAKEN);
        let response = self.transport().exchange(&request, &()).await;
        response.map_err(|failure| failure.error)?;
        Ok(digest)
    }

    /// Puts a manifest under its digest, or under a tag. What it refers to has to be there.
    ///
    /// # Errors
    ///
    /// Why the registry does not hold it.
    pub async fn restore_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Manifest,
        source: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        check_repository(repository)?;
        check_reference(reference)?;
        self.put_from_source(repository, reference, manifest, source, observer)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Blobs, Distribution, Fake, image};

    const REPOSITORY: &str = "mke/calico/node";

    #[tokio::test]
    async fn a_blob_is_sent_once_or_mounted_and_no_manifest_with_it() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"layer"]);
        let layer = &artifact.manifests[0].blobs[1];
        let registry = fake.registry();
        let restored = registry.restore_blob(REPOSITORY, layer, &[], &blobs, &());
        assert_eq!(restored.await.unwrap(), Restored::Sent);
        assert_eq!(fake.count("PUT", "/manifests/"), 0);
        let again = fake.registry();
        let restored = again.restore_blob(REPOSITORY, layer, &[], &blobs, &());
        assert_eq!(restored.await.unwrap(), Restored::Present);
        assert_eq!(fake.count("PUT", "/blobs/"), 1);
    }

    #[tokio::test]
    async fn what_was_known_before_it_was_lost_is_not_believed() {
        let registry = Distribution::start().await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"layer"]);
        let layer = &artifact.manifests[0].blobs[1];
        let client = registry.registry();
        client.push(&artifact, &blobs, &()).await.unwrap();
        registry.lose(REPOSITORY, layer.digest.as_ref());
        let restored = client.restore_blob(REPOSITORY, layer, &[], &blobs, &());
        assert_eq!(restored.await.unwrap(), Restored::Sent);
    }

    #[tokio::test]
    async fn a_manifest_is_put_where_it_is_named() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"layer"]);
        let manifest = &artifact.manifests[0];
        let registry = fake.registry();
        registry.push(&artifact, &blobs, &()).await.unwrap();
        for reference in [manifest.digest.as_ref(), "v1"] {
            let restored = registry.restore_manifest(REPOSITORY, reference, manifest, &blobs, &());
            restored.await.unwrap();
        }
        assert_eq!(fake.count("PUT", "/manifests/v1"), 2);
        assert_eq!(fake.count("PUT", "/manifests/sha256"), 1);
    }
}
