//! Looks up, puts and reads back one manifest. Its bytes are never parsed here.

use bytes::Bytes;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use oci_spec::image::{Digest, MediaType};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, StatusCode};
use tracing::Instrument as _;

use crate::artifact::{check_reference, check_repository};
use crate::blob::{answered_digest, content_length, mismatch};
use crate::digest::{check_digest, parse_digest, sha256};
use crate::response::Response;
use crate::retry::{Attempts, Failure};
use crate::transport::{Access, Content, Request, TAKEN};
use crate::violation::Violation;
use crate::{Error, Manifest, Observer, Registry};

/// The largest manifest that is sent or read, in bytes; registries need not accept larger ones.
pub(crate) const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// Every kind of manifest that a registry may hold for us. Without it, registries translate
/// manifests for old clients, or say that there are none.
pub(crate) const MANIFEST_MEDIA_TYPES: [&str; 4] = [
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];

/// The most pages on which a registry may list what refers to a manifest.
const MOST_PAGES: usize = 100;

/// What a registry says of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The digest, where the registry says it.
    pub digest: Option<Digest>,
    /// The length in bytes, where the registry says it.
    pub size: Option<u64>,
    /// The media type, where the registry says it.
    pub media_type: Option<MediaType>,
}

/// A manifest as a registry serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The manifest's bytes, untouched.
    pub bytes: Bytes,
    /// The digest of these bytes.
    pub digest: Digest,
    /// The media type, where the registry says it.
    pub media_type: Option<MediaType>,
}

impl Found {
    fn by(answer: &Response) -> Self {
        Self {
            digest: answered_digest(answer.headers()).and_then(|digest| digest.parse().ok()),
            size: content_length(answer.headers()),
            media_type: media_type(answer.headers()),
        }
    }
}

impl Registry {
    /// Asks what the repository holds under a tag or a digest. `None` says that there is nothing.
    ///
    /// # Errors
    ///
    /// Why the registry could not be asked.
    pub async fn head_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Found>, Error> {
        check_repository(repository)?;
        check_reference(reference)?;
        let answer = self.head(repository, reference, &()).await?;
        Ok(answer.map(|answer| Found::by(&answer)))
    }

