//! Errors of requests to a registry.
//!
//! There is a variant for each case in which an operator acts differently. `xtask` adds the hints.

use std::fmt;
use std::io;
use std::time::Duration;

use network::{Proxies, Proxy, ProxyError, ProxyFault};
use oci_client::errors::OciDistributionError;
use oci_spec::image::Digest;
use requests::Cause;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::Credentials;
use crate::retry::Failure;
use crate::violation::{LocationFault, NodeFault, Violation};

/// Why an operation on a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry's address is not `host[:port]`.
    #[error("registry address `{address}` {rule}")]
    Address {
        /// The address that was passed.
        address: String,
        /// The rule that it breaks, to follow the address.
        rule: &'static str,
    },
    /// The configured CA certificate cannot be used.
    #[error("the certificate authority of registry {address} {rule}")]
    CertificateAuthority {
        /// Address of the registry.
        address: String,
        /// The rule that the PEM text breaks.
        rule: String,
    },
    /// No HTTP client can be built on this machine.
    #[error("cannot set up the HTTP client for registry {address}")]
    Client {
        /// Address of the registry.
        address: String,
        /// The error of the HTTP library.
        source: Cause,
    },
    /// A repository, tag or digest breaks the grammar of the OCI distribution specification.
    #[error("`{name}` is not a valid {kind}")]
    Name {
        /// `repository`, `tag` or `digest`.
        kind: &'static str,
        /// The text that was passed.
        name: String,
    },
    /// The digest is not a sha256 digest. Registries need not verify others.
    #[error("digest `{digest}` is not a sha256 digest")]
    DigestAlgorithm {
        /// The digest that was passed.
        digest: Digest,
    },
    /// The artifact to push is inconsistent.
    #[error("artifact {name} {rule}")]
    Artifact {
        /// `repository:tag`.
        name: String,
        /// The rule that it breaks, to follow the name.
        rule: String,
    },
    /// A blob or manifest cannot be read from its source.
    #[error("cannot read {digest} from its source")]
    Source {
        /// Digest of the blob or manifest.
        digest: Digest,
        /// The error of the file system.
        source: io::Error,
    },
    /// The source's file of a blob or manifest has different content. The registry accepted none of
    /// it.
    #[error("the source of {digest} has different content: {found}")]
    SourceContent {
        /// The expected digest.
        digest: Digest,
        /// The actual digest, or the actual size.
        found: String,
    },
    /// The bytes of a downloaded blob cannot be stored.
    #[error("cannot keep {digest}")]
    Target {
        /// Digest of the blob.
        digest: Digest,
        /// The error of the file system.
        source: io::Error,
    },

    /// 401: the registry or its token server requires credentials, or rejects those that it
    /// received.
    #[error("{at}: {}: {response}", unauthorized(at))]
    Unauthorized {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The response.
        response: Box<ErrorResponse>,
        /// Whether the login as a whole failed: the credentials are wrong, or there are none and
        /// the registry serves nothing without.
        is_login: bool,
    },
    /// 403: the account may not do this, or a rule of the registry forbids it, such as an immutable
    /// tag or a quota.
    #[error("{at}: {}: {response}", forbidden(at))]
    Forbidden {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The response.
        response: Box<ErrorResponse>,
    },
    /// 404 for something that must exist. For the request that opens an upload, the project does
    /// not exist in the registry.
    #[error("{at}: not found: {response}")]
    NotFound {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The response.
        response: Box<ErrorResponse>,
    },
    /// 413: the registry, or more often a proxy before it, limits the size of a request.
    #[error("{at}: {size} bytes are too much for one request: {response}")]
    TooLarge {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The response.
        response: Box<ErrorResponse>,
        /// Size of the request's body in bytes.
        size: u64,
    },
    /// 429 after all attempts, or with an order to wait longer than
    /// [`Settings::longest_wait`](crate::Settings).
    #[error("{at}: too many requests: {response}{}", limits(quota.as_deref(), *retry_after))]
    RateLimited {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The response.
        response: Box<ErrorResponse>,
        /// The pause that the registry ordered.
        retry_after: Option<Duration>,
        /// The registry's quota: `100 in 6 h, 0 left`.
        quota: Option<String>,
    },
    /// 408 or 5xx after all attempts: the registry or its storage fails.
    #[error("{at}: the server fails: {response}")]
    Unavailable {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The response.
        response: Box<ErrorResponse>,
    },
    /// Any other unexpected status. The response's code names the error of the specification.
    #[error("{at}: rejected: {response}")]
    Rejected {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The response.
        response: Box<ErrorResponse>,
    },
    /// Content of the registry, or the digest that it reports, differs from what was expected.
    #[error("{at}: the server has {found} where {expected} should be")]
    DigestMismatch {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The digest that was requested or sent.
        expected: Digest,
        /// The digest that was computed or reported, or `nothing`.
        found: String,
    },
    /// A response violates the specification, so the operation cannot continue.
    #[error("{at}: the answer {violation}")]
    Protocol {
        /// The failed request.
        at: Box<RequestInfo>,
        /// How it violates the specification.
        violation: Violation,
    },
    /// The `Location` of a response cannot be used: a proxy before the registry passes on the wrong
    /// scheme or host.
    #[error("{at}: the registry names the Location `{location}`, {fault}")]
    Location {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The `Location` without its query.
        location: String,
        /// Why it cannot be used.
        fault: LocationFault,
        /// The error of a request to it.
        source: Option<Box<Error>>,
    },
    /// The registry redirects to a different host, which refuses the request. A storage does so if
    /// it does not accept the signature in the URL.
    #[error("{at}: the registry redirects to {host}, which refuses the request")]
    Elsewhere {
        /// The failed request.
        at: Box<RequestInfo>,
        /// Origin of the other host: scheme, name and port.
        host: String,
        /// The refusal.
        source: Box<Error>,
    },
    /// The registry names a token server without TLS, which must not receive credentials.
    #[error("{at}: names the token server {realm}, which must not receive credentials")]
    UntrustedRealm {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The URL of the token server.
        realm: String,
    },
    /// The server requires an authentication scheme that Airlock does not support.
    #[error("{at}: the server accepts a login by {schemes} only, which is not supported")]
    UnsupportedLogin {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The schemes: `Negotiate or NTLM`.
        schemes: String,
    },
    /// The server at this address is not a registry.
    #[error("{at}: is not a registry: {found}")]
    NotARegistry {
        /// The failed request.
        at: Box<RequestInfo>,
        /// What it is instead.
        found: String,
    },
    /// The server speaks plain HTTP, but the request used HTTPS.
    #[error("{at}: this port speaks plain HTTP, not TLS")]
    PlainHttpServer {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// The server speaks TLS, but the request used plain HTTP: the endpoint lacks the CA
    /// certificate.
    #[error("{at}: the server requires TLS")]
    HttpsServer {
        /// The failed request.
        at: Box<RequestInfo>,
    },

    /// The server's certificate is from a CA that neither the system nor the endpoint trusts.
    #[error("{at}: the server's certificate is from an unknown authority")]
    UnknownAuthority {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// The server's own certificate is a CA certificate, and the endpoint trusts a different one.
    #[error("{at}: the server uses a CA certificate as its own")]
    AuthorityAsServer {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// This machine has no CA certificates, and the endpoint has none.
    #[error(
        "{at}: the server's certificate cannot be verified: this machine has no CA certificates"
    )]
    NoAuthorities {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// A certificate of the server has a signature algorithm that Airlock does not support.
    #[error("{at}: the server's certificate has a signature that Airlock cannot verify")]
    UnsupportedSignature {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// A certificate of the server has an RSA key of less than 2048 bits.
    #[error("{at}: {}", network::WeakKey)]
    WeakKey {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// The server's certificate is for other names.
    #[error("{at}: the server's certificate is for {}", names(presented))]
    WrongHostName {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// A certificate of the server has expired, or this machine's clock is ahead.
    #[error("{at}: the server's certificate has expired")]
    CertificateExpired {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// A certificate of the server is not valid yet, or this machine's clock is behind.
    #[error("{at}: the server's certificate is not valid yet")]
    CertificateNotYetValid {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// The TLS connection failed for any other reason.
    #[error("{at}: no TLS connection")]
    Tls {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The error of the TLS library.
        source: Cause,
    },
    /// Nothing listens at this address and port.
    #[error("{at}: connection refused")]
    ConnectionRefused {
        /// The failed request.
        at: Box<RequestInfo>,
    },
    /// The host name has no address.
    #[error("{at}: the host name cannot be resolved")]
    NameNotResolved {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The error of the resolver.
        source: Cause,
    },
    /// The variable for this request does not contain a usable proxy URL.
    #[error("{at}: cannot use the proxy")]
    Proxy {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The variable, and the rule that it breaks.
        source: ProxyError,
    },
    /// The proxy does not connect to the registry.
    #[error("{at}: the proxy {fault}")]
    ProxyFailed {
        /// The failed request.
        at: Box<RequestInfo>,
        /// Why it does not connect.
        fault: ProxyFault,
    },
    /// The port accepts connections, but nothing responds: a firewall, a load balancer without a
    /// server, or a different protocol.
    #[error("{at}: the port accepts connections, but nothing answers within {} s", after.as_secs_f32())]
    Silent {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The timeout.
        after: Duration,
    },
    /// No response arrived in time.
    #[error("{at}: no answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The timeout.
        after: Duration,
    },
    /// An upload stopped making progress.
    #[error("{at}: stalled for {} s after {moved} of {size} bytes", after.as_secs_f32())]
    Stalled {
        /// The failed request.
        at: Box<RequestInfo>,
        /// Number of bytes that were sent.
        moved: u64,
        /// Number of bytes to send.
        size: u64,
        /// How long no byte was sent.
        after: Duration,
    },
    /// The connection failed or was lost: reset, no route to the host, refused by a proxy.
    #[error("{at}: the connection failed")]
    ConnectionLost {
        /// The failed request.
        at: Box<RequestInfo>,
        /// The cause.
        source: Cause,
    },

    /// [`Stop`](crate::Stop) was requested before the operation was complete. The next run resumes
    /// it.
    #[error("stopped before it was complete")]
    Stopped,
    /// The arrivals ended before the bundle was complete.
    #[error("the source of the blobs ended early")]
    SourceEnded,
    /// The artifact is complete but not tagged, because content of a different artifact is damaged
    /// or cannot be read.
    #[error("not tagged, because content of a different artifact is damaged or missing")]
    Withheld,

    /// oci-client cannot pull the artifact as a node does.
    #[error("cannot pull {reference} from registry {address} as a node does")]
    NodePull {
        /// Address of the registry.
        address: String,
        /// `repository:tag` or `repository@digest`.
        reference: String,
        /// The error of oci-client.
        source: Box<OciDistributionError>,
    },
    /// The registry serves something that is not a valid manifest, or a blob that differs from its
    /// manifest.
    #[error("{reference} in registry {address} {fault}")]
    NodeContent {
        /// Address of the registry.
        address: String,
        /// `repository:tag` or `repository@digest`.
        reference: String,
        /// What is wrong with it.
        fault: NodeFault,
    },
}

/// Returns the registry's limits, to follow its response. A short pause is left out.
fn limits(quota: Option<&str>, retry_after: Option<Duration>) -> String {
    const SHORT: Duration = Duration::from_secs(60);
    let mut text = quota.map_or_else(String::new, |quota| format!("; requests: {quota}"));
    if let Some(after) = retry_after.filter(|after| *after > SHORT) {
        text.push_str(&format!("; again in {}", requests::rounded(after)));
    }
    text
}

impl Error {
    /// Returns the error of a response that violates the specification.
    pub(crate) fn protocol(at: &RequestInfo, violation: Violation) -> Self {
        Self::Protocol {
            at: Box::new(at.clone()),
            violation,
        }
    }

    /// Returns whether the registry refused a manifest because of its content.
    pub fn is_refused_manifest(&self) -> bool {
        // Some registries respond 404 if the manifest refers to a missing blob.
        matches!(self, Self::Rejected { at, .. } | Self::NotFound { at, .. }
            if at.method == "PUT" && at.url.contains("/manifests/"))
    }

    /// Adds the user to an error of a request, or of the request for its token, that carried
    /// credentials.
    pub(crate) fn sent_by(mut self, credentials: &Credentials) -> Self {
        if let (
            Self::Unauthorized { at, .. } | Self::Forbidden { at, .. },
            Credentials::Basic { username, password },
        ) = (&mut self, credentials)
        {
            let password = password.expose_secret();
            at.user = Some(username.clone());
            at.has_odd_password = password
                .trim_matches(|edge: char| edge.is_whitespace() || "\"'".contains(edge))
                != password;
        }
        self
    }

    /// Returns the failed request, if there was one.
    pub fn place(&self) -> Option<&RequestInfo> {
        match self {
            Self::Unauthorized { at, .. }
            | Self::Forbidden { at, .. }
            | Self::NotFound { at, .. }
            | Self::TooLarge { at, .. }
            | Self::RateLimited { at, .. }
            | Self::Unavailable { at, .. }
            | Self::Rejected { at, .. }
            | Self::DigestMismatch { at, .. }
            | Self::Protocol { at, .. }
            | Self::Location { at, .. }
            | Self::Elsewhere { at, .. }
            | Self::UntrustedRealm { at, .. }
            | Self::UnsupportedLogin { at, .. }
            | Self::NotARegistry { at, .. }
            | Self::PlainHttpServer { at }
            | Self::HttpsServer { at }
            | Self::UnknownAuthority { at }
            | Self::WrongHostName { at, .. }
            | Self::AuthorityAsServer { at }
            | Self::NoAuthorities { at }
            | Self::UnsupportedSignature { at }
            | Self::WeakKey { at }
            | Self::CertificateExpired { at }
            | Self::CertificateNotYetValid { at }
            | Self::Tls { at, .. }
            | Self::ConnectionRefused { at }
            | Self::NameNotResolved { at, .. }
            | Self::Proxy { at, .. }
            | Self::ProxyFailed { at, .. }
            | Self::Silent { at, .. }
            | Self::TimedOut { at, .. }
            | Self::Stalled { at, .. }
            | Self::ConnectionLost { at, .. } => Some(at),
            Self::Address { .. }
            | Self::CertificateAuthority { .. }
            | Self::Client { .. }
            | Self::Name { .. }
            | Self::DigestAlgorithm { .. }
            | Self::Artifact { .. }
            | Self::Source { .. }
            | Self::SourceContent { .. }
            | Self::Target { .. }
            | Self::Stopped
            | Self::SourceEnded
            | Self::Withheld
            | Self::NodePull { .. }
            | Self::NodeContent { .. } => None,
        }
    }

    /// Returns whether the registry was not reached, so fewer concurrent requests would not help.
    pub(crate) fn is_about_reaching(&self) -> bool {
        matches!(
            self,
            Self::ConnectionRefused { .. }
                | Self::NameNotResolved { .. }
                | Self::ProxyFailed { .. }
                | Self::Silent { .. }
        )
    }

    /// Returns whether TLS failed.
    pub(crate) fn is_about_tls(&self) -> bool {
        matches!(
            self,
            Self::UnknownAuthority { .. }
                | Self::AuthorityAsServer { .. }
                | Self::NoAuthorities { .. }
                | Self::UnsupportedSignature { .. }
                | Self::WeakKey { .. }
                | Self::WrongHostName { .. }
                | Self::CertificateExpired { .. }
                | Self::CertificateNotYetValid { .. }
                | Self::Tls { .. }
                | Self::PlainHttpServer { .. }
                | Self::HttpsServer { .. }
        )
    }

    /// Returns whether the registry rejected the credentials that were sent.
    pub fn refuses_login(&self) -> bool {
        matches!(self, Self::Unauthorized { at, is_login: true, .. } if at.user.is_some())
    }

    /// Returns the response, if the error is about one.
    pub fn response(&self) -> Option<&ErrorResponse> {
        match self {
            Self::Unauthorized { response, .. }
            | Self::Forbidden { response, .. }
            | Self::NotFound { response, .. }
            | Self::TooLarge { response, .. }
            | Self::RateLimited { response, .. }
            | Self::Unavailable { response, .. }
            | Self::Rejected { response, .. } => Some(response),
            _ => None,
        }
    }
}

/// A request, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// HTTP method: `PUT`.
    pub method: String,
    /// URL without credentials, query and fragment. Storage services put their signatures into the
    /// query.
    pub url: String,
    /// Repository of the request. Empty for requests about the registry as a whole.
    pub repository: String,
    /// The proxy and the variable that configures it, without credentials: `http://proxy:3128
    /// (HTTPS_PROXY)`.
    pub proxy: Option<String>,
    /// User whose credentials were sent with the refused request.
    pub user: Option<String>,
    /// Whether the password that was sent begins or ends with a space or a quotation mark.
    pub has_odd_password: bool,
    /// Whether the request was for a token, and so to the registry's token server.
    pub is_for_token: bool,
}

impl RequestInfo {
    pub(crate) fn new(method: &str, url: &Url, repository: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: requests::shown(url),
            repository: repository.to_owned(),
            proxy: None,
            user: None,
            has_odd_password: false,
            is_for_token: false,
        }
    }

    /// Returns the same request as one for a token.
    pub(crate) fn for_token(self) -> Self {
        Self {
            is_for_token: true,
            ..self
        }
    }

    /// Adds the proxy of a request to `url`.
    ///
    /// # Errors
    ///
    /// [`Error::Proxy`] if the proxy cannot be used.
    pub(crate) fn through(self, proxies: &Proxies, url: &Url) -> Result<Self, Failure> {
        match proxies.of(url) {
            Ok(proxy) => Ok(Self {
                proxy: proxy.map(Proxy::to_string),
                ..self
            }),
            Err(source) => Err(Failure::permanent(Error::Proxy {
                at: Box::new(self),
                source,
            })),
        }
    }
}

fn unauthorized(at: &RequestInfo) -> String {
    match &at.user {
        Some(user) => format!("the user `{user}` was rejected"),
        None => "no credentials were sent".to_owned(),
    }
}

fn forbidden(at: &RequestInfo) -> String {
    match &at.user {
        Some(user) => format!("not allowed for the user `{user}`"),
        None => "not allowed without credentials".to_owned(),
    }
}

impl fmt::Display for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)?;
        match &self.proxy {
            Some(proxy) => write!(f, " through proxy {proxy}"),
            None => Ok(()),
        }
    }
}

