//! Tokens and passwords, as registries and token servers receive them.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::*;
use crate::Registry;
use crate::fake::{Blobs, Fake, Seen, deployer, image, index};

const REPOSITORY: &str = "mke/calico/node";

fn basic() -> String {
    format!("Basic {}", BASE64_STANDARD.encode("deployer:open sesame"))
}

fn challenge(challenge: &str) -> Response {
    (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
}

/// A registry that requires a name and a password.
async fn basic_registry() -> Fake {
    Fake::over_registry(|seen| {
        (seen.sent("authorization") != Some(&basic()))
            .then(|| challenge("Basic realm=\"registry\""))
    })
    .await
}

/// A token server. A token contains its scope and a serial number.
async fn token_server(expires_in: u64) -> Fake {
    let issued = AtomicUsize::new(0);
    Fake::start(move |seen| {
        let who = match seen.sent("authorization") {
            Some(header) if header == basic() => "deployer",
            Some(_) => return StatusCode::UNAUTHORIZED.into_response(),
            None => "nobody",
        };
        let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
        format!(r#"{{"token":"{who}-{number}","expires_in":{expires_in},"extra":1}}"#)
            .into_response()
    })
    .await
}

/// A registry that requires tokens from `server`. `accepts` decides about the token of a request.
async fn token_registry(
    server: &Fake,
    accepts: impl Fn(&Seen, &str) -> bool + Send + Sync + 'static,
) -> Fake {
    let realm = format!("http://{}/token", server.address);
    Fake::over_registry(move |seen| {
        let token = seen
            .sent("authorization")
            .and_then(|h| h.strip_prefix("Bearer "));
        if token.is_some_and(|token| accepts(seen, token)) {
            return None;
        }
        Some(challenge(&format!(
            "Bearer realm=\"{realm}\",service=\"registry\",scope=\"repository:x:pull\""
        )))
    })
    .await
}

async fn push(registry: &Registry) -> Result<crate::Pushed, Error> {
    let blobs = Blobs::new();
    let artifact = index(&blobs, REPOSITORY, "v1");
    registry.push(&artifact, &blobs, &()).await
}

#[tokio::test]
async fn a_password_is_sent_after_a_challenge_and_from_then_on() {
    let fake = basic_registry().await;
    push(&fake.registry_as(deployer("open sesame")))
        .await
        .unwrap();
    let shown = fake.seen(|seen| seen.sent("authorization").map(str::to_owned));
    assert_eq!(shown[0], None);
    assert!(
        shown[1..]
            .iter()
            .all(|shown| shown.as_deref() == Some(&basic()))
    );
}

#[tokio::test]
async fn a_wrong_password_ends_the_push() {
    let fake = Fake::start(|_| challenge("Basic realm=\"registry\"")).await;
    let registry = fake.registry_as(deployer("open sesame"));
    let error = registry.ping().await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert_eq!(fake.requests().len(), 2);
    // The rest of the push does not send it again.
    push(&registry).await.unwrap_err();
    assert_eq!(fake.requests().len(), 2);
    let said = format!("{error} {error:?} {registry:?}");
    assert!(
        !said.contains("sesame") && !said.contains(&basic()),
        "{said}"
    );
}

#[tokio::test]
async fn a_registry_that_requires_credentials_is_reported_without_any() {
    let fake = basic_registry().await;
    let error = push(&fake.registry()).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("a user name and a password are required")
    );
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_401_that_demands_nothing_is_named() {
    let fake = Fake::start(|_| StatusCode::UNAUTHORIZED.into_response()).await;
    let error = fake
        .registry_as(deployer("open sesame"))
        .ping()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn one_token_for_reading_and_one_for_writing_serve_a_whole_push() {
    let server = token_server(300).await;
    let fake = token_registry(&server, |_, token| token.starts_with("deployer-")).await;
    push(&fake.registry_as(deployer("open sesame")))
        .await
        .unwrap();
    let queries = server.seen(|seen| seen.query.clone());
    assert_eq!(
        queries,
        [
            "service=registry&scope=repository%3Amke%2Fcalico%2Fnode%3Apull\
             &scope=repository%3Ax%3Apull&account=deployer",
            "service=registry&scope=repository%3Amke%2Fcalico%2Fnode%3Apull%2Cpush\
             &account=deployer",
        ]
    );
    // Only the first request received a challenge.
    let bare = fake.seen(|seen| seen.sent("authorization").is_none());
    assert_eq!(bare.iter().filter(|bare| **bare).count(), 1);
}

#[tokio::test]
async fn concurrent_requests_share_one_token_fetch() {
    let server = token_server(300).await;
    let fake = token_registry(&server, |_, _| true).await;
    let registry = fake.registry();
    let asks = (0..16).map(|_| registry.head_manifest(REPOSITORY, "v1"));
    futures_util::future::try_join_all(asks).await.unwrap();
    assert_eq!(server.requests().len(), 1);
    assert!(server.seen(|seen| seen.sent("authorization").is_none())[0]);
}

#[tokio::test]
async fn an_expired_token_is_replaced_and_the_upload_repeated() {
    let server = token_server(300).await;
    let fake = token_registry(&server, |seen, token| {
        // The second token, for writes, is refused at the first blob.
        !(seen.is("PUT", "/blobs/uploads/") && token.ends_with("-2"))
    })
    .await;
    let blobs = Blobs::new();
    let artifact = image(&blobs, REPOSITORY, "v1", &[]);
    let registry = fake.registry_as(deployer("open sesame"));
    registry.push(&artifact, &blobs, &()).await.unwrap();
    assert_eq!(server.requests().len(), 3);
    assert_eq!(fake.count("PUT", "/blobs/uploads/"), 2);
    assert_eq!(fake.count("POST", "/blobs/uploads/"), 1);
    let config = &artifact.manifests[0].blobs[0].digest;
    assert_eq!(blobs.opened(config), 2);
}

#[tokio::test]
async fn a_token_server_that_rejects_the_password_is_reported() {
    for status in [400, 401, 403] {
        let status = StatusCode::from_u16(status).unwrap();
        let server = Fake::start(move |_| (status, "incorrect password").into_response()).await;
        let fake = token_registry(&server, |_, _| true).await;
        let error = push(&fake.registry_as(deployer("open sesame")))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&server.address.to_string()), "{text}");
        assert!(text.contains("incorrect password"), "{text}");
        assert!(!text.contains("account="), "{text}");
    }
}

#[tokio::test]
async fn a_failing_token_server_is_retried() {
    let failed = AtomicUsize::new(0);
    let server = Fake::start(move |_| match failed.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::BAD_GATEWAY.into_response(),
        _ => r#"{"access_token":"good"}"#.into_response(),
    })
    .await;
    let fake = token_registry(&server, |_, token| token == "good").await;
    fake.registry().ping().await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn responses_without_a_token_are_errors_that_do_not_show_them() {
    for answer in ["<html>", "{}", r#"{"token":5}"#, r#"{"token":"a\nb"}"#] {
        let server = Fake::start(move |_| answer.into_response()).await;
        let fake = token_registry(&server, |_, _| true).await;
        let error = fake.registry().ping().await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_valid_token_with_insufficient_rights_is_forbidden() {
    let server = token_server(300).await;
    let realm = format!("http://{}/token", server.address);
    let fake = Fake::start(move |_| {
        challenge(&format!(
            "Bearer realm=\"{realm}\",service=\"registry\",error=\"insufficient_scope\""
        ))
    })
    .await;
    let error = push(&fake.registry_as(deployer("open sesame")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
}

#[tokio::test]
async fn credentials_do_not_go_to_a_token_server_without_tls() {
    let fake = Fake::start(|_| challenge("Bearer realm=\"http://token.example.com/t\"")).await;
    let error = fake
        .registry_as(deployer("open sesame"))
        .ping()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::UntrustedRealm { .. }), "{error:?}");
    assert!(error.to_string().contains("http://token.example.com/t"));
}

#[tokio::test]
async fn token_redirects_and_unsupported_schemes_are_errors() {
    let server = Fake::start(|_| {
        let to = "https://sso.example.com/token?state=secret";
        (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response()
    })
    .await;
    let fake = token_registry(&server, |_, _| true).await;
    let error = fake.registry_as(deployer("open sesame")).ping().await;
    let said = error.unwrap_err().to_string();
    let end = "redirects to https://sso.example.com/token, which is not followed";
    assert!(said.ends_with(end), "{said}");

    let fake = Fake::start(|_| challenge("Negotiate, NTLM")).await;
    let error = fake.registry_as(deployer("open sesame")).ping().await;
    let said = error.unwrap_err().to_string();
    let end = "accepts a login by Negotiate or NTLM only, which is not supported";
    assert!(said.ends_with(end), "{said}");
}

#[tokio::test]
async fn a_file_server_that_responds_403_receives_the_password_once() {
    let other = Fake::start(|_| StatusCode::FORBIDDEN.into_response()).await;
    let to = format!("http://{}/moved", other.address);
    let fake = Fake::start(move |seen| match seen.path.as_str() {
        "/moved" => (StatusCode::FOUND, [("location", to.clone())]).into_response(),
        _ if seen.header("authorization") == basic() => "entries: {}".into_response(),
        _ => StatusCode::FORBIDDEN.into_response(),
    })
    .await;
    let get = async |password: &str, path: &str| {
        let url = fake.endpoint().url(path);
        let file = fake
            .registry_as(deployer(password))
            .get_file(&url, 100)
            .await;
        let shown = fake.take(|seen| seen.sent("authorization").is_some());
        (file.map_err(|error| error.to_string()), shown)
    };
    let (file, shown) = get("open sesame", "/index.yaml").await;
    assert_eq!((file.unwrap().len(), shown), (11, vec![false, true]));
    let (file, shown) = get("wrong", "/index.yaml").await;
    let said = file.unwrap_err();
    assert!(
        said.contains("not allowed for the user `deployer`"),
        "{said}"
    );
    assert_eq!(shown, [false, true]);
    // It is not sent to the target of a redirect, nor for a repository of a registry.
    let (moved, shown) = get("open sesame", "/moved").await;
    assert!(moved.is_err() && shown == [false], "{moved:?}");
    assert_eq!(
        other.take(|seen| seen.sent("authorization").is_some()),
        [false]
    );
    let found = fake
        .registry_as(deployer("open sesame"))
        .head_manifest(REPOSITORY, "v1")
        .await;
    assert!(found.is_err());
    assert_eq!(
        fake.take(|seen| seen.sent("authorization").is_some()),
        [false]
    );
}

#[tokio::test]
async fn tokens_are_used_whatever_else_the_response_contains() {
    for answer in [
        r#"{"token":"","access_token":"good"}"#,
        r#"{"token":null,"access_token":"good","expires_in":null}"#,
        r#"{"token":"good","access_token":"","expires_in":"300"}"#,
        r#"{"token":"good","expires_in":300.5}"#,
        r#"{"token":"good","expires_in":-1}"#,
        r#"{"token":"good","expires_in":1e30}"#,
        r#"{"token":"good","expires_in":"soon"}"#,
        r#"{"token":"good","expires_in":{}}"#,
    ] {
        let server = Fake::start(move |_| answer.into_response()).await;
        let registry = token_registry(&server, |_, token| token == "good").await;
        let pushed = push(&registry.registry_as(deployer("open sesame"))).await;
        assert!(pushed.is_ok(), "{answer}: {pushed:?}");
    }
    for nothing in [
        r#"{"token":""}"#,
        r#"{"token":"","access_token":""}"#,
        "{}",
        "[]",
    ] {
        let server = Fake::start(move |_| nothing.into_response()).await;
        let registry = token_registry(&server, |_, _| true).await;
        let error = push(&registry.registry_as(deployer("open sesame")))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Protocol { .. }),
            "{nothing}: {error:?}"
        );
    }
}

#[test]
fn the_lifetime_of_a_token_is_parsed_leniently() {
    for (expires_in, seconds) in [
        ("300", 300),
        ("\"300\"", 300),
        ("300.5", 300),
        ("0", 30),
        ("1", 30),
        ("1e6", 24 * 3600),
        ("-1", 60),
        ("1e30", 60),
        ("18446744073709551615", 60),
        ("\"nan\"", 60),
        ("\"inf\"", 60),
        ("\"soon\"", 60),
        ("null", 60),
        ("[]", 60),
    ] {
        let value = serde_json::from_str(expires_in).unwrap();
        assert_eq!(token_lifetime(&value).as_secs(), seconds, "{expires_in}");
    }
}

#[tokio::test]
async fn a_busy_token_server_is_retried() {
    let asked = AtomicUsize::new(0);
    // More often than `ping` retries.
    let server = Fake::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0..2 => StatusCode::TOO_MANY_REQUESTS.into_response(),
        _ => r#"{"token":"good"}"#.into_response(),
    })
    .await;
    let registry = token_registry(&server, |_, token| token == "good").await;
    let handle = registry.registry_as(deployer("open sesame"));
    handle.ping().await.unwrap();
    push(&handle).await.unwrap();
    let named = server.seen(|seen| seen.query.contains("repository%3Ax%3Apull"));
    assert_eq!(named[..3], [true; 3]);
}
