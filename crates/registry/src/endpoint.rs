//! The endpoint of a registry: address, scheme, CA certificate and proxies.
//!
//! The scheme follows from the address, never from a flag: credentials must not leave this machine
//! in clear text.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use network::Proxies;
use requests::Cause;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;
use url::{Host, Url};

use crate::{Error, RequestInfo};

/// Timeout of the system's resolver. It repeats a lost query only after five seconds.
const RESOLVER: Duration = Duration::from_secs(2);

/// The protocol of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// TLS, verified with the system's CA certificates and those of the endpoint.
    Https,
    /// Plain HTTP, only to this machine.
    HttpOnLoopback,
}

/// The address of a registry, with its CA certificate and proxies.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: String,
    base: Url,
    scheme: Scheme,
    authority: Option<Authority>,
    proxies: Arc<Proxies>,
}

#[derive(Debug, Clone)]
struct Authority {
    pem: String,
    certificates: Vec<CertificateDer<'static>>,
}

impl Endpoint {
    /// Returns the endpoint at `address`, which is `host[:port]` without scheme and path. `ca_pem`
    /// is trusted in addition to the system's CA certificates.
    ///
    /// Plain HTTP is used for a loopback address without `ca_pem`, HTTPS for everything else.
    ///
    /// # Errors
    ///
    /// - [`Error::Address`] if `address` is not `host[:port]`.
    /// - [`Error::CertificateAuthority`] if `ca_pem` has no certificate, or one that cannot be a
    ///   CA.
    pub fn new(address: &str, ca_pem: Option<&str>) -> Result<Self, Error> {
        let wrong = |rule| Error::Address {
            address: address.to_owned(),
            rule,
        };
        if address.contains("://") {
            return Err(wrong("has a scheme; only `host[:port]` is wanted"));
        }
        if address.contains('@') {
            return Err(wrong("holds credentials; only `host[:port]` is wanted"));
        }
        if address.contains(['/', '?', '#', '\\']) || address.contains(char::is_whitespace) {
            return Err(wrong("has more than `host[:port]`"));
        }
        let parse = |scheme| {
            Url::parse(&format!("{scheme}://{address}/"))
                .map_err(|_| wrong("is not a host name or an IP address with an optional port"))
        };
        let parsed = parse("https")?;
        if parsed.port() == Some(0) || address.ends_with(':') {
            return Err(wrong("has a port outside of 1 to 65535"));
        }
        let loopback = is_loopback(&parsed);
        let authority = match ca_pem {
            Some(pem) => Some(Authority::read(address, pem)?),
            None => None,
        };
        let scheme = if loopback && authority.is_none() {
            Scheme::HttpOnLoopback
        } else {
            Scheme::Https
        };
        let base = match scheme {
            Scheme::Https => parsed,
            Scheme::HttpOnLoopback => parse("http")?,
        };
        Ok(Self {
            address: address.to_owned(),
            base,
            scheme,
            authority,
            proxies: Arc::default(),
        })
    }

    /// Returns the endpoint with `proxies`.
    #[must_use]
    pub fn through(self, proxies: Arc<Proxies>) -> Self {
        Self { proxies, ..self }
    }

