//! A registry for tests of what goes wrong: it holds blobs by repository as distribution does,
//! reads uploads piece by piece, plays faults by rule, and can be looked into afterwards.
//!
//! [`Quirks`] are how a registry is; a [`Rule`] is what happens to some of its requests.
//! [`profiles`] puts both together as real registries are said to be.

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

/// How a registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quirks {
    /// What it does about mounts.
    pub mounts: Mounts,
    /// What it does about several parts.
    pub parts: Parts,
    /// Whether a session survives a request that was cut, with what came of it, and the use of a
    /// place that is not the newest: a question is answered, anything else refused. So does
    /// distribution 3. Distribution 2 gives the session up for either.
    pub keeps_cut_sessions: bool,
    /// Whether the place of a session, the newest `Location`, depends on what it holds.
    pub checks_place: bool,
    /// Whether it accepts a body without a length.
    pub streams: bool,
    /// Whether it refuses manifests of which it lacks something.
    pub checks_manifests: bool,
    /// Whether it refuses manifests that do not name their media type themselves.
    pub wants_media_type: bool,
    /// The status of missing content.
    pub unknown: u16,
    /// The most that one request may carry, in bytes.
    pub body_limit: Option<u64>,
    /// The minimum size of each part, in bytes.
    pub least_part: u64,
    /// Whether it requires tokens, and for how many requests each is valid.
    pub token_life: Option<u32>,
    /// How many concurrent requests it accepts; it answers more with 503.
    pub at_once: Option<usize>,
    /// The media types, of manifests or of their configurations, that it does not take.
    pub refuses: &'static [&'static str],
    /// Whether it requires credentials only for changes.
    pub open_for_reading: bool,
    /// Whether it asks for the password itself, and knows no tokens. With `open_for_reading`, it
    /// asks only those who write.
    pub wants_password: bool,
    /// Whether its token server refuses tokens for writing.
    pub no_tokens_for_writing: bool,
    /// Its token server gives tokens without credentials, too.
    pub tokens_for_nobody: bool,
    /// How far its clock is ahead, in seconds.
    pub clock_ahead: Option<u64>,
    /// Whether it takes a manifest under a tag or digest that it has, even if it is the same one.
    pub redeploys: bool,
    /// Whether it answers `HEAD` to a blob of which it lost the bytes: each second blob, when it
    /// was sent once.
    pub remembers_lost_blobs: bool,
    /// The status of a blob that it took, and of a manifest.
    pub taken: (u16, u16),
    /// Whether it answers `HEAD` to a manifest that is named by its digest; otherwise it says 500.
    pub heads_digests: bool,
    /// How fast it reads uploads, all of them together, in bytes a second.
    pub rate: Option<u64>,
}

/// Returns the quirks of a registry: these fields, and the rest of the base, or of a plain
/// registry.
#[macro_export]
macro_rules! quirks {
    (..$base:expr; $($field:ident: $value:expr),+) => {
        $crate::faulty::Quirks { $($field: $value,)+ ..$base }
    };
    ($($field:ident: $value:expr),+) => {
        $crate::quirks!(..$crate::faulty::Quirks::default(); $($field: $value),+)
    };
}

/// What a registry does about a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// It mounts.
    Granted,
    /// It opens an upload instead.
    Ignored,
    /// It says this status.
    Refused(u16),
}

/// What a registry does about an upload in several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// It takes them.
    Taken,
    /// It takes them, and answers 201 in place of 202.
    Created,
    /// It takes the first one only.
    OneOnly,
    /// It forgets the ones before when another comes.
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
            wants_media_type: false,
            unknown: 404,
            body_limit: None,
            least_part: 0,
            token_life: None,
            at_once: None,
            refuses: &[],
            open_for_reading: false,
            wants_password: false,
            no_tokens_for_writing: false,
            tokens_for_nobody: false,
            clock_ahead: None,
            redeploys: true,
            remembers_lost_blobs: false,
            taken: (201, 201),
            heads_digests: true,
            rate: None,
        }
    }
}

/// The user that a registry with tokens knows.
pub const USER: &str = "courier";
/// That user's password.
pub const PASSWORD: &str = "correct-horse";
/// Both, as `Basic` says them.
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
    /// Starts an empty one. `seed` decides what is drawn by chance. It reads bodies piece by piece,
    /// and records no requests.
    pub async fn start(quirks: Quirks, rules: &[Rule], seed: u64) -> Self {
        let (inner, router) = Inner::of(quirks);
        inner.content().faults = Faults::new(rules, seed);
        Self::on(inner, Server::unrecorded(router).await)
    }

    /// Starts an empty one that records its requests, and from which `intercept` may take them away
    /// by answering them itself.
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

    /// Puts a blob into a repository, as an earlier run would have.
    pub fn hold(&self, repository: &str, bytes: &[u8]) {
        self.inner.content().hold(repository, bytes);
    }

    /// Takes a blob out of a repository, as a garbage collection would.
    pub fn lose(&self, repository: &str, digest: &str) {
        let answer = self.inner.content().delete_blob(repository, digest);
        assert!(answer.status().is_success(), "{repository} has no {digest}");
    }

    /// Spoils what the open sessions hold.
    pub fn spoil_sessions(&self) {
        self.inner.content().spoil_sessions();
    }

    /// Plays these faults from now on.
    pub fn play(&self, rules: &[Rule]) {
        self.inner.content().faults = Faults::new(rules, 1);
    }

    /// Plays no faults any more.
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

    /// Counts the requests that showed a wrong password, to the registry or its token server.
    pub fn wrong_passwords(&self) -> usize {
        self.inner.content().wrong_passwords
    }

    /// Counts the requests that carried more than one may.
    pub fn too_large(&self) -> usize {
        self.inner.content().too_large
    }

    /// Returns how many bytes of uploads were read.
    pub fn received(&self) -> u64 {
        self.inner.content().received
    }

    /// Returns the sessions that were opened, in their order.
    pub fn transfers(&self) -> Vec<Transfer> {
        self.inner.content().transfers.clone()
    }

    /// Returns how many bytes the open session holds that holds most.
    pub fn most_held(&self) -> u64 {
        self.inner.content().most_held()
    }

    /// Returns each repository's blobs by digest.
    pub fn blobs(&self) -> BTreeSet<(String, String)> {
        self.inner.content().blobs()
    }

    /// Returns how often each blob of a repository was uploaded to its end; mounted ones not at
    /// all.
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

    /// Returns whether it holds nothing at all: no manifest, no blob, no open upload.
    pub fn is_empty(&self) -> bool {
        self.inner.content().is_empty()
    }

    /// Counts the uploads that were begun, and neither ended nor given back.
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

    /// Waits until this many more bytes may be read.
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

/// A count that goes down again when this is dropped.
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
    let at_once = inner.under_way.fetch_add(1, Ordering::SeqCst) + 1;
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
    if inner.quirks.at_once.is_some_and(|most| at_once > most) {
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
    /// Asks for a token, or issues one.
    fn unauthorized(&self, target: &Target, headers: &HeaderMap) -> Option<Response> {
        let reads = matches!(
            target.kind,
            Kind::HeadManifest | Kind::GetManifest | Kind::HeadBlob | Kind::GetBlob
        );
        if self.quirks.wants_password {
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
            if text(headers, "authorization") != BASIC && !self.quirks.tokens_for_nobody {
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

    /// Reads a request to its end and answers it, as a proxy does that lets its caller finish.
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
