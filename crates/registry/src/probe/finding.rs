//! A finding of a probe: an aspect, a verdict, and a fault, for which `xtask` has advice.

use std::time::Duration;

use serde::Serialize;

use crate::{Error, RequestInfo};

/// What is tested, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// Whether the host name has an address.
    Name,
    /// Whether the port accepts connections.
    Connection,
    /// The server's certificate, as nodes see it.
    Certificate,
    /// Whether the server is a registry.
    Api,
    /// The product, as far as headers show it.
    Product,
    /// The difference between the clocks of the registry and of this machine.
    Clock,
    /// Whether the account can log in.
    Login,
    /// Whether repositories may be as deep as a release requires.
    Path,
    /// An upload of a blob in one request.
    Upload,
    /// An upload of a blob in several requests.
    Chunks,
    /// The maximum size of one request.
    BodyLimit,
    /// A mount of a blob from a different repository.
    Mount,
    /// An image.
    Image,
    /// An index of several platforms.
    Index,
    /// A Helm chart.
    Chart,
    /// Any other OCI artifact.
    Artifact,
    /// A lookup of a tag by `HEAD`.
    Head,
    /// The host that serves blobs.
    Storage,
    /// A download of everything with the credentials of nodes.
    Pull,
    /// The removal of the probe.
    Delete,
}

impl Aspect {
    /// All aspects, in order.
    pub const ALL: [Self; 20] = [
        Self::Name,
        Self::Connection,
        Self::Certificate,
        Self::Api,
        Self::Product,
        Self::Clock,
        Self::Login,
        Self::Path,
        Self::Upload,
        Self::Chunks,
        Self::BodyLimit,
        Self::Mount,
        Self::Image,
        Self::Index,
        Self::Chart,
        Self::Artifact,
        Self::Head,
        Self::Storage,
        Self::Pull,
        Self::Delete,
    ];

    /// Returns the name in kebab case: `body-limit`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Connection => "connection",
            Self::Certificate => "certificate",
            Self::Api => "api",
            Self::Product => "product",
            Self::Clock => "clock",
            Self::Login => "login",
            Self::Path => "path",
            Self::Upload => "upload",
            Self::Chunks => "chunks",
            Self::BodyLimit => "body-limit",
            Self::Mount => "mount",
            Self::Image => "image",
            Self::Index => "index",
            Self::Chart => "chart",
            Self::Artifact => "artifact",
            Self::Head => "head",
            Self::Storage => "storage",
            Self::Pull => "pull",
            Self::Delete => "delete",
        }
    }
}

/// The result of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No problem.
    Ok,
    /// An installation works anyway.
    Warning,
    /// An installation would fail.
    Problem,
    /// Not tested, because of a problem before.
    Skipped,
}

