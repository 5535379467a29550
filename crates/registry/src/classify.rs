//! Maps failed connections and statuses to [`Error`]s, and decides whether they are transient.
//!
//! reqwest's own error says little. The cause is in its chain of sources: an error of the TLS
//! library or of the system.

use std::io;
use std::time::Duration;

use network::{LeafIsAuthority, NoAuthorities, WeakKey};
use oci_client::errors::OciEnvelope;
use requests::{Cause, find, retry_after};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use rustls::{AlertDescription, CertificateError};

use crate::retry::{Again, Failure};
use crate::{Error, ErrorResponse, RequestInfo};

/// Maximum length of a registry's error message in characters.
const LONGEST_MESSAGE: usize = 300;

/// Returns the failure of a request without a response.
pub(crate) fn connection(
    error: &reqwest::Error,
    at: RequestInfo,
    connect_timeout: Duration,
) -> Failure {
    let at = Box::new(at);
    let source = Cause::of(error);
    if let Some(tls) = source.tls() {
        return tls_failure(&tls.clone(), source, at);
    }
    if error.is_builder() {
        return Failure::permanent(Error::ConnectionLost { at, source });
    }
    if error.is_timeout() {
        return Failure::transient(Error::TimedOut {
            at,
            after: connect_timeout,
        });
    }
    let kind = find::<io::Error>(error).map(io::Error::kind);
    if kind == Some(io::ErrorKind::ConnectionRefused) && error.is_connect() {
        return Failure::transient(Error::ConnectionRefused { at });
    }
    if error.is_dns() {
        return Failure::transient(Error::NameNotResolved { at, source });
    }
    Failure::transient(Error::ConnectionLost { at, source })
}

fn tls_failure(tls: &rustls::Error, source: Cause, at: Box<RequestInfo>) -> Failure {
    use CertificateError as Certificate;
    use rustls::Error as Tls;
    let error = match tls {
        Tls::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            Error::UnknownAuthority { at }
        }
        Tls::InvalidCertificate(Certificate::NotValidForName) => Error::WrongHostName {
            at,
            presented: Vec::new(),
        },
        Tls::InvalidCertificate(Certificate::NotValidForNameContext { presented, .. }) => {
            Error::WrongHostName {
                at,
                presented: presented.iter().map(|name| readable_name(name)).collect(),
            }
        }
        Tls::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            Error::CertificateExpired { at }
        }
        Tls::InvalidCertificate(
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. },
        ) => Error::CertificateNotYetValid { at },
        tls if network::is::<LeafIsAuthority>(tls) => Error::AuthorityAsServer { at },
        tls if network::is::<NoAuthorities>(tls) => Error::NoAuthorities { at },
        tls if network::is::<WeakKey>(tls) => Error::WeakKey { at },
        Tls::InvalidCertificate(
            Certificate::UnsupportedSignatureAlgorithmContext { .. }
            | Certificate::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => Error::UnsupportedSignature { at },
        Tls::InvalidMessage(_) => Error::PlainHttpServer { at },
        // Servers that are shutting down or overloaded send these alerts. Every other TLS error
        // comes from a setting of one of the two sides.
        Tls::AlertReceived(AlertDescription::InternalError | AlertDescription::UserCanceled) => {
            return Failure::transient(Error::ConnectionLost { at, source });
        }
        _ => Error::Tls { at, source },
    };
    Failure::permanent(error)
}

/// Unwraps the TLS library's notation of names: `DnsName("registry.example.com")`,
/// `IpAddress(127.0.0.1)`.
fn readable_name(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest);
    inner.trim_end_matches(')').trim_matches('"').to_owned()
}

