//! Why a proxy does not connect to a server. hyper's errors about it have no types, and none has
//! the status of the proxy's answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::{Proxies, client};

/// How long a proxy may take to answer again.
const ANSWER: Duration = Duration::from_secs(5);

/// Why a proxy does not connect to a server.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProxyFault {
    /// The variable says `https`, and the proxy speaks plain HTTP.
    #[error("speaks plain HTTP, but its URL begins with https")]
    PlainHttp,
    /// The TLS connection to the proxy failed.
    #[error("cannot be reached by TLS: {}", requests::Cause::of(.0))]
    Tls(rustls::Error),
    /// 407.
    #[error("requires a user name and a password, or refuses those it was sent")]
    Login,
    /// Any other answer.
    #[error("refuses to connect: {0}")]
    Refused(StatusCode),
}

impl ProxyFault {
    /// Returns whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Refused(status) if status.is_server_error())
    }

    /// Returns the fault that a failed request for `url` comes from, if it is the proxy's. If the
    /// error does not have the proxy's answer, the proxy is asked again.
    pub async fn of(error: &reqwest::Error, url: &Url, proxies: &Proxies) -> Option<Self> {
        let says = |text: &str| requests::causes(error).any(|cause| cause.to_string() == text);
        if says("tunnel error: proxy authorization required") {
            return Some(Self::Login);
        }
        if says("tunnel error: unsuccessful") {
            return refusal(url, proxies).await.map(Self::Refused);
        }
        // Behind a tunnel, TLS is spoken to the server.
        let is_outside = says("tunnel error: failed to create underlying connection");
        match requests::find(error).filter(|_| is_outside)? {
            rustls::Error::InvalidMessage(_) => Some(Self::PlainHttp),
            tls => Some(Self::Tls(tls.clone())),
        }
    }
}

/// Asks the proxy of `url` to connect there, and returns the status of its answer if it refuses.
async fn refusal(url: &Url, proxies: &Proxies) -> Option<StatusCode> {
    let proxy = proxies.of(url).ok()??;
    let mut target = url.clone();
    // As a request by plain HTTP, which is passed to the proxy as it is.
    target.set_scheme("http").ok()?;
    target.set_port(url.port_or_known_default()).ok()?;
    let client = client(Vec::new(), &Arc::default())
        .proxy(reqwest::Proxy::all(proxy.url().clone()).ok()?)
        .redirect(Policy::none())
        .timeout(ANSWER)
        .build()
        .ok()?;
    let answer = client.request(Method::CONNECT, target).send().await;
    let status = answer.ok()?.status();
    (!status.is_success()).then_some(status)
}
