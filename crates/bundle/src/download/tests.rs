//! Downloads over broken connections, and from faulty servers.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use network::Proxies;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::Silent;
use crate::digest::hex_of;
use crate::testing::server::{Server, client};
use crate::testing::{Folder, chain, gzip};

/// Returns a file of 20 kB that begins like gzip.
pub(super) fn body() -> Vec<u8> {
    let mut bytes = gzip(b"");
    bytes.extend((0..5000_u32).flat_map(u32::to_le_bytes));
    bytes
}

fn request(server: &Server, folder: &Folder, expected: Option<&[u8]>) -> Download {
    Download {
        expected: expected.map(|bytes| Expected {
            size: Some(bytes.len() as u64),
            sha256: hex_of(bytes),
        }),
        retry: Retry {
            failures: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(2),
        },
        ..Download::new(
            &server.url("bundle.tar.gz"),
            &folder.join("bundles/bundle.tar.gz"),
        )
    }
}

async fn run(request: &Download) -> Result<Downloaded, DownloadError> {
    download(request, &client(), &Silent).await
}

pub(super) const ETAG: &str = r#"ETag: "one""#;

/// Returns a response 206 with the bytes from `start`.
pub(super) fn rest(bytes: &[u8], start: usize, headers: &[&str]) -> Vec<u8> {
    let range = format!(
        "Content-Range: bytes {start}-{}/{}",
        bytes.len() - 1,
        bytes.len()
    );
    let headers = [headers, &[range.as_str()]].concat();
    Server::answer(
        "206 Partial Content",
        &headers,
        bytes.len() - start,
        &bytes[start..],
    )
}

/// Returns a response that breaks off after `count` bytes.
pub(super) fn cut(bytes: &[u8], count: usize, headers: &[&str]) -> Vec<u8> {
    Server::answer("200 OK", headers, bytes.len(), &bytes[..count])
}

