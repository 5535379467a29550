//! Looks up, puts and reads one manifest. Its bytes are never parsed.

use bytes::Bytes;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use oci_spec::image::{Digest, MediaType};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use tracing::Instrument as _;

use crate::artifact::{check_reference, check_repository};
use crate::blob::{content_length, mismatch, response_digest};
use crate::digest::{check_digest, parse_digest, sha256};
use crate::remove::next_page;
use crate::response::Response;
use crate::retry::{Attempts, Failure};
use crate::transport::{Access, Content, Request, TAKEN};
use crate::violation::Violation;
use crate::{Error, Manifest, Observer, Registry};

/// Maximum size of a manifest in bytes. Registries need not accept larger ones.
pub(crate) const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// The media types in `Accept`. Without them registries convert manifests for old clients, or
/// respond 404.
pub(crate) const MANIFEST_MEDIA_TYPES: [&str; 4] = [
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];

/// Maximum number of pages of a list of referrers.
const MAX_PAGES: usize = 100;

/// A manifest that a lookup found, as far as the response describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Digest, if the response has it.
    pub digest: Option<Digest>,
    /// Size in bytes, if the response has it.
    pub size: Option<u64>,
    /// Media type, if the response has it.
    pub media_type: Option<MediaType>,
}

/// A manifest that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The manifest, unchanged.
    pub bytes: Bytes,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Media type, if the response has it.
    pub media_type: Option<MediaType>,
}

impl Found {
    fn from_response(response: &Response) -> Self {
        Self {
            digest: response_digest(response.headers()).and_then(|digest| digest.parse().ok()),
            size: content_length(response.headers()),
            media_type: media_type(response.headers()),
        }
    }
}

impl Registry {
    /// Looks up a tag or a digest. Returns `None` if the repository does not have it.
    ///
    /// # Errors
    ///
    /// The error of the request.
    pub async fn head_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Found>, Error> {
        check_repository(repository)?;
        check_reference(reference)?;
        let response = self.head(repository, reference, &()).await?;
        Ok(response.map(|response| Found::from_response(&response)))
    }

