//! Identifies what responds at the registry's port after a request failed without a clear cause.
//! Uses a second connection, without credentials.

use std::time::Duration;

use network::{Proxies, ProxyFault};
use requests::Cause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use crate::retry::{Again, Failure};
use crate::{Error, RequestInfo, classify};

/// Timeout of the connection, and of the first bytes.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum length of a foreign response in error messages, in characters.
const LONGEST_SHOWN: usize = 60;

/// What a port responds to a plain HTTP request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The connection failed or was closed without a response.
    Closed,
    /// The connection exists, but nothing was received.
    Silent,
    /// Status of an HTTP response.
    Http(u16),
    Tls,
    /// The beginning of any other response.
    Other(String),
}

/// Returns what responds at the port of `url`, whatever its scheme.
pub(crate) async fn port(url: &Url) -> Port {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let address = (host.trim_matches(['[', ']']), port);
    let Ok(Ok(mut stream)) = timeout(TIMEOUT, TcpStream::connect(address)).await else {
        return Port::Closed;
    };
    let request = format!("GET /v2/ HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(request.as_bytes()).await;
    let mut bytes = [0; 256];
    let length = match timeout(TIMEOUT, stream.read(&mut bytes)).await {
        Ok(Ok(length)) => length,
        Ok(Err(_)) => 0,
        Err(_) => return Port::Silent,
    };
    read(&bytes[..length])
}

fn read(bytes: &[u8]) -> Port {
    let text = redaction::text(bytes);
    match bytes {
        [] => Port::Closed,
        // A TLS record: an alert or a handshake.
        [0x15 | 0x16, 3, ..] => Port::Tls,
        _ if text.starts_with("HTTP/") => {
            let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
            Port::Http(status.unwrap_or(0))
        }
        _ => {
            let line = text.lines().next().unwrap_or_default();
            Port::Other(redaction::line(line, LONGEST_SHOWN))
        }
    }
}

/// Returns the error for a port that responds with `text`.
pub(crate) fn foreign(at: Box<RequestInfo>, text: &str) -> Error {
    Error::NotARegistry {
        at,
        found: format!("its port answers `{text}`, which is not HTTP"),
    }
}

/// Returns the failure of a request for `url` without a response. If `error` does not show the
/// cause, the port is tested on a second connection.
pub(crate) async fn failure(
    error: reqwest::Error,
    at: RequestInfo,
    url: &Url,
    proxies: &Proxies,
    connect_timeout: Duration,
) -> Failure {
    if let Some(fault) = ProxyFault::of(&error, url, proxies).await {
        let again = match fault.is_transient() {
            true => Again::After(None),
            false => Again::Never,
        };
        let at = Box::new(at);
        let error = Error::ProxyFailed { at, fault };
        return Failure { error, again };
    }
    let is_direct = at.proxy.is_none();
    let is_not_http = is_not_http(&error);
    let failure = classify::connection(&error, at, connect_timeout);
    match failure.error {
        Error::PlainHttpServer { at } if is_direct => Failure::permanent(match port(url).await {
            Port::Http(_) => Error::PlainHttpServer { at },
            Port::Other(text) => foreign(at, &text),
            _ => Error::Tls {
                at,
                source: Cause::of(&error),
            },
        }),
        Error::ConnectionLost { at, source } if is_direct && is_not_http => match port(url).await {
            Port::Other(text) => Failure::permanent(foreign(at, &text)),
            _ => Failure::transient(Error::ConnectionLost { at, source }),
        },
        error => Failure { error, ..failure },
    }
}

/// Returns whether the response is not HTTP.
fn is_not_http(error: &reqwest::Error) -> bool {
    requests::causes(error).any(|source| {
        let text = source.to_string();
        text.starts_with("invalid HTTP") || text.starts_with("received unexpected message")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_identify_the_protocol() {
        let other = |text: &str| Port::Other(text.to_owned());
        for (bytes, port) in [
            (&b""[..], Port::Closed),
            (b"HTTP/1.1 401 Unauthorized\r\n", Port::Http(401)),
            (b"HTTP/1.0 ", Port::Http(0)),
            (b"\x15\x03\x01\x00\x02\x02\x46", Port::Tls),
            (
                b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\0\0",
                other("SSH-2.0-OpenSSH_9.2p1 Debian-2"),
            ),
            (b"\x4a\0\0\0\x0a8.0", other("J\\u{0}\\u{0}\\u{0}")),
        ] {
            assert_eq!(read(bytes), port);
        }
    }
}
