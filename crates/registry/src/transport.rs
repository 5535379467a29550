//! Sends requests: authenticates, follows redirects, limits the time, and turns error responses
//! into errors.
//!
//! It knows methods, URLs, headers and bodies, but not their purpose. [`Transport::exchange`] is
//! one attempt; [`Transport::send`] is as many as the settings allow. Work that takes several
//! requests makes its own attempts of exchanges.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Client, Method, StatusCode};
use tokio::time::timeout;
use tracing::Instrument as _;
use url::Url;

use crate::account::{Account, Gate, Refusal, refuses_account};
use crate::authentication::{
    Authentication, Authorization, Scopes, TokenClient, says_insufficient_scope,
};
use crate::body::Upload;
use crate::clients::Carries;
use crate::identify::Port;
use crate::limiter::Limiter;
use crate::queues::SMALL;
use crate::response::{Response, read_error};
use crate::retry::{Again, Attempts, Failure};
use crate::violation::{LocationFault, Violation};
use crate::{Credentials, Endpoint, Error, Observer, Place, Settings, classify, identify};

/// How long a TLS handshake may take before the server is asked whether it speaks plain HTTP.
const LONG_HANDSHAKE: Duration = Duration::from_millis(1500);

/// How many redirects of one request are followed.
const MOST_REDIRECTS: usize = 5;

/// How many requests by `HEAD` may fail that `GET` answers, before `GET` is used first.
const MOST_FAILED_HEADS: u32 = 3;

/// How often a request that the operator waits for is sent.
const BRIEF_ATTEMPTS: u32 = 2;

/// The statuses of a response that accepts something. Registries choose different ones; what they
/// have is shown by digests.
pub(crate) const TAKEN: [StatusCode; 4] = [
    StatusCode::CREATED,
    StatusCode::OK,
    StatusCode::ACCEPTED,
    StatusCode::NO_CONTENT,
];

/// What a request may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
    Delete,
}

/// A request, to be made as often as it takes.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    method: Method,
    url: Url,
    repository: &'a str,
    scopes: Scopes,
    headers: HeaderMap,
    content: Content<'a>,
    expected: &'a [StatusCode],
    attempts: u32,
    failure_map: fn(Failure) -> Failure,
    commits_upload: bool,
}

/// What a request carries. Everything here can be sent again.
#[derive(Clone)]
pub(crate) enum Content<'a> {
    Nothing,
    Bytes(Bytes),
    Upload(&'a Upload<'a>),
}

/// Whatever answered, with what it said.
pub(crate) struct RawResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    client: Client,
    /// For large uploads.
    uploads: Client,
    authentication: Authentication,
    account: Arc<Account>,
    /// What the first write of this handle came to.
    writes: Gate,
    /// How many requests by `HEAD` failed that `GET` answered.
    heads_failed: AtomicU32,
    settings: Settings,
    limiter: Arc<Limiter>,
    /// The registry has answered over TLS, if that is its scheme.
    speaks_tls: AtomicBool,
    /// Its port accepts connections, and answered nothing so far.
    is_silent: AtomicBool,
}

impl<'a> Request<'a> {
    /// Returns a request that expects status 200, has no body and needs no rights.
    pub(crate) fn new(method: Method, url: Url, repository: &'a str) -> Self {
        Self {
            method,
            url,
            repository,
            scopes: Vec::new(),
            headers: HeaderMap::new(),
            content: Content::Nothing,
            expected: &[StatusCode::OK],
            attempts: u32::MAX,
            failure_map: |failure| failure,
            commits_upload: false,
        }
    }

