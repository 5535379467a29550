//! Downloads one blob, and resumes after lost connections.

use std::io;

use oci_spec::image::Digest;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use tracing::Instrument as _;

use crate::artifact::check_repository;
use crate::blob::mismatch;
use crate::digest::check_digest;
use crate::retry::{Attempts, Failure};
use crate::transport::{Access, Request};
use crate::violation::Violation;
use crate::{Blob, Error, Observer, Registry};

/// An attempt that received this many bytes before it was interrupted does not count.
const MIN_PROGRESS: u64 = 1 << 20;

/// Receives the bytes of a blob, and hashes them.
pub trait BlobTarget: Send {
    /// Returns the number of bytes that it has.
    fn written(&self) -> u64;

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// The bytes cannot be stored.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Discards all bytes.
    ///
    /// # Errors
    ///
    /// The bytes cannot be discarded.
    fn restart(&mut self) -> io::Result<()>;

    /// Returns the digest of the bytes that it has.
    fn digest(&self) -> Digest;
}

impl Registry {
    /// Downloads the rest of a blob into `target`. A lost connection is resumed if the registry
    /// supports ranges.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] if the registry sent different content twice; otherwise the error
    /// of the request.
    pub async fn pull_blob(
        &self,
        repository: &str,
        blob: &Blob,
        target: &mut dyn BlobTarget,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        check_repository(repository)?;
        let url = self.blob_url(repository, &blob.digest);
        let request = Request::new(Method::GET, url, repository).access(Access::Pull);
        self.pull(&request, blob, target, observer).await
    }

    /// Downloads the response to `request` into `target`, as [`Registry::pull_blob`] does.
    pub(crate) async fn pull(
        &self,
        request: &Request<'_>,
        blob: &Blob,
        target: &mut dyn BlobTarget,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        check_digest(&blob.digest)?;
        let settings = self.transport().settings();
        let target_error = |source| Error::Target {
            digest: blob.digest.clone(),
            source,
        };
        let mut attempts = Attempts::new(settings, observer);
        let mut was_wrong = false;
        loop {
            let before = target.written();
            let piece = self.pull_once(request, blob, target, observer);
            let failure = match piece.instrument(attempts.span()).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if target.written() >= before.saturating_add(MIN_PROGRESS) {
                attempts = Attempts::new(settings, observer);
            }
            if matches!(failure.error, Error::DigestMismatch { .. }) {
                if was_wrong {
                    return Err(failure.error);
                }
                was_wrong = true;
                target.restart().map_err(target_error)?;
                if before > 0 {
                    // The bytes that the target had before may have been damaged on this machine.
                    continue;
                }
            }
            attempts.pause(failure).await?;
        }
    }

    /// Downloads the rest of the blob with one request.
    async fn pull_once(
        &self,
        request: &Request<'_>,
        blob: &Blob,
        target: &mut dyn BlobTarget,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        let transport = self.transport();
        let target_error = |source| {
            Failure::permanent(Error::Target {
                digest: blob.digest.clone(),
                source,
            })
        };
        if target.written() > blob.size
            || target.written() == blob.size && target.digest() != blob.digest
        {
            target.restart().map_err(target_error)?;
        }
        let from = target.written();
        if from > 0 && from == blob.size {
            return Ok(());
        }
        let mut request = request.clone().expect_status(&[
            StatusCode::OK,
            StatusCode::PARTIAL_CONTENT,
            StatusCode::RANGE_NOT_SATISFIABLE,
        ]);
        if from > 0
            && let Ok(range) = HeaderValue::try_from(format!("bytes={from}-"))
        {
            request = request.header(RANGE, range);
        }
        let mut response = transport.exchange(&request, observer).await?;
        match response.status() {
            StatusCode::OK => {
                if from > 0 {
                    target.restart().map_err(target_error)?;
                }
            }
            StatusCode::PARTIAL_CONTENT if first_byte(response.headers()) == Some(from) => {}
            _ => {
                target.restart().map_err(target_error)?;
                let violation = Violation::NotResumed { from };
                return Err(Failure::transient(Error::protocol(
                    response.place(),
                    violation,
                )));
            }
        }
        let settings = transport.settings();
        loop {
            let chunk = tokio::select! {
                biased;
                () = settings.stop.requested() => return Err(Failure::permanent(Error::Stopped)),
                chunk = response.chunk(settings.stall_timeout) => chunk,
            };
            let Some(chunk) = chunk.map_err(|fault| fault.failure(response.place()))? else {
                break;
            };
            if target.written() + chunk.len() as u64 > blob.size {
                return Err(Failure::transient(mismatch(
                    &response,
                    &blob.digest,
                    "a longer blob",
                )));
            }
            target.write(&chunk).map_err(target_error)?;
        }
        if target.written() < blob.size {
            let violation = Violation::Short {
                received: target.written(),
                size: blob.size,
            };
            return Err(Failure::transient(Error::protocol(
                response.place(),
                violation,
            )));
        }
        let found = target.digest();
        match found == blob.digest {
            true => Ok(()),
            false => Err(Failure::transient(mismatch(
                &response,
                &blob.digest,
                found.as_ref(),
            ))),
        }
    }
}

