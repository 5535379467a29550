//! A proxy that ends TLS before a server of a test, with a certificate that a test decides about.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A running proxy; it stops when this is dropped.
pub struct TlsProxy {
    /// Its address, `127.0.0.1:port`.
    pub address: String,
    /// The CA that signed its certificate.
    pub ca_pem: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl TlsProxy {
    /// Starts one before `target`, with a certificate for `names` that `change` has changed.
    pub async fn start(
        target: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::start_on(listener, target, names, change)
    }

    /// Starts one that listens there.
    pub fn start_on(
        listener: TcpListener,
        target: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let (ca_pem, acceptor) = acceptor(names, change);
        let target: SocketAddr = target.parse().expect("an address");
        let address = listener.local_addr().expect("an address").to_string();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Clients that reject the certificate disconnect, as the tests expect.
                    let Ok(mut outer) = acceptor.accept(stream).await else {
                        return;
                    };
                    let Ok(mut inner) = TcpStream::connect(target).await else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        Self {
            address,
            ca_pem,
            server,
        }
    }
}

/// A certificate for a server, and the CA that signed it.
pub(crate) struct Signed {
    pub(crate) ca_pem: String,
    pub(crate) leaf: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

/// Makes a CA, and a certificate of it for `names` that `change` has changed.
pub(crate) fn signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Signed {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "Airlock test CA");
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut leaf = CertificateParams::new(names).expect("parameters");
    change(&mut leaf);
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    Signed { ca_pem, leaf, key }
}

fn acceptor(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, TlsAcceptor) {
    let Signed { ca_pem, leaf, key } = signed(names, change);
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    registry::install_crypto_provider();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate with its key");
    (ca_pem, TlsAcceptor::from(Arc::new(config)))
}
