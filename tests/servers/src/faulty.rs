//! A registry in memory for tests of failures. It keeps blobs by repository as distribution does,
//! reads uploads piece by piece, injects faults by rule, and shows its content to the test.
//!
//! [`Quirks`] define the general behaviour of a registry. A [`Rule`] injects a fault into some of
//! its requests. [`profiles`] combines both to simulate real registries.

mod content;
mod fault;
mod profile;
mod target;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use content::{Content, sha256, text};
pub use content::{Transfer, refusal};
use fault::Faults;
pub use fault::{Fault, Kind, Rule, UPLOADS, When, always, chance, each, first};
pub use profile::{Profile, profiles};
use target::Target;

use crate::listener::Breaker;
pub use crate::quirks;
use crate::{Asked, Server};

/// The general behaviour of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quirks {
    /// The behaviour for mounts.
    pub mounts: Mounts,
    /// The behaviour for uploads in several parts.
    pub parts: Parts,
    /// Whether a session survives an interrupted request, with the bytes that arrived, and a
    /// request at an outdated `Location`. For the latter, a request for the status is answered, and
    /// others are refused. Distribution 3 behaves so; distribution 2 discards the session in both
    /// cases.
    pub keeps_cut_sessions: bool,
    /// Whether the registry compares the `Location` of a request with the newest one, which
    /// contains the number of bytes.
    pub checks_place: bool,
    /// Whether it accepts a body without `Content-Length`.
    pub streams: bool,
    /// Whether it refuses a manifest if it lacks a blob or manifest of it.
    pub checks_manifests: bool,
    /// Whether it refuses manifests without the field `mediaType`.
    pub requires_media_type: bool,
    /// The status of missing content.
    pub unknown: u16,
    /// The maximum size of the body of a request, in bytes.
    pub body_limit: Option<u64>,
    /// The minimum size of each part, in bytes.
    pub minimum_part: u64,
    /// The number of requests for which a token is valid; `None` if it requires no tokens.
    pub token_life: Option<u32>,
    /// The maximum number of concurrent requests; further requests get 503.
    pub request_limit: Option<usize>,
    /// The media types of manifests or of their configurations that it refuses.
    pub refuses: &'static [&'static str],
    /// Whether it requires credentials only for changes.
    pub open_for_reading: bool,
    /// Whether it requires Basic authentication instead of tokens. With `open_for_reading`, only
    /// writes require it.
    pub requires_password: bool,
    /// Whether its token server refuses tokens for writing.
    pub no_tokens_for_writing: bool,
    /// Whether its token server also gives tokens without credentials.
    pub anonymous_tokens: bool,
    /// How far its clock is ahead, in seconds.
    pub clock_ahead: Option<u64>,
    /// Whether it accepts a manifest under an existing tag or digest, even the same manifest.
    pub redeploys: bool,
    /// Whether it loses the bytes of some blobs at their first upload, but still answers `HEAD`
    /// with 200. It loses the blobs whose digest ends with an even digit.
    pub remembers_lost_blobs: bool,
    /// The status for an accepted blob, and for an accepted manifest.
    pub taken: (u16, u16),
    /// Whether it answers `HEAD` of a manifest by digest; otherwise the status is 500.
    pub heads_digests: bool,
    /// The rate at which it reads all uploads together, in bytes per second.
    pub rate: Option<u64>,
}

/// Returns the quirks of a registry: the given fields, and the other fields of a base or of the
/// default.
#[macro_export]
macro_rules! quirks {
    (..$base:expr; $($field:ident: $value:expr),+) => {
        $crate::faulty::Quirks { $($field: $value,)+ ..$base }
    };
    ($($field:ident: $value:expr),+) => {
        $crate::quirks!(..$crate::faulty::Quirks::default(); $($field: $value),+)
    };
}

/// The behaviour of a registry for a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// It mounts.
    Granted,
    /// It opens an upload instead.
    Ignored,
    /// It refuses the mount with this status.
    Refused(u16),
}

/// The behaviour of a registry for an upload in several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// It accepts all parts.
    Taken,
    /// It accepts all parts, and answers 201 instead of 202.
    Created,
    /// It accepts only the first part.
    OneOnly,
    /// Each part replaces the parts before it.
    LastOnly,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            mounts: Mounts::Granted,
            parts: Parts::Taken,
            keeps_cut_sessions: false,
            checks_place: true,
            streams: true,
            checks_manifests: true,
            requires_media_type: false,
            unknown: 404,
            body_limit: None,
            minimum_part: 0,
            token_life: None,
            request_limit: None,
            refuses: &[],
            open_for_reading: false,
            requires_password: false,
            no_tokens_for_writing: false,
            anonymous_tokens: false,
            clock_ahead: None,
            redeploys: true,
            remembers_lost_blobs: false,
            taken: (201, 201),
            heads_digests: true,
            rate: None,
        }
    }
}

