//! Counts the requests that reach a registry: an optimisation counts only if the wire shows it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use servers::{Asked, Server};

/// A proxy on loopback that hands every request on and remembers it.
pub struct Wire {
    /// Its address, `127.0.0.1:port`, to be used in the registry's place.
    pub address: String,
    server: Server,
    rules: Arc<Mutex<Rules>>,
}

/// The requests that are answered otherwise than by the registry. Refused and slow ones are named
/// by their method and path.
#[derive(Default)]
struct Rules {
    refused: Vec<String>,
    closed: Vec<String>,
    slow: Vec<String>,
}

#[derive(Clone)]
struct Proxy {
    client: reqwest::Client,
    registry: String,
    rules: Arc<Mutex<Rules>>,
}

/// How long a request takes that is slow.
const SLOW: Duration = Duration::from_secs(1);

impl Wire {
    /// Starts one in front of the registry at `address`.
    pub async fn before(address: &str) -> Self {
        let rules = Arc::<Mutex<Rules>>::default();
        let proxy = Proxy {
            client: crate::registries::http(),
            registry: address.to_owned(),
            rules: Arc::clone(&rules),
        };
        let router = axum::Router::new().fallback(hand_on).with_state(proxy);
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

    /// Wants credentials, whichever they are, of those who ask for a path with this in it from now
    /// on.
    pub fn close(&self, path: &str) {
        lock(&self.rules).closed.push(path.to_owned());
    }

    /// Lets a request take its time from now on, by its method and path.
    pub fn slow_down(&self, request: String) {
        lock(&self.rules).slow.push(request);
    }

    /// Forbids a request from now on, by its method and path.
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
        let is_closed = self.closed.iter().any(|closed| asked.path.contains(closed));
        let challenge = [("www-authenticate", "Basic realm=\"closed\"")];
        (is_closed && asked.sent("authorization").is_none())
            .then(|| (StatusCode::UNAUTHORIZED, challenge).into_response())
    }
}

fn lock(rules: &Mutex<Rules>) -> MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn hand_on(State(proxy): State<Proxy>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let line = format!("{} {}", head.method, head.uri.path());
    let is_slow = lock(&proxy.rules).slow.contains(&line);
    if is_slow {
        tokio::time::sleep(SLOW).await;
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
