//! Readers of files that are still being downloaded, over broken connections.

use std::fs;
use std::thread;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot::Sender;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;
use crate::digest::hex_of;
use crate::download::{
    Download, DownloadError, Downloaded, Expected, Retry, download_feeding,
    part::Part,
    tests::{ETAG, body, cut, rest},
};
use crate::make::{ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};
use crate::testing::server::{Server, client};
use crate::testing::{Folder, make, small_recipe};
use crate::{Event, Inspection, Observer, ReadError, Silent};

/// Number of bytes from an earlier run or from the first response.
const BEGINNING: usize = 7000;

/// Returns a file with the same beginning as [`body`] and a different end.
fn other_body() -> Vec<u8> {
    [body(), b"other".to_vec()].concat()
}

/// A server and a download from it.
struct Case {
    server: Server,
    releases: Vec<Option<Sender<()>>>,
    folder: Folder,
    request: Download,
}

impl Case {
    /// `answers` are responses, each with the number of bytes to hold back.
    async fn new(answers: Vec<(Vec<u8>, usize)>, expected: Option<&[u8]>) -> Self {
        let folder = Folder::new();
        let (server, releases) = Server::start_holding(answers).await;
        let request = Download {
            expected: expected.map(|bytes| Expected {
                size: Some(bytes.len() as u64),
                sha256: hex_of(bytes),
            }),
            retry: Retry {
                failures: 2,
                first_wait: std::time::Duration::from_millis(1),
                longest_wait: std::time::Duration::from_millis(1),
            },
            ..Download::new(&server.url("bundle.tar.gz"), &folder.join("bundle.tar.gz"))
        };
        Self {
            server,
            releases: releases.into_iter().map(Some).collect(),
            folder,
            request,
        }
    }

    /// Sends the rest of a response.
    fn release(&mut self, answer: usize) {
        self.releases[answer].take().unwrap().send(()).unwrap();
    }