/// Returns the failure of a response with an unexpected status. `size` is the size of the request's
/// body in bytes.
pub(crate) fn status(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    at: RequestInfo,
    size: u64,
) -> Failure {
    let at = Box::new(at);
    let text = redaction::text(body);
    if status == StatusCode::BAD_REQUEST && speaks_of_https(&text) {
        return Failure::permanent(Error::HttpsServer { at });
    }
    let response = Box::new(read_answer(status, headers, &text));
    let retry_after = retry_after(headers);
    match status {
        StatusCode::UNAUTHORIZED => Failure::permanent(Error::Unauthorized {
            at,
            response,
            is_login: false,
        }),
        StatusCode::FORBIDDEN => Failure::permanent(Error::Forbidden { at, response }),
        StatusCode::NOT_FOUND => Failure::permanent(Error::NotFound { at, response }),
        StatusCode::PAYLOAD_TOO_LARGE => Failure::permanent(Error::TooLarge { at, response, size }),
        StatusCode::TOO_MANY_REQUESTS => Failure {
            error: Error::RateLimited {
                at,
                response,
                retry_after,
                quota: requests::quota(headers),
            },
            again: Again::After(retry_after),
        },
        _ if requests::is_transient(status) => Failure {
            error: Error::Unavailable { at, response },
            again: Again::After(retry_after),
        },
        _ => Failure::permanent(Error::Rejected { at, response }),
    }
}

/// Returns whether a server reports plain HTTP on its TLS port, in the wording of Go or nginx.
fn speaks_of_https(text: &str) -> bool {
    text.contains("HTTP request to an HTTPS server")
        || text.contains("plain HTTP request was sent to HTTPS port")
}

fn read_answer(status: StatusCode, headers: &HeaderMap, text: &str) -> ErrorResponse {
    let (code, message) = match serde_json::from_str::<OciEnvelope>(text) {
        Ok(envelope) => {
            // Serializing the code returns the text that it was parsed from.
            let first = envelope.errors.into_iter().next();
            let code = first
                .as_ref()
                .and_then(|error| serde_json::to_value(&error.code).ok())
                .and_then(|code| code.as_str().map(str::to_owned));
            let message = first.map(|error| match (code.as_deref(), &error.detail) {
                // If distribution's storage fails, only the detail explains it.
                (Some("UNKNOWN"), serde_json::Value::String(detail)) => detail.clone(),
                (Some("UNKNOWN"), detail) if !detail.is_null() => detail.to_string(),
                _ => error.message,
            });
            (code, message)
        }
        Err(_) if is_html(headers) => (None, Some("an HTML page".to_owned())),
        Err(_) => (None, Some(text.to_owned())),
    };
    let tidy = |text: String| redaction::line(&text, LONGEST_MESSAGE);
    ErrorResponse {
        status: status.as_u16(),
        code: code.map(tidy).filter(|code| !code.is_empty()),
        message: message.map(tidy).filter(|m| !m.is_empty()),
    }
}

