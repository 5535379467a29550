//! What downloads have in common: the client, the classes of failure, and when to try again.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use network::{Proxies, ProxyError, ProxyFault};
use requests::{Cause, UNREADABLE, find, retry_after, shown};
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// How many redirects are followed.
const REDIRECTS: usize = 10;

/// The longest that a server's `Retry-After` is obeyed. One that asks for more is not asked again.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// How many attempts in a row are made to reach a server that has not answered yet. On a machine
/// without internet they all fail.
const ATTEMPTS_TO_REACH: u32 = 2;

/// What is wrong with a URL.
#[derive(Debug, thiserror::Error)]
pub enum UrlFault {
    /// It is not of HTTP.
    #[error("expected http:// or https://")]
    Scheme,
    /// It names no path on this machine.
    #[error("expected file:///PATH")]
    File,
    /// It cannot be parsed.
    #[error("{0}")]
    Syntax(url::ParseError),
}

/// Why a request failed. URLs are shown without credentials and queries, which may contain secrets.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The URL is not valid, or not one of HTTP.
    #[error("cannot download from {url}: {reason}")]
    Url {
        /// The URL in backquotes, or what replaces one that may contain a secret.
        url: String,
        /// What is wrong with it.
        reason: UrlFault,
    },
    /// The HTTP client cannot be built.
    #[error("cannot prepare HTTP requests")]
    Client {
        /// Why not.
        source: Cause,
    },
    /// There is nothing at the URL (404 or 410). The vendor offers no bundle for some releases.
    #[error("{url} was not found (status {status})")]
    NotFound {
        /// The URL.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server refuses, or has a problem.
    #[error("{url} answers with status {status}{}", pause(*retry_after))]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server redirects for ever.
    #[error("{url} redirects more than {REDIRECTS} times")]
    TooManyRedirects {
        /// The URL.
        url: String,
    },
    /// The server redirects from HTTPS to HTTP, which does not identify the server.
    #[error("{url} redirects from https to http")]
    InsecureRedirect {
        /// The URL.
        url: String,
    },
    /// A variable names a proxy for this URL that cannot be used.
    #[error("cannot use the proxy for {url}")]
    Proxy {
        /// The URL.
        url: String,
        /// Which variable, and what is wrong with it.
        source: ProxyError,
    },
    /// The proxy does not connect to the server.
    #[error("no connection to {url}: the proxy {fault}")]
    ProxyFailed {
        /// The URL, and the proxy.
        url: String,
        /// Why not.
        fault: ProxyFault,
    },
    /// TLS cannot be agreed on: the certificate is not trusted, or not the host's, or the server
    /// speaks no TLS.
    #[error("no secure connection to {url}")]
    Tls {
        /// The URL.
        url: String,
        /// Why not.
        source: Cause,
    },
    /// The host's name cannot be resolved.
    #[error("cannot find the host of {url}")]
    Name {
        /// The URL.
        url: String,
        /// Why not.
        source: Cause,
    },
    /// The host does not accept a connection.
    #[error("cannot connect to {url}")]
    Connect {
        /// The URL.
        url: String,
        /// Why not.
        source: Cause,
    },
    /// The server says nothing for too long.
    #[error("{url} does not answer in time")]
    TimedOut {
        /// The URL.
        url: String,
    },
    /// The connection broke.
    #[error("the connection to {url} broke")]
    Interrupted {
        /// The URL.
        url: String,
        /// How.
        source: Cause,
    },
    /// The answer ended before the length that it announced, or does not continue what was asked
    /// for.
    #[error("{url} returned a different part of the file")]
    WrongPart {
        /// The URL.
        url: String,
    },
}

/// When to try again after failures that may pass.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How many consecutive failures are too many. An attempt that received bytes resets the count.
    pub failures: u32,
    /// How long to wait after the first failure; twice as long after each further one.
    pub first_wait: Duration,
    /// The longest wait, unless the server asks for a longer one.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            failures: 6,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
        }
    }
}

impl Retry {
    /// Returns how long to wait after this many failures in a row; none if they are too many or the
    /// error is final.
    pub(crate) fn wait(&self, failures: u32, error: &RequestError) -> Option<Duration> {
        if failures >= self.failures || !error.is_transient() {
            return None;
        }
        let own = requests::back_off(self.first_wait, self.longest_wait, failures);
        match error {
            RequestError::Status {
                retry_after: Some(asked),
                ..
            } => (*asked <= LONGEST_RETRY_AFTER).then(|| own.max(*asked)),
            _ => Some(own),
        }
    }
}