/// A problem. There is a variant for each problem that has a fix of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The host name has no address.
    NameNotResolved,
    /// The host name resolves to loopback, so it means a different machine on each node.
    NameOfLoopback,
    /// The connection fails or is lost.
    NotReached,
    /// The configured proxy cannot be used, or does not connect.
    Proxy,
    /// The server speaks plain HTTP, but HTTPS is expected.
    PlainHttp,
    /// The server speaks TLS, but plain HTTP is expected.
    #[serde(rename = "wants-tls")]
    RequiresTls,
    /// TLS fails for a reason other than the certificate.
    Tls,
    /// The certificate is from a CA that the system does not trust, and none is configured.
    UnknownAuthority,
    /// The certificate is not from the configured CA.
    OtherAuthority,
    /// The server's own certificate is a CA certificate, and a different one is configured.
    AuthorityAsServer,
    /// A certificate has a signature algorithm that Airlock does not support.
    UnsupportedSignature,
    /// A certificate has an RSA key of less than 2048 bits.
    WeakKey,
    /// The certificate is for other names.
    WrongName,
    /// The certificate has expired.
    Expired,
    /// The certificate will expire soon.
    ExpiresSoon,
    /// The certificate is not valid yet.
    NotYetValid,
    /// An HTML page responds in place of the API.
    LoginPage,
    /// The API redirects to a different host.
    Redirected,
    /// The server is not a registry.
    NotARegistry,
    /// The clocks differ too much.
    ClockOff,
    /// The registry rejects the credentials.
    LoginRefused,
    /// The registry requires credentials, and none are configured.
    NoCredentials,
    /// The registry requires an authentication scheme that Airlock does not support.
    UnsupportedLogin,
    /// The token server fails.
    TokenService,
    /// The registry refuses repositories as deep as required.
    DeepPath,
    /// The account may not push.
    NotAllowed,
    /// The project does not exist.
    NoProject,
    /// The registry is read-only.
    ReadOnly,
    /// The project's quota is exceeded.
    Quota,
    /// The registry's disk is full.
    DiskFull,
    /// The registry limits the size of a request below what is required.
    BodyLimit,
    /// Uploads in several requests are refused.
    NoChunks,
    /// The registry refuses mounts, or opens an upload instead.
    NoMount,
    /// The registry refuses a kind of manifest.
    ManifestRefused,
    /// The tag exists and is immutable.
    ImmutableTag,
    /// A policy forbids the image.
    Blocked,
    /// The registry refuses lookups by `HEAD`.
    HeadRefused,
    /// A different host serves the blobs, so nodes must reach it too.
    ServedElsewhere,
    /// The registry names a host or scheme for uploads that cannot be used.
    WrongLocation,
    /// A different host serves the blobs, but the cluster's chart client trusts only the registry's
    /// CA.
    RedirectedWithCa,
    /// Nodes need credentials.
    NotAnonymous,
    /// The registry rejects the credentials of the nodes' secret.
    PullRefused,
    /// Pushed content is missing or different when it is read.
    NotServed,
    /// The registry does not remove what was pushed.
    NoDelete,
    /// The registry is so slow that a release would take very long.
    Slow,
    /// The registry limits the request rate.
    RateLimited,
    /// The registry or its storage fails.
    Unavailable,
    /// Any other problem.
    Other,
}

/// Texts of Harbor and Artifactory for an image that a policy forbids.
const POLICY: [&str; 3] = ["policyviolation", "vulnerab", "xray"];

/// Texts of Harbor, ECR, Google, Quay and Nexus for an immutable tag.
const IMMUTABLE: [&str; 6] = [
    "immutable",
    "overwrit",
    "redeploy",
    "already exist",
    "alreadyexist",
    "not allow updating",
];

/// Texts of versions of distribution, and of the embedded registry, for a full disk.
const DISK_FULL: [&str; 2] = ["no space left on device", "\"err\":28"];

/// The result of testing one aspect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The tested aspect.
    pub aspect: Aspect,
    /// The result.
    pub verdict: Verdict,
    /// The problem, if there is one.
    pub fault: Option<Fault>,
    /// An observation, as a sentence without a full stop.
    pub text: String,
}

