//! A web server on loopback that responds as a test defines, and records the requests.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LOCATION, RANGE,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::Certificates;
use crate::listener::{Breaker, Listener};

/// The entity tag of the files that [`part_of`] serves.
pub const TAG: &str = "\"the-bundle\"";

/// A running server; it stops when this is dropped.
pub struct Server {
    /// Its address, `127.0.0.1:port`.
    pub address: String,
    asked: Option<Requests>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

type Requests = Arc<Mutex<Vec<Asked>>>;

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The query, without the question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    /// Returns a header, if it was sent.
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns a header, or an empty text if it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.sent(name).unwrap_or_default()
    }

    /// Returns a parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Returns whether the request has this method, and `part` in its path.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

impl Server {
    /// Starts a server that answers every request with `answer`.
    pub async fn start(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Self {
        Self::before(Router::new(), move |asked| Some(answer(asked))).await
    }

    /// Starts a server of one file that supports ranges.
    pub async fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::start(move |asked| part_of(&bytes, asked)).await
    }

    /// Starts a server of these routes. `intercept` may answer requests in place of the routes.
    pub async fn before(
        router: Router,
        intercept: impl Fn(&Asked) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let asked = Requests::default();
        let router = recorded(router, Arc::clone(&asked), intercept);
        Self::serve(router, None, Some(asked)).await
    }

    /// Starts a server of these routes that speaks TLS with this certificate.
    pub async fn over_tls(router: Router, certificates: &Certificates) -> Self {
        let asked = Requests::default();
        let router = recorded(router, Arc::clone(&asked), |_| None);
        Self::serve(router, Some(certificates.acceptor()), Some(asked)).await
    }

    /// Starts a server of these routes that does not record its requests, and reads their bodies
    /// only as the routes do.
    pub(crate) async fn unrecorded(router: Router) -> Self {
        Self::serve(router, None, None).await
    }

    async fn serve(router: Router, tls: Option<TlsAcceptor>, asked: Option<Requests>) -> Self {
        let connections = Arc::<AtomicUsize>::default();
        let listener = Listener::bind(tls, Arc::clone(&connections)).await;
        let listener = listener.expect("a free port");
        let address = axum::serve::Listener::local_addr(&listener).expect("an address");
        let router = router.into_make_service_with_connect_info::<Breaker>();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        Self {
            address: address.to_string(),
            asked,
            connections,
            task,
        }
    }

    /// Returns the URL of `path`, which has no leading slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Returns the requests so far, without those whose body was interrupted.
    pub fn asked(&self) -> Vec<Asked> {
        self.seen(Asked::clone)
    }

    /// Returns the requests so far, as `METHOD path`.
    pub fn requests(&self) -> Vec<String> {
        self.seen(|asked| format!("{} {}", asked.method, asked.path))
    }

    /// Returns the result of `each` for all requests so far, and clears the record.
    pub fn take<T>(&self, each: impl Fn(&Asked) -> T) -> Vec<T> {
        let taken = self.seen(each);
        self.record().drain(..taken.len());
        taken
    }

    /// Returns the result of `each` for all requests so far.
    pub fn seen<T>(&self, each: impl Fn(&Asked) -> T) -> Vec<T> {
        self.record().iter().map(each).collect()
    }

    fn record(&self) -> MutexGuard<'_, Vec<Asked>> {
        let asked = self.asked.as_ref().expect("a server that records");
        asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the requests with this method, and `part` in their path.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let asked = self.seen(|asked| asked.is(method, part));
        asked.into_iter().filter(|is| *is).count()
    }

    /// Waits until no client is connected. Then the server has handled all requests of a client
    /// that was killed.
    pub async fn wait_for_disconnects(&self) {
        while self.connections.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Records each request with its body before `intercept` or the routes answer it.
fn recorded(
    router: Router,
    asked: Requests,
    intercept: impl Fn(&Asked) -> Option<Response> + Send + Sync + 'static,
) -> Router {
    let intercept = Arc::new(intercept);
    let layer = from_fn(move |request: Request, next: Next| {
        let (noted, intercept) = (Arc::clone(&asked), Arc::clone(&intercept));
        async move {
            let (parts, body) = request.into_parts();
            let mut body = body.into_data_stream();
            let (mut bytes, mut cut) = (Vec::new(), None);
            while let Some(piece) = body.next().await {
                match piece {
                    Ok(piece) => bytes.extend_from_slice(&piece),
                    Err(error) => cut = Some(error),
                }
            }
            let body = Bytes::from(bytes);
            if let Some(cut) = cut {
                // The routes get the received bytes and the error.
                let body = futures_util::stream::iter([Ok(body), Err(cut)]);
                let request = Request::from_parts(parts, Body::from_stream(body));
                return next.run(request).await;
            }
            let asked = Asked {
                method: parts.method.clone(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                headers: parts.headers.clone(),
                body: body.clone(),
            };
            noted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(asked.clone());
            match intercept(&asked) {
                Some(answer) => answer,
                None => next.run(Request::from_parts(parts, Body::from(body))).await,
            }
        }
    });
    router.layer(layer)
}

/// Answers with the file, or with the requested range of it.
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

/// Answers with the first bytes of a file, then keeps the connection open without sending.
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
    // The delay lets the client receive the first bytes before the connection breaks.
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

/// Answers like an empty registry that refuses pushes.
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

/// Answers with a redirect.
pub fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [(LOCATION, to.to_owned())]).into_response()
}
