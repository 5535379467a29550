//! The HTTP client that downloads and registries build on.

use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::{Proxies, Verifier};

/// Returns the settings of an HTTP client that trusts `authorities` beside those of the system and
/// uses `proxies`.
///
/// The certificates of the system are read when a server first needs them. A client for plain HTTP,
/// or for a server that `authorities` vouch for, works on a machine that has none.
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
        // A malformed variable yields no proxy here. Callers ask `Proxies::of` first, which reports
        // it.
        .proxy(reqwest::Proxy::custom(move |url| {
            let proxy = proxies.of(url).ok().flatten();
            proxy.map(|proxy| proxy.url().clone())
        }))
}

/// Makes ring the TLS provider of the process. Later calls change nothing.
///
/// reqwest and oci-client panic without a provider, for plain HTTP too.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