impl Retry {
    /// Returns the same as [`Retry::wait`] for a server that has not answered in this run: one that
    /// cannot be reached is given up soon.
    pub(crate) fn wait_for_first_answer(
        &self,
        failures: u32,
        error: &RequestError,
    ) -> Option<Duration> {
        let attempts = match error {
            RequestError::Name { .. }
            | RequestError::Connect { .. }
            | RequestError::ProxyFailed { .. } => ATTEMPTS_TO_REACH,
            // That took long already.
            RequestError::TimedOut { .. } => 1,
            _ => u32::MAX,
        };
        self.wait(failures, error).filter(|_| failures < attempts)
    }
}

/// What a server needs that others do not.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// Authorities in PEM that vouch for it, beside those of the system.
    pub authority: Option<String>,
    /// The account's name and password. They are sent to this server alone, and only after it
    /// refused a request.
    pub account: Option<(String, SecretString)>,
}

/// The client for downloads: proxies, the system's certificates, a limit for silence and none for
/// the whole of a transfer.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client,
    proxies: Arc<Proxies>,
    account: Option<(String, SecretString)>,
}

impl HttpClient {
    /// Builds the client. Certificates are read when a server first shows one.
    ///
    /// # Errors
    /// [`RequestError::Client`] if the HTTP library cannot be set up, or an authority cannot be
    /// read.
    pub fn new(proxies: Arc<Proxies>, server: &Server) -> Result<Self, RequestError> {
        let failed = |source| RequestError::Client { source };
        let pem = server.authority.as_deref().unwrap_or_default();
        let authorities = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(Cause::of(&error)))?;
        let client = builder(authorities, &proxies)
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            client,
            proxies,
            account: server.account.clone(),
        })
    }

    /// Returns a request for `url`.
    pub(crate) fn get(&self, url: Url) -> Result<RequestBuilder, RequestError> {
        match self.proxies.of(&url) {
            Ok(_) => Ok(self.client.get(url)),
            Err(source) => Err(RequestError::Proxy {
                url: shown(&url),
                source,
            }),
        }
    }

    /// Sends a request for `url` and logs it. After a Basic challenge or a 403 the request is
    /// repeated with the account.
    pub(crate) async fn send(
        &self,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Response, RequestError> {
        let account = self.account.as_ref();
        let again = account.and_then(|account| Some((account, request.try_clone()?)));
        let response = self.traced(url, request).await?;
        match again {
            Some(((name, password), again)) if wants_account(url, &response) => {
                let request = again.basic_auth(name, Some(password.expose_secret()));
                self.traced(url, request).await
            }
            _ => Ok(response),
        }
    }

    async fn traced(&self, url: &Url, request: RequestBuilder) -> Result<Response, RequestError> {
        let response = self.once(url, request);
        requests::traced(&Method::GET, url, 0, |error| error, response).await
    }

    async fn once(&self, url: &Url, request: RequestBuilder) -> Result<Response, RequestError> {
        let error = match request.send().await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        Err(match ProxyFault::of(&error, url, &self.proxies).await {
            Some(fault) => RequestError::ProxyFailed {
                url: self.way(url),
                fault,
            },
            None => self.failed(url, error),
        })
    }

    /// Returns what the failure of a request for `url` means. It names the proxy, if there is one.
    pub(crate) fn failed(&self, url: &Url, error: reqwest::Error) -> RequestError {
        RequestError::of(self.way(url), error)
    }

    fn way(&self, url: &Url) -> String {
        match self.proxies.of(url) {
            Ok(Some(proxy)) => format!("{} through proxy {proxy}", shown(url)),
            _ => shown(url),
        }
    }
}

/// Returns whether a response is a Basic challenge of the server of `url`, or a refusal without a
/// challenge. A server that a redirect led to gets no account.
fn wants_account(url: &Url, response: &Response) -> bool {
    let mut challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
    let mut is_challenge = || {
        challenges.any(|one| {
            let scheme = one.as_bytes().get(..5);
            scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
        })
    };
    response.url().origin() == url.origin()
        && match response.status() {
            StatusCode::UNAUTHORIZED => is_challenge(),
            StatusCode::FORBIDDEN => true,
            _ => false,
        }
}

