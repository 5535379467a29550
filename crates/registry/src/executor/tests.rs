//! Pushes of several artifacts, by their requests: every shortcut is used where it works.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;
use crate::fake::{
    Blobs, Distribution, Fake, Mounts, Quirks, Server, deployer, hasty, image, index, refusal,
};
use crate::queues::SMALL;
use crate::upload::SINGLE;
use crate::{Credentials, Endpoint, Settings};
use servers::faulty::quirks;

mod limiter;

const BASE: &[u8] = b"the layer that everybody has";

/// Makes images in different repositories. Each has a layer of its own; the base layer and the
/// configuration are shared.
fn images(blobs: &Blobs, count: usize) -> Vec<Artifact> {
    (0..count)
        .map(|number| {
            let own = format!("layer {number}");
            let repository = format!("mke/image-{number}");
            image(blobs, &repository, "v1", &[BASE, own.as_bytes()])
        })
        .collect()
}

fn no_mounts() -> Quirks {
    quirks!(mounts: Mounts::Ignored)
}

fn all_good(report: &PushReport) {
    for outcome in &report.artifacts {
        outcome.as_ref().unwrap();
    }
}

fn all_tagged(registry: &Distribution, artifacts: &[Artifact]) {
    for artifact in artifacts {
        let digest = artifact.root().unwrap().digest.to_string();
        let found = registry.tag(&artifact.repository, &artifact.tag);
        assert_eq!(found, Some(digest), "{}", artifact.name());
    }
}

#[tokio::test]
async fn an_empty_registry_costs_two_requests_per_blob_and_one_per_mount() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 20);
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    all_good(&report);
    all_tagged(&registry, &artifacts);
    // Twenty layers, the base layer and the configuration are sent once. The latter two are mounted
    // nineteen times each.
    assert_eq!(report.uploaded.blobs, 22);
    assert_eq!(report.mounted.blobs, 38);
    assert_eq!((report.present.blobs, report.manifests), (0, 20));
    assert_eq!(registry.count("PUT", "/blobs/uploads/"), 22);
    // One more mount tests self-mounts.
    assert_eq!(registry.count("POST", "/blobs/uploads/"), 22 + 38 + 1);
    // One blob was sent with the request that opens a session. This registry ignores it.
    assert_eq!(single_posts(&registry), 1);
    // Only the first blob is looked up by `HEAD`.
    assert_eq!(registry.count("HEAD", "/blobs/"), 1);
    assert_eq!(registry.count("HEAD", "/manifests/"), 40);
    assert_eq!(registry.count("PUT", "/manifests/"), 20);
    assert_eq!(registry.open_sessions(), 0);
}

/// Returns how many requests that open a session carried a blob.
fn single_posts(fake: &Server) -> usize {
    let seen = fake.seen(|seen| seen.method == "POST" && seen.parameter("digest").is_some());
    seen.into_iter().filter(|single| *single).count()
}

#[tokio::test]
async fn single_posts_are_used_if_the_registry_accepts_them() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let large = vec![7; SINGLE as usize + 1];
    let mut artifacts = vec![image(&blobs, "mke/a", "large", &[&large])];
    artifacts.extend((0..20).map(|number| {
        let own = format!("layer {number}");
        image(
            &blobs,
            "mke/a",
            &format!("v{number}"),
            &[BASE, own.as_bytes()],
        )
    }));
    let report = fake.registry().push_all(&artifacts, &blobs, &()).await;
    all_good(&report);
    // Twenty layers, the base layer and two configurations take one request each. The large layer
    // takes a session.
    assert_eq!(single_posts(&fake), 23);
    assert_eq!(fake.count("PUT", "/blobs/uploads/"), 1);
    assert_eq!(report.uploaded.blobs, 24);
    // Only the first blob and the one above the size limit are looked up.
    assert!(fake.count("HEAD", "/blobs/") <= 2);
}

