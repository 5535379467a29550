//! What the tests of this crate talk to: scripted servers that record every request, over plain HTTP or TLS;
//! and artifacts made on the spot.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use futures_util::StreamExt;
use oci_spec::image::{Digest, MediaType};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::digest::sha256;
use crate::{Artifact, Blob, BlobSource, Credentials, Endpoint, Manifest, Registry, Settings};

/// A request as a server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns a parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// A server on loopback that ends with the test.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    /// Starts a server that answers every request by `answer`.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        Self::start_with_cuts(answer, |_| {}).await
    }

    /// Starts a server like [`Fake::start`] that also hears of requests whose body was cut, with what came of it. They are not counted.
    pub(crate) async fn start_with_cuts(
        answer: impl Fn(&Seen) -> Response + Send + Sync + 'static,
        cut: impl Fn(&Seen) + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Router::new(), move |seen| Some(answer(seen)), cut, None).await
    }

    /// Starts a real registry, from which `intercept` may take requests away by answering them itself.
    pub(crate) async fn over_registry(
        intercept: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let router = crate::embedded::router(None).unwrap();
        Self::serve(router, intercept, |_| {}, None).await
    }

    /// Starts a real registry that speaks TLS with this certificate.
    pub(crate) async fn over_tls(certificates: &Certificates) -> Self {
        let router = crate::embedded::router(None).unwrap();
        Self::serve(router, |_| None, |_| {}, Some(certificates.acceptor())).await
    }

    async fn serve(
        router: Router,
        intercept: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static,
        cut: impl Fn(&Seen) + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let intercept = Arc::new(intercept);
        let cut = Arc::new(cut);
        let router = router
            .fallback(|| async { "nobody answers this" })
            .layer(from_fn(move |request: Request, next: Next| {
                let (record, intercept) = (Arc::clone(&record), Arc::clone(&intercept));
                let cut = Arc::clone(&cut);
                async move {
                    let (parts, body) = request.into_parts();
                    let mut body = body.into_data_stream();
                    let mut bytes = Vec::new();
                    let mut whole = true;
                    while let Some(piece) = body.next().await {
                        match piece {
                            Ok(piece) => bytes.extend_from_slice(&piece),
                            Err(_) => whole = false,
                        }
                    }
                    let body = Bytes::from(bytes);
                    let seen = Seen {
                        method: parts.method.clone(),
                        path: parts.uri.path().to_owned(),
                        query: parts.uri.query().unwrap_or_default().to_owned(),
                        headers: parts.headers.clone(),
                        body: body.clone(),
                    };
                    if !whole {
                        cut(&seen);
                        // No server is left to respond.
                        return Response::new(Body::empty());
                    }
                    record.lock().unwrap().push(seen.clone());
                    match intercept(&seen) {
                        Some(answer) => answer,
                        None => next.run(Request::from_parts(parts, Body::from(body))).await,
                    }
                }
            }));
        let server = tokio::spawn(async move {
            match tls {
                None => axum::serve(listener, router).await.unwrap(),
                Some(acceptor) => {
                    let listener = TlsListener { listener, acceptor };
                    axum::serve(listener, router).await.unwrap();
                }
            }
        });
        Self {
            address,
            seen,
            server,
        }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.address.to_string(), None).unwrap()
    }

    /// Returns a registry without credentials that does not wait long between attempts.
    pub(crate) fn registry(&self) -> Registry {
        self.registry_as(Credentials::Anonymous)
    }

    pub(crate) fn registry_as(&self, credentials: Credentials) -> Registry {
        Registry::with_settings(self.endpoint(), credentials, hasty()).unwrap()
    }

    /// Returns what was asked so far: `PUT /v2/...`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen(|seen| format!("{} {}", seen.method, seen.path))
    }

    pub(crate) fn seen<T>(&self, each: impl Fn(&Seen) -> T) -> Vec<T> {
        self.seen.lock().unwrap().iter().map(each).collect()
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.is(method, part)).count()
    }
}

/// Settings that do not make a test wait.
pub(crate) fn hasty() -> Settings {
    Settings {
        attempts: 3,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        ..Settings::default()
    }
}