/// Returns the client's settings.
fn builder(authorities: Vec<CertificateDer<'static>>, proxies: &Arc<Proxies>) -> ClientBuilder {
    let known = Arc::clone(proxies);
    network::client(authorities, proxies)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        // It would carry the query of the URL that was asked for, which may hold a secret, to where
        // a redirect leads.
        .referer(false)
        .redirect(Policy::custom(move |attempt| {
            let proxy = || known.of(attempt.url()).err().map(Refused::Proxy);
            match refusal(attempt.previous(), attempt.url()).or_else(proxy) {
                Some(refused) => attempt.error(refused),
                None => attempt.follow(),
            }
        }))
}

/// Returns why a redirect is not to be followed, if it is not. `previous` are the URLs so far, the
/// first one included.
fn refusal(previous: &[Url], next: &Url) -> Option<Refused> {
    if previous.len() > REDIRECTS {
        return Some(Refused::TooManyRedirects);
    }
    let from_https = previous.last().is_some_and(|url| url.scheme() == "https");
    (from_https && next.scheme() != "https").then_some(Refused::Insecure)
}

/// Why a redirect was not followed. It travels inside reqwest's error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("too many redirects")]
    TooManyRedirects,
    #[error("a redirect from https to http")]
    Insecure,
    #[error("a redirect to where no proxy can be used")]
    Proxy(#[source] ProxyError),
}

/// Returns how long a server asks to wait, to follow its status, if that is longer than is waited.
fn pause(retry_after: Option<Duration>) -> String {
    match retry_after.filter(|asked| *asked > LONGEST_RETRY_AFTER) {
        Some(asked) => format!("; again in {}", requests::rounded(asked)),
        None => String::new(),
    }
}

impl RequestError {
    /// Returns the error of TLS, if it is one.
    pub fn tls(&self) -> Option<&rustls::Error> {
        match self {
            Self::Tls { source, .. } => source.tls(),
            _ => None,
        }
    }

    /// Returns whether TLS failed because this machine has no CA certificates.
    pub fn has_no_authorities(&self) -> bool {
        self.tls()
            .is_some_and(network::is::<network::NoAuthorities>)
    }

    /// Returns whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                StatusCode::from_u16(*status).is_ok_and(requests::is_transient)
            }
            Self::ProxyFailed { fault, .. } => fault.is_transient(),
            Self::Name { .. }
            | Self::Connect { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::WrongPart { .. } => true,
            Self::Url { .. }
            | Self::Client { .. }
            | Self::NotFound { .. }
            | Self::TooManyRedirects { .. }
            | Self::InsecureRedirect { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. } => false,
        }
    }

    /// Returns what failed in a failed request.
    fn of(url: String, error: reqwest::Error) -> Self {
        match find::<Refused>(&error) {
            Some(Refused::TooManyRedirects) => return Self::TooManyRedirects { url },
            Some(Refused::Insecure) => return Self::InsecureRedirect { url },
            Some(Refused::Proxy(source)) => {
                let source = source.clone();
                return Self::Proxy { url, source };
            }
            None => {}
        }
        let source = Cause::of(&error);
        if source.tls().is_some() {
            Self::Tls { url, source }
        } else if error.is_dns() {
            Self::Name { url, source }
        } else if error.is_timeout() {
            Self::TimedOut { url }
        } else if error.is_connect() {
            Self::Connect { url, source }
        } else {
            Self::Interrupted { url, source }
        }
    }

    /// Returns what is wrong, by a response without success.
    pub(crate) fn status(url: &Url, response: &Response) -> Self {
        let url = shown(url);
        let status = response.status();
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::NotFound {
                url,
                status: status.as_u16(),
            },
            _ => Self::Status {
                url,
                status: status.as_u16(),
                retry_after: retry_after(response.headers()),
            },
        }
    }
}

/// Reads a URL of HTTP.
pub(crate) fn parse(text: &str) -> Result<Url, RequestError> {
    let wrong = |reason| RequestError::Url {
        url: match shown_url(text) {
            shown if shown != UNREADABLE => format!("`{shown}`"),
            // A URL without these has neither user, password nor query.
            _ if !text.contains(['@', '?', '#']) => format!("`{text}`"),
            unreadable => unreadable,
        },
        reason,
    };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => Err(wrong(UrlFault::Scheme)),
        Err(error) => Err(wrong(UrlFault::Syntax(error))),
    }
}

