//! A proxy that terminates TLS in front of a server, with a certificate that the test defines.

use std::net::SocketAddr;

use rcgen::CertificateParams;
use servers::Certificates;
use tokio::net::{TcpListener, TcpStream};

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
    /// Starts a proxy in front of `target`. `change` edits its certificate, which is for `names`.
    pub async fn start(
        target: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::start_on(listener, target, names, change)
    }

    /// Starts a proxy that accepts the connections of `listener`.
    pub fn start_on(
        listener: TcpListener,
        target: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let certificates = Certificates::new(names, change);
        let acceptor = certificates.acceptor();
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
            ca_pem: certificates.ca_pem,
            server,
        }
    }
}