/// Returns a loopback address without a listener.
pub(crate) async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // A client that does not trust the certificate ends the handshake here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A certificate for a server, and the authority that it is from.
pub(crate) struct Certificates {
    pub(crate) ca_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Certificates {
    fn acceptor(&self) -> TlsAcceptor {
        crate::install_crypto_provider();
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Returns a good certificate for 127.0.0.1.
pub(crate) fn certificates() -> Certificates {
    certificates_with(&["127.0.0.1"], |_| {})
}

/// Returns a certificate for 127.0.0.1 that is its own authority, as `openssl req -x509` makes it.
pub(crate) fn self_signed() -> Certificates {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Certificates {
        ca_pem: certificate.pem(),
        chain: vec![certificate.der().clone()],
        key: key.serialize_der(),
    }
}

/// Returns a certificate for these names, changed by `change` before it is signed.
pub(crate) fn certificates_with(
    names: &[&str],
    change: impl Fn(&mut CertificateParams),
) -> Certificates {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    Certificates {
        ca_pem,
        chain: vec![leaf.der().clone()],
        key: key.serialize_der(),
    }
}

/// Files by digest.
pub(crate) struct Blobs {
    folder: tempfile::TempDir,
    opened: Mutex<HashMap<String, usize>>,
}

impl Blobs {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            opened: Mutex::default(),
        }
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> Digest {
        let digest: Digest = sha256(bytes).parse().unwrap();
        self.put_as(&digest, bytes);
        digest
    }

    pub(crate) fn blob(&self, bytes: &[u8]) -> Blob {
        Blob {
            digest: self.put(bytes),
            size: bytes.len() as u64,
        }
    }

    /// Puts bytes where a digest should be, right or wrong.
    pub(crate) fn put_as(&self, digest: &Digest, bytes: &[u8]) {
        let path = self.folder.path().join(digest.digest());
        File::create(path).unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn opened(&self, digest: &Digest) -> usize {
        let opened = self.opened.lock().unwrap();
        opened.get(digest.as_ref()).copied().unwrap_or_default()
    }
}

impl BlobSource for Blobs {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        *self
            .opened
            .lock()
            .unwrap()
            .entry(digest.to_string())
            .or_default() += 1;
        File::open(self.folder.path().join(digest.digest()))
    }
}

/// Makes an image with these layers; its second to last bytes are odd on purpose, so a re-written manifest would differ.
pub(crate) fn image(blobs: &Blobs, repository: &str, tag: &str, layers: &[&[u8]]) -> Artifact {
    let manifest = image_manifest(blobs, layers);
    Artifact {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        manifests: vec![manifest],
    }
}

/// Makes an index over two images that share their first layer.
pub(crate) fn index(blobs: &Blobs, repository: &str, tag: &str) -> Artifact {
    static SHARED: LazyLock<Vec<u8>> = LazyLock::new(|| vec![1; 100_000]);
    let amd64 = image_manifest(blobs, &[&SHARED, b"amd64"]);
    let arm64 = image_manifest(blobs, &[&SHARED, b"arm64"]);
    let list: Vec<String> = [&amd64, &arm64]
        .iter()
        .map(|child| {
            format!(
                r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
                child.media_type, child.digest, child.size
            )
        })
        .collect();
    let media_type = MediaType::ImageIndex;
    let text = format!(
        r#"{{"schemaVersion":2,  "mediaType":"{media_type}","manifests":[{}],"zz":0}}"#,
        list.join(",")
    );
    let root = Manifest {
        digest: blobs.put(text.as_bytes()),
        media_type,
        size: text.len() as u64,
        blobs: Vec::new(),
    };
    Artifact {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        manifests: vec![amd64, arm64, root],
    }
}

fn image_manifest(blobs: &Blobs, layers: &[&[u8]]) -> Manifest {
    let config = format!(r#"{{"architecture":"any","layers":{}}}"#, layers.len());
    let contents = std::iter::once(config.as_bytes()).chain(layers.iter().copied());
    let blobs_of: Vec<Blob> = contents.map(|bytes| blobs.blob(bytes)).collect();
    let described: Vec<String> = blobs_of
        .iter()
        .map(|blob| {
            format!(
                r#"{{"mediaType":"application/octet-stream","digest":"{}","size":{}}}"#,
                blob.digest, blob.size
            )
        })
        .collect();
    let media_type = MediaType::ImageManifest;
    let text = format!(
        r#"{{"schemaVersion":2,  "mediaType":"{media_type}","config":{},"layers":[{}],"zz":0}}"#,
        described[0],
        described[1..].join(",")
    );
    Manifest {
        digest: blobs.put(text.as_bytes()),
        media_type,
        size: text.len() as u64,
        blobs: blobs_of,
    }
}