    /// Looks up a tag or a digest by `HEAD` alone, as container runtimes do.
    pub(crate) async fn head_manifest_only(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Found>, Error> {
        let request = self
            .manifest_request(Method::HEAD, repository, reference)
            .expect_status(&[StatusCode::OK, StatusCode::NOT_FOUND]);
        let response = self.transport().send(&request, &()).await?;
        Ok((response.status() == StatusCode::OK).then(|| Found::from_response(&response)))
    }

    /// Reads a manifest by tag or digest. The bytes are compared with the requested digest and with
    /// the one in the response.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if it does not exist; [`Error::DigestMismatch`] if the bytes have a
    /// different digest; otherwise the error of the request.
    pub async fn get_manifest(&self, repository: &str, reference: &str) -> Result<Fetched, Error> {
        check_repository(repository)?;
        let asked = check_reference(reference)?;
        let mut attempts = Attempts::new(self.transport().settings(), &());
        loop {
            let reading = self.get_manifest_once(repository, reference, asked.clone());
            match reading.instrument(attempts.span()).await {
                Ok(fetched) => return Ok(fetched),
                // An incomplete body is read again.
                Err(failure) => attempts.pause(failure).await?,
            }
        }
    }

    async fn get_manifest_once(
        &self,
        repository: &str,
        reference: &str,
        asked: Option<Digest>,
    ) -> Result<Fetched, Failure> {
        let transport = self.transport();
        let request = self.manifest_request(Method::GET, repository, reference);
        let response = transport.exchange(&request, &()).await?;
        let place = response.place().clone();
        let headers = response.headers().clone();
        let bytes = response
            .body(LARGEST_MANIFEST, transport.settings())
            .await?;
        let found = sha256(&bytes);
        let wrong = |expected: Digest| {
            Failure::permanent(Error::DigestMismatch {
                at: Box::new(place.clone()),
                expected,
                found: found.clone(),
            })
        };
        let digest = parse_digest(&found).map_err(Failure::permanent)?;
        let answered = response_digest(&headers).and_then(|digest| digest.parse().ok());
        for expected in asked.into_iter().chain(answered) {
            check_digest(&expected).map_err(Failure::permanent)?;
            if expected != digest {
                return Err(wrong(expected));
            }
        }
        Ok(Fetched {
            bytes,
            digest,
            media_type: media_type(&headers),
        })
    }

    /// Returns what refers to a manifest, from the referrers API: the pages of an image index.
    /// `None` if the registry does not have the API.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the list has too many pages or continues elsewhere; otherwise the
    /// error of the request.
    pub async fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<Bytes>>, Error> {
        check_repository(repository)?;
        check_digest(digest)?;
        let path = format!("/v2/{repository}/referrers/{digest}");
        let transport = self.transport();
        let (mut url, mut pages, mut remaining) =
            (self.endpoint().url(&path), Vec::new(), LARGEST_MANIFEST);
        loop {
            let request = Request::new(Method::GET, url.clone(), repository)
                .access(Access::Pull)
                .header(ACCEPT, HeaderValue::from_static(OCI_IMAGE_INDEX_MEDIA_TYPE));
            let response = match transport.send(&request, &()).await {
                Err(Error::NotFound { .. }) if pages.is_empty() => return Ok(None),
                // Some registries reject paths that they do not support.
                Err(error)
                    if pages.is_empty()
                        && error
                            .response()
                            .is_some_and(|one| [400, 405, 501].contains(&one.status)) =>
                {
                    return Ok(None);
                }
                response => response?,
            };
            let wrong = |violation| Error::protocol(response.place(), violation);
            let next = match next_page(response.headers()) {
                None => None,
                Some(_) if pages.len() + 1 >= MAX_PAGES => {
                    return Err(wrong(Violation::Pages {
                        list: "referrers",
                        pages: MAX_PAGES,
                    }));
                }
                Some(link) => {
                    let next = self.endpoint().resolve(&url, &link);
                    let next =
                        next.filter(|next| self.endpoint().owns(next) && next.path() == url.path());
                    let list = "referrers";
                    Some(next.ok_or_else(|| wrong(Violation::NextPage { list }))?)
                }
            };
            let body = response.body(remaining, transport.settings()).await?;
            remaining -= body.len();
            pages.push(body);
            match next {
                Some(next) => url = next,
                None => return Ok(Some(pages)),
            }
        }
    }

    /// Returns the digest that a tag points at, or `None` if the tag does not exist. Takes a second
    /// request if the first response has no digest.
    pub(crate) async fn tag_digest(
        &self,
        repository: &str,
        tag: &str,
        observer: &dyn Observer,
    ) -> Result<Option<Digest>, Error> {
        let Some(response) = self.head(repository, tag, observer).await? else {
            return Ok(None);
        };
        match response_digest(response.headers()).and_then(|digest| digest.parse().ok()) {
            Some(digest) => Ok(Some(digest)),
            None => Ok(Some(self.get_manifest(repository, tag).await?.digest)),
        }
    }

    /// Puts a manifest under a tag or its digest. Returns once the registry has confirmed the
    /// digest.
    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Manifest,
        bytes: Bytes,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let media_type =
            HeaderValue::from_str(manifest.media_type.as_ref()).map_err(|_| Error::Name {
                kind: "media type",
                name: manifest.media_type.to_string(),
            })?;
        let url = self.endpoint().manifest_url(repository, reference);
        let request = Request::new(Method::PUT, url, repository)
            .access(Access::Push)
            .content(Content::Bytes(bytes.clone()), media_type)
            .expect_status(&TAKEN);
        let transport = self.transport();
        let mut attempts = Attempts::new(transport.settings(), observer);
        let response = loop {
            let exchange = transport.exchange(&request, observer);
            let failure = match exchange.instrument(attempts.span()).await {
                Ok(response) => break response,
                Err(failure) => failure,
            };
            let contradicts = contradicts_bytes(&failure.error, &manifest.digest, &bytes);
            // Some registries refuse a manifest that they already have, or that a concurrent push
            // writes.
            if contradicts
                || matches!(
                    failure.error,
                    Error::Rejected { .. } | Error::Forbidden { .. }
                )
            {
                let found = self.tag_digest(repository, reference, observer).await;
                if found.is_ok_and(|found| found.as_ref() == Some(&manifest.digest)) {
                    transport.forget_refused_write();
                    return Ok(());
                }
            }
            attempts.pause(failure.or_transient(contradicts)).await?;
        };
        match response_digest(response.headers()) {
            Some(found) if found == manifest.digest.as_ref() => Ok(()),
            Some(found) => Err(mismatch(&response, &manifest.digest, found)),
            None => match self.tag_digest(repository, reference, observer).await? {
                Some(found) if found == manifest.digest => Ok(()),
                Some(found) => Err(mismatch(&response, &manifest.digest, found.as_ref())),
                None => Err(mismatch(&response, &manifest.digest, "nothing")),
            },
        }
    }