/// The findings so far, at most one per aspect.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Fault {
    /// Returns the fault of a failed login: rejected credentials, or none to send.
    pub fn of_login(error: &Error) -> Self {
        match error.place().is_some_and(|place| place.user.is_some()) {
            true => Self::LoginRefused,
            false => Self::NoCredentials,
        }
    }

    /// Returns the fault that an error means.
    pub fn of(error: &Error) -> Self {
        let response = error.response();
        let message = response
            .and_then(|response| response.message.as_deref())
            .unwrap_or_default()
            .to_lowercase();
        // The second text is Harbor's. Its own tests recognise an exceeded quota by it
        // (goharbor/harbor, tests/robot-cases).
        if message.contains("quota")
            || message.contains("exceed the configured upper limit")
            || response.is_some_and(|response| response.status == 507)
        {
            return Self::Quota;
        }
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if says(&DISK_FULL) {
            return Self::DiskFull;
        }
        if says(&["read-only", "read only"]) {
            return Self::ReadOnly;
        }
        if response.is_some_and(|response| response.status == 451) || says(&POLICY) {
            return Self::Blocked;
        }
        let is_session = |at: &RequestInfo| {
            matches!(at.method.as_str(), "PATCH" | "PUT") && !at.url.contains("/manifests/")
        };
        let is_put = |at: &RequestInfo| at.method == "PUT" && at.url.contains("/manifests/");
        if error.place().is_some_and(is_put) && says(&IMMUTABLE) {
            return Self::ImmutableTag;
        }
        let of_token = error.place().is_some_and(|place| place.is_for_token);
        let through_proxy = error.place().is_some_and(|place| place.proxy.is_some());
        match error {
            Error::Proxy { .. } | Error::ProxyFailed { .. } => Self::Proxy,
            Error::ConnectionRefused { .. }
            | Error::ConnectionLost { .. }
            | Error::NameNotResolved { .. }
            | Error::TimedOut { .. }
                if through_proxy =>
            {
                Self::Proxy
            }
            Error::ConnectionRefused { .. }
            | Error::ConnectionLost { .. }
            | Error::NameNotResolved { .. }
            | Error::Silent { .. }
            | Error::TimedOut { .. }
            | Error::NotFound { .. }
            | Error::Unavailable { .. }
            | Error::Protocol { .. }
                if of_token =>
            {
                Self::TokenService
            }
            Error::Unauthorized { .. } | Error::Forbidden { .. } | Error::UntrustedRealm { .. } => {
                Self::NotAllowed
            }
            // The session that the registry opened is not where its `Location` points.
            Error::NotFound { at, .. } if is_session(at) => Self::WrongLocation,
            Error::NotFound { .. } => Self::NoProject,
            Error::TooLarge { .. } => Self::BodyLimit,
            Error::RateLimited { .. } => Self::RateLimited,
            Error::Unavailable { .. } => Self::Unavailable,
            // Distribution in read-only mode has no handlers for writes.
            Error::Rejected { response, .. } if response.status == 405 => Self::ReadOnly,
            Error::NameNotResolved { .. } => Self::NameNotResolved,
            Error::ConnectionRefused { .. }
            | Error::ConnectionLost { .. }
            | Error::Silent { .. } => Self::NotReached,
            Error::TimedOut { .. } | Error::Stalled { .. } => Self::Slow,
            Error::PlainHttpServer { .. } => Self::PlainHttp,
            Error::HttpsServer { .. } => Self::RequiresTls,
            Error::UnknownAuthority { .. } | Error::NoAuthorities { .. } => Self::UnknownAuthority,
            Error::AuthorityAsServer { .. } => Self::AuthorityAsServer,
            Error::UnsupportedSignature { .. } => Self::UnsupportedSignature,
            Error::WeakKey { .. } => Self::WeakKey,
            Error::UnsupportedLogin { .. } => Self::UnsupportedLogin,
            Error::WrongHostName { .. } => Self::WrongName,
            Error::CertificateExpired { .. } => Self::Expired,
            Error::CertificateNotYetValid { .. } => Self::NotYetValid,
            Error::Tls { .. } => Self::Tls,
            Error::NotARegistry { .. } => Self::NotARegistry,
            Error::Location { .. } => Self::WrongLocation,
            Error::Elsewhere { .. } => Self::ServedElsewhere,
            Error::DigestMismatch { .. } | Error::NodeContent { .. } => Self::NotServed,
            _ => Self::Other,
        }
    }
}

impl Findings {
    pub(super) fn fine(&mut self, aspect: Aspect, text: impl Into<String>) {
        self.add(aspect, Verdict::Ok, None, text.into());
    }

    pub(super) fn warn(&mut self, aspect: Aspect, fault: Fault, text: impl Into<String>) {
        self.add(aspect, Verdict::Warning, Some(fault), text.into());
    }

    pub(super) fn wrong(&mut self, aspect: Aspect, fault: Fault, text: impl Into<String>) {
        self.add(aspect, Verdict::Problem, Some(fault), text.into());
    }

    pub(super) fn failed(&mut self, aspect: Aspect, error: &Error) {
        self.wrong(aspect, Fault::of(error), requests::chain(error));
    }

    pub(super) fn skip(&mut self, aspect: Aspect, text: impl Into<String>) {
        self.add(aspect, Verdict::Skipped, None, text.into());
    }

    pub(super) fn has(&self, aspect: Aspect) -> bool {
        self.0.iter().any(|finding| finding.aspect == aspect)
    }

    pub(super) fn is_ok(&self, aspect: Aspect) -> bool {
        let found = self.0.iter().find(|finding| finding.aspect == aspect);
        found.is_some_and(|finding| finding.verdict == Verdict::Ok)
    }

    /// Adds a finding for the first aspect without one: it took too long.
    pub(super) fn out_of_time(&mut self, after: Duration) {
        let next = Aspect::ALL.into_iter().find(|aspect| !self.has(*aspect));
        if let Some(aspect) = next {
            let text = format!("not answered when {} s were over", after.as_secs());
            self.wrong(aspect, Fault::Slow, text);
        }
    }