    /// Writes an unfinished file as an earlier run would have left it.
    fn leave(&self, bytes: &[u8]) {
        fs::write(self.folder.join("bundle.tar.gz.part"), bytes).unwrap();
        let url = &self.request.url;
        let note = format!(r#"{{"url":"{url}","etag":"\"one\"","last-modified":null}}"#);
        fs::write(self.folder.join("bundle.tar.gz.part.json"), note).unwrap();
    }

    fn start(&self) -> (JoinHandle<Result<Downloaded, DownloadError>>, Following) {
        let (feed, following) = following();
        let request = self.request.clone();
        let task =
            tokio::spawn(async move { download_feeding(&request, &client(), &Silent, feed).await });
        (task, following)
    }
}

/// Reads `count` bytes and returns them with the reader.
async fn take(mut following: Following, count: usize) -> (Following, Vec<u8>) {
    spawn_blocking(move || {
        let mut bytes = vec![0; count];
        following.read_exact(&mut bytes).unwrap();
        (following, bytes)
    })
    .await
    .unwrap()
}

/// Reads to the end.
async fn take_all(mut following: Following) -> io::Result<Vec<u8>> {
    spawn_blocking(move || {
        let mut bytes = Vec::new();
        following.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
    .await
    .unwrap()
}

async fn take_error(following: Following) -> Option<FollowError> {
    FollowError::of(&take_all(following).await.unwrap_err())
}

/// Reports each archive that was read.
struct Finished(UnboundedSender<String>);

impl Observer for Finished {
    fn event(&self, event: Event<'_>) {
        if let Event::ArchiveFinished { artifact } = event {
            let _ = self.0.send(artifact.repository.clone());
        }
    }
}

/// Returns a bundle of three images that are larger than the buffers of the reader.
fn large_bundle() -> Vec<u8> {
    let image = |name: &str| ArtifactRecipe {
        repository: name.to_owned(),
        tag: "v1".to_owned(),
        contents: ContentsRecipe::Image {
            platforms: vec!["linux/amd64".to_owned()],
            layers: vec![LayerRecipe {
                name: name.to_owned(),
                size: 600_000,
                same_on_every_platform: true,
            }],
        },
    };
    make(&Recipe {
        artifacts: ["one", "two", "three"].map(image).to_vec(),
        ..small_recipe()
    })
}

#[tokio::test]
async fn the_first_archive_is_read_before_the_last_byte_is_sent() {
    let bundle = large_bundle();
    let mut case = Case::new(vec![(Server::ok(&[ETAG], &bundle), 1)], Some(&bundle)).await;
    let (task, following) = case.start();
    let (finished, mut events) = unbounded_channel();
    let reading =
        spawn_blocking(move || crate::read(following, &mut Inspection, None, &Finished(finished)));
    assert_eq!(events.recv().await.as_deref(), Some("one"));
    assert_eq!(case.folder.files().len(), 2, "{:?}", case.folder.files());
    assert!(!case.request.destination.exists());
    case.release(0);
    assert_eq!(reading.await.unwrap().unwrap().sha256, hex_of(&bundle));
    assert_eq!(task.await.unwrap().unwrap().sha256, hex_of(&bundle));
}

#[tokio::test]
async fn received_bytes_reach_the_reader_while_the_connection_is_idle() {
    let bytes = body();
    let mut case = Case::new(vec![(Server::ok(&[ETAG], &bytes), 1)], None).await;
    let (task, following) = case.start();
    let (following, taken) = take(following, bytes.len() - 1).await;
    assert!(taken == bytes[..bytes.len() - 1]);
    case.release(0);
    assert_eq!(take_all(following).await.unwrap(), bytes[bytes.len() - 1..]);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_download_does_not_end_before_the_file_is_verified() {
    let bytes = body();
    let mut wrong = bytes.clone();
    wrong[9000] ^= 1;
    let mut case = Case::new(vec![(Server::ok(&[ETAG], &wrong), 1)], Some(&bytes)).await;
    let (task, following) = case.start();
    let (following, _) = take(following, bytes.len() - 1).await;
    case.release(0);
    assert_eq!(take_error(following).await, Some(FollowError::Failed));
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, DownloadError::Sha256 { .. }), "{error}");
}

#[tokio::test]
async fn a_reader_does_not_notice_a_broken_connection() {
    let bytes = body();
    let answers = vec![
        (cut(&bytes, BEGINNING, &[ETAG]), 0),
        (rest(&bytes, BEGINNING, &[ETAG]), 0),
    ];
    let case = Case::new(answers, Some(&bytes)).await;
    let (task, following) = case.start();
    assert!(take_all(following).await.unwrap() == bytes);
    task.await.unwrap().unwrap();
    assert_eq!(case.server.requests().len(), 2);
}

#[tokio::test]
async fn bytes_of_an_earlier_run_are_read_after_the_server_confirmed_them() {
    let bytes = body();
    let held = bytes.len() - BEGINNING;
    let mut case = Case::new(vec![(rest(&bytes, BEGINNING, &[ETAG]), held)], Some(&bytes)).await;
    case.leave(&bytes[..BEGINNING]);
    let (task, following) = case.start();
    let (following, taken) = take(following, BEGINNING).await;
    assert!(taken == bytes[..BEGINNING]);
    case.release(0);
    assert!(take_all(following).await.unwrap() == bytes[BEGINNING..]);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn bytes_of_a_different_file_are_never_read() {
    let (old, new) = (body(), other_body());
    let busy = Server::answer("503 Busy", &["Retry-After: 0"], 0, b"");
    let answers = vec![(busy, 0), (Server::ok(&[r#"ETag: "two""#], &new), 0)];
    let case = Case::new(answers, None).await;
    let mut left = old[..BEGINNING].to_vec();
    left[5000] ^= 1;
    case.leave(&left);
    let (task, following) = case.start();
    assert!(take_all(following).await.unwrap() == new);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn complete_files_need_no_server() {
    let bytes = body();
    let case = Case::new(Vec::new(), Some(&bytes)).await;
    case.leave(&bytes);
    for _ in 0..2 {
        let (task, following) = case.start();
        assert!(take_all(following).await.unwrap() == bytes);
        task.await.unwrap().unwrap();
        assert_eq!(case.folder.files(), ["bundle.tar.gz"]);
    }
    assert!(case.server.requests().is_empty());
}

#[tokio::test]
async fn a_reader_learns_that_the_download_started_over() {
    let (old, new) = (body(), other_body());
    let second = Server::ok(&[r#"ETag: "two""#], &new);
    let held = second.len();
    let mut case = Case::new(
        vec![(cut(&old, BEGINNING, &[ETAG]), 0), (second, held)],
        None,
    )
    .await;
    let (task, following) = case.start();
    let (following, _) = take(following, BEGINNING).await;
    case.release(1);
    assert_eq!(take_error(following).await, Some(FollowError::StartedOver));
    let downloaded = task.await.unwrap().unwrap();
    assert!(fs::read(downloaded.path).unwrap() == new);
}

#[tokio::test]
async fn a_reader_of_a_damaged_part_learns_of_it_before_the_end() {
    let bytes = body();
    let answers = vec![
        (rest(&bytes, BEGINNING, &[ETAG]), 1),
        (Server::ok(&[ETAG], &bytes), 0),
    ];
    let mut case = Case::new(answers, Some(&bytes)).await;
    let mut damaged = bytes[..BEGINNING].to_vec();
    damaged[5000] ^= 1;
    case.leave(&damaged);
    let (task, following) = case.start();
    let (following, _) = take(following, bytes.len() - 1).await;
    case.release(0);
    assert_eq!(take_error(following).await, Some(FollowError::StartedOver));
    let downloaded = task.await.unwrap().unwrap();
    assert!(fs::read(downloaded.path).unwrap() == bytes);
}

#[tokio::test]
async fn a_reader_learns_that_the_download_failed() {
    // Before the first byte.
    let case = Case::new(vec![(Server::status(403), 0)], None).await;
    let (task, following) = case.start();
    assert_eq!(take_error(following).await, Some(FollowError::Failed));
    task.await.unwrap().unwrap_err();
    // While the reader waits for more bytes.
    let bytes = body();
    let forbidden = Server::status(403);
    let held = forbidden.len();
    let mut case = Case::new(
        vec![(cut(&bytes, BEGINNING, &[ETAG]), 0), (forbidden, held)],
        None,
    )
    .await;
    let (task, following) = case.start();
    let (following, _) = take(following, BEGINNING).await;
    case.release(1);
    assert_eq!(take_error(following).await, Some(FollowError::Failed));
    task.await.unwrap().unwrap_err();
    // Before a file exists.
    let case = Case::new(Vec::new(), None).await;
    let _held = Part::open(&case.request.destination, "http://host/x", None).unwrap();
    let (task, following) = case.start();
    assert_eq!(take_error(following).await, Some(FollowError::Failed));
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, DownloadError::Busy { .. }), "{error}");
}

#[tokio::test]
async fn a_reader_learns_that_the_download_was_aborted() {
    let bytes = body();
    // The download is dropped in the middle.
    let case = Case::new(vec![(Server::ok(&[ETAG], &bytes), 1)], None).await;
    let (task, following) = case.start();
    let (following, _) = take(following, BEGINNING).await;
    task.abort();
    assert_eq!(take_error(following).await, Some(FollowError::Aborted));
    // The download is never polled.
    let (feed, following) = super::following();
    drop(download_feeding(&case.request, &client(), &Silent, feed));
    assert_eq!(take_error(following).await, Some(FollowError::Aborted));
    // The download never starts, and the reader is waiting.
    let (feed, mut following) = super::following();
    let reader = thread::spawn(move || following.read(&mut [0]));
    drop(feed);
    let error = reader.join().unwrap().unwrap_err();
    assert_eq!(FollowError::of(&error), Some(FollowError::Aborted));
}

#[tokio::test]
async fn a_reader_that_stops_does_not_stop_the_download() {
    let bytes = body();
    let mut case = Case::new(vec![(Server::ok(&[ETAG], &bytes), 1)], Some(&bytes)).await;
    let (task, following) = case.start();
    let (following, _) = take(following, BEGINNING).await;
    drop(following);
    case.release(0);
    let downloaded = task.await.unwrap().unwrap();
    assert!(fs::read(downloaded.path).unwrap() == bytes);
}

#[tokio::test]
async fn an_aborted_download_ends_the_reading() {
    let bundle = large_bundle();
    let case = Case::new(vec![(Server::ok(&[ETAG], &bundle), 1)], Some(&bundle)).await;
    let (task, following) = case.start();
    let (finished, mut events) = unbounded_channel();
    let reading =
        spawn_blocking(move || crate::read(following, &mut Inspection, None, &Finished(finished)));
    events.recv().await.unwrap();
    // The reader waits for a byte that is never sent.
    task.abort();
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.followed(), Some(FollowError::Aborted), "{error:?}");
}

#[test]
fn a_broken_input_is_reported_and_every_thread_ends() {
    /// A reader that returns some bytes, is interrupted, and then fails.
    struct Breaking<'a>(&'a [u8], bool);
    impl Read for Breaking<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if !self.0.is_empty() {
                return self.0.read(buffer);
            }
            if !std::mem::replace(&mut self.1, true) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Err(FollowError::Failed.into())
        }
    }
    for level in [0, 6] {
        let bundle = make(&Recipe {
            level,
            ..small_recipe()
        });
        for length in (0..bundle.len()).step_by(97).chain([1, 2, bundle.len()]) {
            let input = Breaking(&bundle[..length], false);
            // It returns only after its threads have ended.
            let error = crate::read(input, &mut Inspection, None, &Silent).unwrap_err();
            assert!(
                matches!(error, ReadError::Input { .. }),
                "{length}: {error:?}"
            );
            assert_eq!(error.followed(), Some(FollowError::Failed));
        }
    }
}
