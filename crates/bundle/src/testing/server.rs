//! A server that answers as a test demands, to the byte, and records its requests. A real one
//! cannot be made to break a connection in the middle.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot::{self, Sender};

use crate::HttpClient;

/// Serves one answer a connection, in order.
pub(crate) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// An answer that stops in the middle until it may continue.
struct Answer {
    first: Vec<u8>,
    rest: Vec<u8>,
    released: oneshot::Receiver<()>,
}

impl Server {
    pub(crate) async fn start(answers: Vec<Vec<u8>>) -> Self {
        let whole = |answer: Vec<u8>| (answer, 0);
        let (server, _) = Self::start_holding(answers.into_iter().map(whole).collect()).await;
        server
    }

    /// Serves answers whose last bytes, as many as are given with them, come only after something
    /// was sent for them.
    pub(crate) async fn start_holding(answers: Vec<(Vec<u8>, usize)>) -> (Self, Vec<Sender<()>>) {
        let mut releases = Vec::new();
        let answers: Vec<Answer> = answers
            .into_iter()
            .map(|(mut answer, held)| {
                let (release, released) = oneshot::channel();
                releases.push(release);
                Answer {
                    rest: answer.split_off(answer.len() - held),
                    first: answer,
                    released,
                }
            })
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&requests);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                noted.lock().unwrap().push(request.to_ascii_lowercase());
                // A client may have gone away, as some tests want it to.
                if stream.write_all(&answer.first).await.is_err() {
                    continue;
                }
                if !answer.rest.is_empty() {
                    let _ = answer.released.await;
                    let _ = stream.write_all(&answer.rest).await;
                }
                let _ = stream.shutdown().await;
            }
        });
        (Self { address, requests }, releases)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Returns the requests so far, in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns an answer of status 200.
    pub(crate) fn ok(headers: &[&str], body: &[u8]) -> Vec<u8> {
        Self::answer("200 OK", headers, body.len(), body)
    }

    /// Returns an answer of `status`, without a body.
    pub(crate) fn status(status: u16) -> Vec<u8> {
        Self::answer(&format!("{status} Status"), &[], 0, b"")
    }

    /// Returns an answer that announces `length` bytes and sends `body`.
    pub(crate) fn answer(status: &str, headers: &[&str], length: usize, body: &[u8]) -> Vec<u8> {
        let mut answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
        for header in headers {
            answer.push_str(header);
            answer.push_str("\r\n");
        }
        answer.push_str("\r\n");
        [answer.as_bytes(), body].concat()
    }
}

/// Returns the client that the product uses, without the proxies of the machine that runs the
/// tests.
pub(crate) fn client() -> HttpClient {
    HttpClient::new(std::sync::Arc::default(), &crate::Server::default()).unwrap()
}
