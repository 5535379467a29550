//! A registry in memory that sets are fetched from: images of several platforms, charts, and tags
//! that move. A test may define responses of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::bundles::sha256;
use crate::lock;
use servers::server::part_of;
use servers::{Asked, Server};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CHART: &str = "application/vnd.cncf.helm.config.v1+json";

/// A running registry; it stops when this is dropped.
pub struct Upstream {
    /// Its address, `127.0.0.1:port`.
    pub address: String,
    server: Server,
    content: Arc<Mutex<Content>>,
}

type Answer = dyn Fn(&Asked) -> Option<Response> + Send + Sync;

#[derive(Default)]
struct Content {
    /// Manifests with their media types, by repository and tag or digest.
    manifests: BTreeMap<(String, String), (&'static str, Bytes)>,
    blobs: BTreeMap<String, Bytes>,
    instead: Option<Arc<Answer>>,
}

impl Upstream {
    /// Starts an empty registry.
    pub async fn start() -> Self {
        let content = Arc::<Mutex<Content>>::default();
        let served = Arc::clone(&content);
        let server = Server::start(move |asked| {
            let instead = lock(&served).instead.clone();
            if let Some(response) = instead.and_then(|instead| instead(asked)) {
                return response;
            }
            lock(&served).answer(asked)
        })
        .await;
        Self {
            address: server.address.clone(),
            server,
            content,
        }
    }

    /// Responds with `answer` from now on. The registry itself responds to requests for which
    /// `answer` returns `None`.
    pub fn instead(&self, answer: impl Fn(&Asked) -> Option<Response> + Send + Sync + 'static) {
        lock(&self.content).instead = Some(Arc::new(answer));
    }

    /// Ends the effect of [`Upstream::instead`].
    pub fn as_usual(&self) {
        lock(&self.content).instead = None;
    }

    /// Returns the requests so far, as `METHOD path`.
    pub fn asked(&self) -> Vec<String> {
        self.server.requests()
    }

    /// Returns how many requests there were so far.
    pub fn count(&self) -> usize {
        self.server.asked().len()
    }

    /// Puts an image under a tag: for each platform a config and a layer of `size` bytes besides a
    /// layer that all platforms share. The content is derived from `seed`. Returns the digest of
    /// the index.
    pub fn image(
        &self,
        repository: &str,
        tag: &str,
        platforms: &[&str],
        size: usize,
        seed: &str,
    ) -> String {
        let mut content = lock(&self.content);
        let shared = content.blob(filled(&format!("{repository} shared {seed}"), size));
        let mut children = Vec::new();
        for platform in platforms {
            let (os, architecture) = platform.split_once('/').expect("a platform");
            let (architecture, variant) = match architecture.split_once('/') {
                Some((architecture, variant)) => {
                    (architecture, format!(",\"variant\":\"{variant}\""))
                }
                None => (architecture, String::new()),
            };
            let config = content.blob(Bytes::from(format!(
                r#"{{"architecture":"{architecture}","os":"{os}"{variant},"config":{{"Env":["SEED={seed}"]}}}}"#
            )));
            let own = content.blob(filled(&format!("{repository} {platform} {seed}"), size));
            let manifest = format!(
                r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{},{}]}}"#,
                descriptor(CONFIG, &config),
                descriptor(LAYER, &shared),
                descriptor(LAYER, &own)
            );
            let (digest, length) = content.manifest(repository, MANIFEST, manifest);
            children.push(format!(
                r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{length},"platform":{{"architecture":"{architecture}","os":"{os}"{variant}}}}}"#
            ));
        }
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
            children.join(",")
        );
        let (digest, _) = content.manifest(repository, INDEX, index);
        content.tag(repository, tag, &digest);
        digest
    }

    /// Puts a chart under a tag, whose content is not read. Returns the digest of its manifest.
    pub fn chart(&self, repository: &str, tag: &str) -> String {
        self.chart_of(repository, tag, filled(repository, 500))
    }

    /// Puts a chart with this content, a `tar.gz`, under a tag. Returns the digest of its manifest.
    pub fn chart_of(&self, repository: &str, tag: &str, packed: impl Into<Bytes>) -> String {
        let mut content = lock(&self.content);
        let config = content.blob(Bytes::from(format!(
            r#"{{"name":"{repository}","version":"{tag}"}}"#
        )));
        let layer = content.blob(packed.into());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor(CHART, &config),
            descriptor(
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                &layer
            )
        );
        let (digest, _) = content.manifest(repository, MANIFEST, manifest);
        content.tag(repository, tag, &digest);
        digest
    }

    /// Puts a manifest that signs or attests `subject`, with content that is derived from `seed`.
    /// Returns its descriptor.
    pub fn signature(&self, repository: &str, subject: &str, seed: &str) -> String {
        let mut content = lock(&self.content);
        let config = content.blob(Bytes::from_static(b"{}"));
        let layer = content.blob(filled(&format!("{repository} {subject} {seed}"), 200));
        let subject = &content.manifests[&(repository.to_owned(), subject.to_owned())];
        let subject = descriptor(subject.0, &(digest(&subject.1), subject.1.len()));
        let kind = "application/vnd.example.signature.v1";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","artifactType":"{kind}","config":{},"layers":[{}],"subject":{subject}}}"#,
            descriptor("application/vnd.oci.empty.v1+json", &config),
            descriptor("application/vnd.dev.cosign.simplesigning.v1+json", &layer),
        );
        let (digest, size) = content.manifest(repository, MANIFEST, manifest);
        format!(
            r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{size},"artifactType":"{kind}"}}"#
        )
    }

    /// Puts an index of these descriptors under a tag.
    pub fn index(&self, repository: &str, tag: &str, descriptors: &[&str]) {
        let mut content = lock(&self.content);
        let (digest, _) = content.manifest(repository, INDEX, index_of(descriptors));
        content.tag(repository, tag, &digest);
    }

    /// Puts a manifest under a tag.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        lock(&self.content).tag(repository, tag, digest);
    }

    /// Returns the bytes of a blob.
    pub fn blob(&self, digest: &str) -> Bytes {
        lock(&self.content).blobs[digest].clone()
    }

    /// Returns the digests of all blobs, the largest first.
    pub fn blobs(&self) -> Vec<String> {
        let content = lock(&self.content);
        let mut blobs: Vec<_> = content.blobs.iter().collect();
        blobs.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
        blobs
            .into_iter()
            .map(|(digest, _)| digest.clone())
            .collect()
    }
}

