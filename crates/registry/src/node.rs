//! Reads an artifact as a cluster's node does: without credentials, and with code that did not push
//! it.
//!
//! The push is this crate's own implementation; this reader is oci-client's. A bug in one is not
//! repeated in the other.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use oci_spec::image::Digest;
use serde::Deserialize;

use crate::artifact::{check_repository, check_tag};
use crate::digest::{check_digest, parse_digest};
use crate::manifest::{LARGEST_MANIFEST, MANIFEST_MEDIA_TYPES};
use crate::retry::{Again, Attempts, Failure};
use crate::violation::NodeFault;
use crate::{
    Blob, Endpoint, Error, RequestInfo, Scheme, Settings, Tally, classify, install_crypto_provider,
};

/// Maximum depth of nested indexes. The specification allows any; real indexes have a depth of one.
const DEEPEST_INDEX: usize = 8;

/// Number of blobs that are read concurrently.
const READS_AT_ONCE: usize = 4;

/// Maximum number of attempts at a read.
const ATTEMPTS: u32 = 3;

/// A reader without credentials.
pub struct Node {
    client: Client,
    endpoint: Endpoint,
    settings: Settings,
}

/// An artifact that was read. Every byte was compared with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Digest that the tag points at.
    pub digest: Digest,
    /// Digests of all manifests and indexes that were read, the tagged one first.
    pub manifests: Vec<Digest>,
    /// The blobs that they refer to, each counted once.
    pub blobs: Tally,
}

