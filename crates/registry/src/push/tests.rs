//! Pushes of one artifact, by their requests and their order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;
use crate::fake::{Blobs, Fake, hasty, image, index};
use crate::{Credentials, Settings};

const REPOSITORY: &str = "mke/calico/node";

/// Remembers how many uploads there were, and how many of them concurrently.
#[derive(Default)]
struct Uploads {
    now: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
    already: AtomicBool,
}

impl Observer for Uploads {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::BlobStarted { .. } => {
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
            }
            Event::BlobUploaded { .. } => {
                self.now.fetch_sub(1, Ordering::SeqCst);
                self.done.fetch_add(1, Ordering::SeqCst);
            }
            Event::ArtifactPresent { .. } => self.already.store(true, Ordering::SeqCst),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_index_is_pushed_in_order_and_unchanged() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let artifact = index(&blobs, REPOSITORY, "v1");
    let registry = fake.registry();
    let pushed = registry.push(&artifact, &blobs, &()).await.unwrap();

    // The two configurations are the same blob, and the first layer is shared.
    let sizes: Vec<u64> = artifact.blobs_by_size().iter().map(|b| b.size).collect();
    assert_eq!(pushed.uploaded.blobs, 4);
    assert_eq!(pushed.uploaded.bytes, sizes.iter().sum::<u64>());
    assert_eq!((pushed.present, pushed.mounted), Default::default());
    assert_eq!((pushed.manifests, pushed.replaced), (3, None));
    assert_eq!(pushed.digest, artifact.manifests[2].digest);

    let puts: Vec<String> = fake
        .requests()
        .into_iter()
        .filter_map(|request| request.strip_prefix("PUT ").map(str::to_owned))
        .collect();
    let manifest = |reference: &str| format!("/v2/{REPOSITORY}/manifests/{reference}");
    assert!(puts[..4].iter().all(|put| put.contains("/blobs/uploads/")));
    assert_eq!(puts[4], manifest(artifact.manifests[0].digest.as_ref()));
    assert_eq!(puts[5], manifest(artifact.manifests[1].digest.as_ref()));
    assert_eq!(puts[6], manifest("v1"));
    assert_eq!(puts.len(), 7);
    assert_eq!(
        fake.requests().last().unwrap(),
        &format!("HEAD {}", manifest("v1"))
    );

    for wanted in &artifact.manifests {
        let digest = wanted.digest.as_ref();
        let fetched = registry.get_manifest(REPOSITORY, digest).await.unwrap();
        assert_eq!(fetched.digest, wanted.digest);
        assert_eq!(fetched.media_type.as_ref(), Some(&wanted.media_type));
    }
}

#[tokio::test]
async fn a_push_of_a_present_artifact_costs_one_request() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let artifact = index(&blobs, REPOSITORY, "v1");
    fake.registry().push(&artifact, &blobs, &()).await.unwrap();
    let before = fake.requests().len();

    let seen = Uploads::default();
    let pushed = fake
        .registry()
        .push(&artifact, &blobs, &seen)
        .await
        .unwrap();
    assert_eq!(fake.requests().len() - before, 1);
    assert_eq!(pushed.uploaded, Tally::default());
    assert_eq!(pushed.present.blobs, 4);
    assert_eq!(pushed.manifests, 0);
    assert!(seen.already.load(Ordering::SeqCst));
}

#[tokio::test]
async fn present_blobs_are_not_sent_again() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let first = image(&blobs, REPOSITORY, "v1", &[b"base", b"one"]);
    let second = image(&blobs, REPOSITORY, "v2", &[b"base", b"two"]);
    let registry = fake.registry();
    registry.push(&first, &blobs, &()).await.unwrap();
    let heads = fake.count("HEAD", "/blobs/");
    let pushed = registry.push(&second, &blobs, &()).await.unwrap();
    // The client has recorded the configuration and the base layer in the first push.
    assert_eq!((pushed.present.blobs, pushed.uploaded.blobs), (2, 1));
    assert_eq!(fake.count("HEAD", "/blobs/") - heads, 1);
    assert_eq!(fake.count("PUT", "/blobs/uploads/"), 4);

    let third = image(&blobs, REPOSITORY, "v3", &[b"base", b"two"]);
    let pushed = fake.registry().push(&third, &blobs, &()).await.unwrap();
    assert_eq!((pushed.present.blobs, pushed.uploaded.blobs), (3, 0));
    assert_eq!(fake.count("PUT", "/blobs/uploads/"), 4);
}

#[tokio::test]
async fn a_moved_tag_is_reported() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let first = image(&blobs, REPOSITORY, "v1", &[b"one"]);
    let second = image(&blobs, REPOSITORY, "v1", &[b"two"]);
    let registry = fake.registry();
    registry.push(&first, &blobs, &()).await.unwrap();
    let pushed = registry.push(&second, &blobs, &()).await.unwrap();
    assert_eq!(pushed.replaced, Some(first.manifests[0].digest.clone()));
    let found = registry.head_manifest(REPOSITORY, "v1").await.unwrap();
    assert_eq!(
        found.unwrap().digest,
        Some(second.manifests[0].digest.clone())
    );
}

