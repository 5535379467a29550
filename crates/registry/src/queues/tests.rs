//! Pushes whose blobs arrive while they run, and pushes that are stopped, by their requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::digest::sha256;
use crate::fake::{Blobs, Distribution, Quirks, hasty, image};
use crate::{
    Arrival, Artifact, Credentials, Endpoint, Error, Event, Observer, PushReport, Registry,
    Settings, Stop,
};

const UPLOADS: &str = "/blobs/uploads/";

/// Makes images in as many repositories, with one layer of their own each, and a configuration that
/// all of them share.
fn images(blobs: &Blobs, count: usize) -> Vec<Artifact> {
    (0..count)
        .map(|number| {
            let layer = format!("layer {number}");
            image(blobs, &format!("mke/{number}"), "v1", &[layer.as_bytes()])
        })
        .collect()
}

fn digests(artifacts: &[Artifact]) -> Vec<Digest> {
    let blobs = artifacts.iter().flat_map(Artifact::blobs_by_size);
    blobs.map(|blob| blob.digest.clone()).collect()
}

fn all_good(report: &PushReport) {
    for outcome in &report.artifacts {
        outcome.as_ref().unwrap();
    }
    assert!(!report.stopped);
}

fn stoppable(endpoint: Endpoint, stop: &Stop) -> Registry {
    let settings = Settings {
        stop: stop.clone(),
        ..hasty()
    };
    Registry::with_settings(endpoint, Credentials::Anonymous, settings).unwrap()
}

/// Waits until the registry has seen this many requests of a kind, and a little longer for those
/// that should not come.
async fn until(registry: &Distribution, method: &str, part: &str, count: usize) {
    while registry.count(method, part) < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(registry.count(method, part), count, "{method} {part}");
}

fn announce(sender: &UnboundedSender<Arrival>, digests: &[Digest]) {
    for digest in digests {
        sender.send(Arrival::BlobReady(digest.clone())).unwrap();
    }
}

#[tokio::test]
async fn blobs_are_sent_as_they_arrive_and_manifests_after_verification() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 3);
    let (sender, arrivals) = unbounded_channel();
    let client = registry.registry();
    let pushing = client.push_streamed(&artifacts, &blobs, arrivals, &());
    let arriving = async {
        until(&registry, "HEAD", "", 0).await;
        announce(&sender, &digests(&artifacts[..1]));
        // A repeated arrival, and a blob that is not needed.
        announce(&sender, &digests(&artifacts[..1]));
        announce(&sender, &[sha256(b"another").parse().unwrap()]);
        until(&registry, "PUT", UPLOADS, 2).await;
        let layer = &artifacts[1].manifests[0].blobs[1].digest;
        assert_eq!(blobs.opened(layer), 0);
        announce(&sender, &digests(&artifacts));
        until(&registry, "PUT", UPLOADS, 4).await;
        assert_eq!(registry.count("PUT", "/manifests/"), 0);
        sender.send(Arrival::BundleVerified).unwrap();
    };
    let (report, ()) = futures_util::future::join(pushing, arriving).await;
    all_good(&report);
    assert_eq!(registry.count("PUT", "/manifests/"), 3);
    assert_eq!((report.uploaded.blobs, report.mounted.blobs), (4, 2));
}

#[tokio::test]
async fn unannounced_blobs_are_available_once_all_have_arrived() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 3);
    let (sender, arrivals) = unbounded_channel();
    sender.send(Arrival::BundleVerified).unwrap();
    drop(sender);
    let client = registry.registry();
    all_good(
        &client
            .push_streamed(&artifacts, &blobs, arrivals, &())
            .await,
    );
}