#[tokio::test]
async fn blobs_of_an_earlier_push_are_not_sent_again_by_single_posts() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 20);
    all_good(
        &fake
            .registry()
            .push_all(&artifacts[..10], &blobs, &())
            .await,
    );
    let sent = single_posts(&fake);
    // The tag has moved: its blobs exist, those of the other artifacts do not.
    let mut again = artifacts.clone();
    for artifact in &mut again {
        artifact.tag = "v2".to_owned();
    }
    let report = fake.registry().push_all(&again, &blobs, &()).await;
    all_good(&report);
    assert_eq!(single_posts(&fake), sent);
    assert_eq!(report.uploaded.blobs, 10);
}

#[tokio::test]
async fn expected_blobs_are_looked_up_and_others_sent_by_single_posts() {
    let fake = Fake::over_registry(|_| None).await;
    let blobs = Blobs::new();
    let old: Vec<_> = (0..8).map(|n| format!("a layer that stays, {n}")).collect();
    let old: Vec<&[u8]> = old.iter().map(String::as_bytes).collect();
    let earlier = [image(&blobs, "mke/a", "v1", &old)];
    all_good(&fake.registry().push_all(&earlier, &blobs, &()).await);
    let sent = single_posts(&fake);
    // The smallest blob is new, so it is the trial of single POSTs.
    let upgraded = image(&blobs, "mke/a", "v2", &[&old[..], &[&b"new"[..]]].concat());
    let registry = fake.registry();
    for blob in &earlier[0].manifests[0].blobs {
        registry.expect("mke/a", &blob.digest);
    }
    let report = registry.push_all(&[upgraded], &blobs, &()).await;
    all_good(&report);
    assert_eq!(report.uploaded.blobs, 2);
    assert_eq!(report.present.blobs, 8);
    assert_eq!(single_posts(&fake), sent + 2);
}

#[tokio::test]
async fn a_refused_single_post_is_followed_by_two_requests() {
    for status in [400, 411, 415, 500] {
        let registry = Distribution::with(Quirks::default(), move |seen| {
            let single = seen.method == "POST" && seen.parameter("digest").is_some();
            single.then(|| StatusCode::from_u16(status).unwrap().into_response())
        })
        .await;
        let blobs = Blobs::new();
        let artifacts = images(&blobs, 3);
        all_good(&registry.registry().push_all(&artifacts, &blobs, &()).await);
        assert_eq!(single_posts(&registry), 1, "{status}");
    }
}

/// Pushes artifacts that have all arrived, as a caller does that has looked up the tags.
async fn push_arrived(registry: &Registry, artifacts: &[Artifact], blobs: &Blobs) -> PushReport {
    let (sender, arrivals) = tokio::sync::mpsc::unbounded_channel();
    sender.send(Arrival::BundleVerified).unwrap();
    registry
        .push_streamed(artifacts, blobs, arrivals, &())
        .await
}

#[tokio::test]
async fn a_streamed_push_costs_one_request_per_tag_and_two_per_blob() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let mut artifacts = images(&blobs, 20);
    artifacts.push(index(&blobs, "mke/index", "v1"));
    let report = push_arrived(&registry.registry(), &artifacts, &blobs).await;
    all_good(&report);
    all_tagged(&registry, &artifacts);
    let sent = report.uploaded.blobs + report.mounted.blobs;
    assert_eq!(registry.count("HEAD", "/manifests/"), 0);
    assert_eq!(registry.count("PUT", "/manifests/"), 20 + 3);
    let requests = registry.requests().len() as u64;
    let puts = report.manifests;
    // The first blob is looked up and mounted.
    let most = puts + 2 * report.uploaded.blobs + report.mounted.blobs + 2;
    assert!(requests <= most, "{requests} requests for {sent} blobs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_manifests_of_an_index_are_put_concurrently_and_the_index_after_them() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let blobs = Blobs::new();
    let artifact = index(&blobs, "mke/index", "v1");
    let observed = (Arc::clone(&now), Arc::clone(&most));
    let order = Arc::new(Mutex::new(Vec::new()));
    let puts = Arc::clone(&order);
    let registry = Distribution::with(Quirks::default(), move |seen| {
        if seen.is("PUT", "/manifests/") {
            puts.lock().unwrap().push(seen.path.clone());
            let request_limit = observed.0.fetch_add(1, Ordering::SeqCst) + 1;
            observed.1.fetch_max(request_limit, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(200));
            observed.0.fetch_sub(1, Ordering::SeqCst);
        }
        None
    })
    .await;
    let artifacts = [artifact];
    all_good(&push_arrived(&registry.registry(), &artifacts, &blobs).await);
    all_tagged(&registry, &artifacts);
    assert_eq!(most.load(Ordering::SeqCst), 2);
    let order = order.lock().unwrap();
    assert_eq!(order.len(), 3);
    assert!(order[2].ends_with("/manifests/v1"), "{order:?}");
}

