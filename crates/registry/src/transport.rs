//! The one place that sends requests: it authenticates, follows, watches, and turns answers that are errors into errors.
//!
//! It knows methods, URLs, headers and bodies, and nothing of what they are for. [`Transport::exchange`] is one attempt;
//! [`Transport::send`] is as many as the settings allow. Work that takes several requests makes its own attempts of exchanges.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Client, Method, StatusCode, redirect};
use tokio::time::timeout;
use url::Url;

use crate::authentication::{
    Asker, Authentication, Authorization, Scopes, says_insufficient_scope,
};
use crate::body::Upload;
use crate::pace::Pace;
use crate::response::{Response, read_error};
use crate::retry::{Again, Attempts, Failure};
use crate::{
    Credentials, Endpoint, Error, Observer, Place, Settings, classify, install_crypto_provider,
};

/// How many redirects of one request are followed.
const MOST_REDIRECTS: usize = 5;

/// How often a request that somebody waits for is made.
const BRIEF_ATTEMPTS: u32 = 2;

/// What a request may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
    Delete,
}

/// A request, to be made as often as it takes.
pub(crate) struct Call<'a> {
    method: Method,
    url: Url,
    repository: &'a str,
    scopes: Scopes,
    headers: HeaderMap,
    content: Content<'a>,
    wanted: &'a [StatusCode],
    attempts: u32,
    understood: fn(Failure) -> Failure,
    finishes: bool,
}

/// What a request carries. Everything here can be sent again.
pub(crate) enum Content<'a> {
    Nothing,
    Bytes(Bytes),
    Upload(&'a Upload<'a>),
}

/// Whatever answered, with what it said.
pub(crate) struct Glance {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    client: Client,
    authentication: Authentication,
    settings: Settings,
    pace: Arc<Pace>,
}

