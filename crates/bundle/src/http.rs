//! The HTTP client of downloads, its errors, and the rule for repeating requests.

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

/// Time limit for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Time limit for receiving the next bytes.
const SILENCE: Duration = Duration::from_secs(60);

/// Maximum number of redirects.
const REDIRECTS: usize = 10;

/// Maximum `Retry-After` that is waited for. A longer one ends the download.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Number of attempts to reach a server that has not responded in this run. On a machine without
/// internet they all fail.
const ATTEMPTS_TO_REACH: u32 = 2;

/// Reason why a URL is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum UrlFault {
    /// The scheme is not HTTP or HTTPS.
    #[error("expected http:// or https://")]
    Scheme,
    /// A `file:` URL gives no path on this machine.
    #[error("expected file:///PATH")]
    File,
    /// The URL cannot be parsed.
    #[error("{0}")]
    Syntax(url::ParseError),
}

/// Reason why a request failed. URLs are shown without credentials and queries, which may contain
/// secrets.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The URL is not valid, or its scheme is not HTTP or HTTPS.
    #[error("cannot download from {url}: {reason}")]
    Url {
        /// URL in backquotes, or a placeholder if it may contain a secret.
        url: String,
        /// The fault.
        reason: UrlFault,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot prepare HTTP requests")]
    Client {
        /// The cause.
        source: Cause,
    },
    /// The server has nothing at the URL. The vendor offers no bundle for some releases.
    #[error("{url} was not found (status {status})")]
    NotFound {
        /// URL of the request.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server refuses the request, or has an internal problem.
    #[error("{url} answers with status {status}{}", pause(*retry_after))]
    Status {
        /// URL of the request.
        url: String,
        /// Status code.
        status: u16,
        /// Time that the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server redirects too often.
    #[error("{url} redirects more than {REDIRECTS} times")]
    TooManyRedirects {
        /// URL of the request.
        url: String,
    },
    /// The server redirects from HTTPS to HTTP, which does not identify the server.
    #[error("{url} redirects from https to http")]
    InsecureRedirect {
        /// URL of the request.
        url: String,
    },
    /// The environment configures a proxy for this URL that cannot be used.
    #[error("cannot use the proxy for {url}")]
    Proxy {
        /// URL of the request.
        url: String,
        /// The variable and its fault.
        source: ProxyError,
    },
    /// The proxy does not connect to the server.
    #[error("no connection to {url}: the proxy {fault}")]
    ProxyFailed {
        /// URL and proxy.
        url: String,
        /// The cause.
        fault: ProxyFault,
    },
    /// TLS failed: the certificate is not trusted or belongs to a different host, or the server
    /// does not speak TLS.
    #[error("no secure connection to {url}")]
    Tls {
        /// URL of the request.
        url: String,
        /// The cause.
        source: Cause,
    },
    /// The host name cannot be resolved.
    #[error("cannot find the host of {url}")]
    Name {
        /// URL of the request.
        url: String,
        /// The cause.
        source: Cause,
    },
    /// The host does not accept a connection.
    #[error("cannot connect to {url}")]
    Connect {
        /// URL of the request.
        url: String,
        /// The cause.
        source: Cause,
    },
    /// The server does not respond in time.
    #[error("{url} does not answer in time")]
    TimedOut {
        /// URL of the request.
        url: String,
    },
    /// The connection broke.
    #[error("the connection to {url} broke")]
    Interrupted {
        /// URL of the request.
        url: String,
        /// The cause.
        source: Cause,
    },
    /// The response ended early, or is not the requested part.
    #[error("{url} returned a different part of the file")]
    WrongPart {
        /// URL of the request.
        url: String,
    },
}

/// Rule for repeating requests after transient failures.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Maximum number of consecutive failures. An attempt that received bytes resets the count.
    pub failures: u32,
    /// Wait after the first failure. It doubles with each further one.
    pub first_wait: Duration,
    /// Maximum wait, unless the server asks for a longer one.
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
    /// Returns the wait after this number of consecutive failures; `None` if they are too many or
    /// the error is final.
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

    /// Returns [`Retry::wait`] for a server that has not responded in this run. If it cannot be
    /// reached, only a few attempts are made.
    pub(crate) fn wait_for_first_answer(
        &self,
        failures: u32,
        error: &RequestError,
    ) -> Option<Duration> {
        let attempts = match error {
            RequestError::Name { .. }
            | RequestError::Connect { .. }
            | RequestError::ProxyFailed { .. } => ATTEMPTS_TO_REACH,
            // The timeout was long enough.
            RequestError::TimedOut { .. } => 1,
            _ => u32::MAX,
        };
        self.wait(failures, error).filter(|_| failures < attempts)
    }
}

/// Settings for one server.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// CA certificates in PEM, in addition to those of the system.
    pub authority: Option<String>,
    /// User name and password. They are sent only to this server, and only after it refused a
    /// request.
    pub account: Option<(String, SecretString)>,
}

/// The client for downloads. It uses proxies and the system's certificates. It limits silence, but
/// not the duration of a transfer.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client,
    proxies: Arc<Proxies>,
    account: Option<(String, SecretString)>,
}