#[tokio::test]
async fn a_push_of_present_artifacts_costs_one_request_each() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 12);
    all_good(&registry.registry().push_all(&artifacts, &blobs, &()).await);
    let before = registry.requests().len();
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    all_good(&report);
    assert_eq!(registry.requests().len() - before, 12);
    assert_eq!(report.present.blobs, 36);
    assert_eq!((report.uploaded.blobs, report.manifests), (0, 0));
}

#[tokio::test]
async fn blobs_are_mounted_from_present_artifacts() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let mut artifacts = images(&blobs, 1);
    all_good(&registry.registry().push_all(&artifacts, &blobs, &()).await);
    let puts = registry.count("PUT", "/blobs/uploads/");
    artifacts = images(&blobs, 2);
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    all_good(&report);
    assert_eq!((report.mounted.blobs, report.uploaded.blobs), (2, 1));
    assert_eq!(registry.count("PUT", "/blobs/uploads/"), puts + 1);
}

#[tokio::test]
async fn mount_candidates_of_a_different_project_are_mounted() {
    let server = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 12);
    for blob in artifacts.iter().flat_map(Artifact::blobs_by_size) {
        let bytes = crate::body::read_checked(&blobs, blob, 1 << 20).unwrap();
        server.hold("staging/all", &bytes);
    }
    let registry = server.registry();
    for blob in artifacts.iter().flat_map(Artifact::blobs_by_size) {
        registry.add_mount_candidate("staging/all", &blob.digest);
        // The project is new, so it has no blobs of an earlier release.
        registry.expect("prod/of-earlier-release", &blob.digest);
    }
    let report = registry.push_all(&artifacts, &blobs, &()).await;
    all_good(&report);
    all_tagged(&server, &artifacts);
    assert_eq!((report.mounted.blobs, report.uploaded.blobs), (36, 0));
    assert_eq!(server.count("PUT", "/blobs/uploads/"), 0);
    assert_eq!(server.open_sessions(), 0);
}

#[tokio::test]
async fn wrong_mount_candidates_cost_few_requests() {
    let server = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 60);
    let registry = server.registry();
    for blob in artifacts.iter().flat_map(Artifact::blobs_by_size) {
        registry.add_mount_candidate("staging/all", &blob.digest);
    }
    let report = registry.push_all(&artifacts, &blobs, &()).await;
    all_good(&report);
    all_tagged(&server, &artifacts);
    // Sixty layers, the base layer and the configuration. The latter two are still mounted after
    // they were sent.
    assert_eq!((report.uploaded.blobs, report.mounted.blobs), (62, 118));
    let asked = server.seen(|seen| seen.parameter("from").as_deref() == Some("staging/all"));
    let asked = asked.into_iter().filter(|asked| *asked).count();
    assert!(
        (1..=30).contains(&asked),
        "{asked} mounts of what is not there"
    );
    assert_eq!(server.open_sessions(), 0);
}

/// A source that vouches for its files.
struct Vouching(Blobs);

impl BlobSource for Vouching {
    fn open(&self, digest: &Digest) -> std::io::Result<std::fs::File> {
        self.0.open(digest)
    }

    fn is_checked(&self, _: &Digest, _: &std::fs::File) -> bool {
        true
    }
}

