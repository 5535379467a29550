//! The HTTP client that downloads and registries build on.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Method, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use url::Url;

use crate::{Proxies, Verifier};

/// How long a proxy may take to answer again.
const PROXY_ANSWER: Duration = Duration::from_secs(5);

/// Returns the settings of an HTTP client that trusts `authorities` beside those of the system and uses `proxies`.
///
/// The certificates of the system are read when a server first needs them. A client for plain HTTP, or for a server that
/// `authorities` vouch for, works on a machine that has none.
pub fn client(authorities: Vec<CertificateDer<'static>>, proxies: &Arc<Proxies>) -> ClientBuilder {
    with_verifier(Arc::new(Verifier::new(authorities)), proxies)
}

/// Returns the settings of an HTTP client whose servers are judged by `verifier`.
pub fn with_verifier(
    verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    proxies: &Arc<Proxies>,
) -> ClientBuilder {
    install_crypto_provider();
    let tls = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let proxies = Arc::clone(proxies);
    reqwest::Client::builder()
        .user_agent(concat!("airlock/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        // A malformed variable yields no proxy here. Callers ask `Proxies::of` first, which reports it.
        .proxy(reqwest::Proxy::custom(move |url| {
            let proxy = proxies.of(url).ok().flatten();
            proxy.map(|proxy| proxy.url().clone())
        }))
}

/// Asks the proxy of `url` to connect there, and returns the status of its answer if it refuses.
///
/// For after a request that failed: reqwest does not tell what a proxy answered.
pub async fn proxy_refusal(proxies: &Proxies, url: &Url) -> Option<StatusCode> {
    let proxy = proxies.of(url).ok()??;
    let mut target = url.clone();
    // As a request by plain HTTP, which is passed to the proxy as it is.
    target.set_scheme("http").ok()?;
    target.set_port(url.port_or_known_default()).ok()?;
    let client = client(Vec::new(), &Arc::default())
        .proxy(reqwest::Proxy::all(proxy.url().clone()).ok()?)
        .redirect(Policy::none())
        .timeout(PROXY_ANSWER)
        .build()
        .ok()?;
    let answer = client.request(Method::CONNECT, target).send().await;
    let status = answer.ok()?.status();
    (!status.is_success()).then_some(status)
}

/// Makes ring the TLS provider of the process. Later calls change nothing.
///
/// reqwest and oci-client panic without a provider, for plain HTTP too.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