    /// Returns the address as it was passed: `host[:port]`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the protocol of the registry.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the CA certificate in PEM, if the endpoint has one.
    pub fn ca_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(|a| a.pem.as_str())
    }

    /// Returns whether the registry is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// Resolves the registry's host name. Does nothing for an IP address, or if a proxy resolves
    /// the name.
    ///
    /// A command that asks many registries calls this first, since it needs no HTTP client.
    ///
    /// # Errors
    ///
    /// [`Error::NameNotResolved`], also after two seconds without a response.
    pub async fn look_up(&self) -> Result<(), Error> {
        let Some(Host::Domain(name)) = self.base.host() else {
            return Ok(());
        };
        // The first request reports a proxy that cannot be used.
        if !matches!(self.proxies.of(&self.base), Ok(None)) {
            return Ok(());
        }
        let port = self.base.port_or_known_default().unwrap_or_default();
        let found = timeout(RESOLVER, tokio::net::lookup_host((name, port))).await;
        match found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::NameNotResolved {
                at: Box::new(RequestInfo::new("GET", &self.url("/v2/"), "")),
                source: Cause::of(&error),
            }),
        }
    }

    pub(crate) fn proxies(&self) -> &Arc<Proxies> {
        &self.proxies
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.authority
            .as_ref()
            .map_or(&[], |a| a.certificates.as_slice())
    }

    /// Returns the URL of an absolute path that starts with `/v2/`. The caller has checked its
    /// parts.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// Returns the URL that opens uploads to a repository.
    pub(crate) fn uploads_url(&self, repository: &str) -> Url {
        self.url(&format!("/v2/{repository}/blobs/uploads/"))
    }

    /// Returns the URL of a manifest by tag or digest.
    pub(crate) fn manifest_url(&self, repository: &str, reference: &str) -> Url {
        self.url(&format!("/v2/{repository}/manifests/{reference}"))
    }

    /// Returns the URL of a file on this host, for servers that serve more than a registry.
    pub fn web_url(&self, path: &str) -> Url {
        self.url(&format!("/{}", path.trim_start_matches('/')))
    }

    /// Returns whether `url` has the registry's origin, so it may receive credentials.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Resolves a URL that the registry names in a response (`Location`, `realm`) against the
    /// requested URL.
    ///
    /// Behind a proxy that ends TLS, registries often name absolute URLs with `http://` or without
    /// the port. Both are corrected if the host is the registry's. A different host is not changed.
    ///
    /// Returns `None` if `location` is not a URL, or if it leaves TLS or loopback.
    pub(crate) fn resolve(&self, asked: &Url, location: &str) -> Option<Url> {
        let mut url = asked.join(location).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if url.host() == self.base.host() && !self.owns(&url) {
            let downgraded = self.scheme == Scheme::Https && url.scheme() == "http";
            let port_missing = url.port().is_none();
            if downgraded && (port_missing || url.port() == self.base.port_or_known_default()) {
                url.set_scheme("https").ok()?;
            }
            if port_missing && url.scheme() == self.base.scheme() {
                url.set_port(self.base.port()).ok()?;
            }
        }
        let leaves_tls = self.scheme == Scheme::Https && url.scheme() == "http";
        let leaves_loopback =
            self.scheme == Scheme::HttpOnLoopback && url.scheme() == "http" && !is_loopback(&url);
        (!leaves_tls && !leaves_loopback).then_some(url)
    }
}