/// Returns the position of the first byte of a partial response.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (first, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    first.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::body::Body;
    use axum::http::StatusCode as Status;
    use axum::response::IntoResponse as _;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::fake::{Blobs, Fake};

    const REPOSITORY: &str = "library/nginx";

    #[derive(Default)]
    struct Memory(Vec<u8>);

    impl BlobTarget for Memory {
        fn written(&self) -> u64 {
            self.0.len() as u64
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }

        fn restart(&mut self) -> io::Result<()> {
            self.0.clear();
            Ok(())
        }

        fn digest(&self) -> Digest {
            crate::digest::format_digest(Sha256::new_with_prefix(&self.0))
                .parse()
                .unwrap()
        }
    }

    async fn pull(fake: &Fake, target: &mut Memory) -> Result<(), Error> {
        let blob = Blobs::new().blob(b"twelve bytes");
        let registry = fake.registry();
        registry.pull_blob(REPOSITORY, &blob, target, &()).await
    }

    #[tokio::test]
    async fn a_blob_is_resumed_by_its_range() {
        let fake = Fake::start(|seen| match seen.sent("range") {
            Some("bytes=6-") => (
                Status::PARTIAL_CONTENT,
                [("content-range", "bytes 6-11/12")],
                " bytes",
            )
                .into_response(),
            _ => Status::BAD_REQUEST.into_response(),
        })
        .await;
        let mut target = Memory(b"twelve".to_vec());
        pull(&fake, &mut target).await.unwrap();
        assert_eq!(target.0, b"twelve bytes");
    }

    #[tokio::test]
    async fn a_mismatch_is_repeated_before_the_registry_is_blamed() {
        for (whole, is_named) in [("twelve bytes", false), ("twelve lines", true)] {
            let fake = Fake::start(move |seen| match seen.sent("range") {
                Some("bytes=6-") => (
                    Status::PARTIAL_CONTENT,
                    [("content-range", "bytes 6-11/12")],
                    " bytes",
                )
                    .into_response(),
                _ => whole.into_response(),
            })
            .await;
            let mut target = Memory(b"eleven".to_vec());
            let pulled = pull(&fake, &mut target).await;
            assert_eq!(pulled.is_err(), is_named, "{pulled:?}");
            assert_eq!(fake.requests().len(), 2);
        }
    }

    #[tokio::test]
    async fn without_ranges_the_download_starts_over() {
        let fake = Fake::start(|_| "twelve bytes".into_response()).await;
        let mut target = Memory(b"twelve".to_vec());
        pull(&fake, &mut target).await.unwrap();
        assert_eq!(target.0, b"twelve bytes");
    }

    #[tokio::test]
    async fn a_truncated_body_is_resumed_from_its_end() {
        let count = AtomicU32::new(0);
        let fake = Fake::start(move |seen| {
            let Some(range) = seen.sent("range") else {
                return "twel".into_response();
            };
            assert!(count.fetch_add(1, Ordering::Relaxed) == 0);
            assert_eq!(range, "bytes=4-");
            let range = [("content-range", "bytes 4-11/12")];
            (Status::PARTIAL_CONTENT, range, "ve bytes").into_response()
        })
        .await;
        let mut target = Memory::default();
        pull(&fake, &mut target).await.unwrap();
        assert_eq!(target.0, b"twelve bytes");
    }

    #[tokio::test]
    async fn a_wrong_blob_is_an_error_after_a_second_download() {
        for wrong in ["twelve lines", "twelve bytes and more"] {
            let fake = Fake::start(move |_| Body::from(wrong).into_response()).await;
            let mut target = Memory::default();
            let error = pull(&fake, &mut target).await.unwrap_err();
            assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
            assert_eq!(fake.requests().len(), 2);
        }
    }
}
