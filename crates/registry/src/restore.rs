//! Uploads one blob or manifest that a registry lost.
//!
//! A push trusts tags: an artifact whose tag is right counts as complete. A caller that looked
//! below the tag names what is missing.

use bytes::Bytes;
use oci_spec::image::Digest;
use reqwest::Method;

use crate::artifact::{check_reference, check_repository};
use crate::digest::{check_digest, parse_digest, sha256};
use crate::ensure::{BlobOutcome, UploadContext};
use crate::transport::{Access, Content, Request, TAKEN};
use crate::{Blob, BlobSource, Error, Manifest, Observer, Registry};

impl Registry {
    /// Ensures that a repository has a blob which it lost.
    ///
    /// `holders` are repositories of the same registry in which the blob was found. It is mounted
    /// from one of them if the registry supports that, and uploaded otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] or [`Error::DigestAlgorithm`] for invalid names; otherwise the reason why
    /// the repository still lacks the blob.
    pub async fn restore_blob(
        &self,
        repository: &str,
        blob: &Blob,
        holders: &[&str],
        source: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<BlobOutcome, Error> {
        check_repository(repository)?;
        check_digest(&blob.digest)?;
        // The caller found that the blob is missing.
        self.inner.recorded.forget(repository, &blob.digest);
        for holder in holders {
            self.inner.recorded.note_held(holder, &blob.digest);
        }
        let context = UploadContext {
            source,
            observer,
            runs_trials: false,
        };
        self.ensure_blob(repository, blob, context).await
    }

    /// Puts a blob of two bytes into a repository and returns its digest. This shows who may write
    /// there and, with a lookup, who may read.
    ///
    /// The blob is the empty configuration of the OCI specification. Registries delete it like any
    /// blob that nothing refers to.
    ///
    /// # Errors
    ///
    /// The refusal, or the error of the request.
    pub async fn put_empty_blob(&self, repository: &str) -> Result<Digest, Error> {
        const EMPTY: &[u8] = b"{}";
        check_repository(repository)?;
        let digest = parse_digest(&sha256(EMPTY))?;
        let mut url = self.open_session(repository, &()).await?.url;
        url.query_pairs_mut().append_pair("digest", digest.as_ref());
        let request = Request::new(Method::PUT, url, repository)
            .access(Access::Push)
            .octets(Content::Bytes(Bytes::from_static(EMPTY)))
            .expect_status(&TAKEN);
        self.transport().exchange(&request, &()).await?;
        Ok(digest)
    }

    /// Puts a manifest under its digest or a tag. The repository must have the blobs and manifests
    /// that it refers to.
    ///
    /// # Errors
    ///
    /// The refusal, or the reason why the registry lacks the manifest.
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
    async fn a_blob_is_restored_once_and_without_its_manifest() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"layer"]);
        let layer = &artifact.manifests[0].blobs[1];
        let registry = fake.registry();
        let restored = registry.restore_blob(REPOSITORY, layer, &[], &blobs, &());
        assert_eq!(restored.await.unwrap(), BlobOutcome::Uploaded);
        assert_eq!(fake.count("PUT", "/manifests/"), 0);
        let again = fake.registry();
        let restored = again.restore_blob(REPOSITORY, layer, &[], &blobs, &());
        assert_eq!(restored.await.unwrap(), BlobOutcome::Present);
        assert_eq!(fake.count("PUT", "/blobs/"), 1);
    }

    #[tokio::test]
    async fn a_recorded_blob_that_was_lost_is_uploaded_again() {
        let registry = Distribution::start().await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"layer"]);
        let layer = &artifact.manifests[0].blobs[1];
        let client = registry.registry();
        client.push(&artifact, &blobs, &()).await.unwrap();
        registry.lose(REPOSITORY, layer.digest.as_ref());
        let restored = client.restore_blob(REPOSITORY, layer, &[], &blobs, &());
        assert_eq!(restored.await.unwrap(), BlobOutcome::Uploaded);
    }

    #[tokio::test]
    async fn a_manifest_is_restored_under_its_digest_or_tag() {
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
