//! Counts the bytes that go to a registry, and forwards them as they arrive. A connection that ends
//! on one side ends on the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A TCP proxy on loopback in front of a registry.
pub struct Tap {
    /// The address of the proxy, `127.0.0.1:port`, which clients use instead of the registry's.
    pub address: String,
    sent: Arc<AtomicU64>,
}

impl Tap {
    /// Starts a proxy in front of the registry at `address`.
    pub async fn before(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let tap = Self {
            address: listener.local_addr().expect("an address").to_string(),
            sent: Arc::default(),
        };
        let (sent, registry) = (Arc::clone(&tap.sent), address.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, registry.clone(), Arc::clone(&sent)));
            }
        });
        tap
    }

    /// Returns how many bytes went to the registry so far, heads of requests included.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

async fn forward(client: TcpStream, registry: String, sent: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(registry).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upload = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            sent.fetch_add(length as u64, Ordering::SeqCst);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        // Closes only the sending half: the registry may still respond.
        let _ = to_server.shutdown().await;
    };
    let download = async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(upload, download);
}
