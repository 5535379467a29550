//! Readers of files that are still being downloaded, over lines that break.

use std::fs;
use std::thread;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot::Sender;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;
use crate::digest::hex_of;
use crate::download::{
    Download, DownloadError, Downloaded, Expected, Retry, download_feeding, part::Part,
};
use crate::make::{ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};
use crate::testing::server::{Server, client};
use crate::testing::{Folder, gzip, make, small_recipe};
use crate::{Event, Inspection, Observer, ReadError, Silent};

const ETAG: &str = r#"ETag: "one""#;

/// How much an earlier run, or the first answer, brought.
const BEGINNING: usize = 7000;

/// A file of some length that is gzip to its first bytes.
fn body() -> Vec<u8> {
    let mut bytes = gzip(b"");
    bytes.extend((0..5000_u32).flat_map(u32::to_le_bytes));
    bytes
}

/// A body of the same beginning and another end.
fn other_body() -> Vec<u8> {
    [body(), b"other".to_vec()].concat()
}

/// Returns the answer 206 with the rest from `start` on.
fn rest(bytes: &[u8], start: usize) -> Vec<u8> {
    let last = bytes.len() - 1;
    let range = format!("Content-Range: bytes {start}-{last}/{}", bytes.len());
    let headers = [ETAG, range.as_str()];
    let rest = &bytes[start..];
    Server::answer("206 Partial Content", &headers, rest.len(), rest)
}

/// Returns an answer that breaks off.
fn cut(bytes: &[u8]) -> Vec<u8> {
    Server::answer("200 OK", &[ETAG], bytes.len(), &bytes[..BEGINNING])
}

/// A server and the file that is downloaded from it.
struct Case {
    server: Server,
    releases: Vec<Option<Sender<()>>>,
    folder: Folder,
    request: Download,
}

impl Case {
    /// `answers` are answers with how many bytes of each are held back.
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

    /// Lets the rest of an answer go out.
    fn release(&mut self, answer: usize) {
        self.releases[answer].take().unwrap().send(()).unwrap();
    }

