//! External layers, which a manifest names with `urls` and no push sends.
//!
//! ferro-oci-server refuses a manifest if one of its blobs is missing. While a manifest is put, its
//! external layers count as present.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use ferro_blob_store::{BlobStore, Digest, Result, SharedBlobStore};
use serde_json::Value;

/// Maximum size of a manifest in bytes.
const LARGEST: usize = 4 << 20;

tokio::task_local! {
    /// Digests of the external layers of the manifest that this request puts.
    static EXTERNAL: HashSet<String>;
}

/// A blob store in which the external layers of the manifest being put exist.
struct WithExternal(SharedBlobStore);

/// Returns a store in which external layers exist while [`admit`] handles their manifest.
pub(super) fn store(blobs: impl BlobStore + 'static) -> SharedBlobStore {
    Arc::new(WithExternal(Arc::new(blobs)))
}

#[async_trait::async_trait]
impl BlobStore for WithExternal {
    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<()> {
        self.0.put(digest, bytes).await
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes> {
        self.0.get(digest).await
    }

    async fn contains(&self, digest: &Digest) -> Result<bool> {
        let is_external = EXTERNAL.try_with(|external| external.contains(&digest.to_string()));
        Ok(is_external.unwrap_or(false) || self.0.contains(digest).await?)
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        self.0.delete(digest).await
    }

    async fn list(&self) -> Result<Vec<Digest>> {
        self.0.list().await
    }
}

/// Handles a request. If it puts a manifest, the manifest's external layers count as present
/// meanwhile.
pub(super) async fn admit(request: Request, next: Next) -> Response {
    let puts_manifest =
        request.method() == Method::PUT && request.uri().path().contains("/manifests/");
    if !puts_manifest {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, LARGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let external = external_layers(&bytes);
    let request = Request::from_parts(parts, Body::from(bytes));
    EXTERNAL.scope(external, next.run(request)).await
}

/// Returns the digests of the layers that have `urls`.
fn external_layers(manifest: &[u8]) -> HashSet<String> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
    let layers = manifest["layers"].as_array().into_iter().flatten();
    layers
        .filter(|layer| (layer["urls"].as_array()).is_some_and(|urls| !urls.is_empty()))
        .filter_map(|layer| layer["digest"].as_str().map(str::to_owned))
        .collect()
}