#[tokio::test]
async fn a_checked_file_is_not_hashed_again_and_the_registry_verifies_it() {
    for layer in [b"short".to_vec(), vec![7; 2 * SMALL as usize]] {
        let server = Distribution::start().await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, "mke/pause", "v1", &[&layer]);
        let digest = blobs.put(&layer);
        let mut wrong = layer.clone();
        wrong[0] ^= 1;
        blobs.put_as(&digest, &wrong);

        // If it is hashed, the last piece is held back.
        let error = server.registry().push(&artifact, &blobs, &()).await;
        assert!(
            matches!(error, Err(Error::SourceContent { .. })),
            "{error:?}"
        );
        let whole = |server: &Distribution| {
            let bodies = server.seen(|seen| seen.body.clone());
            bodies.iter().any(|body| *body == wrong)
        };
        assert!(!whole(&server));

        let error = server
            .registry()
            .push(&artifact, &Vouching(blobs), &())
            .await;
        assert!(error.is_err());
        assert!(whole(&server), "the body was not sent as it is");
        assert_eq!(server.tag("mke/pause", "v1"), None);
    }
}

#[tokio::test]
async fn blobs_of_an_earlier_run_are_not_sent_again() {
    // The shared blobs, and the missing layers.
    for (quirks, expected) in [(Quirks::default(), 2 + 6), (no_mounts(), 24 + 6)] {
        let registry = Distribution::with(quirks, |_| None).await;
        let blobs = Blobs::new();
        let artifacts = images(&blobs, 12);
        // The earlier run sent every second layer and no manifest.
        for number in (0..12).step_by(2) {
            let own = format!("layer {number}");
            registry.hold(&format!("mke/image-{number}"), own.as_bytes());
        }
        let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
        all_good(&report);
        assert_eq!(report.present.blobs, 6);
        assert_eq!(registry.count("PUT", "/blobs/uploads/"), expected);
        assert_eq!(registry.open_sessions(), 0);
    }
}

#[tokio::test]
async fn the_session_of_a_refused_mount_is_used() {
    let registry = Distribution::with(no_mounts(), |_| None).await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 40);
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    all_good(&report);
    all_tagged(&registry, &artifacts);
    assert_eq!(report.uploaded.blobs, 120);
    assert_eq!(report.mounted.blobs, 0);
    // One session per upload, and the one of the trial, which is cancelled.
    assert_eq!(registry.count("POST", "/blobs/uploads/"), 120 + 1);
    assert_eq!(registry.count("DELETE", "/blobs/uploads/"), 1);
    assert_eq!(registry.open_sessions(), 0);
    // A registry that never mounts is soon not asked any more.
    let asked = registry.mounts();
    assert!((1..=30).contains(&asked), "{asked} mounts were asked for");
}

#[tokio::test]
async fn a_mount_that_is_an_error_falls_back_to_an_upload() {
    for status in [400, 403, 404, 405] {
        let status = StatusCode::from_u16(status).unwrap();
        let registry = Distribution::with(Quirks::default(), move |seen| {
            let mount = seen.method == "POST" && seen.query.contains("mount=");
            mount.then(|| status.into_response())
        })
        .await;
        let blobs = Blobs::new();
        let artifacts = images(&blobs, 3);
        let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
        all_good(&report);
        assert_eq!(report.uploaded.blobs, 9, "{status}");
    }
}

#[tokio::test]
async fn a_mount_requests_one_token_for_both_repositories() {
    let server = Fake::start(|seen| {
        // The token contains its scope.
        let query = url::form_urlencoded::parse(seen.query.as_bytes());
        let scopes: Vec<String> = query
            .filter(|(name, _)| name == "scope")
            .map(|(_, scope)| scope.replace([':', '/', ','], "."))
            .collect();
        format!(r#"{{"token":"{}"}}"#, scopes.join("+")).into_response()
    })
    .await;
    let realm = format!("http://{}/token", server.address);
    let registry = Distribution::with(Quirks::default(), move |seen| {
        let token = seen.sent("authorization").unwrap_or_default().to_owned();
        let challenge = || {
            let bearer = format!("Bearer realm=\"{realm}\"");
            (StatusCode::UNAUTHORIZED, [("www-authenticate", bearer)]).into_response()
        };
        let from = seen
            .parameter("from")
            .map(|from| from.replace('/', "."))
            .unwrap_or_default();
        (token.is_empty() || !token.contains(&from)).then(challenge)
    })
    .await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 2);
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    all_good(&report);
    assert_eq!((report.mounted.blobs, report.uploaded.blobs), (2, 4));
    let scopes = server.seen(|seen| seen.query.matches("scope=").count());
    assert_eq!(scopes.iter().filter(|count| **count == 2).count(), 1);
}

