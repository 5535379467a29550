//! Finds out why a proxy does not connect to a server. hyper's errors for a failed tunnel have no
//! types and do not contain the status of the proxy's response.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::{Proxies, client};

/// Timeout of the second request to the proxy, which reads the status of its response.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a proxy does not connect to a server.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProxyFault {
    /// The proxy's URL begins with `https`, but the proxy speaks plain HTTP.
    #[error("speaks plain HTTP, but its URL begins with https")]
    PlainHttp,
    /// The TLS connection to the proxy failed.
    #[error("cannot be reached by TLS: {}", requests::Cause::of(.0))]
    Tls(rustls::Error),
    /// 407: the proxy requires credentials, or rejects those that it received.
    #[error("requires a user name and a password, or refuses those it was sent")]
    Login,
    /// Any other status that is not a success.
    #[error("refuses to connect: {0}")]
    Refused(StatusCode),
}

impl ProxyFault {
    /// Returns whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Refused(status) if status.is_server_error())
    }

    /// Returns the proxy's fault if it is what made a request for `url` fail, and `None` if the
    /// proxy is not at fault.
    ///
    /// If `error` does not contain the status of the proxy's response, the proxy is asked again.
    pub async fn of(error: &reqwest::Error, url: &Url, proxies: &Proxies) -> Option<Self> {
        let is_caused_by =
            |text: &str| requests::causes(error).any(|cause| cause.to_string() == text);
        if is_caused_by("tunnel error: proxy authorization required") {
            return Some(Self::Login);
        }
        if is_caused_by("tunnel error: unsuccessful") {
            return connect_status(url, proxies).await.map(Self::Refused);
        }
        // Once the tunnel exists, TLS errors come from the server, not from the proxy.
        let proxy_failed = is_caused_by("tunnel error: failed to create underlying connection");
        match requests::find(error).filter(|_| proxy_failed)? {
            rustls::Error::InvalidMessage(_) => Some(Self::PlainHttp),
            tls => Some(Self::Tls(tls.clone())),
        }
    }
}

/// Asks the proxy of `url` for a tunnel to its host. Returns the status of the response if the
/// proxy refuses.
async fn connect_status(url: &Url, proxies: &Proxies) -> Option<StatusCode> {
    let proxy = proxies.of(url).ok()??;
    let mut target = url.clone();
    // With the scheme `http`, reqwest sends the CONNECT to the proxy unchanged.
    target.set_scheme("http").ok()?;
    target.set_port(url.port_or_known_default()).ok()?;
    let client = client(Vec::new(), &Arc::default())
        .proxy(reqwest::Proxy::all(proxy.url().clone()).ok()?)
        .redirect(Policy::none())
        .timeout(RETRY_TIMEOUT)
        .build()
        .ok()?;
    let response = client.request(Method::CONNECT, target).send().await;
    let status = response.ok()?.status();
    (!status.is_success()).then_some(status)
}