/// A response with an error status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// HTTP status.
    pub status: u16,
    /// First error code of the body: `DENIED`.
    pub code: Option<String>,
    /// Error message of the body, masked, truncated and without control characters.
    pub message: Option<String>,
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        let reason = reqwest::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason());
        if let Some(reason) = reason {
            write!(f, " {reason}")?;
        }
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, " ({code}: {message})"),
            (Some(text), None) | (None, Some(text)) => write!(f, " ({text})"),
            (None, None) => Ok(()),
        }
    }
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "another name".to_owned();
    }
    presented.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_with_quotation_marks_or_spaces_at_its_ends_is_odd() {
        let url = Url::parse("https://registry.example.com/v2/").unwrap();
        for (password, expected) in [
            ("hunter2", false),
            ("hunter'2", false),
            ("hunter2 ", true),
            ("\"hunter2\"", true),
        ] {
            let refused = Error::Forbidden {
                at: Box::new(RequestInfo::new("GET", &url, "")),
                response: Box::new(ErrorResponse {
                    status: 403,
                    code: None,
                    message: None,
                }),
            };
            let error = refused.sent_by(&Credentials::Basic {
                username: "u".to_owned(),
                password: password.into(),
            });
            let is_odd = error.place().is_some_and(|at| at.has_odd_password);
            assert_eq!(is_odd, expected, "{password}");
        }
    }

    #[test]
    fn a_place_shows_no_query_and_no_credentials() {
        let url = Url::parse("https://me:secret@blobs.example.com/u/1?X-Signature=abc#x").unwrap();
        let place = RequestInfo::new("PUT", &url, "mke/calico/node");
        assert_eq!(place.to_string(), "PUT https://blobs.example.com/u/1");
        assert!(!format!("{place:?}").contains("secret"));
        assert!(!format!("{place:?}").contains("abc"));
    }

    #[test]
    fn every_error_about_a_certificate_is_about_tls() {
        let url = Url::parse("https://registry.example.com/v2/").unwrap();
        let at = || Box::new(RequestInfo::new("GET", &url, ""));
        for error in [
            Error::AuthorityAsServer { at: at() },
            Error::NoAuthorities { at: at() },
            Error::UnsupportedSignature { at: at() },
            Error::WeakKey { at: at() },
            Error::CertificateExpired { at: at() },
        ] {
            assert!(error.is_about_tls(), "{error}");
        }
        assert!(!Error::ConnectionRefused { at: at() }.is_about_tls());
    }

    #[test]
    fn answers_show_status_code_and_message() {
        let response = |status, code: Option<&str>, message: Option<&str>| ErrorResponse {
            status,
            code: code.map(str::to_owned),
            message: message.map(str::to_owned),
        };
        for (response, text) in [
            (
                response(403, Some("DENIED"), Some("quota exceeded")),
                "403 Forbidden (DENIED: quota exceeded)",
            ),
            (
                response(503, None, Some("try later")),
                "503 Service Unavailable (try later)",
            ),
            (
                response(404, Some("NAME_UNKNOWN"), None),
                "404 Not Found (NAME_UNKNOWN)",
            ),
            (response(599, None, None), "599"),
        ] {
            assert_eq!(response.to_string(), text);
        }
    }
}
