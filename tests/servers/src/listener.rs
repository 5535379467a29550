//! Counts connections, and lets a handler break its connection as a reset by the network does.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Accepts connections on loopback.
pub(crate) struct Listener {
    inner: TcpListener,
    tls: Option<TlsAcceptor>,
    open: Arc<AtomicUsize>,
}

/// The stream of a connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    broken: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
}

/// Breaks the connection of a request.
#[derive(Debug, Clone)]
pub(crate) struct Breaker(Arc<AtomicBool>);

impl Listener {
    /// Listens on a free port, for TLS or plain HTTP. `open` counts the open connections.
    pub(crate) async fn bind(tls: Option<TlsAcceptor>, open: Arc<AtomicUsize>) -> io::Result<Self> {
        let inner = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self { inner, tls, open })
    }
}

impl Breaker {
    /// Makes the next read or write fail. If bytes are unread, the kernel then sends a reset.
    pub(crate) fn break_off(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.inner.accept().await {
                let stream: Box<dyn Stream> = match &self.tls {
                    None => Box::new(stream),
                    // A client that does not trust the certificate ends the handshake here.
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => continue,
                    },
                };
                self.open.fetch_add(1, Ordering::SeqCst);
                let connection = Connection {
                    stream,
                    broken: Arc::default(),
                    open: Arc::clone(&self.open),
                };
                return (connection, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connected<IncomingStream<'_, Listener>> for Breaker {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self(Arc::clone(&stream.io().broken))
    }
}

impl Connection {
    fn check(&self) -> io::Result<()> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