#[tokio::test]
async fn concurrent_pushes_send_each_blob_once_within_the_limit() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let settings = Settings {
        uploads_at_once: Some(2),
        ..hasty()
    };
    let registry =
        Registry::with_settings(fake.endpoint(), Credentials::Anonymous, settings).unwrap();
    let seen = Uploads::default();
    let artifacts: Vec<Artifact> = (0..6)
        .map(|number| {
            let own = format!("layer {number}");
            let tag = format!("v{number}");
            image(&blobs, REPOSITORY, &tag, &[b"shared", own.as_bytes()])
        })
        .collect();
    let pushes = artifacts
        .iter()
        .map(|artifact| registry.push(artifact, &blobs, &seen));
    let pushed = futures_util::future::try_join_all(pushes).await.unwrap();
    // One configuration, one shared layer, and one layer per artifact.
    assert_eq!(fake.count("PUT", "/blobs/uploads/"), 8);
    assert_eq!(pushed.iter().map(|p| p.uploaded.blobs).sum::<u64>(), 8);
    assert_eq!(pushed.iter().map(|p| p.present.blobs).sum::<u64>(), 10);
    assert_eq!(seen.most.load(Ordering::SeqCst), 2);
    assert_eq!(seen.done.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_failed_push_does_not_move_the_tag() {
    let broken = Arc::new(AtomicBool::new(false));
    let cut = Arc::clone(&broken);
    let fake = Fake::over_registry(move |seen| {
        (cut.load(Ordering::SeqCst) && seen.is("PUT", "/blobs/uploads/"))
            .then(|| StatusCode::BAD_REQUEST.into_response())
    })
    .await;
    let blobs = Blobs::new();
    let first = image(&blobs, REPOSITORY, "v1", &[b"one"]);
    let second = image(&blobs, REPOSITORY, "v1", &[b"two"]);
    let registry = fake.registry();
    registry.push(&first, &blobs, &()).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let error = registry.push(&second, &blobs, &()).await.unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert_eq!(fake.count("PUT", "/manifests/"), 1);
    broken.store(false, Ordering::SeqCst);
    let pushed = registry.push(&second, &blobs, &()).await.unwrap();
    assert_eq!(pushed.replaced, Some(first.manifests[0].digest.clone()));
}

#[tokio::test]
async fn success_requires_a_lookup_of_the_tag() {
    let put = AtomicBool::new(false);
    let fake = Fake::over_registry(move |seen| {
        if seen.is("PUT", "/manifests/v1") {
            put.store(true, Ordering::SeqCst);
        }
        (put.load(Ordering::SeqCst) && seen.is("HEAD", "/manifests/v1")).then(|| {
            let other = format!("sha256:{}", "0".repeat(64));
            [("docker-content-digest", other)].into_response()
        })
    })
    .await;
    let blobs = Blobs::new();
    let artifact = image(&blobs, REPOSITORY, "v1", &[b"one"]);
    let error = fake
        .registry()
        .push(&artifact, &blobs, &())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    assert!(error.to_string().contains(&"0".repeat(64)), "{error}");
}

#[tokio::test]
async fn forbidden_lookups_do_not_stop_a_permitted_push() {
    let put = AtomicBool::new(false);
    let fake = Fake::over_registry(move |seen| {
        if seen.is("PUT", "/manifests/") {
            put.store(true, Ordering::SeqCst);
        }
        (!put.load(Ordering::SeqCst) && seen.method == "HEAD")
            .then(|| StatusCode::FORBIDDEN.into_response())
    })
    .await;
    let blobs = Blobs::new();
    let artifact = image(&blobs, REPOSITORY, "v1", &[b"one"]);
    let pushed = fake.registry().push(&artifact, &blobs, &()).await.unwrap();
    assert_eq!(pushed.uploaded.blobs, 2);
}

#[tokio::test]
async fn damaged_content_is_never_stored() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let artifact = image(&blobs, REPOSITORY, "v1", &[&[1; 2_000_000]]);
    let layer = artifact.manifests[0].blobs[1].digest.clone();
    blobs.put_as(&layer, &[2; 2_000_000]);
    let error = fake
        .registry()
        .push(&artifact, &blobs, &())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::SourceContent { .. }), "{error:?}");
    assert_eq!(blobs.opened(&layer), 1);

    let manifest = artifact.manifests[0].clone();
    blobs.put_as(&layer, &[1; 2_000_000]);
    blobs.put_as(&manifest.digest, &vec![b' '; manifest.size as usize]);
    let error = fake
        .registry()
        .push(&artifact, &blobs, &())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::SourceContent { .. }), "{error:?}");
    assert_eq!(fake.count("PUT", "/manifests/"), 0);
}

#[tokio::test]
async fn the_futures_of_push_and_pull_are_send() {
    let fake = Fake::over_registry(|_| None).await;
    let registry = fake.registry();
    let pushed = tokio::spawn(async move {
        let blobs = Blobs::new();
        let artifact = index(&blobs, REPOSITORY, "v1");
        registry.push(&artifact, &blobs, &()).await.unwrap()
    });
    let digest = pushed.await.unwrap().digest;
    let node = crate::node::Node::new(fake.endpoint()).unwrap();
    let pulled = tokio::spawn(async move { node.pull(REPOSITORY, "v1").await.unwrap() });
    assert_eq!(pulled.await.unwrap().digest, digest);
}

#[tokio::test]
async fn no_request_is_sent_for_invalid_names() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    for (repository, tag) in [("a/../b", "v1"), (REPOSITORY, "../v1"), ("A", "v1")] {
        let artifact = image(&blobs, repository, tag, &[]);
        let result = fake.registry().push(&artifact, &blobs, &()).await;
        assert!(
            matches!(result, Err(Error::Name { .. })),
            "{repository}:{tag}"
        );
    }
    assert!(fake.requests().is_empty());
}
