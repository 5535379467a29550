//! A registry in this process, for rehearsals and tests. It listens on this machine only.
//!
//! It is ferro-oci-server with its limits lifted. It differs from a registry for clusters:
//!
//! - it has no TLS and no credentials, which is why it listens on loopback and nowhere else;
//! - it knows blobs by digest alone, so a blob of one repository exists in all of them, and
//!   mounting does nothing;
//! - it takes a manifest with external layers, which are named by URL and never pushed;
//! - it holds each upload in memory, about twice, until the blob is complete. Its own limit of 512
//!   MiB a request is lifted here; what remains is the machine's memory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use camino::{Utf8Path, Utf8PathBuf};
use ferro_blob_store::{FsBlobStore, InMemoryBlobStore};
use ferro_oci_server::handlers::{base, catalog};
use ferro_oci_server::router::dispatch;
use ferro_oci_server::{AppState, InMemoryRegistryMeta};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

mod external;

/// A running registry. It stops when this is dropped.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

/// Why the registry cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The address is reachable from other machines.
    #[error("the embedded registry listens on loopback addresses only, not on {address}")]
    NotLoopback {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// Something else listens at this address already.
    #[error("another program already listens on {address}")]
    PortTaken {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The folder for the content cannot be made.
    #[error("cannot store the embedded registry's content in `{path}`")]
    Directory {
        /// The folder that was asked for.
        path: Utf8PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Embedded {
    /// Starts a registry on `address`; port 0 takes any free one.
    ///
    /// Its content is kept in `directory` between runs, or in memory until the end of this one. It
    /// runs on the caller's tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`EmbeddedError`]. A port that is taken is never shared: talking to a foreign registry
    /// would be worse than to none.
    pub async fn start(
        address: SocketAddr,
        directory: Option<&Utf8Path>,
    ) -> Result<Self, EmbeddedError> {
        if !address.ip().is_loopback() {
            return Err(EmbeddedError::NotLoopback { address });
        }
        let router = router(directory)?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => EmbeddedError::PortTaken { address },
                _ => EmbeddedError::Listen { address, source },
            })?;
        // The port is this one's, so nothing else writes here.
        directory.into_iter().for_each(remove_unfinished);
        let address = listener
            .local_addr()
            .map_err(|source| EmbeddedError::Listen { address, source })?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let server = axum::serve(listener, router).with_graceful_shutdown(async move {
                // A sender that is gone means the same as one that speaks.
                let _ = stopped.await;
            });
            // It ends without an error when it is stopped.
            let _ = server.await;
        });
        Ok(Self {
            address,
            stop: Some(stop),
            server,
        })
    }

    /// Returns the address that the registry listens on, with the port that it took.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the registry and waits until requests under way are answered and the port is free.
    pub async fn stop(mut self) {
        self.stop.take();
        // It has panicked or it has ended; it is gone either way.
        let _ = self.server.await;
    }
}

/// Removes the blobs that a run has left unfinished which was killed, or whose disk was full.
fn remove_unfinished(directory: &Utf8Path) {
    let files = directory.join("blobs/sha256/.tmp").read_dir_utf8();
    for file in files.into_iter().flatten().flatten() {
        // The next run tries again.
        let _ = std::fs::remove_file(file.path());
    }
}

