//! Logs a request and its response.

use std::error::Error;
use std::time::Instant;

use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use tracing::{debug, enabled, trace};
use url::Url;

use crate::{chain, shown};

/// Response headers that are logged. They help to diagnose a registry, and none contains a secret.
const HEADERS: &[&str] = &[
    "content-type",
    "docker-content-digest",
    "docker-distribution-api-version",
    "range",
    "retry-after",
    "server",
    "via",
    "www-authenticate",
];

/// Awaits `response` and logs the request with its outcome. `sent` is the size of the request's
/// body in bytes. `error` returns the cause that is logged for a failure.
///
/// # Errors
/// Those of `response`, unchanged.
pub async fn traced<E>(
    method: &Method,
    url: &Url,
    sent: u64,
    error: impl FnOnce(&E) -> &(dyn Error + 'static),
    response: impl Future<Output = Result<Response, E>>,
) -> Result<Response, E> {
    let began = Instant::now();
    let response = response.await;
    if !enabled!(tracing::Level::DEBUG) {
        return response;
    }
    let (url, ms) = (shown(url), began.elapsed().as_millis() as u64);
    match &response {
        Ok(response) => {
            let status = response.status().as_u16();
            let received = response.content_length();
            debug!(%method, url, status, sent, received, ms, "request");
            trace!(url, headers = %headers(response.headers()), "response");
        }
        Err(failure) => {
            let error = chain(error(failure));
            debug!(%method, url, sent, ms, error, "request without response");
        }
    }
    response
}

fn headers(all: &HeaderMap) -> String {
    let known = HEADERS.iter().filter_map(|name| {
        let value = all.get(*name)?.to_str().ok()?;
        Some(format!("{name}: {value}"))
    });
    known.collect::<Vec<_>>().join("; ")
}
