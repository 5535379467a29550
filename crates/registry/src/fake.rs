//! Fixtures: servers, clients that reach them, and generated artifacts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use oci_spec::image::{Digest, MediaType};
use secrecy::SecretString;
pub(crate) use servers::faulty::{Mounts, Quirks};
pub(crate) use servers::{Asked as Seen, Certificates, Server};
use servers::{FaultyRegistry, faulty};
use tokio::net::{TcpListener, TcpStream};

use crate::digest::sha256;
use crate::{Artifact, Blob, BlobSource, Credentials, Endpoint, Manifest, Registry, Settings};

/// A server of the crate `servers`, with a client of this crate.
pub(crate) struct Reached<S>(S);

/// A web server with a closure that responds, or an embedded registry.
pub(crate) type Fake = Reached<Server>;

/// A registry that stores blobs per repository, as distribution does, with configurable quirks.
pub(crate) type Distribution = Reached<FaultyRegistry>;

impl<S> Deref for Reached<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl Fake {
    /// Starts a server that responds with `answer`.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        Self(Server::start(answer).await)
    }

    /// Starts an embedded registry. `intercept` may respond to requests in its place.
    pub(crate) async fn over_registry(
        intercept: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        Self(Server::before(crate::embedded::router(None).unwrap(), intercept).await)
    }

    /// Starts an embedded registry with TLS and this certificate.
    pub(crate) async fn over_tls(certificates: &Certificates) -> Self {
        Self(Server::over_tls(crate::embedded::router(None).unwrap(), certificates).await)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.address, None).unwrap()
    }

    /// Returns a client without credentials that pauses briefly between attempts.
    pub(crate) fn registry(&self) -> Registry {
        self.registry_as(Credentials::Anonymous)
    }

    pub(crate) fn registry_as(&self, credentials: Credentials) -> Registry {
        Registry::with_settings(self.endpoint(), credentials, hasty()).unwrap()
    }
}

impl Distribution {
    /// Starts an empty registry without quirks.
    pub(crate) async fn start() -> Self {
        Self::with(Quirks::default(), |_| None).await
    }

    /// Starts an empty registry. `intercept` may respond to requests in its place.
    pub(crate) async fn with(
        quirks: Quirks,
        intercept: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        Self(FaultyRegistry::recorded(quirks, intercept).await)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.address, None).unwrap()
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::with_settings(self.endpoint(), Credentials::Anonymous, hasty()).unwrap()
    }

    /// Counts the requests that asked for a mount.
    pub(crate) fn mounts(&self) -> usize {
        let asked = self.seen(|seen| seen.method == "POST" && seen.query.contains("mount="));
        asked.into_iter().filter(|asked| *asked).count()
    }
}

/// Returns an error response in the form of the specification.
pub(crate) fn refusal(status: StatusCode, code: &str) -> Response {
    faulty::refusal(status.as_u16(), code)
}

/// Returns settings with short pauses.
pub(crate) fn hasty() -> Settings {
    Settings {
        attempts: 3,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        ..Settings::default()
    }
}

/// Returns credentials of the user `deployer`.
pub(crate) fn deployer(password: &str) -> Credentials {
    Credentials::Basic {
        username: "deployer".to_owned(),
        password: SecretString::from(password),
    }
}

/// Starts a server on a bare socket that calls `then` with each connection. Returns its address.
pub(crate) async fn on_socket<F>(then: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(then(stream));
        }
    });
    address
}

/// Returns a loopback address without a listener.
pub(crate) async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Returns a valid certificate for 127.0.0.1.
pub(crate) fn certificates() -> Certificates {
    Certificates::new(&["127.0.0.1"], |_| {})
}

/// A folder of files named by digest.
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

    /// Stores bytes under a digest, which may be wrong.
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

/// Makes an image with these layers. Its JSON has unusual spaces and a last field, so a manifest
/// that was parsed and serialized again would differ.
pub(crate) fn image(blobs: &Blobs, repository: &str, tag: &str, layers: &[&[u8]]) -> Artifact {
    let manifest = image_manifest(blobs, layers);
    Artifact {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        manifests: vec![manifest],
    }
}

/// Repository of [`large`].
pub(crate) const REPOSITORY: &str = "mke/calico/node";
/// Size of the layer of [`large`] in bytes.
pub(crate) const SIZE: usize = 12 << 20;

/// Makes an image with one large layer of pseudo-random bytes.
pub(crate) fn large(blobs: &Blobs) -> Artifact {
    let layer: Vec<u8> = (0..SIZE as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    image(blobs, REPOSITORY, "v1", &[&layer])
}

/// Makes an index of two images that share their first layer.
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
