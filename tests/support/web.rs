//! A web server of files, such as a classic Helm repository. A test may define the response for a
//! path.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

use crate::bundles::{Member, gzip, sha256, tar};
use crate::lock;
use crate::upstream::filled;
use servers::server::part_of;
use servers::{Asked, Server};

/// A running server; it stops when this is dropped.
pub struct Web {
    /// Its address, `127.0.0.1:port`.
    pub address: String,
    server: Server,
    files: Arc<Mutex<BTreeMap<String, File>>>,
}

type Answer = dyn Fn(&Asked) -> Response + Send + Sync;

enum File {
    Bytes(Bytes),
    Answer(Arc<Answer>),
}

impl Web {
    /// Starts a server without files.
    pub async fn start() -> Self {
        let files = Arc::<Mutex<BTreeMap<String, File>>>::default();
        let served = Arc::clone(&files);
        let server = Server::start(move |asked| {
            let answer = match lock(&served).get(&asked.path) {
                None => return StatusCode::NOT_FOUND.into_response(),
                Some(File::Bytes(bytes)) => return part_of(bytes, asked),
                Some(File::Answer(answer)) => Arc::clone(answer),
            };
            answer(asked)
        })
        .await;
        Self {
            address: server.address.clone(),
            server,
            files,
        }
    }

    /// Serves these bytes under a path, which begins with a slash.
    pub fn put(&self, path: &str, bytes: impl Into<Bytes>) {
        lock(&self.files).insert(path.to_owned(), File::Bytes(bytes.into()));
    }

    /// Responds with `answer` under a path.
    pub fn answer(&self, path: &str, answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) {
        lock(&self.files).insert(path.to_owned(), File::Answer(Arc::new(answer)));
    }

    /// Returns the requests so far, as `METHOD path`.
    pub fn asked(&self) -> Vec<String> {
        self.server.requests()
    }

    /// Returns how many requests there were so far.
    pub fn count(&self) -> usize {
        self.server.asked().len()
    }
}

/// Returns a packed chart with this `Chart.yaml`, and with `size` bytes that do not compress.
pub fn chart(name: &str, metadata: &str, size: usize) -> Vec<u8> {
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: '{{ .Release.Name }}' }\n";
    let sub = "apiVersion: v2\nname: sub\nversion: 0.1.0\n";
    let member = |path: &str, bytes: &[u8]| Member::new(&format!("{name}/{path}"), bytes);
    gzip(&tar(&[
        member("charts/sub/Chart.yaml", sub.as_bytes()),
        member("Chart.yaml", metadata.as_bytes()),
        member("values.yaml", b"greeting: hello\n"),
        member("templates/map.yaml", template.as_bytes()),
        member("files/noise", &filled(name, size)),
    ]))
}

/// Returns the `index.yaml` of a repository with one version of a chart.
pub fn index(name: &str, version: &str, url: &str, packed: &[u8]) -> String {
    let digest = sha256(packed);
    format!(
        "apiVersion: v1\nentries:\n  other: []\n  {name}:\n  - name: {name}\n    version: 9.9.9\n    urls: [nowhere.tgz]\n  \
         - name: {name}\n    version: {version}\n    created: 2026-01-01T00:00:00Z\n    digest: {digest}\n    urls:\n    - {url}\n\
         generated: 2026-01-01T00:00:00Z\n"
    )
}
