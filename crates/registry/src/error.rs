//! The errors of requests to a registry.
//!
//! A variant exists for each case in which an operator acts differently. `xtask` adds the hints.

use std::fmt;
use std::io;
use std::time::Duration;

use network::{Proxies, Proxy, ProxyError, ProxyFault};
use oci_client::errors::OciDistributionError;
use oci_spec::image::Digest;
use requests::Cause;
use url::Url;

use crate::Credentials;
use crate::retry::Failure;
use crate::violation::{LocationFault, NodeFault, Violation};

/// Why a registry does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry's address is not `host[:port]`.
    #[error("registry address `{address}` {rule}")]
    Address {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The certificate authority of the registry cannot be used.
    #[error("the certificate authority of registry {address} {rule}")]
    CertificateAuthority {
        /// The registry's address.
        address: String,
        /// What is wrong with the PEM text.
        rule: String,
    },
    /// No HTTP client can be set up on this machine, for instance because the system has no
    /// certificate authorities at all.
    #[error("cannot set up the HTTP client for registry {address}")]
    Client {
        /// The registry's address.
        address: String,
        /// Why not.
        source: Cause,
    },
    /// A repository, tag or digest breaks the grammar of the OCI distribution specification.
    #[error("`{name}` is not a valid {kind}")]
    Name {
        /// `repository`, `tag` or `digest`.
        kind: &'static str,
        /// The text as it was given.
        name: String,
    },
    /// The digest is of an algorithm that registries need not verify.
    #[error("digest `{digest}` is not a sha256 digest")]
    DigestAlgorithm {
        /// The digest as it was given.
        digest: Digest,
    },
    /// The artifact to push contradicts itself.
    #[error("artifact {name} {rule}")]
    Artifact {
        /// `repository:tag`.
        name: String,
        /// What is wrong with it.
        rule: String,
    },
    /// A blob or manifest cannot be read from its source.
    #[error("cannot read {digest} from its source")]
    Source {
        /// The blob.
        digest: Digest,
        /// What the file system says.
        source: io::Error,
    },
    /// The file of a blob or manifest does not hold the blob. Nothing of it was accepted by the
    /// registry.
    #[error("the source of {digest} holds something else: {found}")]
    SourceContent {
        /// The blob that should be there.
        digest: Digest,
        /// Its digest or size as found.
        found: String,
    },
    /// The bytes of a blob that is read cannot be kept.
    #[error("cannot keep {digest}")]
    Target {
        /// The blob.
        digest: Digest,
        /// What the file system says.
        source: io::Error,
    },

    /// 401: the registry, or its token server, requires credentials or refuses those it was shown.
    #[error("{at}: {}: {answer}", unauthorized(at))]
    Unauthorized {
        /// The request.
        at: Box<Place>,
        /// The answer.
        answer: Box<Answer>,
        /// Whether it is about the login as a whole: the credentials are wrong, or there are none
        /// where nothing is served without.
        is_login: bool,
    },
    /// 403: the account may not do this here, or a rule of the registry forbids it (a tag that
    /// cannot be changed, a quota).
    #[error("{at}: {}: {answer}", forbidden(at))]
    Forbidden {
        /// The request.
        at: Box<Place>,
        /// The answer.
        answer: Box<Answer>,
    },
    /// 404 where something had to be there. When an upload begins it says that the project does not
    /// exist in the registry.
    #[error("{at}: not found: {answer}")]
    NotFound {
        /// The request.
        at: Box<Place>,
        /// The answer.
        answer: Box<Answer>,
    },
    /// 413: the registry, more often a proxy before it, limits the size of a request.
    #[error("{at}: {size} bytes are too much for one request: {answer}")]
    TooLarge {
        /// The request.
        at: Box<Place>,
        /// The answer.
        answer: Box<Answer>,
        /// How many bytes were to be sent.
        size: u64,
    },
    /// 429, still after every attempt, or with an order to wait for longer than this program does.
    #[error("{at}: too many requests: {answer}{}", limits(quota.as_deref(), *retry_after))]
    RateLimited {
        /// The request.
        at: Box<Place>,
        /// The answer.
        answer: Box<Answer>,
        /// How long the registry asks to wait, if it said so.
        retry_after: Option<Duration>,
        /// How many requests it allows, if it said so: `100 in 6 h, 0 left`.
        quota: Option<String>,
    },
    /// 408 or 5xx, still after every attempt: the registry or its storage is in trouble.
    #[error("{at}: the server fails: {answer}")]
    Unavailable {
        /// The request.
        at: Box<Place>,
        /// The answer.
        answer: Box<Answer>,
    },
    /// Any other status that the request should not have got; the code says which of the
    /// specification's errors it is.
    #[error("{at}: rejected: {answer}")]
    Rejected {
        /// The request.
        at: Box<Place>,
        /// The answer.
        answer: Box<Answer>,
    },
    /// What the registry holds, or says that it holds, is not what it should be.
    #[error("{at}: the server has {found} where {expected} should be")]
    DigestMismatch {
        /// The request.
        at: Box<Place>,
        /// The digest that was asked for or sent.
        expected: Digest,
        /// The digest that was computed or answered, or `nothing`.
        found: String,
    },
    /// An answer lacks what the specification demands, so the request cannot continue.
    #[error("{at}: the answer {violation}")]
    Protocol {
        /// The request.
        at: Box<Place>,
        /// What is wrong with it.
        violation: Violation,
    },
    /// The registry names a place for an upload that cannot be used: a proxy before it passes on
    /// the wrong scheme or host.
    #[error("{at}: the registry names the Location `{location}`, {fault}")]
    Location {
        /// The request.
        at: Box<Place>,
        /// The place, without its query.
        location: String,
        /// What is wrong with it.
        fault: LocationFault,
        /// What came of a request there.
        source: Option<Box<Error>>,
    },
    /// The registry redirects a request to another host, which refuses it, as a storage does to a
    /// signature that it does not accept.
    #[error("{at}: the registry redirects to {host}, which refuses the request")]
    Elsewhere {
        /// The request.
        at: Box<Place>,
        /// The other host, with scheme and port.
        host: String,
        /// What it answered.
        source: Box<Error>,
    },
    /// The registry names a token server to which credentials must not be sent: one without TLS.
    #[error("{at}: names the token server {realm}, which is not to be trusted with credentials")]
    UntrustedRealm {
        /// The request.
        at: Box<Place>,
        /// The token server.
        realm: String,
    },
    /// The server asks for a login by schemes that this program does not have.
    #[error("{at}: the server accepts a login by {schemes} only, which is not supported")]
    UnsupportedLogin {
        /// The request.
        at: Box<Place>,
        /// The schemes: `Negotiate or NTLM`.
        schemes: String,
    },
    /// Something else than a registry answers at this address.
    #[error("{at}: is not a registry: {found}")]
    NotARegistry {
        /// The request.
        at: Box<Place>,
        /// What answers there instead.
        found: String,
    },
    /// HTTPS was spoken to a server that speaks plain HTTP.
    #[error("{at}: this port speaks plain HTTP, not TLS")]
    PlainHttpServer {
        /// The request.
        at: Box<Place>,
    },
    /// Plain HTTP was spoken to a server that speaks TLS; its certificate authority is missing from
    /// the endpoint.
    #[error("{at}: the server requires TLS")]
    HttpsServer {
        /// The request.
        at: Box<Place>,
    },

    /// The server's certificate comes from an authority that neither the system nor the endpoint
    /// knows.
    #[error("{at}: the server's certificate is from an unknown authority")]
    UnknownAuthority {
        /// The request.
        at: Box<Place>,
    },
    /// The server shows a CA certificate as its own, and the endpoint names a different one.
    #[error("{at}: the server uses a CA certificate as its own")]
    AuthorityAsServer {
        /// The request.
        at: Box<Place>,
    },
    /// This machine has no CA certificates, and the endpoint names none.
    #[error(
        "{at}: the server's certificate cannot be verified: this machine has no CA certificates"
    )]
    NoAuthorities {
        /// The request.
        at: Box<Place>,
    },
    /// A certificate is signed by an algorithm that this program does not verify.
    #[error("{at}: the server's certificate has a signature that Airlock cannot verify")]
    UnsupportedSignature {
        /// The request.
        at: Box<Place>,
    },
    /// A certificate has an RSA key that is too short to be verified.
    #[error("{at}: {}", network::WeakKey)]
    WeakKey {
        /// The request.
        at: Box<Place>,
    },
    /// The server's certificate is for other names.
    #[error("{at}: the server's certificate is for {}", names(presented))]
    WrongHostName {
        /// The request.
        at: Box<Place>,
        /// The names that the certificate is for.
        presented: Vec<String>,
    },
    /// The server's certificate, or one above it, is past its time, or this machine's clock is
    /// ahead.
    #[error("{at}: the server's certificate has expired")]
    CertificateExpired {
        /// The request.
        at: Box<Place>,
    },
    /// The server's certificate is not valid yet, or this machine's clock is behind.
    #[error("{at}: the server's certificate is not valid yet")]
    CertificateNotYetValid {
        /// The request.
        at: Box<Place>,
    },
    /// The TLS connection failed for any other reason.
    #[error("{at}: no TLS connection")]
    Tls {
        /// The request.
        at: Box<Place>,
        /// Why not.
        source: Cause,
    },
    /// Nothing listens at this address and port.
    #[error("{at}: connection refused")]
    ConnectionRefused {
        /// The request.
        at: Box<Place>,
    },
    /// The host's name has no address.
    #[error("{at}: the host name cannot be resolved")]
    NameNotResolved {
        /// The request.
        at: Box<Place>,
        /// What the resolver says.
        source: Cause,
    },
    /// A variable names a proxy for this request that cannot be used.
    #[error("{at}: cannot use the proxy")]
    Proxy {
        /// The request.
        at: Box<Place>,
        /// Which variable, and what is wrong with it.
        source: ProxyError,
    },
    /// The proxy does not connect to the registry.
    #[error("{at}: the proxy {fault}")]
    ProxyFailed {
        /// The request.
        at: Box<Place>,
        /// Why not.
        fault: ProxyFault,
    },
    /// Something accepts connections and says nothing: a firewall, a balancer without a server,
    /// another protocol.
    #[error("{at}: the port accepts connections, but nothing answers within {} s", after.as_secs_f32())]
    Silent {
        /// The request.
        at: Box<Place>,
        /// How long was waited.
        after: Duration,
    },
    /// No answer came in time.
    #[error("{at}: no answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// The request.
        at: Box<Place>,
        /// How long was waited.
        after: Duration,
    },
    /// A transfer stopped moving.
    #[error("{at}: stalled for {} s after {moved} of {size} bytes", after.as_secs_f32())]
    Stalled {
        /// The request.
        at: Box<Place>,
        /// How many bytes had been moved.
        moved: u64,
        /// How many there are.
        size: u64,
        /// How long nothing moved.
        after: Duration,
    },
    /// The connection failed or broke: reset, no route to the host, a proxy that refuses.
    #[error("{at}: the connection failed")]
    ConnectionLost {
        /// The request.
        at: Box<Place>,
        /// Why not.
        source: Cause,
    },

    /// [`Stop`](crate::Stop) was requested before this was done. Nothing failed; the next run
    /// resumes here.
    #[error("stopped before it was complete")]
    Stopped,
    /// The source of the blobs ended before all had arrived.
    #[error("the source of the blobs ended early")]
    SourceEnded,
    /// The artifact is complete but not tagged, since the source of a different one is damaged or
    /// cannot be read.
    #[error("not tagged, because content of a different artifact is damaged or missing")]
    Withheld,

    /// The independent reader cannot pull the artifact as a node would.
    #[error("cannot pull {reference} from registry {address} as a node does")]
    NodePull {
        /// The registry's address.
        address: String,
        /// `repository:tag` or `repository@digest`.
        reference: String,
        /// What oci-client says.
        source: Box<OciDistributionError>,
    },
    /// The independent reader got something that is not a manifest, or one that breaks a rule.
    #[error("{reference} in registry {address} {fault}")]
    NodeContent {
        /// The registry's address.
        address: String,
        /// `repository:tag` or `repository@digest`.
        reference: String,
        /// What is wrong with it.
        fault: NodeFault,
    },
}

