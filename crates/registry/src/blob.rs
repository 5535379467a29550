//! Looks up and reads one blob.

use bytes::Bytes;
use oci_spec::image::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::artifact::check_repository;
use crate::digest::{check_digest, format_digest};
use crate::response::Response;
use crate::transport::{Access, Request};
use crate::{Blob, Error, Observer, Registry, Settings};

/// The response header with the digest of the content.
pub(crate) const DOCKER_CONTENT_DIGEST: HeaderName =
    HeaderName::from_static("docker-content-digest");

/// A blob that a lookup found, as far as the response describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBlob {
    /// Digest, if the response has it.
    pub digest: Option<Digest>,
    /// Size in bytes, if the response has it. 0 counts as missing: some proxies set it on responses
    /// without a body.
    pub size: Option<u64>,
}

impl Registry {
    /// Looks up a blob. Returns `None` if the repository does not have it, even if other
    /// repositories of the registry do.
    ///
    /// # Errors
    ///
    /// The error of the request.
    pub async fn find_blob(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<FoundBlob>, Error> {
        check_repository(repository)?;
        check_digest(digest)?;
        let response = self.look_up_blob(repository, digest, &()).await?;
        Ok(response.map(|response| FoundBlob {
            digest: response_digest(response.headers()).and_then(|digest| digest.parse().ok()),
            size: BlobSize::of(response.headers()).0.filter(|size| *size > 0),
        }))
    }

    /// Starts to read a blob of `size` bytes. The bytes are hashed while they arrive: the blob is
    /// complete and right only once [`BlobReader::next`] returns `None`. A longer body is not read
    /// to its end, since it may have none.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the repository does not have the blob; otherwise the error of the
    /// request.
    pub async fn get_blob(
        &self,
        repository: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<BlobReader, Error> {
        check_repository(repository)?;
        check_digest(digest)?;
        let transport = self.transport();
        let url = self.blob_url(repository, digest);
        let request = Request::new(Method::GET, url, repository).access(Access::Pull);
        let response = transport.send(&request, &()).await?;
        Ok(BlobReader {
            size: content_length(response.headers()),
            remaining: size,
            response,
            digest: digest.clone(),
            hasher: Some(Sha256::new()),
            settings: transport.settings().clone(),
        })
    }

    async fn look_up_blob(
        &self,
        repository: &str,
        digest: &Digest,
        observer: &dyn Observer,
    ) -> Result<Option<Response>, Error> {
        let url = self.blob_url(repository, digest);
        let head = Request::new(Method::HEAD, url, repository)
            .access(Access::Pull)
            .expect_status(&[StatusCode::OK, StatusCode::NOT_FOUND]);
        let get = self.first_byte(repository, digest);
        let response = self.transport().head_or_get(&head, &get, observer).await?;
        Ok((response.status() != StatusCode::NOT_FOUND).then_some(response))
    }

    /// Returns the request for the first byte of a blob. A registry without support for ranges
    /// sends the whole blob, which is not read.
    fn first_byte<'a>(&self, repository: &'a str, digest: &Digest) -> Request<'a> {
        Request::new(Method::GET, self.blob_url(repository, digest), repository)
            .access(Access::Pull)
            .header(RANGE, HeaderValue::from_static("bytes=0-0"))
            .expect_status(&[
                StatusCode::OK,
                StatusCode::PARTIAL_CONTENT,
                StatusCode::NOT_FOUND,
                // An empty blob has no first byte.
                StatusCode::RANGE_NOT_SATISFIABLE,
            ])
            .briefly()
    }