#[tokio::test]
async fn a_silent_registry_does_not_keep_a_stopped_push_from_ending() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let settings = Settings {
        stop_timeout: Duration::from_millis(200),
        ..hasty()
    };
    let stop = settings.stop.clone();
    let endpoint = Endpoint::new(&address, None).unwrap();
    let registry = Registry::with_settings(endpoint, Credentials::Anonymous, settings).unwrap();
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 2);
    let stopping = async {
        let _connection = silent.accept().await.unwrap();
        stop.request();
        pending::<()>().await
    };
    let report = tokio::select! {
        report = registry.push_all(&artifacts, &blobs, &()) => report,
        () = stopping => unreachable!("it never ends"),
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("the push waits"),
    };
    assert!(report.stopped);
}

#[tokio::test]
async fn a_failed_artifact_stops_no_other_one() {
    let registry = Distribution::with(Quirks::default(), |seen| {
        (seen.method != "HEAD" && seen.path.contains("/image-0/"))
            .then(|| refusal(StatusCode::FORBIDDEN, "QUOTA_EXCEEDED"))
    })
    .await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 5);
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    let failed = report.artifacts[0].as_ref().unwrap_err();
    assert!(matches!(**failed, Error::Forbidden { .. }), "{failed:?}");
    assert_eq!(registry.tag("mke/image-0", "v1"), None);
    all_tagged(&registry, &artifacts[1..]);
    // A different artifact sent the blobs that the first one shares with it.
    assert_eq!(report.uploaded.blobs, 2 + 4);
    assert_eq!(report.mounted.blobs, 6);
    assert_eq!(registry.count("PUT", "/image-0/manifests/"), 0);
}

#[tokio::test]
async fn a_damaged_file_fails_exactly_the_artifacts_that_need_it() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let mut artifacts = images(&blobs, 3);
    artifacts.push(image(&blobs, "mke/other", "v1", &[b"another layer"]));
    let base = artifacts[0].manifests[0].blobs[1].digest.clone();
    blobs.put_as(&base, &[b'x'; BASE.len()]);
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    for outcome in &report.artifacts[..3] {
        let error = outcome.as_ref().unwrap_err();
        assert!(matches!(**error, Error::SourceContent { .. }), "{error:?}");
    }
    report.artifacts[3].as_ref().unwrap();
    assert_eq!(blobs.opened(&base), 1);
    assert_eq!(registry.count("PUT", "/manifests/"), 1);
}

#[tokio::test]
async fn an_unverified_bundle_is_tagged_after_the_last_blob() {
    for is_damaged in [false, true] {
        let registry = Distribution::start().await;
        let blobs = Blobs::new();
        let mut artifacts = images(&blobs, 3);
        let large = vec![b'l'; 2 << 20];
        artifacts.push(image(&blobs, "mke/large", "v1", &[&large]));
        let layer = &artifacts[3].manifests[0].blobs[1].digest;
        if is_damaged {
            blobs.put_as(layer, &vec![b'x'; large.len()]);
        }
        let (sender, arrivals) = tokio::sync::mpsc::unbounded_channel();
        sender.send(Arrival::BundlePresent).unwrap();
        let client = registry.registry();
        let pushed = client.push_streamed(&artifacts, &blobs, arrivals, &());
        let report = pushed.await;
        if !is_damaged {
            all_good(&report);
            all_tagged(&registry, &artifacts);
            let requests = registry.requests();
            let is_tag = |one: &&String| one.starts_with("PUT ") && one.contains("/manifests/v1");
            let first_tag = requests.iter().position(|one| is_tag(&one));
            let after = &requests[first_tag.unwrap()..];
            assert!(
                !after.iter().any(|one| one.contains("/blobs/")),
                "{after:?}"
            );
            continue;
        }
        assert_eq!(registry.count("PUT", "/manifests/"), 0);
        let errors = report.artifacts.iter().map(|one| one.as_ref().unwrap_err());
        let (last, others) = (Vec::from_iter(errors).pop(), &report.artifacts[..3]);
        assert!(matches!(**last.unwrap(), Error::SourceContent { .. }));
        for other in others {
            let error = other.as_ref().unwrap_err();
            assert!(matches!(**error, Error::Withheld), "{error:?}");
        }
        // Undamaged blobs were sent, so the next push does not send them again.
        assert_eq!(report.uploaded.blobs, 6);
    }
}

