//! Words the cause of a failed request: the HTTP library's chain of errors becomes one line.
//!
//! Most of the library's errors have no types. Their texts are compared here and never shown.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError};

use crate::{causes, find};

/// Prefix of the errors of the system's resolver.
const RESOLVER: &str = "failed to lookup address information: ";

/// Prefixes of the HTTP library's error texts, and our wording. The first row that matches an error
/// or one of its causes applies.
const MEANINGS: [(&str, &str); 18] = [
    (
        "tunnel error: proxy authorization required",
        "the proxy requires credentials",
    ),
    (
        "tunnel error: failed to create underlying connection",
        "no connection to the proxy",
    ),
    ("tunnel error", "the proxy refuses the connection"),
    (
        "SOCKS error: failed to create underlying connection",
        "no connection to the proxy",
    ),
    ("SOCKS error", "the proxy refuses the connection"),
    ("invalid HTTP", "the response is not valid HTTP"),
    ("invalid content-length", "the response is not valid HTTP"),
    (
        "invalid transfer-encoding",
        "the response is not valid HTTP",
    ),
    (
        "unexpected transfer-encoding",
        "the response is not valid HTTP",
    ),
    (
        "received unexpected message from connection",
        "the response is not valid HTTP",
    ),
    (
        "message head is too large",
        "the headers of the response are too large",
    ),
    (
        "connection closed before message completed",
        "the server closed the connection before it responded",
    ),
    (
        "end of file before message length reached",
        "the server closed the connection before the response was complete",
    ),
    (
        "http2 error",
        "the server closed the connection by an error of HTTP/2",
    ),
    (
        "error writing a body to connection",
        "the server closed the connection during the request",
    ),
    (
        "error reading a body from connection",
        "the server closed the connection before the response was complete",
    ),
    ("builder error", "the request or the client is not valid"),
    (
        "error decoding response body",
        "the response cannot be decoded",
    ),
];

/// The cause of a failed request in one line, without the wording of a library.
#[derive(Debug)]
pub struct Cause {
    text: Cow<'static, str>,
    tls: Option<rustls::Error>,
}

impl Cause {
    /// Returns the cause of `error`, the error of a failed request.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let tls = find::<rustls::Error>(error).cloned();
        let text = match &tls {
            Some(tls) => in_tls(tls),
            None => of_system(error)
                .or_else(|| of_library(error).map(Cow::Borrowed))
                .unwrap_or(Cow::Borrowed("the connection failed")),
        };
        Self { text, tls }
    }

    /// Returns the error of the TLS library, if TLS was the cause.
    pub fn tls(&self) -> Option<&rustls::Error> {
        self.tls.as_ref()
    }
}

impl From<reqwest::Error> for Cause {
    fn from(error: reqwest::Error) -> Self {
        Self::of(&error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {}

/// Returns the text of the innermost [`io::Error`], if it is about the connection.
fn of_system(error: &(dyn Error + 'static)) -> Option<Cow<'static, str>> {
    let errors = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    let error = errors.last()?;
    let text = error.to_string();
    if let Some(resolver) = text.strip_prefix(RESOLVER) {
        return Some(lower(resolver).into());
    }
    if let Some(code) = error.raw_os_error() {
        let text = text.trim_end_matches(&format!(" (os error {code})"));
        return Some(lower(text).into());
    }
    Some(Cow::Borrowed(match error.kind() {
        ErrorKind::TimedOut => "no response in time",
        ErrorKind::UnexpectedEof => "the server closed the connection",
        ErrorKind::NotConnected => "no address of the host can be reached",
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset by peer",
        ErrorKind::BrokenPipe => "broken pipe",
        _ => return None,
    }))
}

fn of_library(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let is_timeout = |error: &reqwest::Error| error.is_timeout();
    if find(error).is_some_and(is_timeout) {
        return Some("no response in time");
    }
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    let says = |start: &str| texts.iter().any(|text| text.starts_with(start));
    let (_, meaning) = MEANINGS.iter().find(|(start, _)| says(start))?;
    Some(meaning)
}

fn in_tls(error: &rustls::Error) -> Cow<'static, str> {
    use rustls::Error as Tls;
    Cow::Borrowed(match error {
        Tls::InvalidCertificate(error) => return of_certificate(error),
        Tls::InvalidMessage(_) => "the server does not speak TLS",
        Tls::HandshakeNotComplete => "the server does not answer in TLS",
        Tls::PeerIncompatible(_) => {
            "the server supports no version or cipher of TLS that Airlock has"
        }
        Tls::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion,
        ) => {
            "the server refuses TLS with Airlock: it supports no version or cipher that Airlock has, or requires a client certificate"
        }
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server requires a client certificate"
        }
        Tls::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not know the host name"
        }
        Tls::AlertReceived(alert) => {
            return format!("the server sent the TLS alert {alert:?}").into();
        }
        // The text of a verifier in `network`.
        Tls::Other(error) => return error.0.to_string().into(),
        Tls::NoCertificatesPresented => "the server shows no certificate",
        other => return lower(&other.to_string()).into(),
    })
}

fn of_certificate(error: &CertificateError) -> Cow<'static, str> {
    use CertificateError as Certificate;
    Cow::Borrowed(match error {
        Certificate::UnknownIssuer | Certificate::BadSignature => {
            "the server's certificate is from an unknown authority"
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "the server's certificate is for a different name"
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            "the server's certificate has expired"
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet"
        }
        Certificate::Revoked => "the server's certificate is revoked",
        Certificate::BadEncoding => "the server's certificate cannot be read",
        Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers"
        }
        Certificate::UnsupportedSignatureAlgorithmContext { .. }
        | Certificate::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the server's certificate has a signature that Airlock cannot verify"
        }
        // The text of a verifier in `network`.
        Certificate::Other(error) => return error.0.to_string().into(),
        _ => "the server's certificate is not valid",
    })
}

