//! A registry in this process, for rehearsals and tests. It listens on loopback only.
//!
//! It is ferro-oci-server with its limits lifted. Differences from a registry for clusters:
//!
//! - It has no TLS and no credentials. Therefore it listens on loopback only.
//! - It stores blobs by digest alone. A blob of one repository exists in all of them, and a mount
//!   has no effect.
//! - It accepts a manifest with external layers, which are named by URL and never pushed.
//! - It holds about twice the size of each upload in memory until the blob is complete.
//!   ferro-oci-server's limit of 512 MiB per request is lifted.

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

/// A running registry. Dropping it stops it.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

/// Why the registry cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The address is not a loopback address.
    #[error("the embedded registry listens on loopback addresses only, not on {address}")]
    NotLoopback {
        /// The requested address.
        address: SocketAddr,
    },
    /// A different program listens on the address.
    #[error("another program already listens on {address}")]
    PortTaken {
        /// The requested address.
        address: SocketAddr,
    },
    /// The system refuses to listen on the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The folder for the content cannot be created.
    #[error("cannot store the embedded registry's content in `{path}`")]
    Directory {
        /// The requested folder.
        path: Utf8PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl Embedded {
    /// Starts a registry on `address`, with port 0 on any free port. It runs on the caller's tokio
    /// runtime.
    ///
    /// The content is stored in `directory` between runs, or in memory for this one.
    ///
    /// # Errors
    ///
    /// An [`EmbeddedError`]. A port that is taken is an error, so no command talks to a foreign
    /// registry.
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
        // This registry has the port, so no other one writes here.
        directory.into_iter().for_each(remove_unfinished);
        let address = listener
            .local_addr()
            .map_err(|source| EmbeddedError::Listen { address, source })?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let server = axum::serve(listener, router).with_graceful_shutdown(async move {
                // A dropped sender stops it as well.
                let _ = stopped.await;
            });
            // It returns no error after a shutdown.
            let _ = server.await;
        });
        Ok(Self {
            address,
            stop: Some(stop),
            server,
        })
    }

    /// Returns the address that the registry listens on, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the registry. Waits until requests in progress are answered and the port is free.
    pub async fn stop(mut self) {
        self.stop.take();
        // It has ended, with or without a panic.
        let _ = self.server.await;
    }
}

/// Removes incomplete blobs of a run that was killed or whose disk was full.
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
    // The routes of `ferro_oci_server::router`, listed here because its limit of a request's size
    // cannot be changed.
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
    async fn content_is_stored_between_runs() {
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
    async fn only_loopback_addresses_are_accepted() {
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
    async fn a_taken_port_has_an_error_of_its_own() {
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
