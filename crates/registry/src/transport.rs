//! Sends requests: authenticates, follows redirects, enforces timeouts, and maps error responses to
//! errors.
//!
//! The transport knows methods, URLs, headers and bodies, but not artifacts.
//! [`Transport::exchange`] makes one attempt; [`Transport::send`] makes as many as the settings
//! allow. Operations of several requests use exchanges and count their own attempts.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
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
use crate::clients::Purpose;
use crate::identify::Port;
use crate::limiter::Limiter;
use crate::queues::SMALL;
use crate::response::{Response, read_error};
use crate::retry::{Again, Attempts, Failure};
use crate::violation::{LocationFault, Violation};
use crate::{Credentials, Endpoint, Error, Observer, RequestInfo, Settings, classify, identify};

/// How long a TLS handshake may take before the port is tested for plain HTTP.
const SLOW_HANDSHAKE: Duration = Duration::from_millis(1500);

/// Maximum number of redirects of one request.
const MAX_REDIRECTS: usize = 5;

/// How many `HEAD` requests may fail although `GET` succeeds, before only `GET` is used.
const MAX_FAILED_HEADS: u32 = 3;

/// Maximum number of attempts at a request that the operator waits for.
const BRIEF_ATTEMPTS: u32 = 2;

/// Statuses of a response that accepts content. Registries choose different ones; digests show what
/// they stored.
pub(crate) const TAKEN: [StatusCode; 4] = [
    StatusCode::CREATED,
    StatusCode::OK,
    StatusCode::ACCEPTED,
    StatusCode::NO_CONTENT,
];

/// The rights that a request needs in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
    Delete,
}

/// A request that can be sent repeatedly.
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

/// The body of a request. It can be sent repeatedly.
#[derive(Clone)]
pub(crate) enum Content<'a> {
    Nothing,
    Bytes(Bytes),
    Upload(&'a Upload<'a>),
}