    /// Returns a finding for each aspect, in order.
    pub(super) fn complete(mut self) -> Vec<Finding> {
        for aspect in Aspect::ALL {
            if !self.has(aspect) {
                self.skip(aspect, "not tried, because of a problem above");
            }
        }
        self.0.sort_by_key(|finding| finding.aspect);
        self.0
    }

    /// Adds a finding, unless the aspect already has one.
    fn add(&mut self, aspect: Aspect, verdict: Verdict, fault: Option<Fault>, text: String) {
        if !self.has(aspect) {
            self.0.push(Finding {
                aspect,
                verdict,
                fault,
                text,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorResponse;

    #[test]
    fn a_token_server_that_is_not_reached_is_not_the_registry() {
        let url = url::Url::parse("https://tokens.example.com/token").unwrap();
        let at = || RequestInfo::new("GET", &url, "");
        let refused = |at| Error::ConnectionRefused { at: Box::new(at) };
        assert_eq!(Fault::of(&refused(at())), Fault::NotReached);
        assert_eq!(Fault::of(&refused(at().for_token())), Fault::TokenService);
    }

    #[test]
    fn an_upload_that_is_not_found_is_not_a_missing_project() {
        for (method, path, expected) in [
            ("POST", "/v2/a/blobs/uploads/", Fault::NoProject),
            ("PATCH", "/v2/a/blobs/uploads/1", Fault::WrongLocation),
            ("PUT", "/elsewhere/1", Fault::WrongLocation),
            ("PUT", "/v2/a/manifests/v1", Fault::NoProject),
        ] {
            let url = url::Url::parse("https://registry.example.com").unwrap();
            let url = url.join(path).unwrap();
            let error = Error::NotFound {
                at: Box::new(RequestInfo::new(method, &url, "a")),
                response: Box::new(ErrorResponse {
                    status: 404,
                    code: None,
                    message: None,
                }),
            };
            assert_eq!(Fault::of(&error), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_full_disk_is_distinguished_from_read_only_mode() {
        let place = || {
            let url = url::Url::parse("https://registry.example.com/v2/a/blobs/uploads/1").unwrap();
            RequestInfo::new("PUT", &url, "a")
        };
        for (status, body, expected) in [
            // docker-registry 2.8.2, registry:3, earlier ones and the embedded registry.
            (
                500,
                r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":"write /var/data: no space left on device"}]}"#,
                Fault::DiskFull,
            ),
            (
                500,
                r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"driver":"filesystem","detail":"mkdir /var: no space left on device"}}]}"#,
                Fault::DiskFull,
            ),
            (
                503,
                r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"mkdir","Path":"/var","Err":28}}}]}"#,
                Fault::DiskFull,
            ),
            (
                405,
                r#"{"errors":[{"code":"UNSUPPORTED","message":"io error: No space left on device (os error 28)"}]}"#,
                Fault::DiskFull,
            ),
            (
                405,
                r#"{"errors":[{"code":"UNSUPPORTED","message":"the operation is unsupported"}]}"#,
                Fault::ReadOnly,
            ),
            (500, "", Fault::Unavailable),
        ] {
            let status = reqwest::StatusCode::from_u16(status).unwrap();
            let (headers, body) = (reqwest::header::HeaderMap::new(), body.as_bytes());
            let failure = crate::classify::status(status, &headers, body, place(), 7);
            assert_eq!(Fault::of(&failure.error), expected, "{}", failure.error);
        }
    }

    #[test]
    fn each_aspect_has_one_finding_and_time_that_ran_out_is_a_problem() {
        let mut findings = Findings::default();
        findings.fine(Aspect::Name, "first");
        findings.wrong(Aspect::Name, Fault::Other, "second");
        findings.fine(Aspect::Api, "third");
        findings.out_of_time(Duration::from_secs(42));
        let found = findings.complete();
        let aspects: Vec<Aspect> = found.iter().map(|finding| finding.aspect).collect();
        assert_eq!(aspects, Aspect::ALL);
        let verdicts: Vec<Verdict> = found.iter().map(|finding| finding.verdict).collect();
        assert_eq!(
            verdicts[..4],
            [Verdict::Ok, Verdict::Problem, Verdict::Skipped, Verdict::Ok]
        );
        assert_eq!(found[1].fault, Some(Fault::Slow));
    }
}
