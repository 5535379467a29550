//! A rejected write and a wrong password are sent once, however many requests there are.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode as Status;
use axum::response::{IntoResponse as _, Response};

use super::*;
use crate::fake::{Blobs, Fake, Seen, deployer, hasty, image};
use crate::{Artifact, Registry, Settings};

fn error(status: Status, code: &str, message: &str) -> Response {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    (status, body).into_response()
}

fn challenge(challenge: &str) -> Response {
    (Status::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
}

fn writes(seen: &Seen) -> bool {
    seen.method == "POST" || seen.method == "PUT" || seen.method == "PATCH"
}

/// Returns the requests that would have written.
fn writes_of(fake: &Fake) -> usize {
    let seen = fake.seen(writes);
    seen.iter().filter(|writes| **writes).count()
}

/// Sixty images that share a layer.
fn sixty(blobs: &Blobs, project: &str) -> Vec<Artifact> {
    let name = |number: usize| format!("{project}/image-{number}");
    (0..60)
        .map(|number| {
            let own = format!("layer of {number}");
            image(blobs, &name(number), "v1", &[b"shared", own.as_bytes()])
        })
        .collect()
}

fn registry_of(fake: &Fake, accounts: &Accounts) -> Registry {
    let settings = Settings {
        accounts: accounts.clone(),
        ..hasty()
    };
    Registry::with_settings(fake.endpoint(), deployer("wrong"), settings).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_writes_receives_one() {
    type Answering = fn() -> Response;
    let refusals: [(&str, Answering); 6] = [
        ("Basic", || challenge("Basic realm=\"r\"")),
        ("no challenge", || Status::UNAUTHORIZED.into_response()),
        ("403", || {
            error(Status::FORBIDDEN, "DENIED", "requested access is denied")
        }),
        ("403 without a reason", || Status::FORBIDDEN.into_response()),
        ("405", || {
            error(Status::METHOD_NOT_ALLOWED, "UNSUPPORTED", "read-only")
        }),
        ("read-only", || {
            error(
                Status::FORBIDDEN,
                "DENIED",
                "the system is in read only mode",
            )
        }),
    ];
    for (name, refusal) in refusals {
        let fake = Fake::over_registry(move |seen| writes(seen).then(refusal)).await;
        let blobs = Blobs::new();
        let accounts = Accounts::default();
        // Two environments with the same registry are pushed one after the other.
        for project in ["lab", "prod"] {
            let artifacts = sixty(&blobs, project);
            let registry = registry_of(&fake, &accounts);
            let report = registry.push_all(&artifacts, &blobs, &()).await;
            let errors: Vec<String> = report
                .artifacts
                .into_iter()
                .map(|outcome| outcome.unwrap_err().to_string())
                .collect();
            assert!(
                errors.iter().all(|error| *error == errors[0]),
                "{name}: {errors:?}"
            );
            assert!(registry.refuses_writes().is_some(), "{name}");
            assert_eq!(writes_of(&fake), 1, "{name}, {project}: {errors:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_that_refuses_push_rights_is_asked_once() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let server = Fake::start(move |seen| {
        if seen.query.contains("push") {
            count.fetch_add(1, Ordering::SeqCst);
            return error(Status::UNAUTHORIZED, "UNAUTHORIZED", "not for you");
        }
        r#"{"token":"reader"}"#.into_response()
    })
    .await;
    let realm = format!("Bearer realm=\"http://{}/token\"", server.address);
    let fake = Fake::over_registry(move |seen| {
        let reads = seen.sent("authorization") == Some("Bearer reader");
        (!reads).then(|| challenge(&realm))
    })
    .await;
    let blobs = Blobs::new();
    let artifacts = sixty(&blobs, "lab");
    let registry = registry_of(&fake, &Accounts::default());
    registry.ping().await.unwrap();
    let report = registry.push_all(&artifacts, &blobs, &()).await;
    assert!(report.artifacts.iter().all(Result::is_err));
    assert_eq!((refused.load(Ordering::SeqCst), writes_of(&fake)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_push_rights_is_sent_once() {
    let server = Fake::start(|_| r#"{"token":"reader"}"#.into_response()).await;
    let address = server.address.clone();
    let fake = Fake::over_registry(move |seen| {
        let repository = seen
            .path
            .trim_start_matches("/v2/")
            .replace("/blobs/uploads/", "");
        let reads = seen.sent("authorization") == Some("Bearer reader") && !writes(seen);
        (!reads).then(|| {
            challenge(&format!(
                "Bearer realm=\"http://{address}/token\",\
                 scope=\"repository:{repository}:push,pull\",error=\"insufficient_scope\""
            ))
        })
    })
    .await;
    let blobs = Blobs::new();
    let registry = registry_of(&fake, &Accounts::default());
    registry.ping().await.unwrap();
    let report = registry.push_all(&sixty(&blobs, "lab"), &blobs, &()).await;
    let error = report.artifacts[0].as_ref().unwrap_err();
    assert!(matches!(**error, Error::Forbidden { .. }), "{error:?}");
    assert_eq!(writes_of(&fake), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_content_stops_nothing_else() {
    let answers: [(Status, &str, &str); 4] = [
        (
            Status::FORBIDDEN,
            "DENIED",
            "will exceed the configured upper limit of 10.0 MiB",
        ),
        (Status::FORBIDDEN, "DENIED", "tag v1 is immutable"),
        (
            Status::PRECONDITION_FAILED,
            "PRECONDITION",
            "configured as immutable",
        ),
        (Status::FORBIDDEN, "QUOTA_EXCEEDED", "no"),
    ];
    for (status, code, message) in answers {
        // The very first write is refused.
        let fake = Fake::over_registry(move |seen| {
            let locked = writes(seen) && seen.path.contains("/image-0/");
            locked.then(|| error(status, code, message))
        })
        .await;
        let blobs = Blobs::new();
        let artifacts = sixty(&blobs, "lab");
        let registry = registry_of(&fake, &Accounts::default());
        let report = registry.push_all(&artifacts, &blobs, &()).await;
        let failed = report.artifacts.iter().filter(|outcome| outcome.is_err());
        assert_eq!(failed.count(), 1, "{message}");
        report.artifacts[0].as_ref().unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_write_is_not_stopped_by_one_repository() {
    let fake = Fake::over_registry(|seen| {
        let locked = writes(seen) && seen.path.contains("/image-7/");
        locked.then(|| error(Status::FORBIDDEN, "DENIED", "requested access is denied"))
    })
    .await;
    let blobs = Blobs::new();
    let registry = registry_of(&fake, &Accounts::default());
    let first = image(&blobs, "lab/first", "v1", &[b"first"]);
    registry.push(&first, &blobs, &()).await.unwrap();
    let report = registry.push_all(&sixty(&blobs, "lab"), &blobs, &()).await;
    let failed = report.artifacts.iter().filter(|outcome| outcome.is_err());
    assert_eq!(failed.count(), 1);
    assert!(registry.refuses_writes().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_mount_is_not_the_first_write() {
    let fake = Fake::over_registry(|seen| {
        let other = seen.parameter("from").is_some();
        other.then(|| {
            error(
                Status::FORBIDDEN,
                "DENIED",
                "no access to the other project",
            )
        })
    })
    .await;
    let blobs = Blobs::new();
    let artifact = image(&blobs, "lab/node", "v1", &[b"layer"]);
    let registry = registry_of(&fake, &Accounts::default());
    for blob in artifact.blobs_by_size() {
        registry.add_mount_candidate("prod/node", &blob.digest);
    }
    registry.push(&artifact, &blobs, &()).await.unwrap();
}

// A wrong password that only reads send.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_reads_send_a_wrong_password_once() {
    let fake = Fake::start(|_| challenge("Basic realm=\"r\"")).await;
    let accounts = Accounts::default();
    // A second client of the run does not send it again. A different password is a different
    // account.
    for _ in 0..2 {
        let registry = registry_of(&fake, &accounts);
        let asks = (0..40).map(|_| registry.head_manifest("lab/node", "v1"));
        for asked in futures_util::future::join_all(asks).await {
            let error = asked.unwrap_err();
            assert!(
                matches!(error, Error::Unauthorized { is_login: true, .. }),
                "{error:?}"
            );
        }
        let shown = fake.seen(|seen| seen.sent("authorization").is_some());
        assert_eq!(shown.iter().filter(|shown| **shown).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_receives_a_wrong_password_once() {
    let server = Fake::start(|_| Status::UNAUTHORIZED.into_response()).await;
    let realm = format!("Bearer realm=\"http://{}/token\"", server.address);
    let fake = Fake::start(move |_| challenge(&realm)).await;
    let registry = registry_of(&fake, &Accounts::default());
    let names: Vec<String> = (0..40)
        .map(|number| format!("lab/image-{number}"))
        .collect();
    let asks = names.iter().map(|name| registry.head_manifest(name, "v1"));
    for asked in futures_util::future::join_all(asks).await {
        asked.unwrap_err();
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_forgotten_after_a_while() {
    let url = url::Url::parse("https://registry.example.com/v2/").unwrap();
    let refusal = Refusal {
        kind: Kind::Unauthorized { is_login: true },
        at: RequestInfo::new("GET", &url, ""),
        response: ErrorResponse {
            status: 401,
            code: None,
            message: None,
        },
    };
    let gate = Gate::default();
    gate.refuse(refusal.clone());
    gate.enter().await.unwrap_err();
    let since = Instant::now().checked_sub(REFUSAL_LIFETIME).unwrap();
    *lock(&gate.state) = State::Refused {
        refusal: Box::new(refusal),
        since,
    };
    assert!(gate.enter().await.unwrap().is_some());
}
