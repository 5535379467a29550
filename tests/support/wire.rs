//! Records the requests that reach a registry, so a test can count them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use servers::{Asked, Server};

use crate::lock;

/// A proxy on loopback that records each request and forwards it to the registry.
pub struct Wire {
    /// The address of the proxy, `127.0.0.1:port`, which clients use instead of the registry's.
    pub address: String,
    server: Server,
    rules: Arc<Mutex<Rules>>,
}

/// The requests that the proxy does not simply forward.
#[derive(Default)]
struct Rules {
    /// Method and path of the requests that get 403.
    refused: Vec<String>,
    /// Parts of the paths for which the proxy requires credentials.
    protected: Vec<String>,
    /// Method and path of the requests that are forwarded after [`DELAY`].
    delayed: Vec<String>,
}

#[derive(Clone)]
struct Proxy {
    client: reqwest::Client,
    registry: String,
    rules: Arc<Mutex<Rules>>,
}

/// How long the proxy holds a delayed request.
const DELAY: Duration = Duration::from_secs(1);

impl Wire {
    /// Starts a proxy in front of the registry at `address`.
    pub async fn before(address: &str) -> Self {
        let rules = Arc::<Mutex<Rules>>::default();
        let proxy = Proxy {
            client: crate::registries::http(),
            registry: address.to_owned(),
            rules: Arc::clone(&rules),
        };
        let router = axum::Router::new().fallback(forward).with_state(proxy);
        let asked = Arc::clone(&rules);
        let server = Server::before(router, move |request| lock(&asked).answer(request)).await;
        Self {
            address: server.address.clone(),
            server,
            rules,
        }
    }

    /// Returns the requests since the last call, each as its method and path. A request for an
    /// upload session that carries the blob ends in `?digest`.
    pub fn take(&self) -> Vec<String> {
        self.server.take(|asked| {
            let carries_blob = asked.method == "POST" && asked.query.starts_with("digest=");
            let query = if carries_blob { "?digest" } else { "" };
            format!("{} {}{query}", asked.method, asked.path)
        })
    }

    /// Requires credentials from now on for each path that contains `path`. Any credentials are
    /// accepted.
    pub fn require_credentials(&self, path: &str) {
        lock(&self.rules).protected.push(path.to_owned());
    }

    /// Delays a request from now on, by its method and path.
    pub fn delay(&self, request: String) {
        lock(&self.rules).delayed.push(request);
    }

    /// Answers a request with 403 from now on, by its method and path.
    pub fn refuse(&self, request: String) {
        lock(&self.rules).refused.push(request);
    }
}

impl Rules {
    fn answer(&self, asked: &Asked) -> Option<Response> {
        let line = format!("{} {}", asked.method, asked.path);
        if self.refused.contains(&line) {
            return Some(StatusCode::FORBIDDEN.into_response());
        }
        let is_protected = self.protected.iter().any(|part| asked.path.contains(part));
        let challenge = [("www-authenticate", "Basic realm=\"closed\"")];
        (is_protected && asked.sent("authorization").is_none())
            .then(|| (StatusCode::UNAUTHORIZED, challenge).into_response())
    }
}

async fn forward(State(proxy): State<Proxy>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let line = format!("{} {}", head.method, head.uri.path());
    let is_delayed = lock(&proxy.rules).delayed.contains(&line);
    if is_delayed {
        tokio::time::sleep(DELAY).await;
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