impl HttpClient {
    /// Creates the client. Certificates are read when a server first presents one.
    ///
    /// # Errors
    /// [`RequestError::Client`] if the HTTP library cannot be set up, or `authority` is not valid.
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
            Some(((name, password), again)) if requires_account(url, &response) => {
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
                url: self.route(url),
                fault,
            },
            None => self.failed(url, error),
        })
    }

    /// Classifies the failure of a request. The error names the proxy, if one is used.
    pub(crate) fn failed(&self, url: &Url, error: reqwest::Error) -> RequestError {
        RequestError::of(self.route(url), error)
    }

    /// Returns the URL and the proxy that is used for it.
    fn route(&self, url: &Url) -> String {
        match self.proxies.of(url) {
            Ok(Some(proxy)) => format!("{} through proxy {proxy}", shown(url)),
            _ => shown(url),
        }
    }
}

/// Returns whether the server of `url` itself requires the account: by a Basic challenge, or by a
/// 403. A server that a redirect led to gets no account.
fn requires_account(url: &Url, response: &Response) -> bool {
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

fn builder(authorities: Vec<CertificateDer<'static>>, proxies: &Arc<Proxies>) -> ClientBuilder {
    let known = Arc::clone(proxies);
    network::client(authorities, proxies)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        // A `Referer` would send the query of the first URL, which may contain a secret, to the
        // target of a redirect.
        .referer(false)
        .redirect(Policy::custom(move |attempt| {
            let proxy = || known.of(attempt.url()).err().map(Refused::Proxy);
            match refusal(attempt.previous(), attempt.url()).or_else(proxy) {
                Some(refused) => attempt.error(refused),
                None => attempt.follow(),
            }
        }))
}

/// Returns the reason why a redirect is not followed; `None` if it is. `previous` are the URLs so
/// far, including the first.
fn refusal(previous: &[Url], next: &Url) -> Option<Refused> {
    if previous.len() > REDIRECTS {
        return Some(Refused::TooManyRedirects);
    }
    let from_https = previous.last().is_some_and(|url| url.scheme() == "https");
    (from_https && next.scheme() != "https").then_some(Refused::Insecure)
}

/// Reason why a redirect was not followed. It travels inside reqwest's error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("too many redirects")]
    TooManyRedirects,
    #[error("a redirect from https to http")]
    Insecure,
    #[error("a redirect to where no proxy can be used")]
    Proxy(#[source] ProxyError),
}

/// Returns the server's wait as a suffix for its status, if it is longer than Airlock waits.
fn pause(retry_after: Option<Duration>) -> String {
    match retry_after.filter(|asked| *asked > LONGEST_RETRY_AFTER) {
        Some(asked) => format!("; again in {}", requests::rounded(asked)),
        None => String::new(),
    }
}

impl RequestError {
    /// Returns the TLS error, if the request failed because of TLS.
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

    /// Classifies reqwest's error.
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

    /// Returns the error for a response whose status is not success.
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

/// Parses a URL with the scheme HTTP or HTTPS.
pub(crate) fn parse(text: &str) -> Result<Url, RequestError> {
    let invalid = |reason| RequestError::Url {
        url: match shown_url(text) {
            shown if shown != UNREADABLE => format!("`{shown}`"),
            // Without these characters the text contains no user, password or query.
            _ if !text.contains(['@', '?', '#']) => format!("`{text}`"),
            unreadable => unreadable,
        },
        reason,
    };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => Err(invalid(UrlFault::Scheme)),
        Err(error) => Err(invalid(UrlFault::Syntax(error))),
    }
}

/// Checks that a URL is valid for downloads. No request is sent.
///
/// # Errors
/// [`RequestError::Url`] if the URL is not valid, or its scheme is not HTTP or HTTPS.
pub fn check_url(url: &str) -> Result<(), RequestError> {
    parse(url).map(drop)
}

/// Returns the path of a `file:` URL; `None` for URLs of other schemes.
///
/// # Errors
/// [`RequestError::Url`] if a `file:` URL gives no path on this machine.
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

/// Returns a URL for messages: without credentials, query and fragment, which may contain secrets.
pub fn shown_url(url: &str) -> String {
    Url::parse(url).map_or_else(|_| UNREADABLE.to_owned(), |url| shown(&url))
}

/// Returns whether a URL contains a user or a password.
pub fn has_credentials(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

/// Returns a URL for storage: without query and fragment, which may contain secrets. Credentials
/// are kept; refuse those by [`has_credentials`].
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
    fn retry_after_is_obeyed_up_to_a_limit() {
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
    fn redirects_are_followed_except_from_https_to_http() {
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
    fn urls_in_errors_have_no_secrets() {
        let url = Url::parse("https://user:secret@host.example:8443/a/b?token=secret#x").unwrap();
        assert_eq!(shown(&url), "https://host.example:8443/a/b");
        for text in [
            "user:secret@host.example/x",
            "https://user:secret@host.example:99999/?token=secret",
            "ftp://user:secret@host.example/x?token=secret",
            "//user:secret@host",
        ] {
            let error = parse(text).unwrap_err();
            let shown = format!("{error} {error:?} {}", shown_url(text));
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn an_unreachable_server_gets_few_attempts() {
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
