//! Uploads of one blob to registries that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode as Status;
use axum::response::{IntoResponse, Response as Answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::fake::{
    Blobs, Distribution, Fake, Quirks, Seen, deployer, hasty, image, on_socket, refusal,
};
use crate::{Credentials, Endpoint, Settings};

const REPOSITORY: &str = "mke/calico/node";
const SESSION: &str = "/blobs/uploads/";

async fn upload(registry: &Registry, bytes: &[u8]) -> (Result<(), Error>, usize) {
    let blobs = Blobs::new();
    let blob = blobs.blob(bytes);
    let result = registry.upload(REPOSITORY, &blob, &blobs, None, &()).await;
    (result, blobs.opened(&blob.digest))
}

/// A registry that answers the first `times` requests of a kind otherwise.
async fn stumbling(
    times: usize,
    method: &'static str,
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> Fake {
    let stumbled = AtomicUsize::new(0);
    Fake::over_registry(move |seen| {
        (seen.is(method, "/blobs/") && stumbled.fetch_add(1, Ordering::SeqCst) < times)
            .then(&answer)
    })
    .await
}

#[tokio::test]
async fn an_upload_takes_two_requests() {
    let fake = Fake::over_registry(|_| None).await;
    let (result, opened) = upload(&fake.registry(), b"twelve bytes").await;
    result.unwrap();
    assert_eq!(opened, 1);
    let requests = fake.requests();
    assert_eq!(requests[0], format!("POST /v2/{REPOSITORY}/blobs/uploads/"));
    assert!(requests[1].starts_with(&format!("PUT /v2/{REPOSITORY}/blobs/uploads/")));
    assert_eq!(requests.len(), 2);
    let lengths = fake.seen(|seen| seen.sent("content-length").map(str::to_owned));
    assert_eq!(lengths, [Some("0".to_owned()), Some("12".to_owned())]);
    let chunked = fake.seen(|seen| seen.sent("transfer-encoding").is_some());
    assert_eq!(chunked, [false, false]);
}

#[tokio::test]
async fn an_empty_blob_is_uploaded() {
    let fake = Fake::over_registry(|seen| {
        // The embedded registry refuses an empty upload; other registries accept it.
        let digest = seen.query.strip_prefix("digest=")?.replace("%3A", ":");
        Some((Status::CREATED, [("docker-content-digest", digest)]).into_response())
    })
    .await;
    upload(&fake.registry(), b"").await.0.unwrap();
    let put = fake.seen(Seen::clone).pop().unwrap();
    assert_eq!(put.sent("content-length"), Some("0"));
    assert!(put.body.is_empty());
}

#[tokio::test]
async fn a_transient_failure_is_retried_with_a_new_file() {
    for status in [408, 429, 500, 502, 503, 504] {
        let status = Status::from_u16(status).unwrap();
        for (method, opened) in [("POST", 1), ("PUT", 3)] {
            let fake = stumbling(2, method, move || status.into_response()).await;
            let (result, times) = upload(&fake.registry(), b"twelve bytes").await;
            result.unwrap();
            assert_eq!(times, opened, "{status} to {method}");
            assert_eq!(fake.count("POST", "/blobs/uploads/"), 3);
        }
    }
}

#[tokio::test]
async fn a_permanent_failure_is_not_retried() {
    for status in [400, 401, 403, 405, 409, 413, 501] {
        let status = Status::from_u16(status).unwrap();
        let fake = stumbling(1, "PUT", move || status.into_response()).await;
        let (result, opened) = upload(&fake.registry(), b"twelve bytes").await;
        let error = result.unwrap_err();
        assert_eq!(opened, 1, "{status}");
        let expected = match status.as_u16() {
            401 => matches!(error, Error::Unauthorized { .. }),
            403 => matches!(error, Error::Forbidden { .. }),
            413 => matches!(error, Error::TooLarge { size: 12, .. }),
            _ => matches!(error, Error::Rejected { .. }),
        };
        assert!(expected, "{error:?}");
        let place = error.place().unwrap();
        assert_eq!(place.repository, REPOSITORY);
        assert!(place.url.contains("/blobs/uploads/") && !place.url.contains('?'));
    }
}

#[tokio::test]
async fn a_missing_project_is_reported_when_the_upload_begins() {
    let fake = Fake::start(|_| {
        let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"project mke not found"}]}"#;
        (Status::NOT_FOUND, body).into_response()
    })
    .await;
    let (result, _) = upload(&fake.registry(), b"twelve bytes").await;
    let error = result.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert_eq!(
        error.response().unwrap().code.as_deref(),
        Some("NAME_UNKNOWN")
    );
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn an_ordered_pause_is_kept() {
    let fake = stumbling(1, "PUT", || {
        (Status::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response()
    })
    .await;
    let begun = std::time::Instant::now();
    upload(&fake.registry(), b"twelve bytes").await.0.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_lasting_failure_is_reported_after_all_attempts() {
    let fake = stumbling(usize::MAX, "PUT", || Status::BAD_GATEWAY.into_response()).await;
    let (result, opened) = upload(&fake.registry(), b"twelve bytes").await;
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(opened, 3);

    let fake = stumbling(usize::MAX, "PUT", || {
        (Status::TOO_MANY_REQUESTS, [("retry-after", "86400")]).into_response()
    })
    .await;
    let (result, opened) = upload(&fake.registry(), b"twelve bytes").await;
    let Err(Error::RateLimited { retry_after, .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(86400)));
    assert_eq!(opened, 1);
}

#[tokio::test]
async fn a_lost_session_starts_over() {
    for body in [
        r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":""}]}"#,
        r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":""}]}"#,
    ] {
        for status in [Status::NOT_FOUND, Status::BAD_REQUEST] {
            let fake = stumbling(1, "PUT", move || (status, body).into_response()).await;
            upload(&fake.registry(), b"twelve bytes").await.0.unwrap();
            assert_eq!(fake.count("POST", "/blobs/uploads/"), 2);
        }
    }
}

#[tokio::test]
async fn a_blob_whose_response_was_lost_is_not_sent_twice() {
    let fake = Fake::over_registry(|seen| {
        if seen.is("PUT", "/blobs/uploads/") {
            return Some(Status::GATEWAY_TIMEOUT.into_response());
        }
        seen.is("HEAD", "/blobs/")
            .then(|| Status::OK.into_response())
    })
    .await;
    let (result, opened) = upload(&fake.registry(), b"twelve bytes").await;
    result.unwrap();
    assert_eq!(opened, 1);
}

#[tokio::test]
async fn the_response_digest_is_compared() {
    let other = format!("sha256:{}", "0".repeat(64));
    let fake = stumbling(1, "PUT", move || {
        (Status::CREATED, [("docker-content-digest", other.clone())]).into_response()
    })
    .await;
    let error = upload(&fake.registry(), b"twelve bytes")
        .await
        .0
        .unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");

    // Without a digest in the response, the blob is looked up. It is missing the first time.
    let fake = stumbling(1, "PUT", || Status::CREATED.into_response()).await;
    upload(&fake.registry(), b"twelve bytes").await.0.unwrap();
    assert_eq!(fake.count("PUT", "/blobs/uploads/"), 2);
}

#[tokio::test]
async fn a_session_without_a_location_is_an_error() {
    for (headers, problem) in [
        (vec![], "has no Location"),
        (
            vec![("location", "http://[x")],
            "Location `http://[x`, which is not a URL",
        ),
        (
            vec![("location", "http://blobs.example.com/u?sig=1")],
            "`http://blobs.example.com/u`, which leads away from TLS or is not a web address",
        ),
        (
            vec![("location", "https,http://127.0.0.1/v2/u?sig=1")],
            "`https,http://127.0.0.1/v2/u`, in which a proxy named the scheme or the host twice",
        ),
    ] {
        let fake = Fake::start(move |_| {
            let mut answer = Status::ACCEPTED.into_response();
            for (name, value) in &headers {
                answer.headers_mut().insert(*name, value.parse().unwrap());
            }
            answer
        })
        .await;
        let error = upload(&fake.registry(), b"x").await.0.unwrap_err();
        let is_named = matches!(error, Error::Protocol { .. } | Error::Location { .. });
        assert!(is_named, "{error:?}");
        let text = error.to_string();
        assert!(text.ends_with(problem), "{text}");
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_different_host_receives_the_blob_and_no_credentials() {
    let storage = Fake::start(|seen| {
        let digest = seen
            .query
            .split("digest=")
            .nth(1)
            .unwrap()
            .replace("%3A", ":");
        (Status::CREATED, [("docker-content-digest", digest)]).into_response()
    })
    .await;
    let location = format!("http://{}/bucket/1?signature=abc", storage.address);
    let fake = Fake::start(move |seen| match seen.sent("authorization") {
        None => (
            Status::UNAUTHORIZED,
            [("www-authenticate", "Basic realm=x")],
        )
            .into_response(),
        Some(_) => (Status::ACCEPTED, [("location", location.clone())]).into_response(),
    })
    .await;
    let registry = fake.registry_as(deployer("open sesame"));
    upload(&registry, b"twelve bytes").await.0.unwrap();
    let seen = storage.seen(Seen::clone);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].sent("authorization"), None);
    assert!(seen[0].query.starts_with("signature=abc&digest=sha256"));
    assert_eq!(seen[0].body.as_ref(), b"twelve bytes");
}

/// A server on a bare socket. It opens sessions. For a PUT, it reads the head and passes the
/// connection to `then`.
async fn bare<F>(then: impl Fn(tokio::net::TcpStream) -> F + Send + Sync + 'static) -> Registry
where
    F: Future<Output = ()> + Send + 'static,
{
    let then = Arc::new(then);
    let address = on_socket(move |mut stream| {
        let then = Arc::clone(&then);
        async move {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            if head.starts_with(b"POST") {
                let answer = "HTTP/1.1 202 Accepted\r\nlocation: /u\r\n\
                    content-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
            } else if head.starts_with(b"PUT") || head.starts_with(b"PATCH") {
                assert!(length > 0);
                then(stream).await;
            } else {
                let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\
                    connection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let settings = Settings {
        attempts: 2,
        stall_timeout: Duration::from_millis(500),
        finish_timeout: Duration::from_millis(500),
        ..hasty()
    };
    let endpoint = Endpoint::new(&address, None).unwrap();
    Registry::with_settings(endpoint, Credentials::Anonymous, settings).unwrap()
}

#[tokio::test]
async fn a_stalled_upload_is_aborted() {
    // Larger than the buffers of a loopback connection.
    let bytes = vec![1; 24 << 20];
    let registry = bare(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let (result, opened) = upload(&registry, &bytes).await;
    let Err(Error::Stalled { moved, size, .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(size, 24 << 20);
    assert!(moved < size, "{moved}");
    assert_eq!(opened, 2);
}

#[tokio::test]
async fn an_upload_without_a_response_is_aborted() {
    let registry = bare(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let (result, _) = upload(&registry, &[1; 100_000]).await;
    let Err(Error::Stalled { moved, size, .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(moved, size);
}

#[tokio::test]
async fn a_slow_upload_is_not_a_stalled_one() {
    // Reads for longer than the stall timeout in total, but never pauses for as long.
    let bytes = vec![1; 15 << 20];
    let registry = bare(|mut stream| async move {
        let mut piece = vec![0; 1 << 20];
        for _ in 0..14 {
            stream.read_exact(&mut piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        let answer = "HTTP/1.1 201 Created\r\ndocker-content-digest: sha256:00\r\n\
            content-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let (result, opened) = upload(&registry, &bytes).await;
    // A wrong digest in the response shows that the response arrived.
    assert!(
        matches!(result, Err(Error::DigestMismatch { .. })),
        "{result:?}"
    );
    assert_eq!(opened, 1);
}

#[tokio::test]
async fn a_413_that_comes_early_is_heard() {
    let bytes = vec![1; 24 << 20];
    let registry = bare(|mut stream| async move {
        let answer = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\
            connection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Like nginx, reads and discards the body for a while, so the response is not lost.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let (result, opened) = upload(&registry, &bytes).await;
    assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
    // In one request, and in parts of three sizes. The file is checked before each.
    assert_eq!(opened, 1 + 3 * 2);
}

#[tokio::test]
async fn a_lost_connection_is_retried() {
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cuts);
    let registry = bare(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let (result, opened) = upload(&registry, &vec![1; 24 << 20]).await;
    assert!(
        matches!(result, Err(Error::ConnectionLost { .. })),
        "{result:?}"
    );
    assert_eq!((opened, cuts.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test]
async fn a_session_with_more_bytes_than_the_blob_is_not_resumed() {
    for held in ["0-99999", "0-18446744073709551615"] {
        let sent = AtomicUsize::new(0);
        let fake = Fake::start(move |seen| {
            let here = ("location", "/v2/x/blobs/uploads/1");
            match seen.method.as_str() {
                "POST" => (Status::ACCEPTED, [here]).into_response(),
                "PATCH" if sent.fetch_add(1, Ordering::SeqCst) == 0 => {
                    Status::BAD_GATEWAY.into_response()
                }
                "PATCH" => (Status::ACCEPTED, [here]).into_response(),
                "GET" => (Status::NO_CONTENT, [here, ("range", held)]).into_response(),
                "PUT" => {
                    let digest = seen.parameter("digest").unwrap();
                    (Status::CREATED, [("docker-content-digest", digest)]).into_response()
                }
                _ => Status::NOT_FOUND.into_response(),
            }
        })
        .await;
        let settings = Settings {
            resume_from: 1,
            ..hasty()
        };
        let registry =
            Registry::with_settings(fake.endpoint(), Credentials::Anonymous, settings).unwrap();
        let (result, _) = upload(&registry, b"twelve bytes").await;
        result.unwrap();
        assert_eq!(fake.count("GET", "/blobs/uploads/"), 1);
        assert_eq!(fake.count("POST", "/blobs/uploads/"), 2, "{held}");
    }
}

/// Requests a stop at the first progress of a blob.
struct StopsSoon(crate::Stop);

impl Observer for StopsSoon {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::BlobProgress { .. }) {
            self.0.request();
        }
    }
}

#[tokio::test]
async fn a_silent_registry_is_not_awaited_long_after_a_stop() {
    let registry = bare(|mut stream| async move {
        // Slow, so the upload is in progress when the stop is requested.
        let mut piece = vec![0; 1 << 20];
        while let Ok(1..) = stream.read(&mut piece).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let blobs = Blobs::new();
    let blob = blobs.blob(&vec![1; 64 << 20]);
    let observer = StopsSoon(registry.transport().settings().stop.clone());
    let uploading = registry.upload(REPOSITORY, &blob, &blobs, None, &observer);
    let result = tokio::time::timeout(Duration::from_secs(20), uploading).await;
    let result = result.expect("it still waits");
    assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
}

#[tokio::test]
async fn a_session_on_an_unusable_host_is_one_error_that_names_it() {
    let refusing = Fake::start(|_| Status::UNAUTHORIZED.into_response()).await;
    let nowhere = crate::fake::free_address().await;
    for other in [refusing.address.to_string(), nowhere] {
        let location = format!("http://{other}/v2/{REPOSITORY}/blobs/uploads/1?sig=1");
        let fake = Fake::start(move |seen| match seen.method.as_str() {
            "HEAD" => Status::NOT_FOUND.into_response(),
            _ => (Status::ACCEPTED, [("location", location.clone())]).into_response(),
        })
        .await;
        let blobs = Blobs::new();
        let artifacts: Vec<_> = (0..5)
            .map(|number| image(&blobs, &format!("mke/{number}"), "v1", &[b"layer"]))
            .collect();
        let report = fake.registry().push_all(&artifacts, &blobs, &()).await;
        let errors: Vec<String> = report
            .artifacts
            .iter()
            .map(|outcome| outcome.as_ref().unwrap_err().to_string())
            .collect();
        let named = format!(
            "names the Location `http://{other}`, which is another host than {}",
            fake.address
        );
        assert!(errors[0].contains(&named), "{errors:?}");
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        assert!(fake.count("POST", "") <= 3, "{:?}", fake.requests());
    }
}

// cases 1.6 and 5.8
#[tokio::test]
async fn an_upload_that_another_push_disturbed_starts_over_and_cancels_its_session() {
    for (status, code) in [
        (Status::BAD_REQUEST, "DIGEST_INVALID"),
        (Status::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    ] {
        // A small blob is sent in one request, a large one as a stream.
        for length in [10, 2 << 20] {
            let spoiled = AtomicUsize::new(0);
            let registry = Distribution::with(Quirks::default(), move |seen| {
                let first = seen.is("PUT", SESSION) && spoiled.fetch_add(1, Ordering::SeqCst) == 0;
                first.then(|| refusal(status, code))
            })
            .await;
            let blobs = Blobs::new();
            let blob = blobs.blob(&vec![7; length]);
            let settings = Settings {
                resume_from: if code == "UNKNOWN" { u64::MAX } else { 1 << 20 },
                ..hasty()
            };
            let client =
                Registry::with_settings(registry.endpoint(), Credentials::Anonymous, settings);
            let client = client.unwrap();
            let uploading = client.upload(REPOSITORY, &blob, &blobs, None, &());
            uploading.await.unwrap();
            assert!(client.holds(REPOSITORY, &blob, &()).await.unwrap());
            assert_eq!(registry.count("POST", SESSION), 2, "{code}");
            assert_eq!(registry.count("DELETE", SESSION), 1, "{code}");
            assert_eq!(registry.open_sessions(), 0);
        }
    }
}

#[tokio::test]
async fn a_failed_upload_leaves_no_session() {
    let registry = Distribution::with(Quirks::default(), |seen| {
        seen.is("PUT", SESSION)
            .then(|| refusal(Status::BAD_GATEWAY, "UNKNOWN"))
    })
    .await;
    let result = upload(&registry.registry(), b"x").await.0;
    assert!(matches!(result, Err(Error::Unavailable { .. })));
    assert_eq!(registry.count("DELETE", SESSION), 3);
    assert_eq!(registry.open_sessions(), 0);
}