#[tokio::test]
async fn repeated_tags_and_invalid_artifacts_are_refused() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = [
        image(&blobs, "mke/a", "v1", &[b"one"]),
        image(&blobs, "mke/a", "v1", &[b"two"]),
        image(&blobs, "mke/../a", "v1", &[b"three"]),
        image(&blobs, "mke/a", "v2", &[b"two"]),
    ];
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    let errors: Vec<Option<String>> = report
        .artifacts
        .iter()
        .map(|outcome| outcome.as_ref().err().map(ToString::to_string))
        .collect();
    assert_eq!(
        errors,
        [
            None,
            Some("artifact mke/a:v1 is given twice".to_owned()),
            Some("`mke/../a` is not a valid repository".to_owned()),
            None,
        ]
    );
    let nothing = registry.registry().push_all(&[], &blobs, &()).await;
    assert!(nothing.artifacts.is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_for_each_artifact() {
    let fake = Fake::start(|_| {
        let basic = [("www-authenticate", "Basic realm=x")];
        (StatusCode::UNAUTHORIZED, basic).into_response()
    })
    .await;
    let registry = fake.registry_as(deployer("open sesame"));
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 30);
    let report = registry.push_all(&artifacts, &blobs, &()).await;
    assert_eq!(report.artifacts.len(), 30);
    for outcome in report.artifacts {
        let error = outcome.unwrap_err();
        assert!(matches!(*error, Error::Unauthorized { .. }), "{error:?}");
    }
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn a_registry_that_goes_down_ends_the_push() {
    let registry = Distribution::with(Quirks::default(), |seen| {
        (seen.method != "HEAD").then(|| StatusCode::BAD_GATEWAY.into_response())
    })
    .await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 30);
    let report = registry.registry().push_all(&artifacts, &blobs, &()).await;
    for outcome in &report.artifacts {
        let error = outcome.as_ref().unwrap_err();
        assert!(matches!(**error, Error::Unavailable { .. }), "{error:?}");
    }
    // All attempts of three transfers, and the requests in progress.
    let posts = registry.count("POST", "/blobs/uploads/");
    assert!(posts <= 20, "{posts} attempts");
}

#[tokio::test]
async fn every_blob_is_read_if_the_registry_contradicts_itself() {
    let registry = Distribution::start().await;
    let blobs = Blobs::new();
    let artifacts = images(&blobs, 2);
    let client = registry.registry();
    let first = client.push_all(&artifacts[..1], &blobs, &()).await;
    all_good(&first);
    // The client has recorded the blobs of the first artifact, but the registry lost one.
    let base = artifacts[0].manifests[0].blobs[1].digest.to_string();
    registry.lose("mke/image-0", &base);
    let again = image(&blobs, "mke/image-0", "v2", &[BASE, b"new"]);
    let pushed = client.push(&again, &blobs, &()).await.unwrap();
    assert_eq!(pushed.manifests, 1);
    all_tagged(&registry, &[again]);
    assert_eq!(registry.count("PUT", "/manifests/v2"), 2);
}

#[tokio::test]
async fn the_future_of_a_push_is_send() {
    let registry = Distribution::start().await;
    let client = registry.registry();
    let report = tokio::spawn(async move {
        let blobs = Blobs::new();
        let artifacts = vec![index(&blobs, "mke/a", "v1"), index(&blobs, "mke/b", "v1")];
        client.push_all(&artifacts, &blobs, &()).await
    });
    all_good(&report.await.unwrap());
}