/// Returns what a registry says of its limits, to follow its answer. A pause that is waited out is
/// not worth a word.
fn limits(quota: Option<&str>, retry_after: Option<Duration>) -> String {
    const SHORT: Duration = Duration::from_secs(60);
    let mut text = quota.map_or_else(String::new, |quota| format!("; requests: {quota}"));
    if let Some(after) = retry_after.filter(|after| *after > SHORT) {
        text.push_str(&format!("; again in {}", requests::rounded(after)));
    }
    text
}

impl Error {
    /// Returns the error of an answer that lacks what the specification demands.
    pub(crate) fn protocol(at: &Place, violation: Violation) -> Self {
        Self::Protocol {
            at: Box::new(at.clone()),
            violation,
        }
    }

    /// Returns whether the registry refused a manifest because of its content.
    pub fn is_refused_manifest(&self) -> bool {
        // Some say 404 for a blob that a manifest names.
        matches!(self, Self::Rejected { at, .. } | Self::NotFound { at, .. }
            if at.method == "PUT" && at.url.contains("/manifests/"))
    }

    /// Records whose credentials the request carried, or the request for its token, if that is what
    /// was refused.
    pub(crate) fn sent_by(mut self, credentials: &Credentials) -> Self {
        if let (
            Self::Unauthorized { at, .. } | Self::Forbidden { at, .. },
            Credentials::Basic { username, .. },
        ) = (&mut self, credentials)
        {
            at.user = Some(username.clone());
        }
        self
    }

