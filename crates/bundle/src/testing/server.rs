//! A server that sends the exact bytes that a test gives, and records its requests. A real server
//! cannot be made to break a connection in the middle of a response.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot::{self, Sender};

use crate::HttpClient;

/// Sends one response for each connection, in order.
pub(crate) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A response that pauses before its last bytes until it is released.
struct Answer {
    first: Vec<u8>,
    rest: Vec<u8>,
    released: oneshot::Receiver<()>,
}

impl Server {
    pub(crate) async fn start(answers: Vec<Vec<u8>>) -> Self {
        let answers = answers.into_iter().map(|answer| (answer, 0));
        Self::start_holding(answers.collect()).await.0
    }

    /// Starts a server that holds back the last bytes of each response: as many as the number given
    /// with it. Sending to the returned channels releases them.
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
        let recorded = Arc::clone(&requests);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                recorded.lock().unwrap().push(request.to_ascii_lowercase());
                // Some tests abort their client.
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

    /// Returns a response with status 200.
    pub(crate) fn ok(headers: &[&str], body: &[u8]) -> Vec<u8> {
        Self::answer("200 OK", headers, body.len(), body)
    }

    /// Returns a response with `status`, without a body.
    pub(crate) fn status(status: u16) -> Vec<u8> {
        Self::answer(&format!("{status} Status"), &[], 0, b"")
    }

    /// Returns a response that announces `length` bytes and sends `body`.
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

/// Returns the client that the product uses, but without the proxies of the machine that runs the
/// tests.
pub(crate) fn client() -> HttpClient {
    HttpClient::new(std::sync::Arc::default(), &crate::Server::default()).unwrap()
}