#[tokio::test]
async fn a_source_that_ends_early_sets_no_tag() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 3);
    let client = registry.registry();
    all_good(&client.push_all(&artifacts[..1], &blobs, &()).await);
    let (sender, arrivals) = unbounded_channel();
    let pushing = client.push_streamed(&artifacts[1..], &blobs, arrivals, &());
    let arriving = async {
        announce(&sender, &digests(&artifacts));
        until(&registry, "PUT", UPLOADS, 2 + 2).await;
        drop(sender);
    };
    let (report, ()) = futures_util::future::join(pushing, arriving).await;
    for outcome in &report.artifacts {
        let error = outcome.as_ref().unwrap_err();
        assert!(matches!(**error, Error::SourceEnded), "{error:?}");
    }
    assert!(!report.stopped);
    assert_eq!(registry.count("PUT", "/manifests/"), 1);
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_arrivals_even_if_the_source_ends_first() {
    for source_first in [false, true] {
        let registry = Distribution::start().await;
        let blobs = Blobs::new();
        let artifacts = images(&blobs, 3);
        let (sender, arrivals) = unbounded_channel();
        let stop = Stop::default();
        let client = stoppable(registry.endpoint(), &stop);
        let pushing = client.push_streamed(&artifacts, &blobs, arrivals, &());
        let stopping = async {
            until(&registry, "HEAD", "", 0).await;
            stop.request();
            if source_first {
                drop(sender);
            }
        };
        let (report, ()) = futures_util::future::join(pushing, stopping).await;
        assert!(report.stopped);
        for outcome in &report.artifacts {
            let error = outcome.as_ref().unwrap_err();
            assert!(matches!(**error, Error::Stopped), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_stop_completes_small_uploads_and_begins_nothing() {
    struct StopsAtFirst(Stop);
    impl Observer for StopsAtFirst {
        fn event(&self, event: Event<'_>) {
            if matches!(event, Event::BlobUploaded { .. }) {
                self.0.request();
            }
        }
    }
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 30);
    let stop = Stop::default();
    let client = stoppable(registry.endpoint(), &stop);
    let observer = StopsAtFirst(stop);
    let report = client.push_all(&artifacts, &blobs, &observer).await;
    assert!(report.stopped);
    // Uploads in progress are complete, and no session is open.
    let sent = registry.count("PUT", UPLOADS);
    assert!((1..=4).contains(&sent), "{sent} uploads");
    assert_eq!(report.uploaded.blobs, sent as u64);
    assert_eq!(registry.open_sessions(), 0);
    assert_eq!(registry.count("PUT", "/manifests/"), 0);
    all_good(&registry.registry().push_all(&artifacts, &blobs, &()).await);
    // Nothing is sent twice.
    assert_eq!(registry.count("PUT", UPLOADS), 31);
}

#[tokio::test]
async fn a_stop_ends_an_ordered_pause() {
    let stop = Stop::default();
    let (asked, ordered) = (stop.clone(), AtomicBool::new(false));
    let registry = Distribution::with(Quirks::default(), move |seen| {
        if !seen.is("PUT", UPLOADS) || ordered.swap(true, Ordering::SeqCst) {
            return None;
        }
        let asked = asked.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            asked.request();
        });
        Some((StatusCode::TOO_MANY_REQUESTS, [("retry-after", "250")]).into_response())
    })
    .await;
    let blobs = Blobs::new();
    let client = stoppable(registry.endpoint(), &stop);
    let artifacts = images(&blobs, 5);
    let pushing = client.push_all(&artifacts, &blobs, &());
    let report = tokio::time::timeout(Duration::from_secs(60), pushing).await;
    assert!(report.unwrap().stopped);
}

#[tokio::test]
async fn pushes_to_two_registries_run_concurrently() {
    let (one, other) = (Distribution::start().await, Distribution::start().await);
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 5);
    let (to_one, to_other) = (one.registry(), other.registry());
    let reports = futures_util::future::join(
        to_one.push_all(&artifacts, &blobs, &()),
        to_other.push_all(&artifacts, &blobs, &()),
    )
    .await;
    all_good(&reports.0);
    all_good(&reports.1);
    for registry in [one, other] {
        assert_eq!(registry.count("PUT", "/manifests/"), 5);
    }
}
