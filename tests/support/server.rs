//! A web server on loopback that responds as a test defines, and records the requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LOCATION, RANGE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;

/// The entity tag of whatever [`part_of`] serves.
pub const TAG: &str = "\"the-bundle\"";

/// A running server; it stops when this is dropped.
pub struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What is after the question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
}

impl Asked {
    /// Returns a header, or nothing where it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Server {
    /// Starts a server that answers every request with `answer`.
    pub async fn start(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let answer = Arc::new(answer);
        let router = axum::Router::new().fallback(move |request: axum::extract::Request| {
            let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
            async move {
                let asked = Asked {
                    method: request.method().to_string(),
                    path: request.uri().path().to_owned(),
                    query: request.uri().query().unwrap_or_default().to_owned(),
                    headers: request.headers().clone(),
                };
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(asked.clone());
                answer(&asked)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        Self {
            address,
            asked,
            task,
        }
    }

    /// Starts a server of one file, which knows ranges.
    pub async fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::start(move |asked| part_of(&bytes, asked)).await
    }

    /// Returns where it listens, `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the URL of `path`, which has no leading slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Returns the requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers with the file, or with the part of it that was asked for.
pub fn part_of(bytes: &Bytes, asked: &Asked) -> Response {
    let start = asked
        .header(RANGE.as_str())
        .strip_prefix("bytes=")
        .and_then(|range| range.strip_suffix('-'))
        .and_then(|start| start.parse::<usize>().ok());
    let same = ["", TAG].contains(&asked.header(IF_RANGE.as_str()));
    match start {
        Some(start) if same => {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            (
                StatusCode::PARTIAL_CONTENT,
                [(ETAG, TAG.to_owned()), (CONTENT_RANGE, range)],
                bytes.slice(start..),
            )
                .into_response()
        }
        _ => ([(ETAG, TAG), (ACCEPT_RANGES, "bytes")], bytes.clone()).into_response(),
    }
}

/// Answers with the first bytes of a file, and with nothing more while the connection stays open.
pub fn beginning_of(bytes: &Bytes, sent: usize) -> Response {
    let first: Result<Bytes, std::io::Error> = Ok(bytes.slice(..sent));
    let body = futures_util::stream::iter([first]).chain(futures_util::stream::pending());
    (
        [
            (ETAG, TAG.to_owned()),
            (CONTENT_LENGTH, bytes.len().to_string()),
        ],
        Body::from_stream(body),
    )
        .into_response()
}

/// Sends the first bytes, and breaks the connection.
pub fn cut_after(bytes: &Bytes, sent: usize) -> Response {
    let first = Ok(bytes.slice(..sent));
    let broken = Err(std::io::Error::other("cut"));
    // What came before the break is on its way by then.
    let broken = futures_util::stream::once(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        broken
    });
    let body = futures_util::stream::iter([first]).chain(broken);
    (
        [(CONTENT_LENGTH, bytes.len().to_string())],
        Body::from_stream(body),
    )
        .into_response()
}

/// Sends all but the last `held` bytes, and those only once `released`.
pub fn hold_back(bytes: &Bytes, held: usize, released: Arc<AtomicBool>) -> Response {
    let (first, last) = (
        bytes.slice(..bytes.len() - held),
        bytes.slice(bytes.len() - held..),
    );
    let last = async move {
        while !released.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, std::io::Error>(last)
    };
    let body = futures_util::stream::iter([Ok(first)]).chain(futures_util::stream::once(last));
    (
        [
            (ETAG, TAG.to_owned()),
            (CONTENT_LENGTH, bytes.len().to_string()),
        ],
        Body::from_stream(body),
    )
        .into_response()
}

/// Answers like a registry that holds nothing, and refuses pushes.
pub fn closed_registry(asked: &Asked) -> Response {
    let status = match asked.path.as_str() {
        "/v2/" => StatusCode::OK,
        path if path.contains("/uploads/") => StatusCode::FORBIDDEN,
        _ => StatusCode::NOT_FOUND,
    };
    (
        status,
        [("docker-distribution-api-version", "registry/2.0")],
    )
        .into_response()
}

/// Answers that the file is elsewhere.
pub fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [(LOCATION, to.to_owned())]).into_response()
}