    /// Returns the request that failed, where it came to one.
    pub fn place(&self) -> Option<&Place> {
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

    /// Returns whether the registry could not be reached at all, so it is not a matter of how much
    /// is asked of it.
    pub(crate) fn is_about_reaching(&self) -> bool {
        matches!(
            self,
            Self::ConnectionRefused { .. }
                | Self::NameNotResolved { .. }
                | Self::ProxyFailed { .. }
                | Self::Silent { .. }
        )
    }

    /// Returns whether the two sides do not agree on TLS.
    pub(crate) fn is_about_tls(&self) -> bool {
        matches!(
            self,
            Self::UnknownAuthority { .. }
                | Self::WrongHostName { .. }
                | Self::CertificateExpired { .. }
                | Self::CertificateNotYetValid { .. }
                | Self::Tls { .. }
                | Self::PlainHttpServer { .. }
                | Self::HttpsServer { .. }
        )
    }

    /// Returns whether credentials were sent and not accepted.
    pub fn refuses_login(&self) -> bool {
        matches!(self, Self::Unauthorized { at, is_login: true, .. } if at.user.is_some())
    }

    /// Returns the answer that the error is about, where there was one.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Unauthorized { answer, .. }
            | Self::Forbidden { answer, .. }
            | Self::NotFound { answer, .. }
            | Self::TooLarge { answer, .. }
            | Self::RateLimited { answer, .. }
            | Self::Unavailable { answer, .. }
            | Self::Rejected { answer, .. } => Some(answer),
            _ => None,
        }
    }
}