/// Returns a sentence with a lower-case first letter. Abbreviations keep their capitals.
fn lower(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    /// An error of a library, with its cause.
    #[derive(Debug)]
    struct Outer(&'static str, Option<Box<dyn Error + Send + Sync>>);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1
                .as_deref()
                .map(|cause| cause as &(dyn Error + 'static))
        }
    }

    fn request(connector: &'static str, cause: Option<Box<dyn Error + Send + Sync>>) -> Outer {
        let connector = Outer(connector, cause);
        let client = Outer("client error (Connect)", Some(Box::new(connector)));
        Outer("error sending request", Some(Box::new(client)))
    }

    #[test]
    fn an_error_chain_becomes_one_cause() {
        let system = |code| Some(io::Error::from_raw_os_error(code).into());
        let said = |text: &'static str| Some(io::Error::other(text).into());
        for (connector, cause, expected) in [
            ("tcp connect error", system(111), "connection refused"),
            ("tcp connect error", system(113), "no route to host"),
            ("tcp connect error", system(104), "connection reset by peer"),
            (
                "tcp connect error",
                Some(io::Error::from(ErrorKind::TimedOut).into()),
                "no response in time",
            ),
            (
                "dns error",
                said("failed to lookup address information: Name or service not known"),
                "name or service not known",
            ),
            (
                "dns error",
                said("failed to lookup address information: Temporary failure in name resolution"),
                "temporary failure in name resolution",
            ),
            (
                "tunnel error: unsuccessful",
                None,
                "the proxy refuses the connection",
            ),
            (
                "tunnel error: failed to create underlying connection",
                system(111),
                "connection refused",
            ),
            (
                "SOCKS error: host unreachable",
                None,
                "the proxy refuses the connection",
            ),
            (
                "connection closed before message completed",
                None,
                "the server closed the connection before it responded",
            ),
            (
                "invalid HTTP version parsed",
                None,
                "the response is not valid HTTP",
            ),
            (
                "error reading a body from connection",
                said("end of file before message length reached"),
                "the server closed the connection before the response was complete",
            ),
            ("a text of a later version", None, "the connection failed"),
        ] {
            let cause = Cause::of(&request(connector, cause));
            assert_eq!(cause.to_string(), expected, "{connector}");
            assert!(cause.source().is_none() && cause.tls().is_none());
        }
    }

    #[test]
    fn tls_errors_have_our_wording() {
        use CertificateError as Certificate;
        for (error, expected) in [
            (
                Certificate::UnknownIssuer.into(),
                "the server's certificate is from an unknown authority",
            ),
            (
                Certificate::Expired.into(),
                "the server's certificate has expired",
            ),
            (
                Certificate::NotValidForName.into(),
                "the server's certificate is for a different name",
            ),
            (
                Certificate::Other(OtherError(Arc::new(Outer("it is ours", None)))).into(),
                "it is ours",
            ),
            (
                rustls::InvalidMessage::InvalidContentType.into(),
                "the server does not speak TLS",
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::HandshakeFailure),
                "the server refuses TLS with Airlock: it supports no version or cipher that Airlock has, or requires a client certificate",
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::AccessDenied),
                "the server sent the TLS alert AccessDenied",
            ),
        ] {
            let error: rustls::Error = error;
            let wrapped = io::Error::other(error);
            let cause = Cause::of(&request("tcp connect error", Some(wrapped.into())));
            assert_eq!(cause.to_string(), expected);
            assert!(cause.tls().is_some());
        }
    }
}