/// The user of a registry that requires credentials.
pub const USER: &str = "courier";
/// That user's password.
pub const PASSWORD: &str = "correct-horse";
/// The header `Authorization` of Basic authentication with both.
const BASIC: &str = "Basic Y291cmllcjpjb3JyZWN0LWhvcnNl";

/// A running registry; it stops when this is dropped.
pub struct FaultyRegistry {
    inner: Arc<Inner>,
    server: Server,
}

#[derive(Default)]
struct Inner {
    address: OnceLock<String>,
    quirks: Quirks,
    content: Mutex<Content>,
    under_way: AtomicUsize,
    /// When the next piece may be read.
    pace: Mutex<Option<Instant>>,
}

impl Deref for FaultyRegistry {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl FaultyRegistry {
    /// Starts an empty registry that reads bodies piece by piece and records no requests. `seed` is
    /// for faults with a probability.
    pub async fn start(quirks: Quirks, rules: &[Rule], seed: u64) -> Self {
        let (inner, router) = Inner::of(quirks);
        inner.content().faults = Faults::new(rules, seed);
        Self::on(inner, Server::unrecorded(router).await)
    }

    /// Starts an empty registry that records its requests. `intercept` may answer requests in place
    /// of the registry.
    pub async fn recorded(
        quirks: Quirks,
        intercept: impl Fn(&Asked) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let (inner, router) = Inner::of(quirks);
        Self::on(inner, Server::before(router, intercept).await)
    }

    fn on(inner: Arc<Inner>, server: Server) -> Self {
        inner.address.get_or_init(|| server.address.clone());
        Self { inner, server }
    }

    /// Adds a blob to a repository, as if it was uploaded before.
    pub fn hold(&self, repository: &str, bytes: &[u8]) {
        self.inner.content().hold(repository, bytes);
    }

    /// Removes a blob from a repository, as a garbage collection does.
    pub fn lose(&self, repository: &str, digest: &str) {
        let answer = self.inner.content().delete_blob(repository, digest);
        assert!(answer.status().is_success(), "{repository} has no {digest}");
    }

    /// Damages the bytes of the open upload sessions.
    pub fn spoil_sessions(&self) {
        self.inner.content().spoil_sessions();
    }

    /// Injects these faults from now on.
    pub fn play(&self, rules: &[Rule]) {
        self.inner.content().faults = Faults::new(rules, 1);
    }

    /// Injects no faults from now on.
    pub fn calm(&self) {
        self.inner.content().faults = Faults::default();
    }

    /// Returns how many requests met a fault.
    pub fn played(&self) -> usize {
        self.inner.content().faults.played()
    }

    /// Counts the requests of a kind.
    pub fn count_of(&self, kind: Kind) -> usize {
        let content = self.inner.content();
        content.asked.get(&kind).copied().unwrap_or_default()
    }

    /// Counts the requests to write that were refused: 401, 403 and 405.
    pub fn refused_writes(&self) -> usize {
        self.inner.content().refused_writes
    }

    /// Counts the requests with a wrong password, to the registry or its token server.
    pub fn wrong_passwords(&self) -> usize {
        self.inner.content().wrong_passwords
    }

    /// Counts the requests above [`Quirks::body_limit`].
    pub fn too_large(&self) -> usize {
        self.inner.content().too_large
    }

    /// Returns how many bytes of uploads were read.
    pub fn received(&self) -> u64 {
        self.inner.content().received
    }

    /// Returns the upload sessions in the order in which they were opened.
    pub fn transfers(&self) -> Vec<Transfer> {
        self.inner.content().transfers.clone()
    }

    /// Returns the size of the largest open upload session, in bytes.
    pub fn most_held(&self) -> u64 {
        self.inner.content().most_held()
    }

    /// Returns each repository's blobs by digest.
    pub fn blobs(&self) -> BTreeSet<(String, String)> {
        self.inner.content().blobs()
    }

    /// Returns the number of completed uploads for each blob of a repository. A mounted blob has
    /// none.
    pub fn completions(&self) -> BTreeMap<(String, String), usize> {
        self.inner.content().completions().clone()
    }

    /// Returns a blob of a repository.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.inner.content().blob(repository, digest)
    }