    async fn head(
        &self,
        repository: &str,
        reference: &str,
        observer: &dyn Observer,
    ) -> Result<Option<Response>, Error> {
        let wanted = &[StatusCode::OK, StatusCode::NOT_FOUND];
        let request = |method| {
            self.manifest_request(method, repository, reference)
                .expect_status(wanted)
        };
        let (head, get) = (request(Method::HEAD), request(Method::GET));
        let response = self.transport().head_or_get(&head, &get, observer).await?;
        Ok((response.status() == StatusCode::OK).then_some(response))
    }

    fn manifest_request<'a>(
        &self,
        method: Method,
        repository: &'a str,
        reference: &str,
    ) -> Request<'a> {
        let url = self.endpoint().manifest_url(repository, reference);
        let mut request = Request::new(method, url, repository).access(Access::Pull);
        for media_type in MANIFEST_MEDIA_TYPES {
            request = request.header(ACCEPT, HeaderValue::from_static(media_type));
        }
        request
    }
}

/// Returns whether the reason of a refusal is disproved by the manifest's bytes.
///
/// Distribution 2 refuses a manifest while a concurrent push writes the files that it refers to: it
/// reads them before they are complete.
fn contradicts_bytes(error: &Error, digest: &Digest, bytes: &[u8]) -> bool {
    let code = error
        .response()
        .and_then(|response| response.code.as_deref());
    let is_claimed = match error {
        Error::Rejected { .. } => matches!(code, Some("DIGEST_INVALID" | "SIZE_INVALID")),
        // The manifests that an index lists were put before it.
        Error::NotFound { .. } => code == Some("MANIFEST_UNKNOWN"),
        _ => false,
    };
    is_claimed && sha256(bytes) == digest.as_ref()
}

fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    // Parameters after a semicolon are dropped, such as a character encoding.
    let bare = value.split(';').next().unwrap_or(value).trim();
    Some(MediaType::from(bare))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::StatusCode as Status;
    use axum::response::IntoResponse;

    use super::*;
    use crate::fake::{Blobs, Fake, image};

    const REPOSITORY: &str = "mke/calico/node";

    fn put(bytes: &'static [u8]) -> Manifest {
        Manifest {
            digest: Blobs::new().put(bytes),
            media_type: MediaType::ImageManifest,
            size: bytes.len() as u64,
            blobs: Vec::new(),
        }
    }

    async fn put_v1(fake: &Fake, bytes: &'static [u8]) -> Result<(), Error> {
        let (manifest, bytes) = (put(bytes), Bytes::from_static(bytes));
        let registry = fake.registry();
        registry
            .put_manifest(REPOSITORY, "v1", &manifest, bytes, &())
            .await
    }

    #[tokio::test]
    async fn manifests_are_unchanged_byte_for_byte() {
        let fake = Fake::over_registry(|_| None).await;
        let registry = fake.registry();
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"layer"]);
        registry.push(&artifact, &blobs, &()).await.unwrap();
        let manifest = &artifact.manifests[0];
        let mut sent = Vec::new();
        let mut file = crate::BlobSource::open(&blobs, &manifest.digest).unwrap();
        std::io::Read::read_to_end(&mut file, &mut sent).unwrap();

        let fetched = registry.get_manifest(REPOSITORY, "v1").await.unwrap();
        assert_eq!(fetched.bytes, sent);
        assert_eq!(fetched.digest, manifest.digest);
        assert_eq!(fetched.media_type, Some(MediaType::ImageManifest));
        let found = registry.head_manifest(REPOSITORY, "v1").await.unwrap();
        assert_eq!(
            found,
            Some(Found {
                digest: Some(manifest.digest.clone()),
                size: Some(manifest.size),
                media_type: Some(MediaType::ImageManifest),
            })
        );
        let put = fake.seen(|seen| seen.is("PUT", "/manifests/").then(|| seen.clone()));
        let put = put.into_iter().flatten().next().unwrap();
        assert_eq!(put.body, sent);
        assert_eq!(put.sent("content-type"), Some(OCI_IMAGE_MEDIA_TYPE));
    }

    #[tokio::test]
    async fn lookups_accept_every_kind_of_manifest() {
        let fake = Fake::over_registry(|_| None).await;
        let found = fake.registry().head_manifest(REPOSITORY, "v1").await;
        assert_eq!(found.unwrap(), None);
        let accepted = fake.seen(|seen| {
            let values = seen.headers.get_all("accept").iter();
            values
                .map(|v| v.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        });
        for media_type in MANIFEST_MEDIA_TYPES {
            assert!(accepted[0].iter().any(|value| value == media_type));
        }
    }

    #[tokio::test]
    async fn a_missing_manifest_is_an_error_to_read() {
        let fake = Fake::over_registry(|_| None).await;
        let error = fake
            .registry()
            .get_manifest(REPOSITORY, "v1")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_manifest_that_is_not_its_digest_is_refused() {
        let other = Blobs::new().put(b"{\"other\":1}");
        let header = other.to_string();
        let fake =
            Fake::start(move |_| [("docker-content-digest", header.clone())].into_response()).await;
        let registry = fake.registry();
        for reference in ["v1", other.as_ref()] {
            let error = registry
                .get_manifest(REPOSITORY, reference)
                .await
                .unwrap_err();
            assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_manifest_that_is_too_large_is_refused() {
        let fake = Fake::start(|_| vec![b' '; LARGEST_MANIFEST + 1].into_response()).await;
        let error = fake
            .registry()
            .get_manifest(REPOSITORY, "v1")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn the_response_digest_is_compared() {
        let other = format!("sha256:{}", "0".repeat(64));
        let fake = Fake::start(move |_| {
            (Status::CREATED, [("docker-content-digest", other.clone())]).into_response()
        })
        .await;
        let bytes = b"{\"schemaVersion\":2}";
        let error = put_v1(&fake, bytes).await.unwrap_err();
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
        assert_eq!(fake.requests().len(), 1);
    }

    #[tokio::test]
    async fn referrers_are_read_page_by_page_from_the_same_place() {
        let digest = Blobs::new().put(b"{}");
        let own = format!("/v2/{REPOSITORY}/referrers/{digest}");
        let page = |link: String, body: &'static str| ([("link", link)], body).into_response();
        let path = own.clone();
        let fake = Fake::start(move |seen| match seen.query.as_str() {
            "" => page(
                format!("<https://a.example/>; rel=\"first\", <{path}?last=1>; rel=\"next\""),
                "one",
            ),
            _ => page(format!("<{path}>; rel=\"first\""), "two"),
        })
        .await;
        let registry = fake.registry();
        let pages = registry.referrers(REPOSITORY, &digest).await.unwrap();
        assert_eq!(pages.unwrap(), ["one", "two"]);
        for (link, expected, asked) in [
            (
                format!("<http://127.0.0.2:1{own}?n=1>; rel=next"),
                "at a different place",
                1,
            ),
            (
                "</v2/other/referrers/x>; rel=\"next\"".to_owned(),
                "at a different place",
                1,
            ),
            (
                format!("<{own}?n=1>; rel=\"next\""),
                "more than 100 pages",
                100,
            ),
        ] {
            let fake = Fake::start(move |_| page(link.clone(), "{}")).await;
            let error = fake.registry().referrers(REPOSITORY, &digest).await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(fake.requests().len(), asked);
        }
    }

    #[tokio::test]
    async fn a_response_without_a_digest_is_followed_by_a_lookup() {
        let bytes = b"{\"schemaVersion\":2}";
        let fake = Fake::start(|seen| match seen.method.as_str() {
            "PUT" => Status::CREATED.into_response(),
            _ => bytes.into_response(),
        })
        .await;
        put_v1(&fake, bytes).await.unwrap();
        let methods = fake.seen(|seen| seen.method.to_string());
        assert_eq!(methods, ["PUT", "HEAD", "GET"]);
    }

    #[tokio::test]
    async fn a_manifest_that_a_registry_refuses_names_the_code() {
        let fake = Fake::start(|_| {
            let body = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}"#;
            (Status::BAD_REQUEST, body).into_response()
        })
        .await;
        let bytes = b"{}";
        let error = put_v1(&fake, bytes).await.unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .contains("MANIFEST_BLOB_UNKNOWN: blob unknown")
        );
    }

    fn refusal(status: Status, code: &str) -> axum::response::Response {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"refused"}}]}}"#);
        (status, body).into_response()
    }

    /// Puts a manifest to a registry that refuses it `refused` times, and serves it after `served`
    /// refusals. Returns the outcome and the methods of the requests.
    async fn put_refused(
        (status, code): (Status, &'static str),
        refused: usize,
        served: usize,
        bytes: &'static [u8],
    ) -> (Result<(), Error>, Vec<String>) {
        let manifest = put(b"{}");
        let digest = manifest.digest.to_string();
        let header = digest.clone();
        let puts = AtomicUsize::new(0);
        let fake = Fake::start(move |seen| {
            let taken = [("docker-content-digest", header.clone())];
            if seen.method == "PUT" {
                return match puts.fetch_add(1, Ordering::SeqCst) < refused {
                    true => refusal(status, code),
                    false => (Status::CREATED, taken).into_response(),
                };
            }
            match puts.load(Ordering::SeqCst) >= served {
                true => taken.into_response(),
                false => Status::NOT_FOUND.into_response(),
            }
        })
        .await;
        let registry = fake.registry();
        let bytes = Bytes::from_static(bytes);
        let putting = registry.put_manifest(REPOSITORY, &digest, &manifest, bytes, &());
        let outcome = putting.await;
        (outcome, fake.seen(|seen| seen.method.to_string()))
    }

    const NEVER: usize = usize::MAX;

    #[tokio::test]
    async fn a_manifest_that_is_refused_during_another_push_is_put_again() {
        for refusal in [
            (Status::BAD_REQUEST, "DIGEST_INVALID"),
            (Status::BAD_REQUEST, "SIZE_INVALID"),
            (Status::NOT_FOUND, "MANIFEST_UNKNOWN"),
        ] {
            let (outcome, methods) = put_refused(refusal, 2, NEVER, b"{}").await;
            outcome.unwrap();
            assert_eq!(methods, ["PUT", "HEAD", "PUT", "HEAD", "PUT"]);
        }
        let unavailable = (Status::INTERNAL_SERVER_ERROR, "UNKNOWN");
        let (outcome, methods) = put_refused(unavailable, 2, NEVER, b"{}").await;
        outcome.unwrap();
        assert_eq!(methods, ["PUT", "PUT", "PUT"]);
    }

    #[tokio::test]
    async fn a_refused_manifest_that_another_push_put_meanwhile_is_accepted() {
        let invalid = (Status::BAD_REQUEST, "DIGEST_INVALID");
        let (outcome, methods) = put_refused(invalid, NEVER, 2, b"{}").await;
        outcome.unwrap();
        assert_eq!(methods, ["PUT", "HEAD", "PUT", "HEAD"]);
    }

    #[tokio::test]
    async fn a_manifest_that_stays_refused_ends_with_the_attempts() {
        let invalid = (Status::BAD_REQUEST, "DIGEST_INVALID");
        let (outcome, methods) = put_refused(invalid, NEVER, NEVER, b"{}").await;
        assert!(
            matches!(outcome, Err(Error::Rejected { .. })),
            "{outcome:?}"
        );
        assert_eq!(methods.iter().filter(|method| *method == "PUT").count(), 3);
        // The registry is right about bytes that have a different digest.
        let (outcome, methods) = put_refused(invalid, NEVER, NEVER, b"[]").await;
        assert!(
            matches!(outcome, Err(Error::Rejected { .. })),
            "{outcome:?}"
        );
        assert_eq!(methods, ["PUT", "HEAD"]);
        let other = (Status::BAD_REQUEST, "MANIFEST_INVALID");
        let (outcome, methods) = put_refused(other, NEVER, NEVER, b"{}").await;
        assert!(
            matches!(outcome, Err(Error::Rejected { .. })),
            "{outcome:?}"
        );
        assert_eq!(methods, ["PUT", "HEAD"]);
    }
}
