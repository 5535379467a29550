//! Uploads in parts, by their requests: what is sent again after an interruption, and what is not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use camino::Utf8Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::fake::{Blobs, Distribution, Quirks, REPOSITORY, SIZE, hasty, image, large};
use crate::{Credentials, Endpoint, SessionFolder, SessionStore, Settings};
use servers::faulty::quirks;

/// Stands between a client and a registry, and cuts one connection after this many bytes to the
/// registry.
struct Cutter {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
}

impl Cutter {
    /// Returns what is stored in `folder` of the uploads through here.
    fn session_store(&self, folder: &tempfile::TempDir) -> Option<Arc<dyn SessionStore>> {
        let path = Utf8Path::from_path(folder.path()).unwrap();
        let address = self.address.to_string();
        Some(Arc::new(SessionFolder::new(path, &address)))
    }

    async fn start(registry: &Distribution, after: u64) -> Self {
        let registry: SocketAddr = registry.address.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&passed);
        let cut = Arc::new(AtomicBool::new(false));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(registry).await.unwrap();
                let (passed, cut) = (Arc::clone(&counted), Arc::clone(&cut));
                tokio::spawn(async move {
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let back = tokio::spawn(async move {
                        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                    });
                    let mut piece = vec![0; 64 * 1024];
                    while let Ok(length @ 1..) = from_client.read(&mut piece).await {
                        if to_server.write_all(&piece[..length]).await.is_err() {
                            break;
                        }
                        let passed = passed.fetch_add(length as u64, Ordering::SeqCst);
                        if passed >= after && !cut.swap(true, Ordering::SeqCst) {
                            break;
                        }
                    }
                    back.abort();
                });
            }
        });
        Self { address, passed }
    }

    fn registry(&self, attempts: u32, sessions: Option<Arc<dyn SessionStore>>) -> Registry {
        let settings = Settings {
            attempts,
            resume_from: 1 << 20,
            sessions,
            ..hasty()
        };
        let endpoint = Endpoint::new(&self.address.to_string(), None).unwrap();
        Registry::with_settings(endpoint, Credentials::Anonymous, settings).unwrap()
    }
}

fn keeps_sessions() -> Quirks {
    quirks!(keeps_cut_sessions: true)
}

#[tokio::test]
async fn a_blob_that_is_too_large_and_later_ones_are_sent_in_parts() {
    let quirks = quirks!(body_limit: Some(1 << 20));
    let registry = Distribution::with(quirks, |_| None).await;
    let blobs = Blobs::new();
    let client = registry.registry();
    let artifact = image(&blobs, REPOSITORY, "v1", &[&[1; 3 << 20]]);
    client.push(&artifact, &blobs, &()).await.unwrap();
    // Once in one request, and once per smaller size until one is accepted.
    let parts = (3_usize << 20).div_ceil(900 * 1024);
    assert_eq!(registry.count("PATCH", "/blobs/uploads/"), parts);
    let refused = registry.count("POST", "/blobs/uploads/");
    let second = image(&blobs, REPOSITORY, "v2", &[&[2; 3 << 20]]);
    client.push(&second, &blobs, &()).await.unwrap();
    assert_eq!(registry.count("PATCH", "/blobs/uploads/"), 2 * parts);
    assert_eq!(registry.count("POST", "/blobs/uploads/"), refused + 1);
    assert!(registry.tag(REPOSITORY, "v2").is_some());
}

#[tokio::test]
async fn parts_have_the_minimum_length_of_the_registry() {
    let quirks = quirks!(body_limit: Some(1 << 20), minimum_part: 1 << 20);
    let registry = Distribution::with(quirks, |_| None).await;
    let blobs = Blobs::new();
    let artifact = image(&blobs, REPOSITORY, "v1", &[&[1; 3 << 20]]);
    let client = registry.registry();
    client.push(&artifact, &blobs, &()).await.unwrap();
    let lengths = registry.seen(|seen| (seen.method == "PATCH").then_some(seen.body.len()));
    let lengths: Vec<usize> = lengths.into_iter().flatten().collect();
    assert_eq!(lengths, [1 << 20; 3]);
}