impl Authority {
    fn read(address: &str, pem: &str) -> Result<Self, Error> {
        let wrong = |rule: String| Error::CertificateAuthority {
            address: address.to_owned(),
            rule,
        };
        // Checked here because reqwest and oci-client accept a text without a certificate and then
        // trust nothing additional.
        let mut certificates = Vec::new();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate =
                certificate.map_err(|error| wrong(format!("is not valid PEM: {error}")))?;
            roots.add(certificate.clone()).map_err(|error| {
                wrong(format!(
                    "holds a certificate that cannot be read, number {}: {error}",
                    certificates.len() + 1
                ))
            })?;
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err(wrong("holds no PEM certificate".to_owned()));
        }
        Ok(Self {
            pem: pem.to_owned(),
            certificates,
        })
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        crate::fake::certificates().ca_pem
    }

    #[test]
    fn the_scheme_follows_from_the_address() {
        let ca = authority();
        for (address, ca_pem, url) in [
            ("127.0.0.1:5000", None, "http://127.0.0.1:5000/v2/"),
            ("127.9.9.9", None, "http://127.9.9.9/v2/"),
            ("localhost:80", None, "http://localhost/v2/"),
            ("[::1]:5000", None, "http://[::1]:5000/v2/"),
            ("127.0.0.1:5000", Some(&ca), "https://127.0.0.1:5000/v2/"),
            (
                "registry.example.com",
                None,
                "https://registry.example.com/v2/",
            ),
            ("10.0.0.7:5000", None, "https://10.0.0.7:5000/v2/"),
            (
                "localhost.example.com",
                None,
                "https://localhost.example.com/v2/",
            ),
        ] {
            let endpoint = Endpoint::new(address, ca_pem.map(String::as_str)).unwrap();
            assert_eq!(endpoint.url("/v2/").as_str(), url);
            assert_eq!(endpoint.address(), address);
        }
    }

    #[test]
    fn an_address_is_a_host_with_an_optional_port() {
        for address in [
            "",
            "https://registry.example.com",
            "registry.example.com/mke",
            "user:secret@registry.example.com",
            "registry.example.com:",
            "registry.example.com:0",
            "registry.example.com:65536",
            "registry example.com",
            "registry.example.com?x",
            "[::1",
        ] {
            let result = Endpoint::new(address, None);
            assert!(matches!(result, Err(Error::Address { .. })), "{address}");
        }
    }

    #[test]
    fn a_certificate_authority_without_a_certificate_is_refused() {
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "not a certificate", garbage] {
            let result = Endpoint::new("registry.example.com", Some(pem));
            assert!(
                matches!(result, Err(Error::CertificateAuthority { .. })),
                "{pem:?}"
            );
        }
    }

    #[test]
    fn locations_are_corrected_on_the_registrys_host_only() {
        let ca = authority();
        let tls = Endpoint::new("registry.example.com:5000", None).unwrap();
        let plain = Endpoint::new("127.0.0.1:5000", None).unwrap();
        let tls_loopback = Endpoint::new("127.0.0.1:5000", Some(&ca)).unwrap();
        for (endpoint, location, resolved) in [
            (
                &tls,
                "/v2/a/x?s=1",
                Some("https://registry.example.com:5000/v2/a/x?s=1"),
            ),
            (
                &tls,
                "x",
                Some("https://registry.example.com:5000/v2/a/blobs/uploads/x"),
            ),
            (
                &tls,
                "https://registry.example.com:5000/u",
                Some("https://registry.example.com:5000/u"),
            ),
            (
                &tls,
                "http://registry.example.com:5000/u",
                Some("https://registry.example.com:5000/u"),
            ),
            (
                &tls,
                "http://registry.example.com/u",
                Some("https://registry.example.com:5000/u"),
            ),
            (
                &tls,
                "https://registry.example.com/u",
                Some("https://registry.example.com:5000/u"),
            ),
            (
                &tls,
                "//registry.example.com:5000/u",
                Some("https://registry.example.com:5000/u"),
            ),
            (
                &tls,
                "https://me:secret@registry.example.com/u",
                Some("https://registry.example.com:5000/u"),
            ),
            (
                &tls,
                "https://blobs.example.com/u",
                Some("https://blobs.example.com/u"),
            ),
            (
                &tls,
                "https://registry.example.com:7000/u",
                Some("https://registry.example.com:7000/u"),
            ),
            (&tls, "http://registry.example.com:7000/u", None),
            (&tls, "http://blobs.example.com/u", None),
            (&tls, "ftp://registry.example.com/u", None),
            (&tls, "http://[broken", None),
            (
                &plain,
                "http://127.0.0.1/u",
                Some("http://127.0.0.1:5000/u"),
            ),
            (
                &plain,
                "http://localhost:6000/u",
                Some("http://localhost:6000/u"),
            ),
            (&plain, "http://blobs.example.com/u", None),
            (
                &tls_loopback,
                "http://127.0.0.1:5000/u",
                Some("https://127.0.0.1:5000/u"),
            ),
        ] {
            let asked = endpoint.url("/v2/a/blobs/uploads/");
            let found = endpoint.resolve(&asked, location);
            assert_eq!(found.as_ref().map(Url::as_str), resolved, "{location}");
        }
    }

    #[test]
    fn only_the_registry_itself_is_owned() {
        let endpoint = Endpoint::new("registry.example.com", None).unwrap();
        for (url, owned) in [
            ("https://registry.example.com/v2/", true),
            ("https://registry.example.com:443/v2/", true),
            ("https://registry.example.com:444/v2/", false),
            ("http://registry.example.com/v2/", false),
            ("https://other.example.com/v2/", false),
        ] {
            assert_eq!(endpoint.owns(&Url::parse(url).unwrap()), owned, "{url}");
        }
    }
}
