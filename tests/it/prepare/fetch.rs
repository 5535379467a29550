//! Tests of `fetch`: complete, interrupted, wrong and missing downloads of a bundle.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _};
use support::bundles::{self, FILE, LOCK};
use support::server::{self, TAG};
use support::{Sandbox, Server};

use crate::AIRLOCK;

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_fetched_once_by_release_and_by_environment() {
    let bundle = bundle();
    let server = Server::of(bundle.clone()).await;
    let sandbox = locked(&bundle, &server.url(FILE));
    sandbox.write("environments/lab/environment.yaml", LAB);
    insta::assert_snapshot!(sandbox.run("fetch v4.1.5").whole(), @"
    exit code: 0
    --- stdout
    v4.1.5 is fetched: 14 artifacts; `--check` reads every byte
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
        fetch done: downloaded bundles/mke_bundle_v4.1.5_amd64.tar.gz
       verify done: 14 artifacts match the lock
    warning: the lock has no hash of mkectl v4.1.5 for linux-x86_64: the one on PATH is used, and only its version is compared
    ");
    assert_eq!(std::fs::read(file(&sandbox)).unwrap(), bundle);
    insta::assert_snapshot!(sandbox.run("fetch lab").whole(), @"
    exit code: 0
    --- stdout
    v4.1.5 is fetched: 14 artifacts; `--check` reads every byte
    --- stderr
    warning: the lock has no hash of mkectl v4.1.5 for linux-x86_64: the one on PATH is used, and only its version is compared
    ");
    insta::assert_snapshot!(sandbox.run("fetch lab --format json").whole(), @r#"
    exit code: 0
    --- stdout
    {"event":{"kind":"warning","text":"the lock has no hash of mkectl v4.1.5 for linux-x86_64: the one on PATH is used, and only its version is compared"}}
    {"result":{"artifacts":14,"release":"v4.1.5"}}
    --- stderr
    "#);
    assert_eq!(server.asked().len(), 1, "{:?}", server.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_was_killed_is_gone_on_with() {
    let bundle = bundle();
    let sent = bundle.len() - 100_000;
    let asked = AtomicUsize::new(0);
    let whole = bundle.clone();
    let server = Server::start(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => server::beginning_of(&whole, sent),
        _ => server::part_of(&whole, request),
    })
    .await;
    let sandbox = locked(&bundle, &server.url(FILE));

    let mut child = sandbox
        .command("fetch v4.1.5")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let part = sandbox.path(&format!("bundles/{FILE}.part"));
    let began = Instant::now();
    // It writes in pieces of a megabyte.
    while std::fs::metadata(&part).map_or(0, |part| part.len()) < 1_000_000 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing arrives");
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!file(&sandbox).exists());
    let kept = std::fs::metadata(&part).unwrap().len();

    sandbox.run("fetch v4.1.5").success();
    assert_eq!(std::fs::read(file(&sandbox)).unwrap(), bundle);
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[0].header("range"), "");
    assert_eq!(asked[1].header("range"), format!("bytes={kept}-"));
    assert_eq!(asked[1].header("if-range"), TAG);
    assert_eq!(
        in_bundles(&sandbox),
        [LOCK.to_owned(), format!("bundles/{FILE}")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_different_file_at_the_url_is_not_appended_to_the_first() {
    let bundle = bundle();
    let server = Server::of(bundle.clone()).await;
    let sandbox = locked(&bundle, &server.url(FILE));
    let part = format!("bundles/{FILE}.part");
    std::fs::write(sandbox.path(&part), vec![0x1f; 5_000]).unwrap();
    sandbox.write(
        &format!("{part}.json"),
        &format!(
            r#"{{"url":"{}","etag":"\"another\"","last-modified":null}}"#,
            server.url(FILE)
        ),
    );
    sandbox.run("fetch v4.1.5").success();
    assert_eq!(server.asked()[0].header("if-range"), "\"another\"");
    assert_eq!(std::fs::read(file(&sandbox)).unwrap(), bundle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_starts_over_is_counted_once() {
    let bundle = bundle();
    let (whole, asked) = (bundle.clone(), AtomicUsize::new(0));
    // Without an entity tag, nothing can be resumed.
    let server = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => server::cut_after(&whole, whole.len() - 100_000),
        _ => whole.clone().into_response(),
    })
    .await;
    let sandbox = locked(&bundle, &server.url(FILE));
    support::bundles::forget_store(&sandbox);
    let output = sandbox.command("fetch v4.1.5").output().unwrap();
    let progress = String::from_utf8(output.stderr).unwrap();
    let verified = progress.lines().find(|line| line.contains("verify done"));
    let megabytes = bundle.len() as f64 / 1e6;
    assert!(
        verified.is_some_and(|line| line.contains(&format!("{megabytes:.2} MB in "))),
        "{progress}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed() {
    let bundle = bundle();
    let whole = bundle.clone();
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/elsewhere" => server::part_of(&whole, asked),
        _ => server::redirect("/elsewhere"),
    })
    .await;
    let sandbox = locked(&bundle, &server.url(FILE));
    sandbox.run("fetch v4.1.5").success();
    assert_eq!(std::fs::read(file(&sandbox)).unwrap(), bundle);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_without_end_are_not() {
    let server = Server::start(|_| server::redirect("/round")).await;
    let sandbox = locked(&bundle(), &server.url(FILE));
    insta::assert_snapshot!(sandbox.run("fetch v4.1.5").whole(), @"
    exit code: 1
    --- stdout
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
    error: cannot download http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
      because: http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz redirects more than 10 times
    hint: the server redirects in a loop or to an insecure URL; download the bundle by other means and copy it to bundles/
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_missing_is_requested_once() {
    let server = Server::start(|_| StatusCode::NOT_FOUND.into_response()).await;
    let sandbox = locked(&bundle(), &server.url(FILE));
    insta::assert_snapshot!(sandbox.run("fetch v4.1.5").whole(), @"
    exit code: 1
    --- stdout
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
    error: cannot download http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
      because: http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz was not found (status 404)
    hint: check the release; name a different URL with `cargo xtask lock --url URL`, or a file with `--bundle FILE`; a bundle that is copied to bundles/ is not downloaded
    ");
    assert_eq!(server.asked().len(), 1);
    assert_eq!(in_bundles(&sandbox), [LOCK]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_instead_of_a_bundle_is_refused_and_not_kept() {
    let server = Server::start(|_| Html("<!DOCTYPE html><title>Log in</title>").into_response());
    let server = server.await;
    let sandbox = locked(&bundle(), &server.url(FILE));
    insta::assert_snapshot!(sandbox.run("fetch v4.1.5").whole(), @"
    exit code: 4
    --- stdout
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
    error: cannot download http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
      because: http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz is an HTML page; expected a gzip file
    hint: a proxy or portal answers instead of the server, or requires a login: open the URL in a browser. Behind a proxy, set HTTPS_PROXY
    ");
    assert_eq!(in_bundles(&sandbox), [LOCK]);

    // Without a length, only the content shows it.
    let server = Server::start(|_| {
        let page: Result<Bytes, std::io::Error> = Ok(Bytes::from_static(b"<html>"));
        let body = futures_util::stream::iter([page]);
        axum::body::Body::from_stream(body).into_response()
    })
    .await;
    let sandbox = locked(&bundle(), &server.url(FILE));
    insta::assert_snapshot!(sandbox.run("fetch v4.1.5").whole(), @"
    exit code: 4
    --- stdout
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
    error: cannot download http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
      because: http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz is an HTML page; expected a gzip file
    hint: a proxy or portal answers instead of the server, or requires a login: open the URL in a browser. Behind a proxy, set HTTPS_PROXY
    ");
    assert_eq!(in_bundles(&sandbox), [LOCK]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_short_is_refused() {
    let bundle = bundle();
    let server = Server::of(bundle.slice(..bundle.len() - 1)).await;
    let sandbox = locked(&bundle, &server.url(FILE));
    let run = sandbox.run("fetch v4.1.5");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 4
    --- stdout
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
    error: cannot download http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
      because: http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz has 5228961 bytes; expected 5228962
    hint: trust the committed lock, and ask the vendor whether the file at the URL was replaced; nothing of the download was kept
    ");
    assert_eq!(in_bundles(&sandbox), [LOCK]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_another_hash_is_refused_and_not_kept() {
    let bundle = bundle();
    let mut other = bundle.to_vec();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    let server = Server::of(other).await;
    let sandbox = locked(&bundle, &server.url(FILE));
    insta::assert_snapshot!(sandbox.run("fetch v4.1.5").whole(), @"
    exit code: 4
    --- stdout
    --- stderr
        fetch http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
    error: cannot download http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz
      because: http://127.0.0.1:[PORT]/mke_bundle_v4.1.5_amd64.tar.gz has SHA-256 b3b43cbe3863837f8d96ac6ba98bdaa185331dcd31d84f2d0932feb32e80fa59; expected 8d95e01c4e32b7bd4e1084f2bb357b0e204b86b5a788e2e593263bd9320e414e
    hint: trust the committed lock, and ask the vendor whether the file at the URL was replaced; nothing of the download was kept
    ");
    assert_eq!(in_bundles(&sandbox), [LOCK]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_url_holds_of_secrets_is_not_told() {
    let server = Server::start(|_| StatusCode::NOT_FOUND.into_response()).await;
    let url = format!("{}?signature=c0ffee", server.url(FILE));
    let sandbox = locked(&bundle(), &url);
    for format in ["human", "json"] {
        let run = sandbox
            .run(&["fetch", "v4.1.5", "--format", format])
            .exits_with(1);
        run.does_not_mention("c0ffee");
    }
}

#[test]
fn names_that_are_neither_environment_nor_release_are_refused() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("fetch nowhere").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: `nowhere` is neither an environment, a locked release nor a set
    hint: `cargo xtask list` shows all of them
    ");
    insta::assert_snapshot!(sandbox.run("fetch stagin").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: environment not found: `stagin`
    hint: did you mean `staging`? `cargo xtask list` shows them all
    ");
    insta::assert_snapshot!(sandbox.run("fetch v4.1.5").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: release v4.1.5 is not locked: `bundles/v4.1.5-amd64.lock.yaml` does not exist
    hint: with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
    ");
}

#[test]
fn a_bundle_that_was_carried_here_is_read_and_not_downloaded() {
    let sandbox = locked(&bundle(), "http://192.0.2.1/unreachable.tar.gz");
    std::fs::write(file(&sandbox), bundle()).unwrap();
    sandbox.run("fetch v4.1.5").success();
    // `fetch` does not read blobs again that are in the store.
    std::fs::remove_file(file(&sandbox)).unwrap();
    sandbox.run("fetch v4.1.5").success();
}

/// An environment of the release.
const LAB: &str = "\
release: v4.1.5
registry: { address: registry.lab.example.com }
";

fn bundle() -> Bytes {
    bundles::bytes(&bundles::small()).into()
}

/// Makes a workspace in which this bundle is locked but not downloaded.
fn locked(bundle: &[u8], url: &str) -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    bundles::lock_at(&sandbox, bundle, url);
    sandbox
}

fn file(sandbox: &Sandbox) -> camino::Utf8PathBuf {
    sandbox.path(&format!("bundles/{FILE}"))
}

/// Returns the files in `bundles/`, the store left out.
fn in_bundles(sandbox: &Sandbox) -> Vec<String> {
    let mut files: Vec<String> = sandbox
        .path("bundles")
        .read_dir_utf8()
        .unwrap()
        .map(|entry| format!("bundles/{}", entry.unwrap().file_name()))
        .filter(|file| file != "bundles/store")
        .collect();
    files.sort_by_key(|file| file != LOCK);
    files
}

// promise 3
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_through_a_symbolic_link() {
    let bundle = bundle();
    let server = Server::of(bundle.clone()).await;
    let sandbox = locked(&bundle, &server.url(FILE));
    let outside = sandbox.home().join("outside");
    for name in [format!("{FILE}.part"), format!("{FILE}.part.json")] {
        std::fs::write(&outside, "untouched").unwrap();
        let link = sandbox.path(&format!("bundles/{name}"));
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        let run = sandbox.run("fetch v4.1.5").exits_with(3);
        let text = format!("`bundles/{name}` is a symbolic link to ");
        run.reports(&text);
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
        std::fs::remove_file(&link).unwrap();
    }
    assert_eq!(server.asked().len(), 0);
    // `bundles/` itself may be on another disk.
    let disk = sandbox.home().join("disk");
    std::fs::rename(sandbox.path("bundles"), &disk).unwrap();
    std::os::unix::fs::symlink(&disk, sandbox.path("bundles")).unwrap();
    sandbox.run("fetch v4.1.5").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_file_of_unknown_origin_is_kept_and_named() {
    let server = Server::start(|_| StatusCode::FORBIDDEN.into_response()).await;
    let sandbox = locked(&bundle(), &server.url(FILE));
    let part = sandbox.path(&format!("bundles/{FILE}.part"));
    std::fs::write(&part, "of a courier").unwrap();
    let run = sandbox.run("fetch v4.1.5").exits_with(1);
    let kept = format!("bundles/{FILE}.kept-1.part");
    run.reports(&format!("was renamed to {kept}\n"));
    assert_eq!(sandbox.read(&kept), "of a courier");
}