    /// Asks by `HEAD` alone, as container runtimes do.
    pub(crate) async fn head_manifest_only(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Found>, Error> {
        let request = self
            .manifest_request(Method::HEAD, repository, reference)
            .expect_status(&[StatusCode::OK, StatusCode::NOT_FOUND]);
        let answer = self.transport().send(&request, &()).await?;
        Ok((answer.status() == StatusCode::OK).then(|| Found::by(&answer)))
    }

    /// Reads a manifest by tag or digest, and checks it against the digest asked for and the one
    /// answered.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is none; [`Error::DigestMismatch`] if the bytes are not what
    /// they are said to be.
    pub async fn get_manifest(&self, repository: &str, reference: &str) -> Result<Fetched, Error> {
        check_repository(repository)?;
        let asked = check_reference(reference)?;
        let mut attempts = Attempts::new(self.transport().settings(), &());
        loop {
            let reading = self.get_manifest_once(repository, reference, asked.clone());
            match reading.instrument(attempts.span()).await {
                Ok(fetched) => return Ok(fetched),
                // A body that was cut is read again.
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
            Failure::last(Error::DigestMismatch {
                at: Box::new(place.clone()),
                expected,
                found: found.clone(),
            })
        };
        let digest = parse_digest(&found).map_err(Failure::last)?;
        let answered = answered_digest(&headers).and_then(|digest| digest.parse().ok());
        for expected in asked.into_iter().chain(answered) {
            check_digest(&expected).map_err(Failure::last)?;
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

    /// Returns what refers to a manifest, by the referrers API, as the pages of an index; nothing
    /// if the registry does not have that API.
    ///
    /// # Errors
    ///
    /// Why the registry could not be asked, or it has too many pages.
    pub async fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<Bytes>>, Error> {
        check_repository(repository)?;
        check_digest(digest)?;
        let path = format!("/v2/{repository}/referrers/{digest}");
        let transport = self.transport();
        let (mut url, mut pages, mut left) =
            (self.endpoint().url(&path), Vec::new(), LARGEST_MANIFEST);
        loop {
            let request = Request::new(Method::GET, url.clone(), repository)
                .access(Access::Pull)
                .header(ACCEPT, HeaderValue::from_static(OCI_IMAGE_INDEX_MEDIA_TYPE));
            let response = match transport.send(&request, &()).await {
                Err(Error::NotFound { .. }) if pages.is_empty() => return Ok(None),
                // What a registry does not know, it also refuses.
                Err(error)
                    if pages.is_empty()
                        && error
                            .answer()
                            .is_some_and(|one| [400, 405, 501].contains(&one.status)) =>
                {
                    return Ok(None);
                }
                response => response?,
            };
            let wrong = |violation| Error::protocol(response.place(), violation);
            let next = match next_page(response.headers()) {
                None => None,
                Some(_) if pages.len() + 1 >= MOST_PAGES => {
                    return Err(wrong(Violation::Pages {
                        list: "referrers",
                        pages: MOST_PAGES,
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
            let body = response.body(left, transport.settings()).await;
            let body = body.map_err(|failure| failure.error)?;
            left -= body.len();
            pages.push(body);
            match next {
                Some(next) => url = next,
                None => return Ok(Some(pages)),
            }
        }
    }

    /// Returns the digest that a tag points at, by one request where the registry says it in a
    /// header, by two where it does not.
    pub(crate) async fn tag_digest(
        &self,
        repository: &str,
        tag: &str,
        observer: &dyn Observer,
    ) -> Result<Option<Digest>, Error> {
        let Some(answer) = self.head(repository, tag, observer).await? else {
            return Ok(None);
        };
        match answered_digest(answer.headers()).and_then(|digest| digest.parse().ok()) {
            Some(digest) => Ok(Some(digest)),
            None => Ok(Some(self.get_manifest(repository, tag).await?.digest)),
        }
    }

    /// Puts a manifest under a tag, or under its digest, and returns when the registry has
    /// confirmed the digest.
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
        let path = format!("/v2/{repository}/manifests/{reference}");
        let url = self.endpoint().url(&path);
        let request = Request::new(Method::PUT, url, repository)
            .access(Access::Push)
            .content(Content::Bytes(bytes.clone()), media_type)
            .expect_status(&TAKEN);
        let transport = self.transport();
        let mut attempts = Attempts::new(transport.settings(), observer);
        let answer = loop {
            let exchange = transport.exchange(&request, observer);
            let failure = match exchange.instrument(attempts.span()).await {
                Ok(answer) => break answer,
                Err(failure) => failure,
            };
            let contradicts = contradicts_bytes(&failure.error, &manifest.digest, &bytes);
            // Some registries refuse a manifest because they hold it already, or because another
            // push writes it.
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
            let failure = match contradicts {
                true => Failure::passing(failure.error),
                false => failure,
            };
            attempts.pause(failure).await?;
        };
        match answered_digest(answer.headers()) {
            Some(found) if found == manifest.digest.as_ref() => Ok(()),
            Some(found) => Err(mismatch(&answer, &manifest.digest, found)),
            None => match self.tag_digest(repository, reference, observer).await? {
                Some(found) if found == manifest.digest => Ok(()),
                Some(found) => Err(mismatch(&answer, &manifest.digest, found.as_ref())),
                None => Err(mismatch(&answer, &manifest.digest, "nothing")),
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
        let answer = self.transport().head_or_get(&head, &get, observer).await?;
        Ok((answer.status() == StatusCode::OK).then_some(answer))
    }

    fn manifest_request<'a>(
        &self,
        method: Method,
        repository: &'a str,
        reference: &str,
    ) -> Request<'a> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let url = self.endpoint().url(&path);
        let mut request = Request::new(method, url, repository).access(Access::Pull);
        for media_type in MANIFEST_MEDIA_TYPES {
            request = request.header(ACCEPT, HeaderValue::from_static(media_type));
        }
        request
    }
}

/// Returns where the next page is: `<URL>; rel="next"`, among others perhaps.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all(LINK).iter();
    let mut links = links.filter_map(|link| link.to_str().ok());
    links.find_map(|links| {
        // A link begins with `<`, which no URL has.
        links.split('<').find_map(|link| {
            let (url, parameters) = link.split_once('>')?;
            let is_next = parameters.split([';', ',']).any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                let value = value.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel")
                    && value.split(' ').any(|one| one.eq_ignore_ascii_case("next"))
            });
            is_next.then(|| url.to_owned())
        })
    })
}

/// Returns whether a registry refuses a manifest for a reason that its bytes disprove. Distribution
/// 2 does so while another push writes the files that the manifest refers to: it reads them before
/// they are complete.
fn contradicts_bytes(error: &Error, digest: &Digest, bytes: &[u8]) -> bool {
    let code = error.answer().and_then(|answer| answer.code.as_deref());
    let may_pass = match error {
        Error::Rejected { .. } => matches!(code, Some("DIGEST_INVALID" | "SIZE_INVALID")),
        // The manifests that an index lists were put before it.
        Error::NotFound { .. } => code == Some("MANIFEST_UNKNOWN"),
        _ => false,
    };
    may_pass && sha256(bytes) == digest.as_ref()
}

fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    // What comes after a semicolon is about the encoding of the text.
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

    #[tokio::test]
    async fn manifests_travel_byte_for_byte() {
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
    async fn questions_name_every_kind_of_manifest() {
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
    async fn a_manifest_that_is_not_there_is_an_error_to_read() {
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
    async fn a_manifest_without_end_is_refused() {
        let fake = Fake::start(|_| vec![b' '; LARGEST_MANIFEST + 1].into_response()).await;
        let error = fake
            .registry()
            .get_manifest(REPOSITORY, "v1")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn the_answered_digest_is_compared() {
        let other = format!("sha256:{}", "0".repeat(64));
        let fake = Fake::start(move |_| {
            (Status::CREATED, [("docker-content-digest", other.clone())]).into_response()
        })
        .await;
        let bytes = b"{\"schemaVersion\":2}";
        let error = fake
            .registry()
            .put_manifest(
                REPOSITORY,
                "v1",
                &put(bytes),
                Bytes::from_static(bytes),
                &(),
            )
            .await
            .unwrap_err();
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
    async fn a_registry_that_names_no_digest_is_read_back() {
        let bytes = b"{\"schemaVersion\":2}";
        let fake = Fake::start(|seen| match seen.method.as_str() {
            "PUT" => Status::CREATED.into_response(),
            _ => bytes.into_response(),
        })
        .await;
        fake.registry()
            .put_manifest(
                REPOSITORY,
                "v1",
                &put(bytes),
                Bytes::from_static(bytes),
                &(),
            )
            .await
            .unwrap();
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
        let error = fake
            .registry()
            .put_manifest(
                REPOSITORY,
                "v1",
                &put(bytes),
                Bytes::from_static(bytes),
                &(),
            )
            .await
            .unwrap_err();
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

    // case 1.6
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

    // case 1.6
    #[tokio::test]
    async fn a_refused_manifest_that_another_push_put_meanwhile_is_accepted() {
        let invalid = (Status::BAD_REQUEST, "DIGEST_INVALID");
        let (outcome, methods) = put_refused(invalid, NEVER, 2, b"{}").await;
        outcome.unwrap();
        assert_eq!(methods, ["PUT", "HEAD", "PUT", "HEAD"]);
    }

    // case 1.6
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