/// Returns the registry's routes, with the content in `directory` or in memory.
pub(crate) fn router(directory: Option<&Utf8Path>) -> Result<Router, EmbeddedError> {
    let state = match directory {
        Some(path) => {
            let cannot = |source| EmbeddedError::Directory {
                path: path.to_owned(),
                source,
            };
            std::fs::create_dir_all(path).map_err(cannot)?;
            let blobs = FsBlobStore::new(path.join("blobs"))
                .map_err(|error| cannot(io::Error::other(error)))?;
            let metadata = InMemoryRegistryMeta::with_persistence(path.as_std_path());
            AppState::with_max_upload_session_bytes(
                external::store(blobs),
                Arc::new(metadata),
                u64::MAX,
            )
        }
        None => AppState::with_max_upload_session_bytes(
            external::store(InMemoryBlobStore::new()),
            Arc::new(InMemoryRegistryMeta::new()),
            u64::MAX,
        ),
    };
    // The routes of `ferro_oci_server::router` one by one, since its own limit of a request's size
    // cannot be lifted from outside.
    Ok(Router::new()
        .route("/v2/", get(base::version_check))
        .route("/v2", get(base::version_check))
        .route("/v2/_catalog", get(catalog::list_catalog))
        .route(
            "/v2/{*rest}",
            get(dispatch::dispatch_get)
                .head(dispatch::dispatch_head)
                .delete(dispatch::dispatch_delete)
                .merge(post(dispatch::dispatch_post))
                .patch(dispatch::dispatch_patch_inner)
                .put(dispatch::dispatch_put_inner),
        )
        .layer(axum::middleware::from_fn(external::admit))
        .layer(DefaultBodyLimit::disable())
        .with_state(state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Blobs, image};
    use crate::{Credentials, Endpoint, Registry};

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn registry(embedded: &Embedded) -> Registry {
        let endpoint = Endpoint::new(&embedded.address().to_string(), None).unwrap();
        Registry::new(endpoint, Credentials::Anonymous).unwrap()
    }

    #[tokio::test]
    async fn content_is_kept_between_runs() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Utf8Path::from_path(folder.path()).unwrap().join("kept");
        let blobs = Blobs::new();
        let artifact = image(&blobs, "mke/calico/node", "v1", &[b"layer"]);
        let digest = artifact.manifests[0].digest.clone();

        let embedded = Embedded::start(loopback(), Some(&directory)).await.unwrap();
        let address = embedded.address();
        let first = registry(&embedded)
            .push(&artifact, &blobs, &())
            .await
            .unwrap();
        assert_eq!(first.uploaded.blobs, 2);
        embedded.stop().await;
        let unfinished = directory.join("blobs/sha256/.tmp/half.tmp");
        std::fs::write(&unfinished, "half").unwrap();

        let embedded = Embedded::start(address, Some(&directory)).await.unwrap();
        assert!(!unfinished.exists());
        let second = registry(&embedded)
            .push(&artifact, &blobs, &())
            .await
            .unwrap();
        assert_eq!(second.uploaded.blobs, 0);
        let layer = &artifact.manifests[0].blobs[1].digest;
        let mut reader = registry(&embedded)
            .get_blob("mke/calico/node", layer, 5)
            .await
            .unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().as_ref(), b"layer");
        assert_eq!(second.digest, digest);
    }

    #[tokio::test]
    async fn external_layers_alone_may_be_missing_from_a_manifest() {
        let embedded = Embedded::start(loopback(), None).await.unwrap();
        // This sets up TLS for the process, which each HTTP client requires.
        registry(&embedded).ping().await.unwrap();
        let base = format!("http://{}/v2/mke/windows", embedded.address());
        let digest = crate::digest::sha256(b"windows");
        let put = async |layer: serde_json::Value| {
            let manifest = serde_json::json!({ "schemaVersion": 2, "layers": [layer] });
            let request = reqwest::Client::new().put(format!("{base}/manifests/v1"));
            let media_type = "application/vnd.oci.image.manifest.v1+json";
            let request = request.header("content-type", media_type);
            let answer = request.body(manifest.to_string()).send().await.unwrap();
            answer.status().as_u16()
        };
        for urls in [serde_json::json!([]), serde_json::Value::Null] {
            let missing = serde_json::json!({ "digest": digest, "size": 7, "urls": urls });
            assert_eq!(put(missing).await, 404);
        }
        let external = serde_json::json!({
            "digest": digest, "size": 7, "urls": ["https://mcr.example.com/windows"],
        });
        assert_eq!(put(external).await, 201);
        // It is in the manifest, and not in the registry.
        let url = format!("{base}/blobs/{digest}");
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status().as_u16(), 404);
    }

    #[tokio::test]
    async fn other_machines_cannot_reach_it() {
        for address in ["0.0.0.0:0", "192.0.2.1:5000", "[::]:0"] {
            let result = Embedded::start(address.parse().unwrap(), None).await;
            let error = result.unwrap_err();
            assert!(
                matches!(error, EmbeddedError::NotLoopback { .. }),
                "{error:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_told_apart() {
        let first = Embedded::start(loopback(), None).await.unwrap();
        let error = Embedded::start(first.address(), None).await.unwrap_err();
        assert!(
            matches!(error, EmbeddedError::PortTaken { .. }),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn it_stops_when_it_is_dropped() {
        let embedded = Embedded::start(loopback(), None).await.unwrap();
        let address = embedded.address();
        registry(&embedded).ping().await.unwrap();
        drop(embedded);
        // The port is free again as soon as the server task has run.
        for _ in 0..100 {
            if Embedded::start(address, None).await.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the port is still taken");
    }

    #[tokio::test]
    async fn a_file_in_the_directorys_place_is_an_error_with_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = Utf8Path::from_path(file.path()).unwrap();
        let error = Embedded::start(loopback(), Some(path)).await.unwrap_err();
        assert!(error.to_string().contains(path.as_str()), "{error}");
    }
}
