//! Formats of checksum files, and other responses in their place.

use super::*;
use crate::testing::server::{Server, client};

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn of(text: &str) -> Result<Checksum, String> {
    parse(text, "bundle.tar.gz", "https://x/y").map_err(|error| error.to_string())
}

#[test]
fn parses_every_common_format() {
    let upper = HEX.to_ascii_uppercase();
    let cases = [
        (format!("{HEX}  bundle.tar.gz\n"), Some("bundle.tar.gz")),
        (format!("{HEX} *bundle.tar.gz\r\n"), Some("bundle.tar.gz")),
        (format!("{HEX}  ./out/bundle.tar.gz"), Some("bundle.tar.gz")),
        (format!("{HEX}  other.tar.gz\n"), Some("other.tar.gz")),
        (format!("\n\u{feff}{HEX}\n\n"), None),
        (format!("{upper}  bundle.tar.gz"), Some("bundle.tar.gz")),
        (
            format!("SHA256 (bundle.tar.gz) = {HEX}"),
            Some("bundle.tar.gz"),
        ),
        (
            format!("{}  a\n{HEX}  bundle.tar.gz\n", "0".repeat(64)),
            Some("bundle.tar.gz"),
        ),
    ];
    for (text, name) in cases {
        let expected = Checksum {
            sha256: HEX.to_owned(),
            named_file: name.map(str::to_owned),
        };
        assert_eq!(of(&text), Ok(expected), "{text}");
    }
}

#[test]
fn refuses_files_without_the_checksum() {
    let two = format!("{HEX}  a\n{HEX}  b\n");
    let cases = [
        ("", "https://x/y contains no SHA-256"),
        (
            "d41d8cd98f00b204e9800998ecf8427e  bundle.tar.gz",
            "https://x/y contains no SHA-256",
        ),
        (
            &two,
            "https://x/y contains 2 checksums, but none for `bundle.tar.gz`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(of(text), Err(expected.to_owned()));
    }
}

#[tokio::test]
async fn downloads_a_checksum() {
    let server = Server::start(vec![Server::ok(
        &[],
        format!("{HEX}  bundle.tar.gz\n").as_bytes(),
    )])
    .await;
    let found = checksum(&server.url("sum.txt"), "bundle.tar.gz", &client()).await;
    assert_eq!(found.unwrap().sha256, HEX);
}

#[tokio::test]
async fn refuses_html_pages_missing_files_and_large_files() {
    let server = Server::start(vec![
        Server::ok(&["Content-Type: text/html; charset=utf-8"], b"hello"),
        Server::ok(&[], b" <html>"),
        Server::status(404),
        Server::ok(&[], &[b'a'; (64 << 10) + 1]),
    ])
    .await;
    let get = async || {
        checksum(&server.url("sum.txt"), "x", &client())
            .await
            .unwrap_err()
    };
    assert!(matches!(get().await, ChecksumError::Html { .. }));
    assert!(matches!(get().await, ChecksumError::Html { .. }));
    assert!(matches!(
        get().await,
        ChecksumError::Request(RequestError::NotFound { status: 404, .. })
    ));
    assert!(matches!(get().await, ChecksumError::TooLarge { .. }));
}
