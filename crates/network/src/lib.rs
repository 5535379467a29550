//! How connections leave this machine: through which proxy, and by which certificate authorities a
//! server is trusted.
//!
//! Downloads, registries and the certificate check of preflight build their HTTP clients here, so
//! they all follow the same rules. This crate must not know: registries, bundles, environments, the
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
