//! A finding of a probe: an aspect, a verdict, and a fault, for which `xtask` has advice.

use std::time::Duration;

use serde::Serialize;

use crate::violation::Violation;
use crate::{Error, Place};

/// What is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// The host's name has an address.
    Name,
    /// Something answers there.
    Connection,
    /// Its certificate, as a node sees it.
    Certificate,
    /// It is a registry.
    Api,
    /// Which one it may be.
    Product,
    /// Its clock, and this machine's.
    Clock,
    /// It lets the account in.
    Login,
    /// It takes repositories as deep as a release needs.
    Path,
    /// A blob in one request.
    Upload,
    /// A blob in several requests.
    Chunks,
    /// How much one request may carry.
    BodyLimit,
    /// A blob taken over from another repository.
    Mount,
    /// An image.
    Image,
    /// An index of several platforms.
    Index,
    /// A Helm chart.
    Chart,
    /// Any other OCI artifact.
    Artifact,
    /// A tag is looked up by HEAD.
    Head,
    /// The host that blobs are served from.
    Storage,
    /// Everything is read as a node does.
    Pull,
    /// What was pushed can be removed.
    Delete,
}

impl Aspect {
    /// All of them, in their order.
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

    /// Returns its name, in words with hyphens between them.
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

/// What came of an aspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// An installation gets along with it.
    Warning,
    /// An installation would fail by it.
    Problem,
    /// Not looked at, because of what was found before.
    Skipped,
}

/// What is wrong, as far as other things would be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The name has no address.
    NameNotResolved,
    /// The name represents this machine's loopback here, and so for something else on a node.
    NameOfLoopback,
    /// Nothing answers, or the connection breaks.
    NotReached,
    /// The proxy that a variable names cannot be used, or does not connect.
    Proxy,
    /// No TLS is spoken there.
    PlainHttp,
    /// TLS is wanted where plain HTTP was spoken.
    WantsTls,
    /// TLS fails for another reason than the certificate.
    Tls,
    /// The certificate is of an authority that this system does not know, and no other is named.
    UnknownAuthority,
    /// The certificate is not of the authority that is named.
    OtherAuthority,
    /// The server uses a CA certificate as its own, and a different one is named.
    AuthorityAsServer,
    /// The certificate has a signature that Airlock cannot verify.
    UnsupportedSignature,
    /// A certificate has an RSA key that is too short.
    WeakKey,
    /// The certificate is for other names.
    WrongName,
    /// The certificate has expired.
    Expired,
    /// The certificate will expire soon.
    ExpiresSoon,
    /// The certificate is not valid yet.
    NotYetValid,
    /// A page for browsers answers in place of the API.
    LoginPage,
    /// Callers are sent to another host.
    Redirected,
    /// It is not a registry.
    NotARegistry,
    /// The two clocks are far apart.
    ClockOff,
    /// The account is not let in.
    LoginRefused,
    /// The registry requires credentials, and there are none.
    NoCredentials,
    /// The registry asks for a login by schemes that Airlock does not have.
    UnsupportedLogin,
    /// The token server fails.
    TokenService,
    /// Repositories may not be as deep as needed.
    DeepPath,
    /// The account may not push.
    NotAllowed,
    /// The project is missing.
    NoProject,
    /// Nothing is taken at all.
    ReadOnly,
    /// There is no room left for this project.
    Quota,
    /// The registry's disk is full.
    DiskFull,
    /// One request may not carry as much as is wanted.
    BodyLimit,
    /// Uploads in several requests are refused.
    NoChunks,
    /// Mounts are refused, or answered by an upload.
    NoMount,
    /// A kind of manifest is refused.
    ManifestRefused,
    /// The tag exists and may not be changed.
    ImmutableTag,
    /// A policy forbids the image.
    Blocked,
    /// What was pushed cannot be looked up by HEAD.
    HeadRefused,
    /// Blobs are served by another host, which nodes have to reach as well.
    ServedElsewhere,
    /// It names its own uploads by a host or scheme that cannot be used.
    WrongLocation,
    /// Blobs are served by another host, and charts are pulled with a CA for the registry alone.
    RedirectedWithCa,
    /// Nodes are not let in without credentials.
    NotAnonymous,
    /// Nodes are not let in with the credentials of their secret.
    PullRefused,
    /// What was pushed is not served, or is served as something else.
    NotServed,
    /// What was pushed cannot be removed.
    NoDelete,
    /// It is so slow that a release would take very long.
    Slow,
    /// It asks to be left alone.
    RateLimited,
    /// It fails by itself.
    Unavailable,
    /// Anything else.
    Other,
}