#[tokio::test]
async fn downloads_a_file_once() {
    let bytes = body();
    let folder = Folder::new();
    let server = Server::start(vec![Server::ok(&[ETAG], &bytes)]).await;
    let request = request(&server, &folder, Some(&bytes));
    for _ in 0..2 {
        let downloaded = run(&request).await.unwrap();
        assert_eq!(downloaded.size, bytes.len() as u64);
        assert_eq!(downloaded.sha256, hex_of(&bytes));
        assert!(fs::read(&downloaded.path).unwrap() == bytes);
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(folder.files(), ["bundles/bundle.tar.gz"]);
}

#[tokio::test]
async fn resumes_after_a_broken_connection() {
    let bytes = body();
    let folder = Folder::new();
    let server = Server::start(vec![
        cut(&bytes, 7000, &[ETAG]),
        rest(&bytes, 7000, &[ETAG]),
    ])
    .await;
    let downloaded = run(&request(&server, &folder, None)).await.unwrap();
    assert_eq!(downloaded.sha256, hex_of(&bytes));
    let second = &server.requests()[1];
    assert!(second.contains("range: bytes=7000-\r\n"), "{second}");
    assert!(second.contains("if-range: \"one\"\r\n"), "{second}");
}

#[tokio::test]
async fn resumes_in_the_next_run() {
    let bytes = body();
    let folder = Folder::new();
    let server = Server::start(vec![
        cut(
            &bytes,
            7000,
            &["Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT"],
        ),
        Server::status(403),
        rest(&bytes, 7000, &[]),
    ])
    .await;
    let request = request(&server, &folder, None);
    assert!(matches!(
        run(&request).await,
        Err(DownloadError::Request(RequestError::Status {
            status: 403,
            ..
        }))
    ));
    assert_eq!(
        folder.files(),
        [
            "bundles/bundle.tar.gz.part",
            "bundles/bundle.tar.gz.part.json"
        ]
    );
    assert_eq!(run(&request).await.unwrap().sha256, hex_of(&bytes));
    let third = &server.requests()[2];
    assert!(third.contains("range: bytes=7000-\r\n"), "{third}");
    assert!(
        third.contains("if-range: sun, 22 nov 2026 10:00:00 gmt\r\n"),
        "{third}"
    );
    assert_eq!(folder.files(), ["bundles/bundle.tar.gz"]);
}

#[tokio::test]
async fn an_unfinished_file_with_a_second_hard_link_is_not_written_to() {
    let bytes = body();
    let folder = Folder::new();
    let cut = cut(&bytes, 7000, &[ETAG]);
    let server = Server::start(vec![cut, Server::ok(&[ETAG], &bytes)]).await;
    let mut request = request(&server, &folder, Some(&bytes));
    request.retry.failures = 0;
    run(&request).await.unwrap_err();
    let names = ["bundle.tar.gz.part", "bundle.tar.gz.part.json"].map(|name| {
        let (name, other) = (folder.join("bundles").join(name), folder.join(name));
        fs::hard_link(name, &other).unwrap();
        other
    });
    let before = names.each_ref().map(|name| fs::read(name).unwrap());
    assert_eq!(before[0], bytes[..7000]);
    let downloaded = run(&request).await.unwrap();
    assert!(fs::read(&downloaded.path).unwrap() == bytes);
    assert_eq!(names.map(|name| fs::read(name).unwrap()), before);
}

#[tokio::test]
async fn starts_over_when_the_file_changed() {
    let (old, new) = (body(), [body(), b"new".to_vec()].concat());
    let folder = Folder::new();
    let server = Server::start(vec![
        cut(&old, 7000, &[ETAG]),
        Server::ok(&[r#"ETag: "two""#], &new),
    ])
    .await;
    let downloaded = run(&request(&server, &folder, None)).await.unwrap();
    assert_eq!(downloaded.sha256, hex_of(&new));
}

#[tokio::test]
async fn starts_over_when_the_server_sends_a_wrong_part() {
    let bytes = body();
    for wrong in [
        rest(&bytes, 6000, &[ETAG]),
        rest(&bytes, 7000, &[r#"ETag: "two""#]),
        Server::answer("416 Range", &["Content-Range: bytes */9"], 0, b""),
    ] {
        let folder = Folder::new();
        let server = Server::start(vec![
            cut(&bytes, 7000, &[ETAG]),
            wrong,
            Server::ok(&[ETAG], &bytes),
        ])
        .await;
        let downloaded = run(&request(&server, &folder, None)).await.unwrap();
        assert_eq!(downloaded.sha256, hex_of(&bytes));
        assert!(!server.requests()[2].contains("range:"));
    }
}

#[tokio::test]
async fn a_complete_part_is_not_requested_again() {
    let bytes = body();
    // The size is known: no request is needed.
    let folder = Folder::new();
    fs::create_dir(folder.join("bundles")).unwrap();
    let server = Server::start(vec![Server::answer(
        "416 Range",
        &[&format!("Content-Range: bytes */{}", bytes.len())],
        0,
        b"",
    )])
    .await;
    let leave = |request: &Download| {
        fs::write(folder.join("bundles/bundle.tar.gz.part"), &bytes).unwrap();
        let note = format!(
            r#"{{"url":"{}","etag":"\"one\"","last-modified":null}}"#,
            request.url
        );
        fs::write(folder.join("bundles/bundle.tar.gz.part.json"), note).unwrap();
    };
    let known = request(&server, &folder, Some(&bytes));
    leave(&known);
    run(&known).await.unwrap();
    assert!(server.requests().is_empty());
    // The size is not known: the server responds that no more bytes exist.
    fs::remove_file(folder.join("bundles/bundle.tar.gz")).unwrap();
    let unknown = request(&server, &folder, None);
    leave(&unknown);
    assert_eq!(run(&unknown).await.unwrap().sha256, hex_of(&bytes));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_damaged_part_is_discarded_once() {
    let bytes = body();
    let folder = Folder::new();
    let server = Server::start(vec![
        cut(&bytes, 7000, &[ETAG]),
        Server::status(403),
        rest(&bytes, 7000, &[ETAG]),
        Server::ok(&[ETAG], &bytes),
    ])
    .await;
    let request = request(&server, &folder, Some(&bytes));
    run(&request).await.unwrap_err();
    let part = folder.join("bundles/bundle.tar.gz.part");
    let mut damaged = fs::read(&part).unwrap();
    assert_eq!(damaged.len(), 7000);
    damaged[5000] ^= 1;
    fs::write(&part, damaged).unwrap();
    assert_eq!(run(&request).await.unwrap().sha256, hex_of(&bytes));
}

#[tokio::test]
async fn retries_and_gives_up() {
    let bytes = body();
    let folder = Folder::new();
    let busy = Server::answer("503 Busy", &["Retry-After: 0"], 0, b"");
    let server = Server::start(vec![busy.clone(), busy.clone(), Server::ok(&[], &bytes)]).await;
    run(&request(&server, &folder, None)).await.unwrap();
    let folder = Folder::new();
    let server = Server::start(vec![busy; 9]).await;
    let error = run(&request(&server, &folder, None)).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!("{} answers with status 503", server.url("bundle.tar.gz"))
    );
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn broken_connections_are_retried_while_bytes_arrive() {
    let bytes = body();
    let folder = Folder::new();
    let pieces = 10;
    let mut answers = vec![cut(&bytes, 1000, &[ETAG])];
    for piece in 1..pieces {
        let mut answer = rest(&bytes, piece * 1000, &[ETAG]);
        let left = bytes.len() - (piece + 1) * 1000;
        answer.truncate(answer.len() - left);
        answers.push(answer);
    }
    answers.push(rest(&bytes, pieces * 1000, &[ETAG]));
    let server = Server::start(answers).await;
    let downloaded = run(&request(&server, &folder, None)).await.unwrap();
    assert_eq!(downloaded.sha256, hex_of(&bytes));
}

#[tokio::test]
async fn refuses_wrong_files() {
    let bytes = body();
    let other = [body(), b"x".to_vec()].concat();
    let mut changed = bytes.clone();
    changed[4000] ^= 1;
    let cases = [
        (
            Server::status(404),
            "URL was not found (status 404)".to_owned(),
        ),
        (
            Server::ok(&[], b"\n<html>Please log in</html>"),
            "URL is an HTML page; expected a gzip file".to_owned(),
        ),
        (
            Server::ok(&[], b"\x1fx"),
            "URL is not a gzip file".to_owned(),
        ),
        (
            Server::ok(&[], b"\x1f"),
            "URL is not a gzip file".to_owned(),
        ),
        (Server::ok(&[], b""), "URL is not a gzip file".to_owned()),
    ];
    for (answer, expected) in cases {
        let folder = Folder::new();
        let server = Server::start(vec![answer]).await;
        let error = run(&request(&server, &folder, None)).await.unwrap_err();
        let text = chain(&error).replace(&server.url("bundle.tar.gz"), "URL");
        assert_eq!(text, expected);
        let finished = folder.join("bundles/bundle.tar.gz");
        assert!(!finished.exists());
    }
    let cases = [
        (
            Server::ok(&[], &other),
            format!("URL has {} bytes; expected {}", other.len(), bytes.len()),
        ),
        (
            Server::ok(&[], &changed),
            format!(
                "URL has SHA-256 {}; expected {}",
                hex_of(&changed),
                hex_of(&bytes)
            ),
        ),
    ];
    for (answer, expected) in cases {
        let folder = Folder::new();
        let server = Server::start(vec![answer]).await;
        let error = run(&request(&server, &folder, Some(&bytes)))
            .await
            .unwrap_err();
        let text = chain(&error).replace(&server.url("bundle.tar.gz"), "URL");
        assert_eq!(text, expected);
        assert!(!folder.join("bundles/bundle.tar.gz").exists());
    }
}

#[tokio::test]
async fn a_short_response_without_a_length_is_detected() {
    let bytes = body();
    let folder = Folder::new();
    let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    answer.extend_from_slice(&bytes[..9000]);
    let server = Server::start(vec![answer]).await;
    let error = run(&request(&server, &folder, Some(&bytes)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, DownloadError::Size { found: 9000, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_refusal_of_the_proxy_is_shown_and_final() {
    let folder = Folder::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        // The request, and the one that asks for the proxy's response.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    });
    let variable = |name: &str| (name == "HTTPS_PROXY").then(|| proxy.clone());
    let client = HttpClient::new(
        Arc::new(Proxies::from_variables(variable)),
        &crate::Server::default(),
    )
    .unwrap();
    let request = Download::new("https://get.example.com/x", &folder.join("file"));
    let error = download(&request, &client, &Silent).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "no connection to https://get.example.com/x through proxy {proxy} (HTTPS_PROXY): the proxy refuses to connect: \
             403 Forbidden"
        )
    );
    server.await.unwrap();
}

#[tokio::test]
async fn classifies_network_failures() {
    let folder = Folder::new();
    let fail = async |url: &str| {
        let mut request = Download::new(url, &folder.join("file"));
        request.retry.failures = 1;
        match run(&request).await.unwrap_err() {
            DownloadError::Request(error) => error,
            other => panic!("{other}"),
        }
    };
    let free = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let error = fail(&format!("http://{free}/x")).await;
    assert!(matches!(error, RequestError::Connect { .. }));
    assert_eq!(
        chain(&error),
        format!("cannot connect to http://{free}/x: connection refused")
    );
    assert!(matches!(
        fail("http://no-such-host.invalid/x").await,
        RequestError::Name { .. }
    ));
    // A plain HTTP server responds to a TLS greeting with HTTP.
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let https = format!("https://{}/x", plain.local_addr().unwrap());
    let answer = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let text = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(text).await.unwrap();
        stream
    });
    let error = fail(&https).await;
    assert!(matches!(error, RequestError::Tls { .. }));
    assert_eq!(
        chain(&error),
        format!("no secure connection to {https}: the server does not speak TLS")
    );
    drop(answer.await);
    assert!(matches!(
        fail("ftp://host/x").await,
        RequestError::Url { .. }
    ));
    let location = "Location: /again";
    let round = Server::answer("302 Found", &[location], 0, b"");
    let server = Server::start(vec![round; 20]).await;
    assert!(matches!(
        fail(&server.url("x")).await,
        RequestError::TooManyRedirects { .. }
    ));
}

#[tokio::test]
async fn errors_have_no_secret_of_the_url() {
    let folder = Folder::new();
    let server = Server::start(vec![Server::status(403)]).await;
    let url = server
        .url("bundle.tar.gz?signature=hunter2")
        .replace("http://", "http://user:hunter2@");
    let mut request = Download::new(&url, &folder.join("file"));
    request.retry.failures = 1;
    let error = run(&request).await.unwrap_err();
    let text = format!("{} {error:?}", chain(&error));
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn two_processes_do_not_write_the_same_file() {
    let folder = Folder::new();
    let server = Server::start(Vec::new()).await;
    let request = request(&server, &folder, None);
    let _held = Part::open(&request.destination, &request.url, None).unwrap();
    assert!(matches!(
        run(&request).await,
        Err(DownloadError::Busy { path }) if path.ends_with("bundle.tar.gz.part")
    ));
}

#[cfg(unix)]
#[test]
fn a_file_that_another_process_finished_is_detected() {
    let folder = Folder::new();
    let destination = folder.join("file");
    let (opened, _) = Part::open(&destination, "http://host/x", None).unwrap();
    assert!(opened.is_still_there().unwrap());
    fs::rename(folder.join("file.part"), &destination).unwrap();
    assert!(!opened.is_still_there().unwrap());
    fs::write(folder.join("file.part"), "another").unwrap();
    assert!(!opened.is_still_there().unwrap());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_has_its_own_error() {
    let folder = Folder::new();
    let bytes = body();
    let (part, _) =
        Part::open(&folder.join("bundles/bundle.tar.gz"), "http://host/x", None).unwrap();
    // Each write to this device fails like on a full disk.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut writing = Writing::new(full, crate::digest::Hasher::new(), 0);
    part.append(&mut writing, &bytes, Some(50_000))
        .await
        .unwrap();
    let error = part.flush(&mut writing, Some(50_000)).await.unwrap_err();
    assert!(
        matches!(&error, DownloadError::Full { missing: Some(missing), .. } if *missing == 50_000 - bytes.len() as u64),
        "{error}"
    );
    assert!(
        error.to_string().contains("more bytes are needed"),
        "{error}"
    );
}

#[tokio::test]
async fn reports_progress() {
    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);
    impl Observer for Log {
        fn event(&self, event: Event<'_>) {
            let line = match event {
                Event::DownloadStarted { offset, .. } => format!("from {offset}"),
                Event::Downloaded { bytes, total } => format!("{bytes} of {total:?}"),
                Event::Retrying { failures, .. } => format!("failure {failures}"),
                other => panic!("{other:?}"),
            };
            let mut lines = self.0.lock().unwrap();
            // The number of pieces is not fixed, so only the last one is kept.
            if line.contains("of")
                && lines
                    .last()
                    .is_some_and(|last: &String| last.contains("of"))
            {
                lines.pop();
            }
            lines.push(line);
        }
    }
    let bytes = body();
    let folder = Folder::new();
    let server = Server::start(vec![
        cut(&bytes, 7000, &[ETAG]),
        rest(&bytes, 7000, &[ETAG]),
    ])
    .await;
    let log = Log::default();
    download(&request(&server, &folder, None), &client(), &log)
        .await
        .unwrap();
    let total = bytes.len();
    assert_eq!(
        log.0.into_inner().unwrap(),
        [
            "from 0".to_owned(),
            format!("7000 of Some({total})"),
            "failure 1".to_owned(),
            "from 7000".to_owned(),
            format!("{total} of Some({total})"),
        ]
    );
}

#[test]
fn reads_content_ranges() {
    let of = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, text.parse().unwrap());
        content_range(&headers)
    };
    assert_eq!(of("bytes 5-9/10"), Some((Some(5), Some(10))));
    assert_eq!(of("bytes 5-9/*"), Some((Some(5), None)));
    assert_eq!(of("bytes */10"), Some((None, Some(10))));
    assert_eq!(of("items 5-9/10"), None);
    assert_eq!(of("bytes x-9/10"), None);
}

#[tokio::test]
async fn resumes_after_a_single_byte() {
    let bytes = body();
    let folder = Folder::new();
    let server = Server::start(vec![
        cut(&bytes, 1, &[ETAG]),
        Server::status(403),
        rest(&bytes, 1, &[ETAG]),
    ])
    .await;
    let request = request(&server, &folder, None);
    run(&request).await.unwrap_err();
    assert_eq!(folder.files().len(), 2);
    let downloaded = run(&request).await.unwrap();
    assert_eq!(downloaded.sha256, hex_of(&bytes));
}

#[tokio::test]
async fn a_body_without_end_does_not_fill_the_disk() {
    let bytes = body();
    let folder = Folder::new();
    // Without a length, the body ends with the connection.
    let endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let endless = [endless, bytes.clone(), vec![0; 4 << 20]].concat();
    let server = Server::start(vec![endless]).await;
    let request = request(&server, &folder, Some(&bytes));
    let error = run(&request).await.unwrap_err();
    let DownloadError::Size { found, .. } = error else {
        panic!("{error:?}");
    };
    assert!(found < 4 << 20, "{found} bytes were taken");
    assert_eq!(folder.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_query_stays_with_its_host() {
    let bytes = body();
    let folder = Folder::new();
    let storage = Server::start(vec![Server::ok(&[], &bytes)]).await;
    let location = format!("Location: {}", storage.url("elsewhere"));
    let server = Server::start(vec![Server::answer("302 Found", &[&location], 0, b"")]).await;
    let mut request = request(&server, &folder, Some(&bytes));
    request.url.push_str("?token=secret");
    run(&request).await.unwrap();
    let asked = &storage.requests()[0];
    assert!(!asked.contains("secret"), "{asked}");
}

#[tokio::test]
async fn an_unfinished_file_of_other_origin_is_kept_aside() {
    let bytes = body();
    let folder = Folder::new();
    fs::create_dir(folder.join("bundles")).unwrap();
    let server = Server::start(vec![Server::ok(&[], &bytes); 3]).await;
    let request = request(&server, &folder, Some(&bytes));
    let part = folder.join("bundles/bundle.tar.gz.part");
    let other = r#"{"url":"http://elsewhere/x","etag":"\"one\"","last-modified":null}"#;
    // No note, a note of a different URL, an invalid note.
    for (number, note) in [None, Some(other), Some("{")].into_iter().enumerate() {
        fs::write(&part, format!("foreign {number}")).unwrap();
        if let Some(note) = note {
            fs::write(folder.join("bundles/bundle.tar.gz.part.json"), note).unwrap();
        }
        let log = RenamedFiles::default();
        let downloaded = download(&request, &client(), &log).await.unwrap();
        assert_eq!(downloaded.sha256, hex_of(&bytes));
        assert!(!server.requests()[number].contains("range:"));
        let aside = folder.join(&format!("bundles/bundle.tar.gz.kept-{}.part", number + 1));
        assert_eq!(
            fs::read_to_string(&aside).unwrap(),
            format!("foreign {number}")
        );
        assert_eq!(*log.0.lock().unwrap(), [aside.to_string()]);
        fs::remove_file(downloaded.path).unwrap();
    }
}

/// Records the new paths of files that were kept aside.
#[derive(Default)]
struct RenamedFiles(Mutex<Vec<String>>);

impl Observer for RenamedFiles {
    fn event(&self, event: Event<'_>) {
        if let Event::UnknownFileRenamed { path } = event {
            self.0.lock().unwrap().push(path.to_string());
        }
    }
}

#[tokio::test]
async fn no_query_is_stored_beside_an_unfinished_file() {
    let bytes = body();
    let folder = Folder::new();
    let server = Server::start(vec![
        cut(&bytes, 7000, &[ETAG]),
        rest(&bytes, 7000, &[ETAG]),
    ])
    .await;
    let mut request = request(&server, &folder, Some(&bytes));
    request.retry.failures = 1;
    let url = request.url.replace("http://", "http://user:secret@");
    request.url = format!("{url}?X-Amz-Signature=secret");
    let _ = run(&request).await.unwrap_err();
    let note = fs::read_to_string(folder.join("bundles/bundle.tar.gz.part.json")).unwrap();
    assert!(!note.contains("secret"), "{note}");
    // A new signature does not restart the download.
    request.url = format!("{url}?X-Amz-Signature=another");
    run(&request).await.unwrap();
    assert!(server.requests()[1].contains("range: bytes=7000-"));
}
