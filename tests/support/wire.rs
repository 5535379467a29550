//! Counts the requests that reach a registry: an optimisation counts only if the wire shows it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// A proxy on loopback that hands every request on and remembers it.
pub struct Wire {
    /// Its address, `127.0.0.1:port`, to be used in the registry's place.
    pub address: String,
    seen: Seen,
    refused: Seen,
    closed: Seen,
    slow: Seen,
}

type Seen = Arc<Mutex<Vec<String>>>;

#[derive(Clone)]
struct Proxy {
    client: reqwest::Client,
    registry: String,
    seen: Seen,
    refused: Seen,
    closed: Seen,
    slow: Seen,
}

/// How long a request takes that is slow.
const SLOW: Duration = Duration::from_secs(1);

impl Wire {
    /// Starts one in front of the registry at `address`.
    pub async fn before(address: &str) -> Self {
        let seen = Seen::default();
        let proxy = Proxy {
            client: crate::registries::http(),
            registry: address.to_owned(),
            seen: seen.clone(),
            refused: Seen::default(),
            closed: Seen::default(),
            slow: Seen::default(),
        };
        let [refused, closed, slow] = [&proxy.refused, &proxy.closed, &proxy.slow].map(Arc::clone);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let router = axum::Router::new().fallback(hand_on).with_state(proxy);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            seen,
            refused,
            closed,
            slow,
        }
    }

    /// Returns the requests since the last call, each as its method and path. A request for an upload session that carries the blob ends
    /// in `?digest`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wants credentials, whichever they are, of those who ask for a path with this in it from now on.
    pub fn close(&self, path: &str) {
        self.closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path.to_owned());
    }

    /// Lets a request take its time from now on, by its method and path.
    pub fn slow_down(&self, request: String) {
        self.slow
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request);
    }

    /// Forbids a request from now on, by its method and path.
    pub fn refuse(&self, request: String) {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request);
    }
}

async fn hand_on(State(proxy): State<Proxy>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let line = format!("{} {}", head.method, head.uri.path());
    let is_refused = (proxy.refused.lock())
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&line);
    let is_slow = (proxy.slow.lock())
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&line);
    let carries_blob = (head.uri.query()).is_some_and(|query| query.starts_with("digest="));
    let seen = match head.method == Method::POST && carries_blob {
        true => format!("{line}?digest"),
        false => line,
    };
    proxy
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(seen);
    if is_slow {
        tokio::time::sleep(SLOW).await;
    }
    if is_refused {
        return StatusCode::FORBIDDEN.into_response();
    }
    let is_closed = (proxy.closed.lock())
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .any(|closed| path.contains(closed));
    if is_closed && !head.headers.contains_key("authorization") {
        let challenge = [("www-authenticate", "Basic realm=\"closed\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    let body = to_bytes(body, usize::MAX).await.expect("a whole request");
    let answer = proxy
        .client
        .request(head.method, format!("http://{}{path}", proxy.registry))
        .headers(head.headers)
        .body(body)
        .send()
        .await
        .expect("the registry's answer");
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let body = answer.bytes().await.expect("a whole answer");
    response.body(Body::from(body)).expect("a response")
}