    /// Returns a manifest by tag or digest: its media type and its bytes.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Bytes)> {
        self.inner.content().manifest(repository, reference)
    }

    /// Returns the digest that a tag points at.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        let (_, bytes) = self.manifest(repository, tag)?;
        Some(sha256(&bytes))
    }

    /// Returns whether the registry has neither manifests, blobs nor open upload sessions.
    pub fn is_empty(&self) -> bool {
        self.inner.content().is_empty()
    }

    /// Counts the upload sessions that were neither completed nor cancelled.
    pub fn open_sessions(&self) -> usize {
        self.inner.content().open_sessions()
    }

    /// Returns every tag with its repository.
    pub fn tags(&self) -> Vec<(String, String)> {
        self.inner.content().tags()
    }
}

impl Inner {
    fn of(quirks: Quirks) -> (Arc<Self>, Router) {
        let inner = Arc::new(Self {
            quirks,
            ..Self::default()
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&inner));
        (inner, router)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `rate` permits to read this many bytes.
    async fn wait(&self, bytes: usize, rate: Option<u64>) {
        let Some(rate) = rate else { return };
        let until = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let begin = pace.map_or(now, |pace| pace.max(now));
            let until = begin + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *pace = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

/// Decrements a counter when it is dropped.
struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(
    State(inner): State<Arc<Inner>>,
    ConnectInfo(breaker): ConnectInfo<Breaker>,
    request: Request,
) -> Response {
    let writes = ["POST", "PUT", "PATCH"].contains(&request.method().as_str());
    let shown = text(request.headers(), "authorization").to_owned();
    let answer = play(Arc::clone(&inner), breaker, request).await;
    let refused = [401, 403, 405].contains(&answer.status().as_u16());
    let mut content = inner.content();
    content.refused_writes += usize::from(writes && refused);
    content.wrong_passwords += usize::from(shown.starts_with("Basic ") && shown != BASIC);
    answer
}

async fn play(inner: Arc<Inner>, breaker: Breaker, request: Request) -> Response {
    let concurrent = inner.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    let _working = Working(&inner.under_way);
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let target = Target::of(&head.method, head.uri.path(), query);
    let fault = {
        let mut content = inner.content();
        *content.asked.entry(target.kind).or_default() += 1;
        let (kind, what) = (target.kind, target.what());
        content.faults.decide(kind, &target.repository, &what)
    };
    if inner
        .quirks
        .request_limit
        .is_some_and(|limit| concurrent > limit)
    {
        return inner
            .drained(&target, body, refusal(503, "UNAVAILABLE"))
            .await;
    }
    match fault {
        Some(Fault::Answer { status, code }) => {
            return inner.drained(&target, body, refusal(status, code)).await;
        }
        Some(Fault::Denied { status, message }) => {
            let answer = content::denial(status, message);
            return inner.drained(&target, body, answer).await;
        }
        Some(Fault::Redirect { location }) => {
            let answer = (StatusCode::FOUND, [("location", location)]).into_response();
            return inner.drained(&target, body, answer).await;
        }
        Some(Fault::Page) => {
            let answer = ([("content-type", "text/html")], "<form>").into_response();
            return inner.drained(&target, body, answer).await;
        }
        Some(Fault::TooManyRequests { retry_after }) => {
            let mut answer = refusal(429, "TOOMANYREQUESTS");
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert("retry-after", seconds.into());
            }
            return inner.drained(&target, body, answer).await;
        }
        Some(Fault::LoseSession) => inner.content().lose(&target.subject),
        Some(Fault::Endless) => {
            let zeros = futures_util::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Bytes::from_static(&[0; 4096]))
            });
            return Body::from_stream(zeros).into_response();
        }
        _ => {}
    }
    if let Some(refused) = inner.unauthorized(&target, &head.headers) {
        return inner.drained(&target, body, refused).await;
    }
    let mut answer = inner
        .answer(&target, &head.headers, body, fault, &breaker)
        .await;
    let taken = answer.status().is_success();
    let headers = answer.headers_mut();
    if let Some(ahead) = inner.quirks.clock_ahead {
        #[expect(
            clippy::disallowed_methods,
            reason = "a registry has a clock of its own"
        )]
        let time = std::time::SystemTime::now() + Duration::from_secs(ahead);
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(time)).expect("a date");
        headers.insert("date", date);
    }
    match fault {
        Some(Fault::LoseAnswer) => breaker.break_off(),
        Some(Fault::NoLocation) => drop(headers.remove("location")),
        Some(Fault::Location { location }) if taken => {
            headers.insert("location", HeaderValue::from_static(location));
        }
        Some(Fault::NoDigest) => drop(headers.remove("docker-content-digest")),
        Some(Fault::WrongDigest) if taken => {
            let other = HeaderValue::from_str(&sha256(b"something else")).expect("a digest");
            headers.insert("docker-content-digest", other);
        }
        Some(Fault::RangeOff { by }) => {
            let range = text(headers, "range").to_owned();
            if let Some(end) = range
                .strip_prefix("0-")
                .and_then(|end| end.parse::<i64>().ok())
            {
                let moved = format!("0-{}", (end + by).max(0));
                headers.insert("range", HeaderValue::from_str(&moved).expect("a range"));
            }
        }
        _ => {}
    }
    answer
}