impl Content {
    fn blob(&mut self, bytes: Bytes) -> (String, usize) {
        let digest = digest(&bytes);
        let length = bytes.len();
        self.blobs.insert(digest.clone(), bytes);
        (digest, length)
    }

    fn manifest(
        &mut self,
        repository: &str,
        media_type: &'static str,
        text: String,
    ) -> (String, usize) {
        let bytes = Bytes::from(text);
        let digest = digest(&bytes);
        let length = bytes.len();
        let key = (repository.to_owned(), digest.clone());
        self.manifests.insert(key, (media_type, bytes));
        (digest, length)
    }

    fn tag(&mut self, repository: &str, tag: &str, digest: &str) {
        let manifest = self.manifests[&(repository.to_owned(), digest.to_owned())].clone();
        let key = (repository.to_owned(), tag.to_owned());
        self.manifests.insert(key, manifest);
    }

    fn answer(&self, asked: &Asked) -> Response {
        let Some(path) = asked.path.strip_prefix("/v2/") else {
            return StatusCode::NOT_FOUND.into_response();
        };
        if path.is_empty() {
            return StatusCode::OK.into_response();
        }
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            let key = (repository.to_owned(), reference.to_owned());
            let Some((media_type, bytes)) = self.manifests.get(&key) else {
                return missing();
            };
            let headers = [
                (CONTENT_TYPE, (*media_type).to_owned()),
                (
                    HeaderName::from_static("docker-content-digest"),
                    digest(bytes),
                ),
            ];
            return (headers, bytes.clone()).into_response();
        }
        match path
            .split_once("/blobs/")
            .and_then(|(_, digest)| self.blobs.get(digest))
        {
            Some(bytes) => part_of(bytes, asked),
            None => missing(),
        }
    }
}

/// Returns an index of these descriptors.
pub fn index_of(descriptors: &[&str]) -> String {
    let all = descriptors.join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{all}]}}"#)
}

fn missing() -> Response {
    (
        StatusCode::NOT_FOUND,
        r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#,
    )
        .into_response()
}

fn descriptor(media_type: &str, (digest, size): &(String, usize)) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// Returns incompressible bytes that are derived from a seed.
pub(crate) fn filled(seed: &str, size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut block = Sha256::digest(seed.as_bytes());
    while bytes.len() < size {
        bytes.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    bytes.truncate(size);
    Bytes::from(bytes)
}