/// The descriptors of a manifest or an index. Unknown fields are ignored.
#[derive(Deserialize)]
struct References {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
    size: u64,
    urls: Option<Vec<serde::de::IgnoredAny>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Returns a reader for the registry at `endpoint`. Sends no request.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] or [`Error::NodePull`] if no HTTP client can be built on this machine.
    pub fn new(endpoint: Endpoint) -> Result<Self, Error> {
        install_crypto_provider();
        let settings = Settings {
            attempts: ATTEMPTS,
            ..Settings::default()
        };
        let mut config = ClientConfig {
            protocol: match endpoint.scheme() {
                Scheme::Https => ClientProtocol::Https,
                Scheme::HttpOnLoopback => ClientProtocol::Http,
            },
            extra_root_certificates: endpoint
                .certificates()
                .iter()
                .map(|certificate| Certificate {
                    encoding: CertificateEncoding::Der,
                    data: certificate.to_vec(),
                })
                .collect(),
            // Plain HTTP verifies nothing. Without this, a machine that has no CA certificates
            // could not build the client.
            accept_invalid_certificates: endpoint.scheme() == Scheme::HttpOnLoopback,
            connect_timeout: Some(settings.connect_timeout),
            // Nothing is uploaded here, so this is only the timeout of a stalled download.
            read_timeout: Some(settings.stall_timeout),
            user_agent: concat!("airlock-node/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        if endpoint.is_loopback() {
            // oci-client cannot be configured to use no proxy. It gets an unusable one, with
            // loopback as an exception.
            let unused = Some("http://127.0.0.1:9".to_owned());
            config.http_proxy = unused.clone();
            config.https_proxy = unused;
            config.no_proxy = Some("localhost,127.0.0.0/8,::1".to_owned());
        }
        let client = Client::try_from(config).map_err(|source| match source {
            OciDistributionError::RequestError(error) => Error::Client {
                address: endpoint.address().to_owned(),
                source: error.into(),
            },
            source => Error::NodePull {
                address: endpoint.address().to_owned(),
                reference: "anything".to_owned(),
                source: Box::new(source),
            },
        })?;
        Ok(Self {
            client,
            endpoint,
            settings,
        })
    }

    /// Reads a complete artifact: the tagged manifest, everything that it lists, and every blob.
    /// Nothing is stored.
    ///
    /// All platforms are read, since a node of any platform may be added. A real node reads only
    /// its own.
    ///
    /// # Errors
    ///
    /// - [`Error::Unauthorized`] if nodes need credentials.
    /// - [`Error::NodePull`] or [`Error::NodeContent`] if something is missing or differs from its
    ///   digest.
    /// - Otherwise the error of the request.
    pub async fn pull(&self, repository: &str, tag: &str) -> Result<Pulled, Error> {
        check_repository(repository)?;
        check_tag(tag)?;
        let registry = self.endpoint.address().to_owned();
        let tagged = Reference::with_tag(registry, repository.to_owned(), tag.to_owned());
        let mut waiting = vec![(tagged, 0)];
        let mut manifests = Vec::new();
        let mut seen_blobs = HashSet::new();
        let mut blobs = Vec::new();
        while let Some((reference, depth)) = waiting.pop() {
            if depth > DEEPEST_INDEX {
                let most = DEEPEST_INDEX;
                return Err(self.content_error(&reference, NodeFault::Deep { most }));
            }
            let (digest, shape) = self.manifest(&reference).await?;
            if manifests.contains(&digest) {
                continue;
            }
            manifests.push(digest);
            for child in shape.manifests {
                check_digest(&child.digest)?;
                let child = self.by_digest(repository, &child.digest);
                waiting.push((child, depth + 1));
            }
            // A layer with URLs need not be in the registry: nodes download it from these URLs.
            let layers = shape
                .layers
                .into_iter()
                .filter(|layer| layer.urls.as_ref().is_none_or(Vec::is_empty));
            for blob in shape.config.into_iter().chain(layers) {
                check_digest(&blob.digest)?;
                if seen_blobs.insert(blob.digest.clone()) {
                    blobs.push(Blob {
                        digest: blob.digest,
                        size: blob.size,
                    });
                }
            }
        }
        let mut tally = Tally::default();
        // Collected before any of them runs: a closure inside the stream would make the future of
        // this function unsuitable for `tokio::spawn`.
        let reads: Vec<_> = blobs
            .iter()
            .map(|blob| self.blob(repository, blob))
            .collect();
        let mut reads = stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        while let Some(size) = reads.try_next().await? {
            tally.blobs += 1;
            tally.bytes += size;
        }
        Ok(Pulled {
            digest: manifests[0].clone(),
            manifests,
            blobs: tally,
        })
    }

    async fn manifest(&self, reference: &Reference) -> Result<(Digest, References), Error> {
        let mut attempts = Attempts::new(&self.settings, &());
        let (bytes, digest) = loop {
            let response = self
                .client
                .pull_manifest_raw(reference, &RegistryAuth::Anonymous, &MANIFEST_MEDIA_TYPES)
                .await;
            match response {
                Ok(response) => break response,
                Err(error) => {
                    attempts
                        .pause(self.failure(error, reference, "manifests"))
                        .await?
                }
            }
        };
        if bytes.len() > LARGEST_MANIFEST {
            let limit = LARGEST_MANIFEST;
            return Err(self.content_error(reference, NodeFault::Long { limit }));
        }
        let digest = parse_digest(&digest)?;
        let shape = serde_json::from_slice(&bytes)
            .map_err(|error| self.content_error(reference, NodeFault::Manifest(error)))?;
        Ok((digest, shape))
    }

    async fn blob(&self, repository: &str, blob: &Blob) -> Result<u64, Error> {
        let reference = self.by_digest(repository, &blob.digest);
        let mut attempts = Attempts::new(&self.settings, &());
        loop {
            match self.blob_once(&reference, blob).await {
                Ok(size) if size == blob.size => return Ok(size),
                Ok(size) => {
                    let fault = NodeFault::Size {
                        found: size,
                        expected: blob.size,
                    };
                    return Err(self.content_error(&reference, fault));
                }
                Err(error) => {
                    attempts
                        .pause(self.failure(error, &reference, "blobs"))
                        .await?
                }
            }
        }
    }

    async fn blob_once(
        &self,
        reference: &Reference,
        blob: &Blob,
    ) -> Result<u64, OciDistributionError> {
        let mut stream = self
            .client
            .pull_blob_stream(reference, blob.digest.as_ref())
            .await?
            .stream;
        let mut size = 0;
        // The stream ends with an error if its bytes do not match the digest.
        while let Some(piece) = stream.try_next().await? {
            size += piece.len() as u64;
            if size > blob.size {
                // The rest may have any length.
                break;
            }
        }
        Ok(size)
    }

    fn by_digest(&self, repository: &str, digest: &Digest) -> Reference {
        let registry = self.endpoint.address().to_owned();
        Reference::with_digest(registry, repository.to_owned(), digest.to_string())
    }

    /// Maps an error of oci-client to one of this crate, and decides whether it is transient.
    fn failure(&self, error: OciDistributionError, reference: &Reference, kind: &str) -> Failure {
        let repository = reference.repository();
        let named = reference.digest().or(reference.tag()).unwrap_or_default();
        let path = format!("/v2/{repository}/{kind}/{named}");
        let place = RequestInfo::new("GET", &self.endpoint.url(&path), repository);
        let again = match &error {
            OciDistributionError::ServerError { code, .. } if *code == 429 || *code >= 500 => {
                Again::After(None)
            }
            // A lost connection. A wrong digest is wrapped in the same way, but it is permanent.
            OciDistributionError::IoError(error) if !is_digest_error(error) => Again::After(None),
            _ => Again::Never,
        };
        let request = match &error {
            OciDistributionError::RequestError(error) => Some(error),
            OciDistributionError::IoError(error) => requests::find(error),
            _ => None,
        };
        if let Some(error) = request {
            return classify::connection(error, place, self.settings.connect_timeout);
        }
        match error {
            OciDistributionError::UnauthorizedError { .. } => {
                Failure::permanent(Error::Unauthorized {
                    at: Box::new(place),
                    response: Box::new(crate::ErrorResponse {
                        status: 401,
                        code: None,
                        message: Some("nodes have no credentials".to_owned()),
                    }),
                    is_login: false,
                })
            }
            error => Failure {
                error: Error::NodePull {
                    address: self.endpoint.address().to_owned(),
                    reference: self.reference_name(reference),
                    source: Box::new(error),
                },
                again,
            },
        }
    }

    fn content_error(&self, reference: &Reference, fault: NodeFault) -> Error {
        Error::NodeContent {
            address: self.endpoint.address().to_owned(),
            reference: self.reference_name(reference),
            fault,
        }
    }

    fn reference_name(&self, reference: &Reference) -> String {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => format!("{}@{digest}", reference.repository()),
            (None, tag) => format!("{}:{}", reference.repository(), tag.unwrap_or_default()),
        }
    }
}

