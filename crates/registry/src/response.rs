//! An expected response. Its body is read in pieces or completely, with timeouts.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::retry::Failure;
use crate::violation::Violation;
use crate::{Error, RequestInfo, Settings, classify};

/// Maximum size of an error body in bytes.
const LARGEST_ERROR: usize = 64 * 1024;

/// Minimum rate in bytes per second of a body that takes longer than [`Settings::answer_timeout`].
const SLOWEST: u64 = 1024;

/// A response with an expected status.
#[derive(Debug)]
pub(crate) struct Response {
    inner: reqwest::Response,
    place: RequestInfo,
}

/// Why a body could not be read.
pub(crate) enum BodyFault {
    TooLong {
        limit: usize,
    },
    Slow {
        after: Duration,
    },
    Broken {
        error: reqwest::Error,
        after: Duration,
    },
}

impl Response {
    pub(crate) fn new(inner: reqwest::Response, place: RequestInfo) -> Self {
        Self { inner, place }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    pub(crate) fn place(&self) -> &RequestInfo {
        &self.place
    }

    /// Returns the URL that responded, after redirects.
    pub(crate) fn url(&self) -> &Url {
        self.inner.url()
    }

    /// Reads the body, of at most `limit` bytes.
    pub(crate) async fn body(self, limit: usize, settings: &Settings) -> Result<Bytes, Failure> {
        let place = self.place;
        read_body(self.inner, limit, settings)
            .await
            .map_err(|fault| fault.failure(&place))
    }

    /// Returns the next piece of the body, or `None` at its end.
    pub(crate) async fn chunk(&mut self, patience: Duration) -> Result<Option<Bytes>, BodyFault> {
        next_chunk(&mut self.inner, patience).await
    }
}

impl BodyFault {
    pub(crate) fn failure(self, place: &RequestInfo) -> Failure {
        let at = Box::new(place.clone());
        match self {
            Self::TooLong { limit } => Failure::permanent(Error::Protocol {
                at,
                violation: Violation::Long { limit },
            }),
            Self::Slow { after } => Failure::transient(Error::TimedOut { at, after }),
            Self::Broken { error, after } => classify::connection(&error, place.clone(), after),
        }
    }
}

/// Reads a body of at most `limit` bytes into memory. A body that arrives too slowly is an error,
/// like one that stalls.
pub(crate) async fn read_body(
    mut response: reqwest::Response,
    limit: usize,
    settings: &Settings,
) -> Result<Bytes, BodyFault> {
    let mut body = BytesMut::new();
    let began = Instant::now();
    while let Some(chunk) = next_chunk(&mut response, settings.answer_timeout).await? {
        if body.len() + chunk.len() > limit {
            return Err(BodyFault::TooLong { limit });
        }
        body.extend_from_slice(&chunk);
        let after = began.elapsed();
        if after > settings.answer_timeout && (body.len() as u64) < SLOWEST * after.as_secs().max(1)
        {
            return Err(BodyFault::Slow { after });
        }
    }
    Ok(body.freeze())
}

/// Reads the body of an error response. Returns an empty body if it does not arrive completely in
/// time, since the status is enough.
pub(crate) async fn read_error(response: reqwest::Response, settings: &Settings) -> Bytes {
    let reading = read_body(response, LARGEST_ERROR, settings);
    match timeout(settings.answer_timeout, reading).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) | Err(_) => Bytes::new(),
    }
}

async fn next_chunk(
    response: &mut reqwest::Response,
    patience: Duration,
) -> Result<Option<Bytes>, BodyFault> {
    match timeout(patience, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(BodyFault::Broken {
            error,
            after: patience,
        }),
        Err(_) => Err(BodyFault::Slow { after: patience }),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::fake::Fake;

    #[tokio::test]
    async fn a_body_that_never_ends_times_out() {
        let fake = Fake::start(|_| {
            let drops = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
            });
            Body::from_stream(drops).into_response()
        })
        .await;
        let settings = Settings {
            attempts: 1,
            answer_timeout: Duration::from_millis(200),
            ..Settings::default()
        };
        let registry = crate::Registry::with_settings(
            fake.endpoint(),
            crate::Credentials::Anonymous,
            settings,
        );
        let registry = registry.unwrap();
        let reading = registry.get_manifest("a", "b");
        let error = timeout(Duration::from_secs(20), reading).await.unwrap();
        let error = error.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    }
}