/// A response of any status.
pub(crate) struct RawResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    client: Client,
    /// Client for large uploads.
    uploads: Client,
    authentication: Authentication,
    account: Arc<Account>,
    /// Whether the first write of this client was accepted.
    pub(crate) writes: Gate,
    /// Number of `HEAD` requests that failed although `GET` succeeded.
    failed_heads: AtomicU32,
    settings: Settings,
    limiter: Arc<Limiter>,
    /// Whether the registry has responded; with `https`, over TLS.
    tls_confirmed: AtomicBool,
    /// Whether the port accepts connections but has sent nothing so far.
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

    /// Requires rights in the repository.
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

    /// Requires the right to read a second repository, in the same token.
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

    /// Sets bytes of a blob as the body.
    pub(crate) fn octets(self, content: Content<'a>) -> Self {
        self.content(
            content,
            HeaderValue::from_static("application/octet-stream"),
        )
    }

    /// Sets `Content-Range` to the bytes from `start` to before `end`.
    pub(crate) fn content_range(self, start: u64, end: u64) -> Self {
        let range = HeaderValue::from_str(&format!("{start}-{}", end.saturating_sub(1)));
        let range = range.unwrap_or_else(|_| unreachable!("numbers are always a header's value"));
        self.header(CONTENT_RANGE, range)
    }

    pub(crate) fn expect_status(mut self, expected: &'a [StatusCode]) -> Self {
        self.expected = expected;
        self
    }

    /// Limits the attempts, since the operator is waiting.
    pub(crate) fn briefly(mut self) -> Self {
        self.attempts = BRIEF_ATTEMPTS;
        self
    }

    /// Extends the timeout of the response to [`Settings::finish_timeout`], since the registry
    /// hashes and moves the blob.
    pub(crate) fn commits_upload(mut self) -> Self {
        self.commits_upload = true;
        self
    }

    /// Sets a function that reclassifies failures, for requests whose statuses have a special
    /// meaning.
    pub(crate) fn map_failure(mut self, failure_map: fn(Failure) -> Failure) -> Self {
        self.failure_map = failure_map;
        self
    }

    /// Returns whether the request writes to a repository.
    fn writes(&self) -> bool {
        !self.repository.is_empty()
            && [Method::POST, Method::PUT, Method::PATCH].contains(&self.method)
    }

    fn place(&self, url: &Url) -> RequestInfo {
        RequestInfo::new(self.method.as_str(), url, self.repository)
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
        let client = clients.of(&endpoint, &settings, Purpose::Requests)?;
        let uploads = clients.of(&endpoint, &settings, Purpose::Uploads)?;
        let account = settings.accounts.of(&endpoint, &credentials);
        Ok(Self {
            client,
            uploads,
            authentication: Authentication::new(credentials, Arc::clone(&account)),
            account,
            writes: Gate::default(),
            failed_heads: AtomicU32::new(0),
            limiter: Arc::new(Limiter::new(
                settings.accounts.limits(&endpoint),
                settings.uploads_at_once,
                settings.max_rate,
            )),
            settings,
            endpoint,
            tls_confirmed: AtomicBool::new(false),
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

    /// Discards the refusal of the first write, because the manifest that it put exists already.
    pub(crate) fn forget_refused_write(&self) {
        if self.writes.refusal().is_some() {
            self.writes.reopen();
            self.account.forget_refused_write();
        }
    }

    /// Sends one GET for `path` and returns any response: without authentication, redirects and
    /// retries.
    pub(crate) async fn get_raw(&self, path: &str) -> Result<RawResponse, Error> {
        let url = self.endpoint.url(path);
        let request = Request::new(Method::GET, url.clone(), "");
        let response = self.traced(&request, &url, None, &()).await?;
        Ok(RawResponse {
            status: response.status(),
            headers: response.headers().clone(),
            body: read_error(response, &self.settings).await,
        })
    }

    /// Sends a request until it gets an expected response, a final error, or the attempts are used
    /// up.
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

    /// Sends `head` like [`Transport::send`], or `get` if the registry does not support `HEAD`.
    pub(crate) async fn head_or_get(
        &self,
        head: &Request<'_>,
        get: &Request<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Error> {
        if self.failed_heads.load(Relaxed) >= MAX_FAILED_HEADS {
            return self.send(get, observer).await;
        }
        let mut attempts = Attempts::new(&self.settings, observer).at_most(head.attempts);
        loop {
            let exchange = self.exchange(head, observer);
            let failure = match exchange.instrument(attempts.span()).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let lacks_head = (failure.error.response())
                .is_some_and(|response| [400, 405, 500, 501].contains(&response.status));
            if lacks_head && let Ok(response) = self.exchange(get, observer).await {
                self.failed_heads.fetch_add(1, Relaxed);
                return Ok(response);
            }
            attempts.pause(failure).await?;
        }
    }

    /// Makes one attempt at a request, when the limiter permits. A challenge and redirects are part
    /// of the attempt.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Failure> {
        let in_flight = self.limiter.request().await;
        let response = self.attempt(request, observer).await;
        let response = response
            .map_err(|failure| self.blame_location(request, (request.failure_map)(failure)));
        if let Err(Failure {
            error,
            again: Again::After(order),
        }) = &response
            && !error.is_about_reaching()
        {
            in_flight.on_congestion();
            if let Some(order) = order.filter(|order| *order <= self.settings.longest_wait) {
                self.limiter.pause_requests(order);
            }
        }
        response
    }

    /// Makes one attempt. The first write is sent alone. If it is refused, no further write is
    /// sent.
    async fn attempt(
        &self,
        request: &Request<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Failure> {
        if !request.writes() {
            return self.attempt_with_redirects(request, false, observer).await;
        }
        let first_write = self.writes.enter().await.map_err(Failure::permanent)?;
        if first_write.is_none() {
            return self.attempt_with_redirects(request, false, observer).await;
        }
        if let Some(refusal) = self.account.write_refusal() {
            let error = refusal.error();
            self.writes.refuse(refusal);
            return Err(Failure::permanent(error));
        }
        let response = self.attempt_with_redirects(request, true, observer).await;
        match &response {
            Ok(_) => {
                self.writes.pass();
                self.account.may_write();
            }
            Err(failure) => {
                if refuses_account(&failure.error)
                    && let Some(refusal) = Refusal::of(&failure.error)
                {
                    self.account.may_not_write(&refusal);
                    self.writes.refuse(refusal);
                }
            }
        }
        response
    }

    async fn attempt_with_redirects(
        &self,
        request: &Request<'_>,
        is_first_write: bool,
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
        let mut was_challenged = false;
        let mut authorization = None;
        if self.endpoint.owns(&url) {
            authorization = self
                .authentication
                .initial_authorization(&request.scopes, &token_client)
                .await?;
        }
        if is_first_write && authorization.is_none() {
            // A registry with anonymous reads has sent no challenge yet. Without the password the
            // first write would be refused.
            authorization = self.authentication.password();
        }
        loop {
            let is_own = self.endpoint.owns(&url);
            let sent = authorization.as_ref().filter(|_| is_own);
            let refused_with = |failure| match sent {
                Some(_) => self.authentication.with_user(failure),
                None => failure,
            };
            let first_login = match sent.is_some_and(Authorization::is_password) {
                true => self
                    .account
                    .login
                    .enter()
                    .await
                    .map_err(Failure::permanent)?,
                false => None,
            };
            let response = self.traced(request, &url, sent, observer).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && is_own {
                // A single-use token may have been used by a concurrent request, so a second one is
                // fetched. The first write has no concurrent requests.
                let is_final = was_challenged
                    || is_first_write
                        && sent.is_some_and(|sent| {
                            sent.would_be_refused_again(response.headers(), &request.scopes)
                        });
                if is_final {
                    let sent_password = sent.is_some_and(Authorization::is_password);
                    let failure = self
                        .unauthorized_failure(response, request.place(&url))
                        .await;
                    let mut failure = refused_with(failure);
                    if let Error::Unauthorized { is_login, .. } = &mut failure.error {
                        *is_login = sent_password;
                    }
                    self.authentication.record_refusal(&failure.error);
                    return Err(failure);
                }
                was_challenged = true;
                let headers = response.headers().clone();
                let place = request.place(&url);
                // Reads the body, so the connection can be reused.
                read_error(response, &self.settings).await;
                let response = self
                    .authentication
                    .answer_challenge(
                        &headers,
                        authorization.as_ref(),
                        &request.scopes,
                        place,
                        &token_client,
                        first_login,
                    )
                    .await?;
                authorization = Some(response);
                continue;
            }
            if sent.is_some_and(Authorization::is_password) {
                self.account.login.pass();
            }
            drop(first_login);
            if request.expected.contains(&status) {
                let place = request.place(&url).through(self.endpoint.proxies(), &url)?;
                // A login page has status 200 too. It must not count as an existing blob.
                if status.is_success() && classify::is_html(response.headers()) {
                    return Err(Failure::permanent(Error::NotARegistry {
                        at: Box::new(place),
                        found: "its answer is an HTML page".to_owned(),
                    }));
                }
                return Ok(Response::new(response, place));
            }
            if let Some(target) = self.redirect(request, &url, &response)?
                && redirects < MAX_REDIRECTS
            {
                redirects += 1;
                url = target;
                continue;
            }
            // Web servers of files respond 403 to requests without credentials, some without a
            // challenge.
            let lacks_challenge = status == StatusCode::FORBIDDEN
                && request.scopes.is_empty()
                && !request.repository.is_empty()
                && (is_own && redirects == 0 && authorization.is_none());
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
            return Err(match refuses && !is_own && redirects > 0 {
                true => Failure::permanent(Error::Elsewhere {
                    at: Box::new(request.place(&request.url)),
                    host: url.origin().ascii_serialization(),
                    source: Box::new(failure.error),
                }),
                false => refused_with(failure),
            });
        }
    }

    /// Sends one request and logs it. Aborts it if it stalls after a stop.
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
                () = self.stop_timed_out() => Err(Failure::permanent(Error::Stopped)),
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

    /// Waits until a stop was requested and nothing was transferred for [`Settings::stop_timeout`].
    async fn stop_timed_out(&self) {
        self.settings.stop.requested().await;
        self.limiter
            .wait_until_idle(self.settings.stop_timeout)
            .await;
    }

    /// Sends one request and waits for the head of the response.
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
            () = settings.stop.requested() => return Err(Failure::permanent(Error::Stopped)),
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
            // Without `Content-Length: 0` some registries wait for a body.
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
            Ok(Err(error)) => Err(Failure::permanent(error)),
            Ok(Ok(Ok(response))) => {
                self.tls_confirmed.store(true, Relaxed);
                Ok(response)
            }
            Ok(Ok(Err(error))) => {
                let (proxies, patience) = (self.endpoint.proxies(), settings.connect_timeout);
                let failure = identify::failure(error, place, url, proxies, patience).await;
                Err(match failure.error {
                    Error::TimedOut { at, after } if self.is_silent.load(Relaxed) => {
                        Failure::permanent(Error::Silent { at, after })
                    }
                    error => Failure { error, ..failure },
                })
            }
            Err(_) => Err(Failure::transient(Error::TimedOut {
                at: Box::new(place),
                after: patience,
            })),
        }
    }

    /// Completes with an error if the server turns out not to speak TLS.
    ///
    /// Some such servers wait for the end of a line, which a TLS client never sends. So if the
    /// handshake takes long, a second connection tests the port, without credentials.
    async fn detect_other_protocol(&self, url: &Url, place: &RequestInfo) -> Error {
        let is_unknown = || !self.tls_confirmed.load(Relaxed);
        let asks = url.scheme() == "https"
            && self.endpoint.owns(url)
            && place.proxy.is_none()
            && is_unknown();
        if asks {
            tokio::time::sleep(SLOW_HANDSHAKE).await;
            let port = identify::port(url).await;
            let at = Box::new(place.clone());
            match port {
                // A TLS server responds 400 or a redirect to HTTPS, if it responds at all.
                Port::Http(200 | 401 | 404) if is_unknown() => {
                    return Error::PlainHttpServer { at };
                }
                Port::Other(text) if is_unknown() => return identify::foreign(at, &text),
                port => (self.is_silent).store(port == Port::Silent, Relaxed),
            }
        }
        std::future::pending().await
    }

    /// Returns the target of a redirect that is followed, or `None`.
    fn redirect(
        &self,
        request: &Request<'_>,
        asked: &Url,
        response: &reqwest::Response,
    ) -> Result<Option<Url>, Failure> {
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let follows = match response.status() {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            // For other methods these redirects would change the method to GET, which is never
            // intended.
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => reads,
            _ => false,
        };
        // `/v2/` itself is never redirected by a registry. A redirect leads to a login page.
        if !follows || request.repository.is_empty() {
            return Ok(None);
        }
        self.location(request.place(asked), asked, response.headers())
            .map(Some)
    }

    /// Returns the URL in the `Location` of a response to a request for `asked`.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] without a readable `Location`; [`Error::Location`] if it cannot be
    /// used.
    pub(crate) fn location(
        &self,
        at: RequestInfo,
        asked: &Url,
        headers: &HeaderMap,
    ) -> Result<Url, Failure> {
        let wrong = |violation| Failure::permanent(Error::protocol(&at, violation));
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
        Err(Failure::permanent(Error::Location {
            at: Box::new(at),
            location: shown_location(location),
            fault,
            source: None,
        }))
    }

    /// Names the `Location` as the reason if a request that followed it fails at its host. A
    /// registry that is configured with a wrong name for itself sends uploads to a host that its
    /// clients cannot reach.
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
        Failure::permanent(Error::Location {
            at: Box::new(request.place(&request.url)),
            location: request.url.origin().ascii_serialization(),
            fault: LocationFault::OtherHost {
                address: self.endpoint.address().to_owned(),
            },
            source: Some(Box::new(failure.error)),
        })
    }

    /// Returns the failure of a 401 that credentials do not resolve: [`Error::Forbidden`] if the
    /// token is valid but insufficient.
    async fn unauthorized_failure(
        &self,
        response: reqwest::Response,
        place: RequestInfo,
    ) -> Failure {
        let insufficient = says_insufficient_scope(response.headers());
        match self.status_failure(response, place, 0).await {
            Failure {
                error: Error::Unauthorized { at, response, .. },
                again,
            } if insufficient => Failure {
                error: Error::Forbidden { at, response },
                again,
            },
            failure => failure,
        }
    }

    async fn status_failure(
        &self,
        response: reqwest::Response,
        place: RequestInfo,
        size: u64,
    ) -> Failure {
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_error(response, &self.settings).await;
        classify::status(status, &headers, &body, place, size)
    }
}

/// Returns whether a proxy appended to a header that a different proxy had set:
/// `https,http://registry.example.com/`.
fn is_doubled(location: &str) -> bool {
    let Some((scheme, rest)) = location.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // In a relative URL with such a text, a slash comes before it.
    !scheme.contains('/') && (scheme.contains(',') || authority.contains(','))
}

/// Returns a `Location` without its query and credentials. Storage services put their signatures
/// into the query.
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
    fn a_doubled_location_is_distinguished_from_a_comma_in_a_path() {
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