fn is_digest_error(error: &std::io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<oci_client::errors::DigestError>())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;

    use super::*;
    use crate::fake::{Blobs, Fake, certificates, index};
    use crate::{Artifact, Credentials, Registry};

    const REPOSITORY: &str = "mke/calico/node";

    async fn pushed(fake: &Fake) -> Artifact {
        let blobs = Blobs::new();
        let artifact = index(&blobs, REPOSITORY, "v1");
        fake.registry().push(&artifact, &blobs, &()).await.unwrap();
        artifact
    }

    #[tokio::test]
    async fn a_pushed_artifact_is_read_completely() {
        let fake = Fake::over_registry(|_| None).await;
        let artifact = pushed(&fake).await;
        let node = Node::new(fake.endpoint()).unwrap();
        let pulled = node.pull(REPOSITORY, "v1").await.unwrap();
        assert_eq!(pulled.digest, artifact.manifests[2].digest);
        assert_eq!(pulled.manifests.len(), 3);
        let sizes = artifact.blobs_by_size();
        assert_eq!(pulled.blobs.blobs, sizes.len() as u64);
        assert_eq!(
            pulled.blobs.bytes,
            sizes.iter().map(|b| b.size).sum::<u64>()
        );
    }

    #[tokio::test]
    async fn a_private_authority_serves_nodes_too() {
        let certificates = certificates();
        let fake = Fake::over_tls(&certificates).await;
        let address = fake.address.to_string();
        let endpoint = Endpoint::new(&address, Some(&certificates.ca_pem)).unwrap();
        let blobs = Blobs::new();
        let artifact = index(&blobs, REPOSITORY, "v1");
        let registry = Registry::new(endpoint.clone(), Credentials::Anonymous).unwrap();
        registry.push(&artifact, &blobs, &()).await.unwrap();
        let node = Node::new(endpoint).unwrap();
        node.pull(REPOSITORY, "v1").await.unwrap();

        let stranger = crate::fake::certificates().ca_pem;
        let endpoint = Endpoint::new(&address, Some(&stranger)).unwrap();
        let node = Node::new(endpoint).unwrap();
        let error = node.pull(REPOSITORY, "v1").await.unwrap_err();
        assert!(matches!(error, Error::UnknownAuthority { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_blob_that_is_not_its_digest_is_found() {
        let fake = Fake::over_registry(|seen| {
            (seen.is("GET", "/blobs/")).then(|| "something else".into_response())
        })
        .await;
        pushed(&fake).await;
        let node = Node::new(fake.endpoint()).unwrap();
        let error = node.pull(REPOSITORY, "v1").await.unwrap_err();
        assert!(matches!(error, Error::NodePull { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_blob_without_end_is_not_read_for_ever() {
        let fake = Fake::over_registry(|seen| {
            seen.is("GET", "/blobs/").then(|| {
                let piece = Ok::<_, std::convert::Infallible>(vec![0; 1 << 16]);
                let endless = stream::repeat(piece);
                axum::body::Body::from_stream(endless).into_response()
            })
        })
        .await;
        pushed(&fake).await;
        let node = Node::new(fake.endpoint()).unwrap();
        let pulling = node.pull(REPOSITORY, "v1");
        let pulled = tokio::time::timeout(std::time::Duration::from_secs(20), pulling).await;
        let error = pulled.expect("it is still read").unwrap_err();
        assert!(matches!(error, Error::NodeContent { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_missing_child_or_blob_is_found() {
        for part in ["/manifests/sha256:", "/blobs/"] {
            let fake = Fake::over_registry(move |seen| {
                seen.is("GET", part)
                    .then(|| StatusCode::NOT_FOUND.into_response())
            })
            .await;
            pushed(&fake).await;
            let node = Node::new(fake.endpoint()).unwrap();
            let error = node.pull(REPOSITORY, "v1").await.unwrap_err();
            assert!(matches!(error, Error::NodePull { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("mke/calico/node@sha256:"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_registry_that_wants_credentials_of_nodes_is_named() {
        let fake = Fake::start(|_| {
            let challenge = [("www-authenticate", "Basic realm=\"registry\"")];
            (StatusCode::UNAUTHORIZED, challenge).into_response()
        })
        .await;
        let node = Node::new(fake.endpoint()).unwrap();
        let error = node.pull(REPOSITORY, "v1").await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    }
}
