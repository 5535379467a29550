//! Certificates for servers, with the properties that a test requires.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// A certificate for a server, and the CA that signed it.
pub struct Certificates {
    /// The CA's certificate.
    pub ca_pem: String,
    /// The server's certificate.
    pub leaf: rcgen::Certificate,
    /// The server's key.
    pub key: KeyPair,
}

impl Certificates {
    /// Makes a CA, and a certificate for `names` that it signs after `change` has edited it.
    pub fn new(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca = authority(&[]);
        ca.distinguished_name
            .push(DnType::CommonName, "Airlock test CA");
        let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().expect("a key");
        let mut leaf = parameters(names);
        change(&mut leaf);
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        Self { ca_pem, leaf, key }
    }

    /// Makes a certificate for a registry on this machine.
    pub fn local() -> Self {
        Self::new(&["127.0.0.1", "localhost"], |_| ())
    }

    /// Makes a self-signed certificate for 127.0.0.1, as `openssl req -x509` does.
    pub fn self_signed() -> Self {
        let key = KeyPair::generate().expect("a key");
        let leaf = authority(&["127.0.0.1"]).self_signed(&key);
        let leaf = leaf.expect("a certificate");
        Self {
            ca_pem: leaf.pem(),
            leaf,
            key,
        }
    }

    /// Returns an acceptor that terminates TLS with this certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the versions of the provider")
            .with_no_client_auth()
            .with_single_cert(vec![self.leaf.der().clone()], key)
            .expect("a certificate with its key");
        TlsAcceptor::from(Arc::new(config))
    }
}

fn authority(names: &[&str]) -> CertificateParams {
    let mut parameters = parameters(names);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("parameters")
}