/// A request, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The method: `PUT`.
    pub method: String,
    /// The URL without its query, in which storage services put their signatures.
    pub url: String,
    /// The repository that the request was about; empty for requests about the registry as a whole.
    pub repository: String,
    /// The proxy that the request goes through and the variable that names it, without user and
    /// password.
    pub proxy: Option<String>,
    /// The user whose credentials were sent, if the request was refused with them.
    pub user: Option<String>,
}

impl Place {
    pub(crate) fn new(method: &str, url: &Url, repository: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: requests::shown(url),
            repository: repository.to_owned(),
            proxy: None,
            user: None,
        }
    }

    /// Returns the place with the proxy that a request to `url` goes through.
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

fn unauthorized(at: &Place) -> String {
    match &at.user {
        Some(user) => format!("the user `{user}` was rejected"),
        None => "no credentials were sent".to_owned(),
    }
}

fn forbidden(at: &Place) -> String {
    match &at.user {
        Some(user) => format!("not allowed for the user `{user}`"),
        None => "not allowed without credentials".to_owned(),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)?;
        match &self.proxy {
            Some(proxy) => write!(f, " through proxy {proxy}"),
            None => Ok(()),
        }
    }
}

/// An answer that is an error, as far as it says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The first error code of the body: `DENIED`.
    pub code: Option<String>,
    /// What the body says, shortened and without control characters.
    pub message: Option<String>,
}

impl fmt::Display for Answer {
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
    fn a_place_shows_neither_query_nor_userinfo() {
        let url = Url::parse("https://me:secret@blobs.example.com/u/1?X-Signature=abc#x").unwrap();
        let place = Place::new("PUT", &url, "mke/calico/node");
        assert_eq!(place.to_string(), "PUT https://blobs.example.com/u/1");
        assert!(!format!("{place:?}").contains("secret"));
        assert!(!format!("{place:?}").contains("abc"));
    }

    #[test]
    fn answers_read_like_the_registry_meant_them() {
        let answer = |status, code: Option<&str>, message: Option<&str>| Answer {
            status,
            code: code.map(str::to_owned),
            message: message.map(str::to_owned),
        };
        for (answer, text) in [
            (
                answer(403, Some("DENIED"), Some("quota exceeded")),
                "403 Forbidden (DENIED: quota exceeded)",
            ),
            (
                answer(503, None, Some("try later")),
                "503 Service Unavailable (try later)",
            ),
            (
                answer(404, Some("NAME_UNKNOWN"), None),
                "404 Not Found (NAME_UNKNOWN)",
            ),
            (answer(599, None, None), "599"),
        ] {
            assert_eq!(answer.to_string(), text);
        }
    }
}