#[tokio::test]
async fn a_damaged_file_is_not_sent_in_parts() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifact = large(&blobs);
    let layer = &artifact.manifests[0].blobs[1].digest;
    blobs.put_as(layer, &vec![0; SIZE]);
    let client = registry.registry();
    client.inner.recorded.lower_request_limit(1 << 20);
    let error = client.push(&artifact, &blobs, &()).await.unwrap_err();
    assert!(matches!(error, Error::SourceContent { .. }), "{error:?}");
    assert_eq!(registry.count("PATCH", "/blobs/uploads/"), 0);
}

#[tokio::test]
async fn an_interrupted_upload_resumes_if_the_registry_kept_the_session() {
    let registry = Distribution::with(keeps_sessions(), |_| None).await;
    let cutter = Cutter::start(&registry, 6 << 20).await;
    let blobs = Blobs::new();
    let artifact = large(&blobs);
    let client = cutter.registry(3, None);
    client.push(&artifact, &blobs, &()).await.unwrap();
    assert_eq!(registry.count("PATCH", "/blobs/uploads/"), 1);
    let sent = cutter.passed.load(Ordering::SeqCst);
    assert!(sent < SIZE as u64 + (4 << 20), "{sent} bytes were sent");
    assert!(registry.tag(REPOSITORY, "v1").is_some());
}

#[tokio::test]
async fn an_interrupted_upload_starts_over_if_the_registry_lost_the_session() {
    let registry = Distribution::start().await;
    let cutter = Cutter::start(&registry, 6 << 20).await;
    let blobs = Blobs::new();
    let artifact = large(&blobs);
    let client = cutter.registry(3, None);
    client.push(&artifact, &blobs, &()).await.unwrap();
    // The whole layer again. Interrupted requests are not counted.
    let carried = registry.seen(|seen| (seen.method == "PATCH").then_some(seen.body.len()));
    let carried: Vec<usize> = carried.into_iter().flatten().collect();
    assert_eq!(carried, [SIZE]);
    assert!(registry.tag(REPOSITORY, "v1").is_some());
}

#[tokio::test]
async fn the_next_run_resumes_a_stored_session() {
    let registry = Distribution::with(keeps_sessions(), |_| None).await;
    let cutter = Cutter::start(&registry, 6 << 20).await;
    let blobs = Blobs::new();
    let artifact = large(&blobs);
    let folder = tempfile::tempdir().unwrap();
    let session_store = || cutter.session_store(&folder);
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();

    let first = cutter.registry(1, session_store());
    first.push(&artifact, &blobs, &()).await.unwrap_err();
    assert_eq!(entries(), 1);
    let posts = registry.count("POST", "/blobs/uploads/");
    let second = cutter.registry(1, session_store());
    second.push(&artifact, &blobs, &()).await.unwrap();
    // One session is opened as the first write, and cancelled.
    assert_eq!(registry.count("POST", "/blobs/uploads/"), posts + 1);
    assert_eq!(registry.count("DELETE", "/blobs/uploads/"), 1);
    assert_eq!(registry.count("PATCH", "/blobs/uploads/"), 1);
    let sent = cutter.passed.load(Ordering::SeqCst);
    assert!(sent < SIZE as u64 + (4 << 20), "{sent} bytes were sent");
    assert_eq!(entries(), 0);
}

#[tokio::test]
async fn a_session_with_different_bytes_is_detected_and_the_blob_starts_over() {
    let registry = Distribution::with(keeps_sessions(), |_| None).await;
    let cutter = Cutter::start(&registry, 6 << 20).await;
    let blobs = Blobs::new();
    let artifact = large(&blobs);
    let folder = tempfile::tempdir().unwrap();
    let session_store = || cutter.session_store(&folder);
    let first = cutter.registry(1, session_store());
    first.push(&artifact, &blobs, &()).await.unwrap_err();
    registry.spoil_sessions();
    let second = cutter.registry(3, session_store());
    second.push(&artifact, &blobs, &()).await.unwrap();
    assert!(registry.tag(REPOSITORY, "v1").is_some());
}

#[test]
fn ranges_are_parsed_in_the_forms_of_registries() {
    for (range, end, held) in [
        (Some("0-499"), 500, 500),
        (Some("bytes=0-499"), 500, 500),
        // Some registries report the length instead of the last byte.
        (Some("0-500"), 500, 500),
        // Fewer bytes than were sent.
        (Some("0-299"), 500, 300),
        (None, 500, 500),
        (Some("nonsense"), 500, 500),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(RANGE, range.parse().unwrap());
        }
        assert_eq!(bytes_after(&headers, end), held, "{range:?}");
    }
}
