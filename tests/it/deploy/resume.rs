//! Uploads to `registry:2` that are interrupted. What the registry keeps of an upload decides what
//! the next run sends.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use camino::Utf8Path;
use oci_spec::image::{Digest, MediaType};
use registry::{
    Artifact, Blob, BlobSource, Credentials, Error, Event, Manifest, Observer, Registry,
    SessionFolder, SessionStore, Settings, Stop,
};
use sha2::Digest as _;
use support::TestRegistry;
use tempfile::TempDir;

const SIZE: usize = 12 << 20;

/// An image with one large layer. The name of each file is a digest.
struct Image {
    folder: TempDir,
    artifact: Artifact,
}

/// Requests a stop as soon as 2 MiB of the layer are sent, and records the progress events.
#[derive(Default)]
struct Watch {
    stop: Stop,
    sent: Mutex<Vec<u64>>,
}

impl Observer for Watch {
    fn event(&self, event: Event<'_>) {
        if let Event::BlobProgress { sent, size, .. } = event
            && size == SIZE as u64
        {
            self.sent.lock().unwrap().push(sent);
            if sent >= 2 << 20 {
                self.stop.request();
            }
        }
    }
}

impl BlobSource for Image {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.folder.path().join(digest.digest()))
    }
}

impl Image {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blob = |bytes: &[u8]| {
            let hash = hex::encode(sha2::Sha256::digest(bytes));
            std::fs::write(folder.path().join(&hash), bytes).unwrap();
            Blob {
                digest: format!("sha256:{hash}").parse().unwrap(),
                size: bytes.len() as u64,
            }
        };
        let layer: Vec<u8> = (0..SIZE as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let (config, layer) = (blob(b"{}"), blob(&layer));
        let described = |media_type: MediaType, blob: &Blob| {
            serde_json::json!({
                "mediaType": media_type.to_string(),
                "digest": blob.digest.to_string(),
                "size": blob.size,
            })
        };
        let text = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest.to_string(),
            "config": described(MediaType::ImageConfig, &config),
            "layers": [described(MediaType::ImageLayer, &layer)],
        });
        let manifest = blob(text.to_string().as_bytes());
        let artifact = Artifact {
            repository: "mke/large".to_owned(),
            tag: "v1".to_owned(),
            manifests: vec![Manifest {
                digest: manifest.digest,
                media_type: MediaType::ImageManifest,
                size: manifest.size,
                blobs: vec![config, layer],
            }],
        };
        Self { folder, artifact }
    }
}

/// Returns a client as a new process makes it. With its rate, the layer takes four seconds.
fn client(registry: &TestRegistry, folder: &TempDir, stop: &Stop) -> Registry {
    let path = Utf8Path::from_path(folder.path()).unwrap();
    let sessions: Option<Arc<dyn SessionStore>> =
        Some(Arc::new(SessionFolder::new(path, &registry.address)));
    let settings = Settings {
        max_rate: Some(3 << 20),
        resume_from: 1 << 20,
        stop: stop.clone(),
        sessions,
        ..Settings::default()
    };
    let anonymous = Credentials::Anonymous;
    Registry::with_settings(registry.endpoint(), anonymous, settings).unwrap()
}

/// Completes the push, and returns the offset of the layer in the first progress event.
async fn first_progress(registry: &TestRegistry, folder: &TempDir, image: &Image) -> u64 {
    let watch = Watch::default();
    let client = client(registry, folder, &Stop::default());
    let pushed = client.push(&image.artifact, image, &watch).await.unwrap();
    assert_eq!(pushed.digest, image.artifact.manifests[0].digest);
    watch.sent.into_inner().unwrap()[0]
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn an_upload_to_registry_2_resumes_after_a_graceful_stop() {
    let registry = TestRegistry::plain().await;
    let (image, folder) = (Image::new(), tempfile::tempdir().unwrap());
    let watch = Watch::default();
    let error = client(&registry, &folder, &watch.stop)
        .push(&image.artifact, &image, &watch)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error:?}");
    let first = first_progress(&registry, &folder, &image).await;
    assert!(first > 2 << 20, "{first}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_push_to_registry_2_completes_after_an_abrupt_end() {
    let registry = TestRegistry::plain().await;
    let (image, folder) = (Image::new(), tempfile::tempdir().unwrap());
    let watch = Watch::default();
    let client = client(&registry, &folder, &Stop::default());
    tokio::select! {
        _ = client.push(&image.artifact, &image, &watch) => panic!("the push ended before the stop"),
        () = watch.stop.requested() => {}
    }
    drop(client);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // The push completes, whatever the registry has kept.
    first_progress(&registry, &folder, &image).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
