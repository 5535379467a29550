//! Builds HTTP clients: chooses the proxy of each request, and verifies the server's certificate.
//!
//! Downloads, registry clients and the certificate check of preflight all build their clients here,
//! so they follow the same rules. This crate must not know: registries, bundles, environments, the
//! process's variables (the caller passes them).

mod proxy;
mod trust;
mod client;
mod fault;

pub use client::{client, install_crypto_provider, with_verifier};
pub use fault::ProxyFault;
pub use proxy::{Proxies, Proxy, ProxyError};
pub use reqwest::ClientBuilder;
pub use trust::{LeafIsAuthority, NoAuthorities, Verifier, WeakKey, by_given, by_system, is};