impl<'a> Call<'a> {
    /// Returns a request that wants the answer 200, carries nothing and needs no rights.
    pub(crate) fn new(method: Method, url: Url, repository: &'a str) -> Self {
        Self {
            method,
            url,
            repository,
            scopes: Vec::new(),
            headers: HeaderMap::new(),
            content: Content::Nothing,
            wanted: &[StatusCode::OK],
            attempts: u32::MAX,
            understood: |failure| failure,
            finishes: false,
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

    pub(crate) fn wants(mut self, wanted: &'a [StatusCode]) -> Self {
        self.wanted = wanted;
        self
    }

    /// Makes fewer attempts, since somebody is waiting for the answer.
    pub(crate) fn briefly(mut self) -> Self {
        self.attempts = BRIEF_ATTEMPTS;
        self
    }

    /// Waits for the answer as long as after the last byte of an upload.
    pub(crate) fn finishes(mut self) -> Self {
        self.finishes = true;
        self
    }

    /// Has failures read in another way than their status says by itself, so that it is known what may pass.
    pub(crate) fn understood_by(mut self, understood: fn(Failure) -> Failure) -> Self {
        self.understood = understood;
        self
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
        install_crypto_provider();
        let cannot = |source| Error::Client {
            address: endpoint.address().to_owned(),
            source,
        };
        let mut builder = Client::builder()
            .user_agent(concat!("airlock/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            // Followed here, where it is known which requests can be repeated and who may see credentials.
            .redirect(redirect::Policy::none())
            // No read timeout: reqwest counts the time of sending a body against it, so it would cut every long upload.
            .pool_max_idle_per_host(settings.uploads_at_once.max(1) * 2);
        for certificate in endpoint.certificates() {
            let certificate = reqwest::Certificate::from_der(certificate).map_err(cannot)?;
            builder = builder.tls_certs_merge([certificate]);
        }
        if endpoint.is_loopback() {
            // A proxy does not know this machine's loopback, whatever the environment says.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(cannot)?;
        Ok(Self {
            client,
            authentication: Authentication::new(credentials),
            pace: Arc::new(Pace::new(settings.uploads_at_once, settings.max_rate)),
            settings,
            endpoint,
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// Asks for `path` once, and returns whatever answers: nothing is authenticated, followed or taken for an error.
    pub(crate) async fn glance(&self, path: &str) -> Result<Glance, Error> {
        let url = self.endpoint.url(path);
        let call = Call::new(Method::GET, url.clone(), "");
        let response = self.once(&call, &url, None, &()).await;
        let response = response.map_err(|failure| failure.error)?;
        Ok(Glance {
            status: response.status(),
            headers: response.headers().clone(),
            body: read_error(response, &self.settings).await,
        })
    }

    /// Makes a request until it gets a wanted answer, one that will not change, or the attempts are used up.
    pub(crate) async fn send(
        &self,
        call: &Call<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Error> {
        let mut attempts = Attempts::new(&self.settings, observer).at_most(call.attempts);
        loop {
            match self.exchange(call, observer).await {
                Ok(response) => return Ok(response),
                Err(failure) => attempts.pause(failure).await?,
            }
        }
    }

    /// Makes a request once, at the pace that the registry bears. A challenge and redirects belong to the one attempt.
    pub(crate) async fn exchange(
        &self,
        call: &Call<'_>,
        observer: &dyn Observer,
    ) -> Result<Response, Failure> {
        let epoch = self.pace.epoch();
        let answer = self.attempt(call, observer).await;
        let answer = answer.map_err(call.understood);
        if let Err(Failure {
            error,
            again: Again::After(order),
        }) = &answer
            && !error.is_about_reaching()
        {
            self.pace.congested(epoch);
            if let Some(order) = order.filter(|order| *order <= self.settings.longest_wait) {
                self.pace.hold_back(order);
            }
        }
        answer
    }

    async fn attempt(&self, call: &Call<'_>, observer: &dyn Observer) -> Result<Response, Failure> {
        let asker = Asker {
            client: &self.client,
            endpoint: &self.endpoint,
            settings: &self.settings,
        };
        let mut url = call.url.clone();
        let mut redirects = 0;
        let mut challenged = false;
        let mut authorization = None;
        if self.endpoint.owns(&url) {
            authorization = self.authentication.known(&call.scopes, &asker).await?;
        }
        loop {
            let ours = self.endpoint.owns(&url);
            let shown = authorization.as_ref().filter(|_| ours);
            let response = self.once(call, &url, shown, observer).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && ours {
                if challenged {
                    return Err(self.refused(response, call.place(&url)).await);
                }
                challenged = true;
                let headers = response.headers().clone();
                let place = call.place(&url);
                // Read to its end, so that the connection can carry the next request.
                read_error(response, &self.settings).await;
                let answer = self
                    .authentication
                    .answer(
                        &headers,
                        authorization.as_ref(),
                        &call.scopes,
                        place,
                        &asker,
                    )
                    .await?;
                authorization = Some(answer);
                continue;
            }
            if call.wanted.contains(&status) {
                let place = call.place(&url);
                // Login pages come with 200 too, and must not be taken for a blob that is there.
                if status.is_success() && classify::is_html(response.headers()) {
                    return Err(Failure::last(Error::NotARegistry {
                        at: Box::new(place),
                        found: "its answer is an HTML page".to_owned(),
                    }));
                }
                return Ok(Response::new(response, place));
            }
            if let Some(target) = self.redirect(call, &url, &response)?
                && redirects < MOST_REDIRECTS
            {
                redirects += 1;
                url = target;
                continue;
            }
            return Err(self.unwanted(response, call.place(&url), call.size()).await);
        }
    }

    /// Sends one request and waits for the head of its answer.
    async fn once(
        &self,
        call: &Call<'_>,
        url: &Url,
        authorization: Option<&Authorization>,
        observer: &dyn Observer,
    ) -> Result<reqwest::Response, Failure> {
        let mut request = self
            .client
            .request(call.method.clone(), url.clone())
            .headers(call.headers.clone());
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.header.clone());
        }
        let place = call.place(url);
        let settings = &self.settings;
        tokio::select! {
            biased;
            () = self.pace.gate() => {}
            () = settings.stop.requested() => return Err(Failure::last(Error::Stopped)),
        }
        if let Content::Upload(upload) = &call.content {
            let (pace, settings) = (&self.pace, &self.settings);
            return upload.send(request, place, pace, settings, observer).await;
        }
        if let Content::Bytes(bytes) = &call.content {
            request = request.body(bytes.clone());
        } else if !matches!(call.method, Method::GET | Method::HEAD) {
            // Some registries wait for a body unless they are told that there is none.
            request = request.header(CONTENT_LENGTH, 0);
        }
        let patience = match call.finishes {
            true => settings.finish_timeout,
            false => settings.answer_timeout,
        };
        match timeout(patience, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(classify::connection(error, place, settings.connect_timeout)),
            Err(_) => Err(Failure::passing(Error::TimedOut {
                at: Box::new(place),
                after: patience,
            })),
        }
    }

    /// Returns where an answer sends the request, if it is one that may be made there.
    fn redirect(
        &self,
        call: &Call<'_>,
        asked: &Url,
        response: &reqwest::Response,
    ) -> Result<Option<Url>, Failure> {
        let reads = matches!(call.method, Method::GET | Method::HEAD);
        let follows = match response.status() {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            // These change the method of other requests to GET, which is never what was meant.
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => reads,
            _ => false,
        };
        // The registry as a whole is where it says it is; what leads elsewhere from there is a login page.
        if !follows || call.repository.is_empty() {
            return Ok(None);
        }
        self.location(call.place(asked), asked, response.headers())
            .map(Some)
    }

    /// Reads the `Location` of an answer to a request for `asked`.
    pub(crate) fn location(
        &self,
        at: Place,
        asked: &Url,
        headers: &HeaderMap,
    ) -> Result<Url, Failure> {
        let problem = match headers.get(LOCATION).map(HeaderValue::to_str) {
            None => "has no Location".to_owned(),
            Some(Err(_)) => "has a Location that cannot be read".to_owned(),
            Some(Ok(location)) => match self.endpoint.resolve(asked, location) {
                Some(url) => return Ok(url),
                // Shown as far as it is no secret; where it leads is what the operator has to know.
                None => match asked.join(location) {
                    Ok(url) => format!(
                        "leads away from TLS or to no web address, to {}",
                        Place::new("", &url, "").url
                    ),
                    Err(_) => "has a Location that is no URL".to_owned(),
                },
            },
        };
        Err(Failure::last(Error::Protocol {
            at: Box::new(at),
            problem,
        }))
    }

    /// Turns the second 401 into an error.
    async fn refused(&self, response: reqwest::Response, place: Place) -> Failure {
        let insufficient = says_insufficient_scope(response.headers());
        match self.unwanted(response, place, 0).await {
            Failure {
                error: Error::Unauthorized { at, answer },
                again,
            } if insufficient => Failure {
                error: Error::Forbidden { at, answer },
                again,
            },
            failure => failure,
        }
    }

    async fn unwanted(&self, response: reqwest::Response, place: Place, size: u64) -> Failure {
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_error(response, &self.settings).await;
        classify::status(status, &headers, &body, place, size)
    }
}
