//! Faults of upstream registries while a set is fetched: `fetch` recovers from a fault or names it,
//! and no wrong content reaches the store.

use std::time::{Duration, Instant};

use support::server::{Asked, cut_after};

use super::*;

/// A set of one image with layers of 3 MB, locked.
async fn locked() -> Place {
    let upstream = Upstream::start().await;
    upstream.image("a/large", "1", &["linux/amd64"], 3 << 20, "1");
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write(
        "bundles/platform.set.yaml",
        &format!("images:\n- {}/a/large:1\n", upstream.address),
    );
    sandbox.run("lock platform").success();
    Place { sandbox, upstream }
}

fn is_blob(asked: &Asked, digest: &str) -> bool {
    asked.method == "GET" && asked.path.ends_with(digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_is_resumed_where_it_ended() {
    let place = locked().await;
    let large = place.upstream.blobs()[0].clone();
    let bytes = place.upstream.blob(&large);
    let ranges = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, digest) = (Arc::clone(&ranges), large.clone());
    place.upstream.instead(move |asked| {
        if !is_blob(asked, &digest) {
            return None;
        }
        let mut seen = seen.lock().unwrap();
        seen.push(asked.header("range").to_owned());
        (seen.len() == 1).then(|| cut_after(&bytes, 2 << 20))
    });
    place.sandbox.run("fetch platform").success();
    place.everything_is_there();
    let ranges = ranges.lock().unwrap().clone();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert_eq!(ranges[0], "");
    let from: usize = ranges[1]
        .strip_prefix("bytes=")
        .unwrap()
        .trim_end_matches('-')
        .parse()
        .unwrap();
    assert!(from > 1 << 20, "{from}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_named_and_never_reach_the_store() {
    let place = locked().await;
    let large = place.upstream.blobs()[0].clone();
    let bytes = place.upstream.blob(&large);
    for (name, wrong) in [
        ("flipped", {
            let mut wrong = bytes.to_vec();
            wrong[7] ^= 1;
            wrong
        }),
        ("longer", [bytes.as_ref(), b"more"].concat()),
        ("shorter", bytes[..1000].to_vec()),
    ] {
        let digest = large.clone();
        place.upstream.instead(move |asked| {
            let is_whole = asked.header("range").is_empty();
            is_blob(asked, &digest).then(|| match is_whole {
                true => wrong.clone().into_response(),
                false => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
            })
        });
        let run = place.sandbox.run("fetch platform").exits_with(5);
        assert!(
            run.stderr.contains(&format!("cannot read {large}")),
            "{name}: {}",
            run.stderr
        );
        let digest = bundle::sha256_digest(&large).unwrap();
        assert!(!place.store().path(&digest).exists(), "{name}");
    }
    place.upstream.as_usual();
    place.sandbox.run("fetch platform").success();
    place.everything_is_there();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_upstream_lost_is_named() {
    let place = locked().await;
    let child = place.lock().artifacts[0].manifests[0].digest.to_string();
    std::fs::remove_dir_all(place.sandbox.path("bundles/store")).unwrap();
    let digest = child.clone();
    place.upstream.instead(move |asked| {
        is_blob(asked, &digest).then(|| StatusCode::NOT_FOUND.into_response())
    });
    let run = place.sandbox.run("fetch platform").exits_with(5);
    run.reports(&format!("cannot read {child} of "));
    run.reports("404");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_passes_is_waited_for_and_a_long_one_is_named_with_its_reset() {
    let place = locked().await;
    let count = AtomicUsize::new(0);
    place.upstream.instead(move |asked| {
        let is_first = asked.path.contains("/blobs/") && count.fetch_add(1, Ordering::SeqCst) == 0;
        is_first.then(|| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response())
    });
    place.sandbox.run("fetch platform").success();
    place.everything_is_there();

    std::fs::remove_dir_all(place.sandbox.path("bundles/store")).unwrap();
    place.upstream.instead(|asked| {
        asked.path.contains("/manifests/").then(|| {
            (
                StatusCode::TOO_MANY_REQUESTS,
                [
                    ("ratelimit-limit", "100;w=21600"),
                    ("ratelimit-remaining", "0;w=21600"),
                    ("retry-after", "7200"),
                ],
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}"#,
            )
                .into_response()
        })
    });
    let run = place.sandbox.run("fetch platform").exits_with(5);
    run.reports("requests: 100 in 6 h, 0 left; again in 2 h");
    run.reports("hint: wait until the limit is reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_expire_are_asked_for_again_and_never_go_to_another_host() {
    let place = locked().await;
    std::fs::remove_dir_all(place.sandbox.path("bundles/store")).unwrap();
    let blobs: BTreeMap<String, bytes::Bytes> = (place.upstream.blobs().into_iter())
        .map(|digest| (digest.clone(), place.upstream.blob(&digest)))
        .collect();
    let storage = Server::start(move |asked| {
        assert_eq!(
            asked.header("authorization"),
            "",
            "a token left its registry"
        );
        let digest = asked.path.trim_start_matches('/');
        support::server::part_of(&blobs[digest], asked)
    })
    .await;
    let (url, address) = (storage.url(""), place.upstream.address.clone());
    let uses = Arc::new(AtomicUsize::new(0));
    let tokens = Arc::new(AtomicUsize::new(0));
    let given = Arc::clone(&tokens);
    place.upstream.instead(move |asked| {
        if asked.path == "/token" {
            uses.store(0, Ordering::SeqCst);
            assert_eq!(
                asked.header("authorization"),
                "Basic dXNlcjpzZXNhbWUtb3Blbg=="
            );
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return Some(format!(r#"{{"token":"token-{number}"}}"#).into_response());
        }
        let number = given.load(Ordering::SeqCst);
        let is_right = asked.header("authorization") == format!("Bearer token-{number}");
        // Each token is valid for five requests.
        if !is_right || number == 0 || uses.fetch_add(1, Ordering::SeqCst) >= 5 {
            let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"hub\"");
            return Some(
                (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response(),
            );
        }
        let digest = asked.path.split_once("/blobs/")?.1;
        Some(
            (
                StatusCode::TEMPORARY_REDIRECT,
                [("location", format!("{url}{digest}"))],
            )
                .into_response(),
        )
    });
    let login = "dXNlcjpzZXNhbWUtb3Blbg==";
    place.sandbox.log_in(&place.upstream.address, login);
    let run = place.sandbox.run("fetch platform -v").success();
    place.everything_is_there();
    assert!(tokens.load(Ordering::SeqCst) >= 2, "{}", run.stderr);
    run.does_not_report("sesame-open");
}

/// The lifetime of a token.
const TOKEN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_each_repository_expire_in_the_middle_of_a_fetch() {
    let upstream = Upstream::start().await;
    let address = upstream.address.clone();
    for repository in ["a/one", "b/two"] {
        upstream.image(repository, "1", &["linux/amd64"], 3 << 20, "1");
    }
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write(
        "bundles/platform.set.yaml",
        &format!("images:\n- {address}/a/one:1\n- {address}/b/two:1\n"),
    );
    sandbox.run("lock platform").success();
    std::fs::remove_dir_all(sandbox.path("bundles/store")).unwrap();
    let place = Place { sandbox, upstream };
    let blobs: BTreeMap<String, bytes::Bytes> = (place.upstream.blobs().into_iter())
        .map(|digest| (digest.clone(), place.upstream.blob(&digest)))
        .collect();
    // The tokens, each with its scope and when it was issued.
    let tokens = Arc::new(std::sync::Mutex::new(Vec::<(String, Instant)>::new()));
    let (issued, expired) = (Arc::clone(&tokens), Arc::new(AtomicUsize::new(0)));
    let refused = Arc::clone(&expired);
    place.upstream.instead(move |asked| {
        let mut issued = issued.lock().unwrap();
        if asked.path == "/token" {
            let scope = asked.query.split('&').find_map(|one| one.strip_prefix("scope="));
            let scope = scope.unwrap().replace("%3A", ":").replace("%2F", "/");
            // One server says how long its tokens are good for, the other one is wrong about it.
            let seconds = if scope.contains("a/one") { TOKEN.as_secs() } else { 300 };
            issued.push((scope, Instant::now()));
            let number = issued.len();
            return Some(
                format!(r#"{{"token":"token-{number}","access_token":"token-{number}","expires_in":{seconds}}}"#)
                    .into_response(),
            );
        }
        let repository = asked.path.strip_prefix("/v2/")?.split("/blobs/").next()?;
        let repository = repository.split("/manifests/").next()?;
        let scope = format!("repository:{repository}:pull");
        let number = asked.header("authorization").strip_prefix("Bearer token-");
        let number = number.map(|number| number.parse::<usize>().unwrap());
        let token = number.map(|number| issued[number - 1].clone());
        let is_right = |token: &(String, Instant)| token.0 == scope && token.1.elapsed() < TOKEN;
        if !token.as_ref().is_some_and(is_right) {
            assert!(token.as_ref().is_none_or(|token| token.0 == scope), "a token of {token:?} for {scope}");
            refused.fetch_add(usize::from(token.is_some()), Ordering::SeqCst);
            let challenge =
                format!("Bearer realm=\"http://{address}/token\",service=\"hub\",scope=\"{scope}\",error=\"invalid_token\"");
            return Some((StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response());
        }
        let digest = asked.path.split_once("/blobs/")?.1;
        let large = blobs.get(digest).filter(|blob| blob.len() > 1 << 20)?;
        if !asked.header("range").is_empty() {
            return None;
        }
        // The connection breaks after the token has expired.
        let first = futures_util::stream::iter([Ok(large.slice(..2 << 20))]);
        let broken = futures_util::stream::once(async {
            tokio::time::sleep(TOKEN + Duration::from_millis(200)).await;
            Err(std::io::Error::other("cut"))
        });
        let body = futures_util::StreamExt::chain(first, broken);
        let length = [("content-length", large.len().to_string())];
        Some((length, axum::body::Body::from_stream(body)).into_response())
    });
    place.sandbox.run("fetch platform").success();
    place.everything_is_there();
    let tokens = tokens.lock().unwrap();
    for repository in ["a/one", "b/two"] {
        let scope = format!("repository:{repository}:pull");
        let count = tokens.iter().filter(|(one, _)| *one == scope).count();
        assert!(count >= 2, "{repository}: {tokens:?}");
    }
    assert!(
        expired.load(Ordering::SeqCst) > 0,
        "none was refused: {tokens:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_names_the_second_of_its_reset_is_reported_with_the_wait() {
    let place = locked().await;
    std::fs::remove_dir_all(place.sandbox.path("bundles/store")).unwrap();
    let noon = "Sun, 22 Nov 2026 12:00:00 GMT";
    // Three hours after noon.
    let reset = "1795359600";
    place.upstream.instead(move |asked| {
        let headers = [("date", noon), ("x-ratelimit-reset", reset)];
        let is_it = asked.path.contains("/manifests/");
        is_it.then(|| (StatusCode::TOO_MANY_REQUESTS, headers).into_response())
    });
    let run = place.sandbox.run("fetch platform").exits_with(5);
    run.reports("again in 3 h");
    let relock = ["lock", "platform", "--replace"];
    let run = place.sandbox.run(&relock).exits_with(5);
    run.reports("again in 3 h");
    run.does_not_report("pushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_interruptions_fetch_no_finished_blob_twice() {
    let upstream = Upstream::start().await;
    for number in 0..6 {
        upstream.image(&format!("a/image-{number}"), "1", BOTH, 2 << 20, "1");
    }
    let sandbox = Sandbox::new(AIRLOCK);
    let images: String = (0..6)
        .map(|number| format!("- {}/a/image-{number}:1\n", upstream.address))
        .collect();
    sandbox.write("bundles/platform.set.yaml", &format!("images:\n{images}"));
    sandbox.run("lock platform").success();
    let place = Place { sandbox, upstream };
    let (store, requests) = (
        place.store(),
        Arc::new(std::sync::Mutex::new(Vec::<String>::new())),
    );
    let blobs: BTreeMap<String, bytes::Bytes> = (place.upstream.blobs().into_iter())
        .map(|digest| (digest.clone(), place.upstream.blob(&digest)))
        .collect();
    let (seen, there) = (Arc::clone(&requests), store.clone());
    place.upstream.instead(move |asked| {
        let digest = asked.path.split_once("/blobs/")?.1;
        if there.path(&bundle::sha256_digest(digest).unwrap()).exists() {
            seen.lock().unwrap().push(digest.to_owned());
        }
        // Slowly, in pieces of 256 KiB.
        let from = asked
            .header("range")
            .strip_prefix("bytes=")
            .map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
        let whole = &blobs[digest];
        let pieces: Vec<bytes::Bytes> = whole[from..]
            .chunks(256 << 10)
            .map(bytes::Bytes::copy_from_slice)
            .collect();
        let body =
            futures_util::StreamExt::then(futures_util::stream::iter(pieces), |piece| async move {
                tokio::time::sleep(Duration::from_millis(120)).await;
                Ok::<_, std::io::Error>(piece)
            });
        let body = axum::body::Body::from_stream(body);
        Some(match from {
            0 => body.into_response(),
            _ => {
                let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
                (
                    StatusCode::PARTIAL_CONTENT,
                    [("content-range", range)],
                    body,
                )
                    .into_response()
            }
        })
    });
    // A different moment each time, the same in each run of the test.
    for number in 1..=10_u64 {
        let mut run = place
            .sandbox
            .command("fetch platform")
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(150 + number * 97 % 230)).await;
        run.kill().unwrap();
        run.wait().unwrap();
    }
    place.sandbox.run("fetch platform").success();
    place.everything_is_there();
    assert_eq!(
        *requests.lock().unwrap(),
        Vec::<String>::new(),
        "they were there"
    );
    assert_eq!(
        store
            .directory()
            .join("partial")
            .read_dir_utf8()
            .unwrap()
            .count(),
        0
    );
}
