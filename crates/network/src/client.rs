//! Builds the HTTP client of downloads and of registry clients.

use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::{Proxies, Verifier};

/// Returns the builder of an HTTP client that trusts `authorities` and the system's CA
/// certificates, and uses `proxies`.
///
/// The system's CA certificates are read when a server's certificate first needs them. A client for
/// plain HTTP, or for a server that `authorities` verify, works on a machine that has none.
pub fn client(authorities: Vec<CertificateDer<'static>>, proxies: &Arc<Proxies>) -> ClientBuilder {
    with_verifier(Arc::new(Verifier::new(authorities)), proxies)
}

/// Returns the builder of an HTTP client that verifies servers with `verifier` and uses `proxies`.
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
        // A malformed variable means no proxy here: this closure cannot return an error. Callers
        // report it beforehand, from `Proxies::of`.
        .proxy(reqwest::Proxy::custom(move |url| {
            let proxy = proxies.of(url).ok().flatten();
            proxy.map(|proxy| proxy.url().clone())
        }))
}

/// Makes ring the TLS provider of the process. Later calls have no effect.
///
/// Without a provider reqwest and oci-client panic, even for plain HTTP.
pub fn install_crypto_provider() {
    // Fails only if a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