    /// Asks for rights in the repository.
    pub(crate) fn access(mut self, access: Access) -> Self {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,push,delete",
        };
        self.scopes
            .push(format!("repository:{}:{actions}", self.repository));
        self
    }

    /// Asks for the right to read in another repository as well, by the same token.
    pub(crate) fn and_pull_from(mut self, other: &str) -> Self {
        if other != self.repository {
            self.scopes.push(format!("repository:{other}:pull"));
        }
        self
    }

    pub(crate) fn header(mut self, name: reqwest::header::HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(crate) fn content(mut self, content: Content<'a>, media_type: HeaderValue) -> Self {
        self.content = content;
        self.headers.insert(CONTENT_TYPE, media_type);
        self
    }

    pub(crate) fn expect_status(mut self, expected: &'a [StatusCode]) -> Self {
        self.expected = expected;
        self
    }

    /// Makes fewer attempts, since the operator is waiting.
    pub(crate) fn briefly(mut self) -> Self {
        self.attempts = BRIEF_ATTEMPTS;
        self
    }

    /// Waits for the answer as long as after the last byte of an upload.
    pub(crate) fn commits_upload(mut self) -> Self {
        self.commits_upload = true;
        self
    }

    /// Has failures read in another way than their status says by itself, so it is known what may
    /// pass.
    pub(crate) fn map_failure(mut self, failure_map: fn(Failure) -> Failure) -> Self {
        self.failure_map = failure_map;
        self
    }

    /// Returns whether the request puts something into a repository.
    fn writes(&self) -> bool {
        !self.repository.is_empty()
            && [Method::POST, Method::PUT, Method::PATCH].contains(&self.method)
    }

    fn place(&self, url: &Url) -> Place {
        Place::new(self.method.as_str(), url, self.repository)
    }

    fn size(&self) -> u64 {
        match &self.content {
            Content::Nothing => 0,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Upload(upload) => upload.size(),
        }
    }
}