impl Inner {
    /// Answers a request for a token, or a request without valid credentials.
    fn unauthorized(&self, target: &Target, headers: &HeaderMap) -> Option<Response> {
        let reads = matches!(
            target.kind,
            Kind::HeadManifest | Kind::GetManifest | Kind::HeadBlob | Kind::GetBlob
        );
        if self.quirks.requires_password {
            let open = self.quirks.open_for_reading && (reads || target.kind == Kind::Ping);
            if open || text(headers, "authorization") == BASIC {
                return None;
            }
            let mut answer = refusal(401, "UNAUTHORIZED");
            let challenge = HeaderValue::from_static("Basic realm=\"faulty\"");
            answer.headers_mut().insert("www-authenticate", challenge);
            return Some(answer);
        }
        let life = self.quirks.token_life?;
        if target.kind == Kind::Token {
            if text(headers, "authorization") != BASIC && !self.quirks.anonymous_tokens {
                return Some(refusal(401, "UNAUTHORIZED"));
            }
            if self.quirks.no_tokens_for_writing && target.what().contains("push") {
                return Some(refusal(401, "UNAUTHORIZED"));
            }
            let token = self.content().tokens.issue(life);
            return Some(format!(r#"{{"token":"{token}","expires_in":300}}"#).into_response());
        }
        if (self.quirks.open_for_reading && reads) || self.content().tokens.accept(headers) {
            return None;
        }
        let challenge = format!(
            r#"Bearer realm="http://{}/token",service="faulty",scope="repository:{}:pull,push""#,
            self.address.get().expect("a running server"),
            target.repository
        );
        let mut answer = refusal(401, "UNAUTHORIZED");
        let challenge = HeaderValue::from_str(&challenge).expect("a challenge");
        answer.headers_mut().insert("www-authenticate", challenge);
        Some(answer)
    }

    /// Reads a request to its end before it is answered, as a buffering proxy does.
    async fn drained(&self, target: &Target, body: Body, answer: Response) -> Response {
        let mut body = body.into_data_stream();
        let counts = UPLOADS.contains(&target.kind);
        while let Some(Ok(piece)) = body.next().await {
            if counts {
                self.content().take(&target.subject, &piece, false);
            }
        }
        answer
    }

    async fn answer(
        &self,
        target: &Target,
        headers: &HeaderMap,
        body: Body,
        fault: Option<Fault>,
        breaker: &Breaker,
    ) -> Response {
        let Target {
            repository,
            subject,
            ..
        } = target;
        let quirks = &self.quirks;
        if UPLOADS.contains(&target.kind) {
            return self.upload(target, headers, body, fault, breaker).await;
        }
        let bytes = axum::body::to_bytes(body, usize::MAX).await;
        let bytes = bytes.unwrap_or_default();
        match fault {
            Some(Fault::Reset { .. }) => {
                breaker.break_off();
                return StatusCode::OK.into_response();
            }
            Some(Fault::Stall { .. }) => return std::future::pending().await,
            _ => {}
        }
        let mut content = self.content();
        match target.kind {
            Kind::Ping => StatusCode::OK.into_response(),
            Kind::HeadManifest if !quirks.heads_digests && subject.contains(':') => {
                refusal(500, "UNKNOWN")
            }
            Kind::HeadManifest | Kind::GetManifest => {
                content.read_manifest(quirks, repository, subject)
            }
            Kind::PutManifest => {
                let media_type = text(headers, "content-type");
                content.put_manifest(quirks, repository, subject, media_type, &bytes)
            }
            Kind::HeadBlob => content.head_blob(quirks, repository, subject),
            Kind::GetBlob => content.read_blob(quirks, repository, subject),
            Kind::Mount => {
                let (digest, from) = (target.parameter("mount"), target.parameter("from"));
                content.mount(quirks, repository, &digest, &from)
            }
            Kind::OpenUpload => content.open(quirks, repository),
            Kind::AskUpload => content.ask(quirks, target),
            Kind::CancelUpload => {
                let refused = content.misplaced(quirks, target);
                content.lose(subject);
                refused.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
            }
            Kind::DeleteManifest => content.delete_manifest(repository, subject),
            Kind::DeleteBlob => content.delete_blob(repository, subject),
            Kind::Token | Kind::SendPart | Kind::EndUpload | Kind::Other => {
                StatusCode::NOT_FOUND.into_response()
            }
        }
    }
}