pub(crate) fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().starts_with("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> RequestInfo {
        let url = url::Url::parse("https://registry.example.com/v2/a/manifests/v1").unwrap();
        RequestInfo::new("PUT", &url, "a")
    }

    fn failure(code: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        status(
            StatusCode::from_u16(code).unwrap(),
            &map,
            body.as_bytes(),
            place(),
            7,
        )
    }

    #[test]
    fn each_status_maps_to_an_error() {
        let envelope = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}"#;
        let mut table = String::new();
        for (code, headers, body) in [
            (401, &[][..], ""),
            (
                403,
                &[],
                r#"{"errors":[{"code":"DENIED","message":"quota\nexceeded"}]}"#,
            ),
            (404, &[], r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
            (408, &[], ""),
            (413, &[("content-type", "text/html")], "<html>nginx</html>"),
            (429, &[("retry-after", "3")], ""),
            (400, &[], envelope),
            (
                400,
                &[],
                "Client sent an HTTP request to an HTTPS server.\n",
            ),
            (
                409,
                &[],
                r#"{"errors":[{"code":"ARTIFACT_LOCKED","message":"locked"}]}"#,
            ),
            (500, &[], "\u{1b}[31mred\u{1b}[0m"),
            (
                500,
                &[],
                r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"Op":"mkdir","Err":28}}]}"#,
            ),
            (501, &[], ""),
            (
                503,
                &[
                    ("retry-after", "Sun, 22 Nov 2026 10:00:30 GMT"),
                    ("date", "Sun, 22 Nov 2026 10:00:00 GMT"),
                ],
                "",
            ),
            (503, &[("retry-after", "Sun, 22 Nov 2026 10:00:30 GMT")], ""),
        ] {
            let Failure { error, again } = failure(code, headers, body);
            let kind = format!("{error:?}");
            let kind = kind.split([' ', '{']).next().unwrap();
            let text = error.to_string();
            let text = text
                .strip_prefix("PUT https://registry.example.com/v2/a/manifests/v1: ")
                .unwrap();
            table.push_str(&format!("{kind} | {text} | {again:?}\n"));
        }
        insta::assert_snapshot!(table, @r#"
        Unauthorized | no credentials were sent: 401 Unauthorized | Never
        Forbidden | not allowed without credentials: 403 Forbidden (DENIED: quota exceeded) | Never
        NotFound | not found: 404 Not Found (NAME_UNKNOWN) | Never
        Unavailable | the server fails: 408 Request Timeout | After(None)
        TooLarge | 7 bytes are too much for one request: 413 Payload Too Large (an HTML page) | Never
        RateLimited | too many requests: 429 Too Many Requests | After(Some(3s))
        Rejected | rejected: 400 Bad Request (MANIFEST_BLOB_UNKNOWN: blob unknown) | Never
        HttpsServer | the server requires TLS | Never
        Rejected | rejected: 409 Conflict (ARTIFACT_LOCKED: locked) | Never
        Unavailable | the server fails: 500 Internal Server Error (\u{1b}[31mred\u{1b}[0m) | After(None)
        Unavailable | the server fails: 500 Internal Server Error (UNKNOWN: {"Err":28,"Op":"mkdir"}) | After(None)
        Rejected | rejected: 501 Not Implemented | Never
        Unavailable | the server fails: 503 Service Unavailable | After(Some(30s))
        Unavailable | the server fails: 503 Service Unavailable | After(None)
        "#);
    }

    #[test]
    fn long_messages_are_truncated() {
        let Failure { error, .. } = failure(400, &[], &"é".repeat(10_000));
        assert_eq!(error.to_string().matches('é').count(), LONGEST_MESSAGE);
    }

    #[test]
    fn a_message_is_masked_before_it_is_truncated_or_escaped() {
        redaction::run().add("pl\u{e4}nted&sword\tfish");
        let filler = "x ".repeat(142);
        for secret in [
            &b"pl\xe4nted&sword\tfish"[..],
            "pl\u{e4}nted&amp;sword&#9;fish".as_bytes(),
            br"pl\u00e4nted\u0026sword\tfish",
            "pl\u{e4}n\u{200b}ted&s\u{1b}[31mword\tfish".as_bytes(),
        ] {
            let body = [filler.as_bytes(), secret].concat();
            let map = HeaderMap::new();
            let Failure { error, .. } = status(StatusCode::BAD_REQUEST, &map, &body, place(), 0);
            let said = error.to_string();
            assert!(said.ends_with("x ***)"), "{said}");
        }
    }

    #[test]
    fn an_unsupported_signature_has_our_wording() {
        use rustls::pki_types::alg_id::ECDSA_P384;
        let context = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![42, 134],
            public_key_algorithm_id: ECDSA_P384.to_vec(),
        };
        let tls = rustls::Error::InvalidCertificate(context);
        let cause = Cause::of(&tls);
        let Failure { error, .. } = tls_failure(&tls, cause, Box::new(place()));
        let said = error.to_string();
        assert!(said.ends_with("a signature that Airlock cannot verify"));
        assert!(std::error::Error::source(&error).is_none());
    }

    mod over_the_wire {
        use std::time::Duration;

        use rcgen::date_time_ymd;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::TcpListener;

        use crate::fake::{Certificates, Fake, certificates, free_address, hasty, on_socket};
        use crate::{Credentials, Endpoint, Error, Registry, Settings};

        fn registry(address: &str, ca_pem: Option<&str>, settings: Settings) -> Registry {
            let endpoint = Endpoint::new(address, ca_pem).unwrap();
            Registry::with_settings(endpoint, Credentials::Anonymous, settings).unwrap()
        }

        async fn ping(certificates: &Certificates, ca_pem: &str) -> (Result<(), Error>, usize) {
            let fake = Fake::over_tls(certificates).await;
            let address = fake.address.to_string();
            let result = registry(&address, Some(ca_pem), hasty()).ping().await;
            (result, fake.requests().len())
        }

        #[tokio::test]
        async fn a_configured_ca_is_trusted() {
            let certificates = certificates();
            let (result, requests) = ping(&certificates, &certificates.ca_pem).await;
            result.unwrap();
            assert_eq!(requests, 1);
        }

        #[tokio::test]
        async fn no_request_is_sent_to_an_unknown_authority() {
            let (result, requests) = ping(&certificates(), &certificates().ca_pem).await;
            let error = result.unwrap_err();
            assert!(matches!(error, Error::UnknownAuthority { .. }), "{error:?}");
            assert_eq!(requests, 0);
        }

        #[tokio::test]
        async fn a_certificate_that_is_its_own_authority_is_trusted_when_it_is_given() {
            let certificates = Certificates::self_signed();
            let (result, requests) = ping(&certificates, &certificates.ca_pem).await;
            assert!(result.is_ok() && requests == 1, "{result:?}");

            let (result, requests) = ping(&certificates, &Certificates::self_signed().ca_pem).await;
            let error = result.unwrap_err();
            assert!(
                matches!(error, Error::AuthorityAsServer { .. }),
                "{error:?}"
            );
            assert_eq!(requests, 0);
        }

        /// Returns a registry that is reached through the proxy of these variables.
        fn through(address: &str, variables: &[(&str, String)]) -> Registry {
            let get = |name: &str| {
                let mut named = variables.iter().filter(|(known, _)| *known == name);
                named.next().map(|(_, value)| value.clone())
            };
            let proxies = std::sync::Arc::new(network::Proxies::from_variables(get));
            let endpoint = Endpoint::new(address, None).unwrap().through(proxies);
            let settings = Settings {
                attempts: 1,
                ..hasty()
            };
            Registry::with_settings(endpoint, Credentials::Anonymous, settings).unwrap()
        }

        #[tokio::test]
        async fn a_proxy_that_refuses_is_named_with_its_variable() {
            let proxy = free_address().await;
            let value = format!("http://user:hunter2@{proxy}");
            let registry = through("registry.example.com", &[("HTTPS_PROXY", value)]);
            let error = registry.ping().await.unwrap_err();
            assert!(
                matches!(error, Error::ConnectionRefused { .. }),
                "{error:?}"
            );
            assert_eq!(
                error.to_string(),
                format!(
                    "GET https://registry.example.com/v2/ through proxy http://{proxy} (HTTPS_PROXY): connection refused"
                )
            );
        }

        #[tokio::test]
        async fn a_proxy_receives_its_password_and_its_refusal_is_final() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let proxy = listener.local_addr().unwrap();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                stream.write_all(refused).await.unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            let value = format!("CORP%5Cuser:p%23%22%7C%5E%7B%C3%A4@{proxy}");
            let registry = through("registry.example.com:5000", &[("https_proxy", value)]);
            let error = registry.ping().await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "GET https://registry.example.com:5000/v2/ through proxy http://{proxy} (https_proxy): the proxy requires a user \
                     name and a password, or refuses those it was sent"
                )
            );
            let seen = server.await.unwrap();
            assert!(
                seen.starts_with("CONNECT registry.example.com:5000 HTTP/1.1"),
                "{seen}"
            );
            let password =
                base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "CORP\\user:p#\"|^{ä");
            assert!(
                seen.contains(&format!("proxy-authorization: Basic {password}")),
                "{seen}"
            );
        }

        /// Starts a server that sends `bytes` to each connection. It reads a request before, unless
        /// `speaks_first` is set.
        async fn saying(bytes: &'static [u8], speaks_first: bool) -> String {
            on_socket(move |mut stream| async move {
                let mut heard = [0; 4096];
                if !speaks_first {
                    let _ = stream.read(&mut heard).await;
                }
                let _ = stream.write_all(bytes).await;
                while !bytes.starts_with(b"HTTP") {
                    if !matches!(stream.read(&mut heard).await, Ok(1..)) {
                        break;
                    }
                }
            })
            .await
        }

        /// Starts a server that accepts connections and sends nothing.
        async fn silent() -> String {
            on_socket(|stream| async move {
                let _stream = stream;
                std::future::pending().await
            })
            .await
        }

        #[tokio::test]
        async fn the_response_of_a_proxy_that_does_not_connect_is_shown() {
            for (response, fault) in [
                (
                    &b"HTTP/1.1 403 Forbidden\r\n\r\n"[..],
                    "refuses to connect: 403 Forbidden",
                ),
                (
                    b"HTTP/1.1 503 Down\r\n\r\n",
                    "refuses to connect: 503 Service Unavailable",
                ),
            ] {
                let proxy = saying(response, false).await;
                let variable = ("HTTPS_PROXY", format!("http://user:hunter2@{proxy}"));
                let registry = through("registry.example.com", &[variable]);
                let url = registry.transport().endpoint().url("/v2/");
                let error = registry.ping().await.unwrap_err();
                let expected = format!(
                    "GET {url} through proxy http://{proxy} (HTTPS_PROXY): the proxy {fault}"
                );
                assert_eq!(error.to_string(), expected);
            }
            let proxy = saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", false).await;
            let registry = through(
                "registry.example.com",
                &[("HTTPS_PROXY", format!("https://{proxy}"))],
            );
            let error = registry.ping().await.unwrap_err().to_string();
            assert!(
                error.ends_with(
                    "(HTTPS_PROXY): the proxy speaks plain HTTP, but its URL begins with https"
                ),
                "{error}"
            );
        }

        #[tokio::test]
        async fn a_port_of_a_different_protocol_is_reported_with_its_response() {
            let ca = certificates().ca_pem;
            let ssh = saying(b"SSH-2.0-OpenSSH_9.2\r\n", true).await;
            let redis = saying(b"-ERR unknown command\r\n", false).await;
            for (address, ca, response) in [
                (&ssh, Some(&ca), "SSH-2.0-OpenSSH_9.2"),
                (&ssh, None, "SSH-2.0-OpenSSH_9.2"),
                (&redis, Some(&ca), "-ERR unknown command"),
            ] {
                let registry = registry(address, ca.map(String::as_str), hasty());
                let error = registry.ping().await.unwrap_err();
                assert!(matches!(error, Error::NotARegistry { .. }), "{error:?}");
                let said = format!("its port answers `{response}`, which is not HTTP");
                assert!(error.to_string().ends_with(&said), "{error}");
            }
        }

        #[tokio::test]
        async fn a_silent_port_is_an_error_after_one_attempt() {
            let address = silent().await;
            let ca = certificates().ca_pem;
            let settings = Settings {
                connect_timeout: Duration::from_secs(5),
                ..hasty()
            };
            let began = std::time::Instant::now();
            let error = registry(&address, Some(&ca), settings).ping().await;
            let error = error.unwrap_err().to_string();
            assert!(
                error.ends_with("the port accepts connections, but nothing answers within 5 s"),
                "{error}"
            );
            assert!(began.elapsed() < Duration::from_secs(9));
        }

        #[tokio::test]
        async fn a_malformed_proxy_is_an_error_before_anything_is_sent() {
            let value = "http://CORP\\user:hunter2@proxy:3128".to_owned();
            let registry = through("registry.example.com", &[("HTTPS_PROXY", value)]);
            let error = registry.ping().await.unwrap_err();
            let Error::Proxy { source, .. } = &error else {
                panic!("{error:?}");
            };
            assert!(
                source.to_string().contains("the variable HTTPS_PROXY"),
                "{source}"
            );
            assert!(!format!("{error:?}").contains("hunter2"));
        }

        #[tokio::test]
        async fn loopback_uses_no_proxy() {
            let fake = Fake::over_registry(|_| None).await;
            let proxy = ("HTTP_PROXY", "http://127.0.0.1:9".to_owned());
            let registry = through(&fake.address.to_string(), &[proxy]);
            registry.ping().await.unwrap();
        }

        #[tokio::test]
        async fn a_plain_http_server_that_waits_for_a_line_is_detected_soon() {
            // Responds to an HTTP request, and waits for the end of anything else.
            let address = on_socket(|mut stream| async move {
                let mut seen = Vec::new();
                while !seen.ends_with(b"\r\n\r\n") {
                    let mut piece = [0; 1024];
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => return,
                        Ok(length) => seen.extend_from_slice(&piece[..length]),
                    }
                }
                let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                let _ = stream.write_all(response).await;
            })
            .await;
            let ca = certificates().ca_pem;
            let settings = Settings {
                connect_timeout: Duration::from_secs(30),
                attempts: 1,
                ..hasty()
            };
            let began = std::time::Instant::now();
            let error = registry(&address, Some(&ca), settings)
                .ping()
                .await
                .unwrap_err();
            assert!(matches!(error, Error::PlainHttpServer { .. }), "{error:?}");
            assert!(
                began.elapsed() < Duration::from_secs(15),
                "{:?}",
                began.elapsed()
            );
        }

        #[tokio::test]
        async fn a_certificate_for_other_names_lists_them() {
            let names = ["registry.example.com", "10.0.0.7"];
            let certificates = Certificates::new(&names, |_| {});
            let (result, _) = ping(&certificates, &certificates.ca_pem).await;
            let error = result.unwrap_err();
            let text = error.to_string();
            assert!(
                text.ends_with("the server's certificate is for registry.example.com, 10.0.0.7"),
                "{text}"
            );
            assert!(matches!(error, Error::WrongHostName { .. }), "{error:?}");
        }

        #[tokio::test]
        async fn expired_and_early_certificates_are_distinguished() {
            let expired = Certificates::new(&["127.0.0.1"], |params| {
                params.not_before = date_time_ymd(2001, 1, 1);
                params.not_after = date_time_ymd(2002, 1, 1);
            });
            let (result, _) = ping(&expired, &expired.ca_pem).await;
            let error = result.unwrap_err();
            assert!(
                matches!(error, Error::CertificateExpired { .. }),
                "{error:?}"
            );

            let early = Certificates::new(&["127.0.0.1"], |params| {
                params.not_before = date_time_ymd(4001, 1, 1);
                params.not_after = date_time_ymd(4002, 1, 1);
            });
            let (result, _) = ping(&early, &early.ca_pem).await;
            let error = result.unwrap_err();
            assert!(
                matches!(error, Error::CertificateNotYetValid { .. }),
                "{error:?}"
            );
        }

        #[tokio::test]
        async fn https_to_a_plain_http_server_is_reported() {
            let fake = Fake::over_registry(|_| None).await;
            let ca = certificates().ca_pem;
            let address = fake.address.to_string();
            let error = registry(&address, Some(&ca), hasty())
                .ping()
                .await
                .unwrap_err();
            assert!(matches!(error, Error::PlainHttpServer { .. }), "{error:?}");
        }

        #[tokio::test]
        async fn a_name_without_an_address_is_reported() {
            // Patient, since a machine whose name server is out of reach takes a while to find out.
            let settings = Settings {
                attempts: 1,
                connect_timeout: Duration::from_secs(120),
                answer_timeout: Duration::from_secs(120),
                ..hasty()
            };
            let registry = registry("registry.invalid:5000", None, settings);
            let error = registry.ping().await.unwrap_err();
            assert!(matches!(error, Error::NameNotResolved { .. }), "{error:?}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            let resolver = [
                "name or service not known",
                "temporary failure in name resolution",
            ];
            assert!(resolver.contains(&cause.as_str()), "{cause}");
        }

        #[tokio::test]
        async fn a_server_that_never_answers_times_out() {
            let address = silent().await;
            let settings = Settings {
                answer_timeout: Duration::from_millis(100),
                ..hasty()
            };
            let error = registry(&address, None, settings).ping().await.unwrap_err();
            assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
            assert!(
                error.to_string().ends_with("no answer within 0.1 s"),
                "{error}"
            );
        }

        #[tokio::test]
        async fn an_error_body_that_never_ends_is_not_awaited() {
            let address = on_socket(|mut stream| async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let head = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 60000\r\n\r\n";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sent = stream.write_all(b".").await;
                }
            })
            .await;
            let settings = Settings {
                answer_timeout: Duration::from_millis(200),
                ..hasty()
            };
            let registry = registry(&address, None, settings);
            let pinged = tokio::time::timeout(Duration::from_secs(10), registry.ping()).await;
            let error = pinged.expect("it still waits").unwrap_err();
            assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
        }

        #[tokio::test]
        async fn a_lost_connection_is_retried_and_then_reported() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = tokio::spawn(async move {
                let mut accepted = 0;
                while accepted < 2 {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let _ = stream.read(&mut [0; 1024]).await;
                    accepted += 1;
                }
                accepted
            });
            let error = registry(&address, None, hasty()).ping().await.unwrap_err();
            assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
            let expected =
                "the connection failed: the server closed the connection before it responded";
            let told = requests::chain(&error);
            assert!(told.ends_with(expected), "{told}");
            assert_eq!(server.await.unwrap(), 2);
        }

        #[tokio::test]
        async fn a_refused_connection_is_reported() {
            let address = free_address().await;
            let error = registry(&address, None, hasty()).ping().await.unwrap_err();
            assert!(
                matches!(error, Error::ConnectionRefused { .. }),
                "{error:?}"
            );
        }
    }
}