/// Checks that a URL can be downloaded from, without a request.
///
/// # Errors
/// When it is not valid, or not one of HTTP.
pub fn check_url(url: &str) -> Result<(), RequestError> {
    parse(url).map(drop)
}

/// Returns the path that a `file:` URL names; `None` for a URL of another scheme.
///
/// # Errors
/// When a `file:` URL names no path on this machine.
pub fn local_path(text: &str) -> Result<Option<Utf8PathBuf>, RequestError> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "file" => url
            .to_file_path()
            .ok()
            .and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
            .map(Some)
            .ok_or_else(|| RequestError::Url {
                url: format!("`{}`", shown(&url)),
                reason: UrlFault::File,
            }),
        _ => Ok(None),
    }
}

/// Returns a URL as it may be shown and stored: without credentials, query and fragment, which may
/// contain secrets.
pub fn shown_url(url: &str) -> String {
    Url::parse(url).map_or_else(|_| UNREADABLE.to_owned(), |url| shown(&url))
}

/// Returns whether a URL contains a user or a password.
pub fn has_credentials(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

/// Returns a URL as it is stored: without query and fragment, which may contain secrets.
/// [`has_credentials`] finds the others.
pub fn stored_url(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.query().is_some() || url.fragment().is_some() => {
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> RequestError {
        RequestError::Status {
            url: String::new(),
            status,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn obeys_the_server_within_reason() {
        let retry = Retry::default();
        let wait = |asked| Some(retry.wait(1, &status(429, Some(asked)))?.as_secs());
        assert_eq!(
            (wait(0), wait(45), wait(300)),
            (Some(1), Some(45), Some(300))
        );
        assert_eq!(wait(86_400), None);
        let text = status(429, Some(86_400)).to_string();
        assert_eq!(text, " answers with status 429; again in 24 h");
    }

    #[test]
    fn follows_redirects_but_never_from_https_to_http() {
        let url = |text: &str| Url::parse(text).unwrap();
        let (plain, secure) = (url("http://a.example/"), url("https://b.example/"));
        let of = |previous: &[&Url], next: &Url| {
            let previous: Vec<Url> = previous.iter().map(|&url| url.clone()).collect();
            refusal(&previous, next)
        };
        assert_eq!(of(&[&plain], &secure), None);
        assert_eq!(of(&[&secure], &secure), None);
        assert_eq!(of(&[&plain], &plain), None);
        assert_eq!(of(&[&secure], &plain), Some(Refused::Insecure));
        assert_eq!(of(&[&plain; 10], &plain), None);
        assert_eq!(of(&[&plain; 11], &plain), Some(Refused::TooManyRedirects));
    }

    // case 6.6
    #[test]
    fn a_file_url_is_a_path() {
        let path = |text| local_path(text).map_err(|error| error.to_string());
        assert_eq!(
            path("file:///mnt/a%20b.txt"),
            Ok(Some("/mnt/a b.txt".into()))
        );
        assert_eq!(path("https://host.example/x"), Ok(None));
        assert_eq!(path("/mnt/x"), Ok(None));
        assert!(path("file://host.example/x").is_err());
    }

    #[test]
    fn shows_no_secrets() {
        let url = Url::parse("https://user:secret@host.example:8443/a/b?token=secret#x").unwrap();
        assert_eq!(shown(&url), "https://host.example:8443/a/b");
        for text in [
            "user:secret@host.example/x",
            "https://user:secret@host.example:99999/?token=secret",
            "ftp://user:secret@host.example/x?token=secret",
            "//user:secret@host",
        ] {
            let error = parse(text).unwrap_err();
            let told = format!("{error} {error:?} {}", shown_url(text));
            assert!(!told.contains("secret"), "{told}");
        }
    }

    // case 7.2
    #[test]
    fn a_server_that_never_answered_is_given_up_soon() {
        let retry = Retry::default();
        let url = String::new();
        let name = RequestError::Name {
            url: url.clone(),
            source: Cause::of(&std::io::Error::other("")),
        };
        let silent = RequestError::TimedOut { url };
        let second = Some(Duration::from_secs(1));
        assert_eq!(retry.wait_for_first_answer(1, &name), second);
        assert_eq!(retry.wait_for_first_answer(2, &name), None);
        assert_eq!(retry.wait_for_first_answer(1, &silent), None);
        assert!(retry.wait_for_first_answer(5, &status(503, None)).is_some());
        assert!(retry.wait(5, &name).is_some());
    }
}
