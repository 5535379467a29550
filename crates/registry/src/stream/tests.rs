//! Streams, by their requests: they have no length, end after a stop, and are resumed by the next
//! run.

use std::sync::{Arc, Mutex};

use axum::http::StatusCode as Status;
use axum::response::IntoResponse;
use camino::Utf8Path;
use oci_spec::image::Digest;
use servers::faulty::quirks;
use tempfile::TempDir;

use crate::fake::{
    Blobs, Distribution, Mounts, Quirks, REPOSITORY, SIZE, hasty, image, large, refusal,
};
use crate::{
    Credentials, Endpoint, Error, Event, Observer, Registry, SessionFolder, SessionStore, Settings,
    Stop,
};

const SESSION: &str = "/blobs/uploads/";

/// A run with a session store that survives it.
struct Run {
    folder: TempDir,
    endpoint: Endpoint,
}

impl Run {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            endpoint,
        }
    }

    fn session_store(&self) -> SessionFolder {
        let path = Utf8Path::from_path(self.folder.path()).unwrap();
        SessionFolder::new(path, self.endpoint.address())
    }

    /// Returns a client as in a new process.
    fn begin(&self, settings: Settings) -> Registry {
        let sessions: Option<Arc<dyn SessionStore>> = Some(Arc::new(self.session_store()));
        let settings = Settings {
            resume_from: 1 << 20,
            sessions,
            ..settings
        };
        let anonymous = Credentials::Anonymous;
        Registry::with_settings(self.endpoint.clone(), anonymous, settings).unwrap()
    }
}

/// Requests a stop once this many bytes of a blob were sent.
struct StopsAt(u64, Stop);

impl Observer for StopsAt {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::BlobProgress { sent, .. } if sent >= self.0) {
            self.1.request();
        }
    }
}

/// Returns how many bytes each streamed request carried.
fn carried(registry: &Distribution) -> Vec<usize> {
    let carried = registry.seen(|seen| {
        let streamed = seen.sent("content-length").is_none()
            && seen.sent("content-range").is_none()
            && seen.sent("transfer-encoding") == Some("chunked");
        (seen.method == "PATCH" && streamed).then_some(seen.body.len())
    });
    carried.into_iter().flatten().collect()
}

/// At this rate the layer takes four seconds.
fn slow(stop: &Stop) -> Settings {
    Settings {
        max_rate: Some(3 << 20),
        stop: stop.clone(),
        ..hasty()
    }
}

#[tokio::test]
async fn only_large_blobs_are_sent_without_a_length() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let run = Run::new(registry.endpoint());
    let artifact = large(&blobs);
    let layer = artifact.manifests[0].blobs[1].digest.clone();
    let client = run.begin(hasty());
    client.push(&artifact, &blobs, &()).await.unwrap();
    assert_eq!(carried(&registry), [SIZE]);
    // The configuration is sent in one PUT. The other PUT has no body.
    let mut puts = registry.seen(|seen| seen.is("PUT", SESSION).then_some(seen.body.len()));
    puts.sort_unstable();
    assert!(matches!(puts[..], [.., Some(0), Some(1..100)]), "{puts:?}");
    assert_eq!(registry.count("POST", SESSION), 2);
    assert_eq!(registry.open_sessions(), 0);
    // The file is opened once.
    assert_eq!(blobs.opened(&layer), 1);
}