    /// Returns whether the repository serves the first byte of the blob. Some registries respond to
    /// `HEAD` from a cache although they have lost the bytes.
    ///
    /// # Errors
    ///
    /// The error of the request.
    pub async fn serves(
        &self,
        repository: &str,
        blob: &Blob,
        observer: &dyn Observer,
    ) -> Result<bool, Error> {
        check_repository(repository)?;
        check_digest(&blob.digest)?;
        let request = self.first_byte(repository, &blob.digest);
        match self.transport().send(&request, observer).await {
            Ok(response) => Ok(response.status() != StatusCode::NOT_FOUND
                && BlobSize::of(response.headers()).may_be(blob.size)),
            Err(Error::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the repository has the blob in the expected size.
    ///
    /// 403 counts as no: some registries respond it for a missing blob. If the account may indeed
    /// not read, the upload gets the same error.
    pub(crate) async fn holds(
        &self,
        repository: &str,
        blob: &Blob,
        observer: &dyn Observer,
    ) -> Result<bool, Error> {
        match self.look_up_blob(repository, &blob.digest, observer).await {
            Ok(response) => {
                Ok(response.is_some_and(|one| BlobSize::of(one.headers()).may_be(blob.size)))
            }
            Err(Error::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn blob_url(&self, repository: &str, digest: &Digest) -> Url {
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.transport().endpoint().url(&path)
    }
}

/// A blob while it is read from a registry.
#[derive(Debug)]
pub struct BlobReader {
    response: Response,
    digest: Digest,
    size: Option<u64>,
    /// Number of bytes that are still to be read.
    remaining: u64,
    hasher: Option<Sha256>,
    settings: Settings,
}

impl BlobReader {
    /// Returns the size in bytes that the registry declared.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns the next bytes, or `None` at the end of a blob that matches its digest.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] if it does not match; [`Error::TimedOut`] or
    /// [`Error::ConnectionLost`] if the bytes stop arriving. A failed read cannot continue.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(None);
        };
        let chunk = self.response.chunk(self.settings.stall_timeout).await;
        match chunk.map_err(|fault| fault.failure(self.response.place()).error)? {
            Some(chunk) => {
                let Some(remaining) = self.remaining.checked_sub(chunk.len() as u64) else {
                    self.hasher = None;
                    return Err(mismatch(&self.response, &self.digest, "a longer blob"));
                };
                self.remaining = remaining;
                hasher.update(&chunk);
                Ok(Some(chunk))
            }
            None => {
                let found = self.hasher.take().map(format_digest).unwrap_or_default();
                if found == self.digest.as_ref() {
                    Ok(None)
                } else {
                    Err(mismatch(&self.response, &self.digest, &found))
                }
            }
        }
    }
}

/// The size of a blob in a response, if there is one.
pub(crate) struct BlobSize(Option<u64>);

impl BlobSize {
    /// Returns the size in the headers: that of the whole blob if the response has only a part.
    fn of(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_RANGE).map(HeaderValue::to_str) {
            Some(range) => Self(
                range
                    .ok()
                    .and_then(|range| range.rsplit_once('/')?.1.parse().ok()),
            ),
            None => Self(content_length(headers)),
        }
    }

    /// Returns whether this may be a blob of `size` bytes. Some proxies set a length of 0 on
    /// responses without a body.
    fn may_be(&self, size: u64) -> bool {
        self.0.is_none_or(|found| found == size || found == 0)
    }
}

/// Returns the digest in a response, as text.
pub(crate) fn response_digest(headers: &HeaderMap) -> Option<&str> {
    headers.get(DOCKER_CONTENT_DIGEST)?.to_str().ok()
}

/// Returns the `Content-Length` of a response. For `HEAD` it differs from the length of the body.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(crate) fn mismatch(response: &Response, expected: &Digest, found: &str) -> Error {
    Error::DigestMismatch {
        at: Box::new(response.place().clone()),
        expected: expected.clone(),
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode as Status;
    use axum::response::{Html, IntoResponse};

    use super::*;
    use crate::fake::{Blobs, Fake, deployer};

    const REPOSITORY: &str = "mke/calico/node";

    #[tokio::test]
    async fn redirects_are_followed_without_credentials_and_up_to_a_limit() {
        let storage = Fake::start(|_| "twelve bytes".into_response()).await;
        let location = format!("http://{}/bucket/1", storage.address);
        let fake = Fake::start(move |seen| match seen.sent("authorization") {
            None => (Status::UNAUTHORIZED, [("www-authenticate", "Basic")]).into_response(),
            Some(_) => {
                (Status::TEMPORARY_REDIRECT, [("location", location.clone())]).into_response()
            }
        })
        .await;
        let registry = fake.registry_as(deployer("open sesame"));
        let digest = Blobs::new().put(b"twelve bytes");
        let mut reader = registry.get_blob(REPOSITORY, &digest, 12).await.unwrap();
        assert_eq!(reader.size(), Some(12));
        assert_eq!(
            reader.next().await.unwrap().unwrap().as_ref(),
            b"twelve bytes"
        );
        assert_eq!(reader.next().await.unwrap(), None);
        assert_eq!(
            storage.seen(|seen| seen.sent("authorization").is_some()),
            [false]
        );

        let fake = Fake::start(|_| {
            (
                Status::TEMPORARY_REDIRECT,
                [("location", "/round/and/round")],
            )
                .into_response()
        })
        .await;
        let error = fake
            .registry()
            .find_blob(REPOSITORY, &digest)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
        assert_eq!(fake.requests().len(), 6);
    }

    #[tokio::test]
    async fn a_login_page_is_not_a_blob() {
        let fake = Fake::start(|_| Html("<form>").into_response()).await;
        let digest = Blobs::new().put(b"twelve bytes");
        let error = fake
            .registry()
            .find_blob(REPOSITORY, &digest)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NotARegistry { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_blob_of_a_different_size_is_missing() {
        let fake = Fake::over_registry(|_| None).await;
        let registry = fake.registry();
        let blobs = Blobs::new();
        let blob = blobs.blob(b"twelve bytes");
        assert!(
            registry
                .find_blob(REPOSITORY, &blob.digest)
                .await
                .unwrap()
                .is_none()
        );
        registry
            .upload(REPOSITORY, &blob, &blobs, None, &())
            .await
            .unwrap();
        assert!(
            registry
                .find_blob(REPOSITORY, &blob.digest)
                .await
                .unwrap()
                .is_some()
        );
        assert!(registry.holds(REPOSITORY, &blob, &()).await.unwrap());
        let longer = Blob { size: 13, ..blob };
        assert!(!registry.holds(REPOSITORY, &longer, &()).await.unwrap());
    }

    #[tokio::test]
    async fn a_damaged_blob_is_detected_at_its_end() {
        let fake = Fake::start(|_| "something else".into_response()).await;
        let digest = Blobs::new().put(b"twelve bytes");
        let registry = fake.registry();
        let reader = registry.get_blob(REPOSITORY, &digest, 14).await;
        let mut reader = reader.unwrap();
        assert!(reader.next().await.unwrap().is_some());
        let error = reader.next().await.unwrap_err();
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_blob_is_read_to_its_size_and_no_further() {
        let fake = Fake::start(|_| {
            let endless = futures_util::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Bytes::from_static(&[0; 4096]))
            });
            axum::body::Body::from_stream(endless).into_response()
        })
        .await;
        let digest = Blobs::new().put(b"twelve bytes");
        let registry = fake.registry();
        let reader = registry.get_blob(REPOSITORY, &digest, 100_000).await;
        let mut reader = reader.unwrap();
        let mut read = 0;
        let error = loop {
            match reader.next().await {
                Ok(Some(bytes)) => read += bytes.len(),
                Ok(None) => panic!("it has no end"),
                Err(error) => break error,
            }
        };
        assert!(read <= 100_000);
        assert!(error.to_string().contains("has a longer blob"), "{error}");
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_blob_whose_head_fails_is_looked_up_by_its_first_byte() {
        let fake = Fake::over_registry(|seen| {
            seen.is("HEAD", "/blobs/")
                .then(|| Status::INTERNAL_SERVER_ERROR.into_response())
        })
        .await;
        let registry = fake.registry();
        let blobs = Blobs::new();
        let blob = blobs.blob(b"twelve bytes");
        assert!(
            registry
                .find_blob(REPOSITORY, &blob.digest)
                .await
                .unwrap()
                .is_none()
        );
        registry
            .upload(REPOSITORY, &blob, &blobs, None, &())
            .await
            .unwrap();
        let found = registry.find_blob(REPOSITORY, &blob.digest).await.unwrap();
        assert_eq!(found.unwrap().size, Some(12));
        assert!(registry.serves(REPOSITORY, &blob, &()).await.unwrap());
        assert_eq!(fake.count("HEAD", "/blobs/"), 2);
    }
}