    /// Leaves `bytes` as an earlier run would have.
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

/// Reads `count` bytes, and gives the reader back.
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

/// Reports every archive that was read.
struct Finished(UnboundedSender<String>);

impl Observer for Finished {
    fn event(&self, event: Event<'_>) {
        if let Event::ArchiveFinished { artifact } = event {
            let _ = self.0.send(artifact.repository.clone());
        }
    }
}

/// Three images that are larger than what is read ahead.
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
async fn the_first_archive_is_read_while_the_server_holds_back_the_last_byte() {
    let bundle = large_bundle();
    let mut case = Case::new(vec![(Server::ok(&[ETAG], &bundle), 1)], Some(&bundle)).await;
    let (task, following) = case.start();
    let (finished, mut told) = unbounded_channel();
    let reading =
        spawn_blocking(move || crate::read(following, &mut Inspection, None, &Finished(finished)));
    assert_eq!(told.recv().await.as_deref(), Some("one"));
    assert_eq!(case.folder.files().len(), 2, "{:?}", case.folder.files());
    assert!(!case.request.destination.exists());
    case.release(0);
    assert_eq!(reading.await.unwrap().unwrap().sha256, hex_of(&bundle));
    assert_eq!(task.await.unwrap().unwrap().sha256, hex_of(&bundle));
}

#[tokio::test]
async fn bytes_that_have_come_are_not_kept_from_the_reader_while_the_line_is_idle() {
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
async fn a_reader_does_not_notice_that_the_line_broke() {
    let bytes = body();
    let answers = vec![(cut(&bytes), 0), (rest(&bytes, BEGINNING), 0)];
    let case = Case::new(answers, Some(&bytes)).await;
    let (task, following) = case.start();
    assert!(take_all(following).await.unwrap() == bytes);
    task.await.unwrap().unwrap();
    assert_eq!(case.server.requests().len(), 2);
}

#[tokio::test]
async fn what_an_earlier_run_left_is_handed_out_when_the_server_continues_with_it() {
    let bytes = body();
    let held = bytes.len() - BEGINNING;
    let mut case = Case::new(vec![(rest(&bytes, BEGINNING), held)], Some(&bytes)).await;
    case.leave(&bytes[..BEGINNING]);
    let (task, following) = case.start();
    let (following, taken) = take(following, BEGINNING).await;
    assert!(taken == bytes[..BEGINNING]);
    case.release(0);
    assert!(take_all(following).await.unwrap() == bytes[BEGINNING..]);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_an_earlier_run_left_of_another_file_is_never_handed_out() {
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
async fn a_whole_part_and_a_finished_file_need_no_server() {
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
    let mut case = Case::new(vec![(cut(&old), 0), (second, held)], None).await;
    let (task, following) = case.start();
    let (following, _) = take(following, BEGINNING).await;
    case.release(1);
    assert_eq!(take_error(following).await, Some(FollowError::StartedOver));
    let downloaded = task.await.unwrap().unwrap();
    assert!(fs::read(downloaded.path).unwrap() == new);
}

#[tokio::test]
async fn a_reader_of_a_damaged_beginning_learns_it_before_the_end() {
    let bytes = body();
    let answers = vec![
        (rest(&bytes, BEGINNING), 1),
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
    // Before it had a byte.
    let case = Case::new(vec![(Server::status(403), 0)], None).await;
    let (task, following) = case.start();
    assert_eq!(take_error(following).await, Some(FollowError::Failed));
    task.await.unwrap().unwrap_err();
    // While it waited for the next one.
    let bytes = body();
    let forbidden = Server::status(403);
    let held = forbidden.len();
    let mut case = Case::new(vec![(cut(&bytes), 0), (forbidden, held)], None).await;
    let (task, following) = case.start();
    let (following, _) = take(following, BEGINNING).await;
    case.release(1);
    assert_eq!(take_error(following).await, Some(FollowError::Failed));
    task.await.unwrap().unwrap_err();
    // Before there was even a file.
    let case = Case::new(Vec::new(), None).await;
    let _held = Part::open(&case.request.destination, "http://host/x", None).unwrap();
    let (task, following) = case.start();
    assert_eq!(take_error(following).await, Some(FollowError::Failed));
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, DownloadError::Busy { .. }), "{error}");
}

#[tokio::test]
async fn a_reader_learns_that_the_download_was_abandoned() {
    let bytes = body();
    // The download was dropped in the middle.
    let case = Case::new(vec![(Server::ok(&[ETAG], &bytes), 1)], None).await;
    let (task, following) = case.start();
    let (following, _) = take(following, BEGINNING).await;
    task.abort();
    assert_eq!(take_error(following).await, Some(FollowError::GivenUp));
    // It was never polled.
    let (feed, following) = super::following();
    drop(download_feeding(&case.request, &client(), &Silent, feed));
    assert_eq!(take_error(following).await, Some(FollowError::GivenUp));
    // It was never begun, and the reader waits already.
    let (feed, mut following) = super::following();
    let reader = thread::spawn(move || following.read(&mut [0]));
    drop(feed);
    let error = reader.join().unwrap().unwrap_err();
    assert_eq!(FollowError::of(&error), Some(FollowError::GivenUp));
}

#[tokio::test]
async fn a_reader_that_stops_does_not_concern_the_download() {
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
async fn a_bundle_that_is_given_up_ends_its_reading() {
    let bundle = large_bundle();
    let case = Case::new(vec![(Server::ok(&[ETAG], &bundle), 1)], Some(&bundle)).await;
    let (task, following) = case.start();
    let (finished, mut told) = unbounded_channel();
    let reading =
        spawn_blocking(move || crate::read(following, &mut Inspection, None, &Finished(finished)));
    told.recv().await.unwrap();
    // The reader waits for a byte that never comes.
    task.abort();
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.followed(), Some(FollowError::GivenUp), "{error:?}");
}

#[test]
fn wherever_a_bundle_breaks_off_the_reason_is_reported_and_no_thread_stays() {
    /// Gives some bytes, is interrupted, and breaks off.
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
            // It returns only when its threads have ended.
            let error = crate::read(input, &mut Inspection, None, &Silent).unwrap_err();
            assert!(
                matches!(error, ReadError::Input { .. }),
                "{length}: {error:?}"
            );
            assert_eq!(error.followed(), Some(FollowError::Failed));
        }
    }
}