impl Transport {
    pub(crate) fn new(
        endpoint: Endpoint,
        credentials: Credentials,
        settings: Settings,
    ) -> Result<Self, Error> {
        let clients = &settings.accounts.clients;
        let client = clients.of(&endpoint, &settings, Carries::Requests)?;
        let uploads = clients.of(&endpoint, &settings, Carries::Uploads)?;
        let account = settings.accounts.of(&endpoint, &credentials);
        Ok(Self {
            client,
            uploads,
            authentication: Authentication::new(credentials, Arc::clone(&account)),
            account,
            writes: Gate::default(),
            heads_failed: AtomicU32::new(0),
            limiter: Arc::new(Limiter::new(
                settings.accounts.limits(&endpoint),
                settings.uploads_at_once,
                settings.max_rate,
            )),
            settings,
            endpoint,
            speaks_tls: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// Returns whether it is known if this account may write.
    pub(crate) fn write_access_is_known(&self) -> bool {
        self.writes.is_decided()
    }

    /// Returns why this account may not write, if its first write was refused.
    pub(crate) fn write_refusal(&self) -> Option<Refusal> {
        self.writes.refusal()
    }

    /// Takes note that a write which was refused asked for what was there already.
    pub(crate) fn forget_refused_write(&self) {
        if self.writes.refusal().is_some() {
            self.writes.reopen();
            self.account.forget_refused_write();
        }
    }

    /// Asks for `path` once, and returns whatever answers: nothing is authenticated, followed or
    /// taken for an error.
    pub(crate) async fn get_raw(&self, path: &str) -> Result<RawResponse, Error> {
        let url = self.endpoint.url(path);
        let request = Request::new(Method::GET, url.clone(), "");
        let response = self.traced(&request, &url, None, &()).await;
        let response = response.map_err(|failure| failure.error)?;
        Ok(RawResponse {
            status: response.status(),
            headers: response.headers().clone(),
            body: read_error(response, &self.settings).await,
        })
    }

    /// Makes a request until it gets a wanted answer, one that will not change, or the attempts are
    /// used up.
    pub(crate) async fn send(
        &self,
        request: &Request<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Error> {
        let mut attempts = Attempts::new(&self.settings, observer).at_most(request.attempts);
        loop {
            let exchange = self.exchange(request, observer);
            match exchange.instrument(attempts.span()).await {
                Ok(response) => return Ok(response),
                Err(failure) => attempts.pause(failure).await?,
            }
        }
    }

    /// Makes a request like [`Transport::send`], by `get` where the registry fails to answer
    /// `head`.
    pub(crate) async fn head_or_get(
        &self,
        head: &Request<'_>,
        get: &Request<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Error> {
        if self.heads_failed.load(Ordering::Relaxed) >= MOST_FAILED_HEADS {
            return self.send(get, observer).await;
        }
        let mut attempts = Attempts::new(&self.settings, observer).at_most(head.attempts);
        loop {
            let exchange = self.exchange(head, observer);
            let failure = match exchange.instrument(attempts.span()).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let knows_no_head = (failure.error.answer())
                .is_some_and(|answer| [400, 405, 500, 501].contains(&answer.status));
            if knows_no_head && let Ok(response) = self.exchange(get, observer).await {
                self.heads_failed.fetch_add(1, Ordering::Relaxed);
                return Ok(response);
            }
            attempts.pause(failure).await?;
        }
    }

    /// Makes a request once, when the limiter permits. A challenge and redirects belong to the one
    /// attempt.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Failure> {
        let in_flight = self.limiter.request().await;
        let answer = self.attempt(request, observer).await;
        let answer =
            answer.map_err(|failure| self.blame_location(request, (request.failure_map)(failure)));
        if let Err(Failure {
            error,
            again: Again::After(order),
        }) = &answer
            && !error.is_about_reaching()
        {
            in_flight.on_congestion();
            if let Some(order) = order.filter(|order| *order <= self.settings.longest_wait) {
                self.limiter.pause_requests(order);
            }
        }
        answer
    }

    /// Makes one attempt. The first write is made alone, and decides whether there are others.
    async fn attempt(
        &self,
        request: &Request<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Failure> {
        if !request.writes() {
            return self.attempt_with_redirects(request, false, observer).await;
        }
        let alone = self.writes.enter().await.map_err(Failure::last)?;
        if alone.is_none() {
            return self.attempt_with_redirects(request, false, observer).await;
        }
        if let Some(refusal) = self.account.write_refusal() {
            let error = refusal.error();
            self.writes.refuse(refusal);
            return Err(Failure::last(error));
        }
        let answer = self.attempt_with_redirects(request, true, observer).await;
        match &answer {
            Ok(_) => {
                self.writes.pass();
                self.account.may_write();
            }
            Err(failure) => {
                let refused = refuses_account(&failure.error);
                if let Some(refusal) = Refusal::of(&failure.error).filter(|_| refused) {
                    self.account.may_not_write(&refusal);
                    self.writes.refuse(refusal);
                }
            }
        }
        answer
    }

    async fn attempt_with_redirects(
        &self,
        request: &Request<'_>,
        is_write_check: bool,
        observer: &dyn Observer,
    ) -> Result<Response, Failure> {
        let token_client = TokenClient {
            client: &self.client,
            endpoint: &self.endpoint,
            settings: &self.settings,
            observer,
        };
        let mut url = request.url.clone();
        let mut redirects = 0;
        let mut challenged = false;
        let mut authorization = None;
        if self.endpoint.owns(&url) {
            authorization = self
                .authentication
                .known(&request.scopes, &token_client)
                .await?;
        }
        if is_write_check && authorization.is_none() {
            // A registry with anonymous access has not asked yet. A write without the password
            // would be refused first.
            authorization = self.authentication.password();
        }
        loop {
            let ours = self.endpoint.owns(&url);
            let shown = authorization.as_ref().filter(|_| ours);
            let refused_with = |failure| match shown {
                Some(_) => self.authentication.sent(failure),
                None => failure,
            };
            let alone = match shown.is_some_and(Authorization::is_password) {
                true => self.account.login.enter().await.map_err(Failure::last)?,
                false => None,
            };
            let response = self.traced(request, &url, shown, observer).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && ours {
                // Others may have used a token up that was fetched for this request, unless they
                // wait for the first write.
                let is_final = challenged
                    || is_write_check
                        && shown.is_some_and(|shown| {
                            shown.is_useless(response.headers(), &request.scopes)
                        });
                if is_final {
                    let password = shown.is_some_and(Authorization::is_password);
                    let failure = self.refused(response, request.place(&url)).await;
                    let mut failure = refused_with(failure);
                    if let Error::Unauthorized { is_login, .. } = &mut failure.error {
                        *is_login = password;
                    }
                    self.authentication.record_refusal(&failure.error);
                    return Err(failure);
                }
                challenged = true;
                let headers = response.headers().clone();
                let place = request.place(&url);
                // Read to its end, so the connection can carry the next request.
                read_error(response, &self.settings).await;
                let answer = self
                    .authentication
                    .answer(
                        &headers,
                        authorization.as_ref(),
                        &request.scopes,
                        place,
                        &token_client,
                        alone,
                    )
                    .await?;
                authorization = Some(answer);
                continue;
            }
            if shown.is_some_and(Authorization::is_password) {
                self.account.login.pass();
            }
            drop(alone);
            if request.expected.contains(&status) {
                let place = request.place(&url).through(self.endpoint.proxies(), &url)?;
                // Login pages come with 200 too, and must not be taken for an existing blob.
                if status.is_success() && classify::is_html(response.headers()) {
                    return Err(Failure::last(Error::NotARegistry {
                        at: Box::new(place),
                        found: "its answer is an HTML page".to_owned(),
                    }));
                }
                return Ok(Response::new(response, place));
            }
            if let Some(target) = self.redirect(request, &url, &response)?
                && redirects < MOST_REDIRECTS
            {
                redirects += 1;
                url = target;
                continue;
            }
            // Servers of files refuse those who do not log in, some without a challenge.
            let lacks_challenge = status == StatusCode::FORBIDDEN
                && request.scopes.is_empty()
                && !request.repository.is_empty()
                && (ours && redirects == 0 && authorization.is_none());
            if lacks_challenge
                && let Some(password) = self.authentication.password_without_challenge()
            {
                read_error(response, &self.settings).await;
                authorization = Some(password);
                continue;
            }
            let failure = self
                .status_failure(response, request.place(&url), request.size())
                .await;
            let refuses = matches!(
                failure.error,
                Error::Unauthorized { .. } | Error::Forbidden { .. }
            );
            return Err(match refuses && !ours && redirects > 0 {
                true => Failure::last(Error::Elsewhere {
                    at: Box::new(request.place(&request.url)),
                    host: url.origin().ascii_serialization(),
                    source: Box::new(failure.error),
                }),
                false => refused_with(failure),
            });
        }
    }

    /// Sends one request as [`Transport::send_once`] does, and logs it.
    async fn traced(
        &self,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&Authorization>,
        observer: &dyn Observer,
    ) -> Result<reqwest::Response, Failure> {
        let response = async {
            tokio::select! {
                response = self.send_once(request, url, authorization, observer) => response,
                // A registry that never answers does not keep a run from ending.
                () = self.stop_timed_out() => Err(Failure::last(Error::Stopped)),
            }
        };
        requests::traced(
            &request.method,
            url,
            request.size(),
            Failure::error,
            response,
        )
        .await
    }

    /// Waits until a stop was requested and nothing has moved since then for too long.
    async fn stop_timed_out(&self) {
        self.settings.stop.requested().await;
        self.limiter
            .wait_until_idle(self.settings.stop_timeout)
            .await;
    }

    /// Sends one request and waits for the head of its answer.
    async fn send_once(
        &self,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&Authorization>,
        observer: &dyn Observer,
    ) -> Result<reqwest::Response, Failure> {
        let client = match request.size() > SMALL {
            true => &self.uploads,
            false => &self.client,
        };
        let mut builder = client
            .request(request.method.clone(), url.clone())
            .headers(request.headers.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization.header.clone());
        }
        let place = request.place(url).through(self.endpoint.proxies(), url)?;
        let settings = &self.settings;
        tokio::select! {
            biased;
            () = self.limiter.wait_for_pause() => {}
            () = settings.stop.requested() => return Err(Failure::last(Error::Stopped)),
        }
        if let Content::Upload(upload) = &request.content {
            let (limiter, settings) = (&self.limiter, &self.settings);
            return upload
                .send(builder, place, limiter, settings, observer)
                .await;
        }
        if let Content::Bytes(bytes) = &request.content {
            builder = builder.body(bytes.clone());
        } else if !matches!(request.method, Method::GET | Method::HEAD) {
            // Some registries wait for a body without `Content-Length: 0`.
            builder = builder.header(CONTENT_LENGTH, 0);
        }
        let patience = match request.commits_upload {
            true => settings.finish_timeout,
            false => settings.answer_timeout,
        };
        let sent = async {
            tokio::select! {
                biased;
                sent = builder.send() => Ok(sent),
                error = self.detect_other_protocol(url, &place) => Err(error),
            }
        };
        match timeout(patience, sent).await {
            Ok(Err(error)) => Err(Failure::last(error)),
            Ok(Ok(Ok(response))) => {
                self.speaks_tls.store(true, Ordering::Relaxed);
                Ok(response)
            }
            Ok(Ok(Err(error))) => {
                let (proxies, patience) = (self.endpoint.proxies(), settings.connect_timeout);
                let failure = identify::failure(error, place, url, proxies, patience).await;
                Err(match failure.error {
                    Error::TimedOut { at, after } if self.is_silent.load(Ordering::Relaxed) => {
                        Failure::last(Error::Silent { at, after })
                    }
                    error => Failure { error, ..failure },
                })
            }
            Err(_) => Err(Failure::passing(Error::TimedOut {
                at: Box::new(place),
                after: patience,
            })),
        }
    }

    /// Returns the error for a server that turns out to speak another protocol where TLS is
    /// expected. Some such servers wait for the end of a line that a TLS client never sends. So if
    /// the handshake takes long, the port is asked on a second connection, without credentials.
    async fn detect_other_protocol(&self, url: &Url, place: &Place) -> Error {
        let is_unknown = || !self.speaks_tls.load(Ordering::Relaxed);
        let asks = url.scheme() == "https"
            && self.endpoint.owns(url)
            && place.proxy.is_none()
            && is_unknown();
        if asks {
            tokio::time::sleep(LONG_HANDSHAKE).await;
            let port = identify::port(url).await;
            let at = Box::new(place.clone());
            match port {
                // A TLS server answers 400 or sends its callers to HTTPS, if it answers at all.
                Port::Http(200 | 401 | 404) if is_unknown() => {
                    return Error::PlainHttpServer { at };
                }
                Port::Other(text) if is_unknown() => return identify::foreign(at, &text),
                port => (self.is_silent).store(port == Port::Silent, Ordering::Relaxed),
            }
        }
        std::future::pending().await
    }

    /// Returns where an answer sends the request, if it is one that may be made there.
    fn redirect(
        &self,
        request: &Request<'_>,
        asked: &Url,
        response: &reqwest::Response,
    ) -> Result<Option<Url>, Failure> {
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let follows = match response.status() {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            // These change the method of other requests to GET, which is never what was meant.
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => reads,
            _ => false,
        };
        // The registry as a whole is where it says it is; what leads elsewhere from there is a
        // login page.
        if !follows || request.repository.is_empty() {
            return Ok(None);
        }
        self.location(request.place(asked), asked, response.headers())
            .map(Some)
    }

    /// Reads the `Location` of an answer to a request for `asked`.
    pub(crate) fn location(
        &self,
        at: Place,
        asked: &Url,
        headers: &HeaderMap,
    ) -> Result<Url, Failure> {
        let wrong = |violation| Failure::last(Error::protocol(&at, violation));
        let location = headers
            .get(LOCATION)
            .ok_or_else(|| wrong(Violation::NoLocation))?;
        let location = (location.to_str()).map_err(|_| wrong(Violation::UnreadableLocation))?;
        let fault = match self.endpoint.resolve(asked, location) {
            _ if is_doubled(location) => LocationFault::NamedTwice,
            Some(url) => return Ok(url),
            None if asked.join(location).is_ok() => LocationFault::LeavesTls,
            None => LocationFault::NotAUrl,
        };
        Err(Failure::last(Error::Location {
            at: Box::new(at),
            location: shown_location(location),
            fault,
            source: None,
        }))
    }

    /// Names the `Location` that a request followed if the host there fails it: a registry that
    /// knows its own name wrongly sends uploads to where its clients cannot go.
    fn blame_location(&self, request: &Request<'_>, failure: Failure) -> Failure {
        let is_lost = match &failure.error {
            Error::TimedOut { after, .. } => *after == self.settings.connect_timeout,
            Error::Unauthorized { .. } | Error::Forbidden { .. } | Error::NotARegistry { .. } => {
                true
            }
            error => error.is_about_reaching() || error.is_about_tls(),
        };
        if !is_lost || self.endpoint.owns(&request.url) {
            return failure;
        }
        Failure::last(Error::Location {
            at: Box::new(request.place(&request.url)),
            location: request.url.origin().ascii_serialization(),
            fault: LocationFault::OtherHost {
                address: self.endpoint.address().to_owned(),
            },
            source: Some(Box::new(failure.error)),
        })
    }

    /// Turns the second 401 into an error.
    async fn refused(&self, response: reqwest::Response, place: Place) -> Failure {
        let insufficient = says_insufficient_scope(response.headers());
        match self.status_failure(response, place, 0).await {
            Failure {
                error: Error::Unauthorized { at, answer, .. },
                again,
            } if insufficient => Failure {
                error: Error::Forbidden { at, answer },
                again,
            },
            failure => failure,
        }
    }

    async fn status_failure(
        &self,
        response: reqwest::Response,
        place: Place,
        size: u64,
    ) -> Failure {
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_error(response, &self.settings).await;
        classify::status(status, &headers, &body, place, size)
    }
}

/// Returns whether a proxy appended to what another one had set, as in
/// `https,http://registry.example.com/`.
fn is_doubled(location: &str) -> bool {
    let Some((scheme, rest)) = location.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A path with such a thing in it has slashes before.
    !scheme.contains('/') && (scheme.contains(',') || authority.contains(','))
}

/// Returns a `Location` as far as it may be shown: without its query, in which storage services put
/// their signatures.
pub(crate) fn shown_location(location: &str) -> String {
    let bare = location.split(['?', '#']).next().unwrap_or_default();
    match bare.rsplit_once('@') {
        Some((_, after)) => format!("…@{after}"),
        None => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_location_is_known_from_a_comma_that_belongs_there() {
        for (location, doubled) in [
            ("https,http://registry.example.com/v2/", true),
            ("https, http://registry.example.com/v2/", true),
            (
                "https://registry.example.com,registry.example.com/v2/",
                true,
            ),
            ("https://registry.example.com/v2/a,b", false),
            ("/v2/a?next=https,http://x", false),
            ("/v2/a", false),
        ] {
            assert_eq!(is_doubled(location), doubled, "{location}");
        }
    }

    #[test]
    fn a_location_is_shown_without_secrets() {
        assert_eq!(
            shown_location("https,http://h/v2/?sig=secret#x"),
            "https,http://h/v2/"
        );
        assert_eq!(shown_location("https://u:secret@h/v2/"), "…@h/v2/");
    }
}