#[tokio::test]
async fn a_stop_leaves_a_session_that_the_next_run_resumes_exactly() {
    for keeps_cut_sessions in [false, true] {
        let quirks = quirks!(keeps_cut_sessions: keeps_cut_sessions);
        let registry = Distribution::with(quirks, |_| None).await;
        let blobs = Blobs::new();
        let run = Run::new(registry.endpoint());
        let artifact = large(&blobs);
        let stop = Stop::default();
        let observer = StopsAt(2 << 20, stop.clone());
        let client = run.begin(slow(&stop));
        let report = client
            .push_all(std::slice::from_ref(&artifact), &blobs, &observer)
            .await;
        assert!(report.stopped);
        let error = report.artifacts[0].as_ref().unwrap_err();
        assert!(matches!(**error, Error::Stopped), "{error:?}");
        let first = carried(&registry);
        assert!(matches!(first[..], [1..SIZE]), "{first:?}");
        assert_eq!(registry.tag(REPOSITORY, "v1"), None);

        // The session store has the newest URL, which contains the position.
        let layer = &artifact.manifests[0].blobs[1].digest;
        let kept = run.session_store().load(REPOSITORY, layer).unwrap();
        assert!(kept.ends_with(&format!("_state={}", first[0])), "{kept}");

        let posts = registry.count("POST", SESSION);
        let report = run.begin(hasty()).push_all(&[artifact], &blobs, &()).await;
        assert!(!report.stopped);
        report.artifacts[0].as_ref().unwrap();
        assert_eq!(carried(&registry), [first[0], SIZE - first[0]]);
        // One session is opened as the first write, and cancelled.
        assert_eq!(registry.count("POST", SESSION), posts + 1);
        assert_eq!(registry.count("DELETE", SESSION), 1);
        assert_eq!(std::fs::read_dir(run.folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn an_aborted_stream_starts_over_with_distribution_2_and_resumes_with_3() {
    for keeps_cut_sessions in [false, true] {
        let quirks = quirks!(keeps_cut_sessions: keeps_cut_sessions);
        let registry = Distribution::with(quirks, |_| None).await;
        let blobs = Blobs::new();
        let run = Run::new(registry.endpoint());
        let artifact = large(&blobs);
        // The future is dropped during the layer, as if the process had been killed.
        let ended = Stop::default();
        let observer = StopsAt(2 << 20, ended.clone());
        let client = run.begin(slow(&Stop::default()));
        tokio::select! {
            _ = client.push(&artifact, &blobs, &observer) => panic!("it was to take longer"),
            () = ended.requested() => {}
        }
        drop(client);
        assert_eq!(carried(&registry), [0; 0]);
        // Waits until the registry has noticed the lost connection.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        run.begin(hasty())
            .push(&artifact, &blobs, &())
            .await
            .unwrap();
        let second = carried(&registry);
        match keeps_cut_sessions {
            false => assert_eq!(second, [SIZE]),
            true => assert!(matches!(second[..], [1..SIZE]), "{second:?}"),
        }
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_minimum_length_of_a_part() {
    let quirks = quirks!(minimum_part: 4 << 20);
    let registry = Distribution::with(quirks, |_| None).await;
    let blobs = Blobs::new();
    let run = Run::new(registry.endpoint());
    let stop = Stop::default();
    let observer = StopsAt(1 << 20, stop.clone());
    let error = run
        .begin(slow(&stop))
        .push(&large(&blobs), &blobs, &observer)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error:?}");
    let carried = carried(&registry);
    assert!(matches!(carried[..], [4194304..SIZE]), "{carried:?}");
}

#[tokio::test]
async fn a_registry_that_requires_lengths_gets_them_from_then_on() {
    for status in [400, 405, 411, 501] {
        let status = Status::from_u16(status).unwrap();
        let registry = Distribution::with(Quirks::default(), move |seen| {
            let streamed = seen.sent("transfer-encoding").is_some();
            streamed.then(|| refusal(status, "LENGTH_REQUIRED"))
        })
        .await;
        let blobs = Blobs::new();
        let client = Run::new(registry.endpoint()).begin(hasty());
        let second = image(&blobs, REPOSITORY, "v2", &[&[2; 3 << 20]]);
        client.push(&large(&blobs), &blobs, &()).await.unwrap();
        client.push(&second, &blobs, &()).await.unwrap();
        // One stream was tried; everything was sent by PUT.
        assert_eq!(carried(&registry), [SIZE], "{status}");
        assert_eq!(registry.count("PATCH", SESSION), 1);
        let puts = registry.seen(|seen| seen.is("PUT", SESSION).then_some(seen.body.len()));
        let sent: usize = puts.into_iter().flatten().filter(|size| *size > 100).sum();
        assert_eq!(sent, SIZE + (3 << 20));
    }
}

#[tokio::test]
async fn a_registry_that_requires_small_bodies_with_lengths_gets_parts() {
    let quirks = quirks!(streams: false, body_limit: Some(1 << 20));
    let registry = Distribution::with(quirks, |_| None).await;
    let blobs = Blobs::new();
    let client = Run::new(registry.endpoint()).begin(hasty());
    client.push(&large(&blobs), &blobs, &()).await.unwrap();
    let parts = SIZE.div_ceil(900 * 1024);
    // A stream, a part that was still too large, and the rest.
    assert_eq!(registry.count("PATCH", SESSION), 2 + parts);
}

#[tokio::test]
async fn bodies_have_lengths_after_a_proxy_broke_streams() {
    let registry = Distribution::with(Quirks::default(), |seen| {
        let streamed = seen.sent("transfer-encoding").is_some();
        streamed.then(|| refusal(Status::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"))
    })
    .await;
    let blobs = Blobs::new();
    let quirkless = Run::new(registry.endpoint());
    let client = quirkless.begin(Settings {
        attempts: 6,
        ..hasty()
    });
    // The session is queried. Without bytes it is not used.
    client.push(&large(&blobs), &blobs, &()).await.unwrap();
    assert_eq!(registry.count("PATCH", SESSION), 2);
}

#[tokio::test]
async fn a_damaged_blob_is_not_completed_and_its_session_removed() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifact = large(&blobs);
    let layer: &Digest = &artifact.manifests[0].blobs[1].digest;
    blobs.put_as(layer, &vec![0; SIZE]);
    let run = Run::new(registry.endpoint());
    let client = run.begin(hasty());
    let error = client.push(&artifact, &blobs, &()).await.unwrap_err();
    assert!(matches!(error, Error::SourceContent { .. }), "{error:?}");
    assert_eq!(carried(&registry), [0; 0]);
    let closed = registry.seen(|seen| seen.parameter("digest") == Some(layer.to_string()));
    assert!(!closed.contains(&true));
    assert_eq!(run.session_store().load(REPOSITORY, layer), None);
}

#[tokio::test]
async fn a_lost_session_halves_the_ceiling() {
    let lost = Mutex::new(false);
    let registry = Distribution::with(Quirks::default(), move |seen| {
        let first = seen.is("PUT", SESSION) && !std::mem::replace(&mut *lost.lock().unwrap(), true);
        first.then(|| refusal(Status::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN").into_response())
    })
    .await;
    let blobs = Blobs::new();
    let client = registry.registry();
    let before = client.transport().limiter().ceiling();
    let artifact = image(&blobs, REPOSITORY, "v1", &[b"layer"]);
    client.push(&artifact, &blobs, &()).await.unwrap();
    assert!(client.transport().limiter().ceiling() <= before / 2);
}

#[tokio::test]
async fn a_session_of_a_refused_mount_has_its_minimum_length() {
    let least = 5 << 20;
    let quirks = quirks!(mounts: Mounts::Ignored, minimum_part: least as u64);
    let registry = Distribution::with(quirks, |_| None).await;
    let blobs = Blobs::new();
    let run = Run::new(registry.endpoint());
    let stop = Stop::default();
    let client = run.begin(slow(&stop));
    let artifact = large(&blobs);
    let layer = &artifact.manifests[0].blobs[1].digest;
    client.add_mount_candidate("mke/elsewhere", layer);
    let observer = StopsAt(1 << 20, stop.clone());
    let report = client.push_all(&[artifact], &blobs, &observer).await;
    assert!(report.stopped);
    assert_eq!(registry.mounts(), 1);
    let carried = carried(&registry);
    assert!(
        matches!(carried[..], [sent] if sent >= least),
        "{carried:?}"
    );
}