/// How Harbor and Artifactory say that a policy forbids an image.
const POLICY: [&str; 3] = ["policyviolation", "vulnerab", "xray"];

/// How Harbor, ECR, Google, Quay and Nexus say that a tag may not be changed.
const IMMUTABLE: [&str; 6] = [
    "immutable",
    "overwrit",
    "redeploy",
    "already exist",
    "alreadyexist",
    "not allow updating",
];

/// How versions of distribution, and the embedded registry, say that their disk is full.
const DISK_FULL: [&str; 2] = ["no space left on device", "\"err\":28"];

/// What was found of one aspect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub aspect: Aspect,
    /// What came of it.
    pub verdict: Verdict,
    /// What is wrong, if something is.
    pub fault: Option<Fault>,
    /// What was seen, in a sentence without its end.
    pub text: String,
}

/// The findings so far, at most one of an aspect.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Fault {
    /// Returns the fault of a login that failed: it was refused, or there were no credentials to
    /// send.
    pub fn of_login(error: &Error) -> Self {
        match error.place().is_some_and(|place| place.user.is_some()) {
            true => Self::LoginRefused,
            false => Self::NoCredentials,
        }
    }

    /// Returns the fault that a registry's error shows.
    pub fn of(error: &Error) -> Self {
        let answer = error.answer();
        let message = answer
            .and_then(|answer| answer.message.as_deref())
            .unwrap_or_default()
            .to_lowercase();
        // The second is in Harbor's words, by which its own tests recognise a quota
        // (goharbor/harbor, tests/robot-cases).
        if message.contains("quota")
            || message.contains("exceed the configured upper limit")
            || answer.is_some_and(|answer| answer.status == 507)
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
        if answer.is_some_and(|answer| answer.status == 451) || says(&POLICY) {
            return Self::Blocked;
        }
        let is_put = |at: &Place| at.method == "PUT" && at.url.contains("/manifests/");
        if error.place().is_some_and(is_put) && says(&IMMUTABLE) {
            return Self::ImmutableTag;
        }
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
            Error::Unauthorized { .. } | Error::Forbidden { .. } | Error::UntrustedRealm { .. } => {
                Self::NotAllowed
            }
            Error::NotFound { .. } => Self::NoProject,
            Error::TooLarge { .. } => Self::BodyLimit,
            Error::RateLimited { .. } => Self::RateLimited,
            Error::Unavailable { .. } => Self::Unavailable,
            // Distribution in its read-only mode has no handler for what would change something.
            Error::Rejected { answer, .. } if answer.status == 405 => Self::ReadOnly,
            Error::NameNotResolved { .. } => Self::NameNotResolved,
            Error::ConnectionRefused { .. }
            | Error::ConnectionLost { .. }
            | Error::Silent { .. } => Self::NotReached,
            Error::TimedOut { .. } | Error::Stalled { .. } => Self::Slow,
            Error::PlainHttpServer { .. } => Self::PlainHttp,
            Error::HttpsServer { .. } => Self::WantsTls,
            Error::UnknownAuthority { .. } | Error::NoAuthorities { .. } => Self::UnknownAuthority,
            Error::AuthorityAsServer { .. } => Self::AuthorityAsServer,
            Error::UnsupportedSignature { .. } => Self::UnsupportedSignature,
            Error::WeakKey { .. } => Self::WeakKey,
            Error::UnsupportedLogin { .. } => Self::UnsupportedLogin,
            Error::Protocol {
                violation: Violation::TokenRedirect { .. },
                ..
            } => Self::TokenService,
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

    /// Notes that the first aspect without a finding took too long.
    pub(super) fn out_of_time(&mut self, after: Duration) {
        let next = Aspect::ALL.into_iter().find(|aspect| !self.has(*aspect));
        if let Some(aspect) = next {
            let text = format!("not answered when {} s were over", after.as_secs());
            self.wrong(aspect, Fault::Slow, text);
        }
    }

    /// Returns a finding for each aspect, in their order.
    pub(super) fn complete(mut self) -> Vec<Finding> {
        for aspect in Aspect::ALL {
            if !self.has(aspect) {
                self.skip(aspect, "not tried, because of a problem above");
            }
        }
        self.0.sort_by_key(|finding| finding.aspect);
        self.0
    }

    /// Adds a finding; the first one of an aspect holds.
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

    #[test]
    fn a_full_disk_is_distinguished_from_read_only_mode() {
        let place = || {
            let url = url::Url::parse("https://registry.example.com/v2/a/blobs/uploads/1").unwrap();
            Place::new("PUT", &url, "a")
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
