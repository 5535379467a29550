//! Downloads a file of many gigabytes over a line that breaks: what has arrived is kept as
//! `<destination>.part` and resumed, in this run or the next, and the file gets its name only when
//! it is complete.
//!
//! Everything that this tool downloads is gzip, so a file that does not begin as gzip does is
//! refused immediately: it is a proxy's log-in page or an error page more often than not.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use crate::event::{Event, Observer};
use crate::http::{self, HttpClient, RequestError, Retry};

mod error;
mod following;
mod part;

pub use error::DownloadError;
pub use following::{Feed, FollowError, Following, following};
use part::{Note, Part, Writing};

/// How often progress is reported and bytes are written to the file, in bytes.
const REPORT: u64 = 1 << 20;

/// For how long bytes that have come may stay in memory when no more come.
const IDLE: Duration = Duration::from_millis(100);

/// What to download, and where to.
#[derive(Clone, Debug)]
pub struct Download {
    /// The URL, of HTTP or HTTPS.
    pub url: String,
    /// The file to make. Beside it are `<destination>.part` and `<destination>.part.json` until it
    /// is whole.
    pub destination: Utf8PathBuf,
    /// What it is known to be, if something is known.
    pub expected: Option<Expected>,
    /// When to try again.
    pub retry: Retry,
}

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
    /// Its sha256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// A file that is whole and under its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The file.
    pub path: Utf8PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl Download {
    /// Returns the download of `url` to `destination`, of which nothing is known, with the usual
    /// patience.
    pub fn new(url: &str, destination: &Utf8Path) -> Self {
        Self {
            url: url.to_owned(),
            destination: destination.to_owned(),
            expected: None,
            retry: Retry::default(),
        }
    }
}

/// Downloads a file, or resumes a download. A file that already exists and is what is expected is
/// not asked for again; one that is something else is replaced when the new one is whole.
///
/// # Errors
/// When requests fail permanently or too often, when the content is not the expected one, or when
/// it cannot be written.
pub async fn download(
    request: &Download,
    client: &HttpClient,
    observer: &dyn Observer,
) -> Result<Downloaded, DownloadError> {
    download_to(request, client, observer, None).await
}

/// Downloads a file as [`download()`] does, and lets the other end of `feed` read it meanwhile
/// ([`following()`]). That gets what an earlier run left once the server has said that the rest
/// belongs to it, and the bytes of a file that is there already at once.
///
/// The download waits for no reader. The reader, in a thread of its own, waits for the download, so
/// this is to be polled until it is ready or dropped.
///
/// # Errors
/// As [`download()`]. The reader gets [`FollowError::Failed`] then.
pub async fn download_feeding(
    request: &Download,
    client: &HttpClient,
    observer: &dyn Observer,
    feed: Feed,
) -> Result<Downloaded, DownloadError> {
    let result = download_to(request, client, observer, Some(&feed)).await;
    feed.end(result.is_ok());
    result
}

async fn download_to(
    request: &Download,
    client: &HttpClient,
    observer: &dyn Observer,
    feed: Option<&Feed>,
) -> Result<Downloaded, DownloadError> {
    let url = http::parse(&request.url).map_err(DownloadError::Request)?;
    if let Some(present) = part::present(request).await? {
        if let Some(feed) = feed {
            part::feed_whole(feed, &present)?;
        }
        return Ok(present);
    }
    let transfer = Transfer {
        request,
        shown: requests::shown(&url),
        url,
        client,
        observer,
        has_answered: AtomicBool::new(false),
    };
    let (part, aside) = Part::open(&request.destination, &transfer.shown, feed)?;
    if let Some(path) = &aside {
        observer.event(Event::KeptAside { path });
    }
    let mut writing = transfer.begin(&part).await?;
    let mut is_old = writing.length() > 0;
    loop {
        if let Err(error) = transfer.run(&part, &mut writing).await {
            if writing.length() == 0 {
                // There is nothing to resume.
                part.remove();
            }
            return Err(error);
        }
        match transfer.check(&writing) {
            // What an earlier run left may have been damaged since, when the machine went down for
            // example.
            Err(_) if is_old => {
                is_old = false;
                part.reset(&mut writing).await?;
            }
            Err(error) => {
                part.remove();
                return Err(error);
            }
            Ok(()) => return part.finish(writing).await,
        }
    }
}

/// One file on its way.
struct Transfer<'a> {
    request: &'a Download,
    url: Url,
    shown: String,
    client: &'a HttpClient,
    observer: &'a dyn Observer,
    /// Whether the server has answered in this run, with whatever status.
    has_answered: AtomicBool,
}

impl Transfer<'_> {
    /// Takes up what an earlier run left, if the server can be asked for the rest of just that.
    async fn begin(&self, part: &Part<'_>) -> Result<Writing, DownloadError> {
        let mut writing = part.take_up().await?;
        let note = part.note();
        // Without a validator only the hash shows whether the rest belongs to the beginning.
        let can_tell = self.request.expected.is_some()
            || note.as_ref().is_some_and(|note| note.validator().is_some());
        let too_long = self.size().is_some_and(|size| writing.length() > size);
        if !can_tell || too_long {
            part.reset(&mut writing).await?;
        }
        Ok(writing)
    }

    /// Tries until the file is there to its end, or there is no hope.
    async fn run(&self, part: &Part<'_>, writing: &mut Writing) -> Result<(), DownloadError> {
        let mut failures = 0;
        loop {
            let before = writing.length();
            let outcome = self.attempt(part, writing).await;
            // What has arrived is worth keeping, whatever came after it.
            let kept = part.flush(writing, self.size()).await;
            let error = match outcome {
                Ok(()) => return kept,
                Err(DownloadError::Request(error)) => error,
                Err(error) => return Err(error),
            };
            kept?;
            failures = if writing.length() > before {
                1
            } else {
                failures + 1
            };
            let retry = &self.request.retry;
            let wait = match self.has_answered.load(Ordering::Relaxed) {
                true => retry.wait(failures, &error),
                false => retry.wait_for_first_answer(failures, &error),
            };
            let Some(wait) = wait else {
                return Err(DownloadError::Request(error));
            };
            self.observer.event(Event::Retrying {
                url: &self.shown,
                failures,
                wait,
                reason: &reason(&error),
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes one request and takes what it brings.
    async fn attempt(&self, part: &Part<'_>, writing: &mut Writing) -> Result<(), DownloadError> {
        if self.size().is_some_and(|size| size == writing.length()) {
            writing.confirm();
            return Ok(());
        }
        let note = part.note();
        let offset = writing.length();
        self.observer.event(Event::DownloadStarted {
            url: &self.shown,
            offset,
        });
        let mut get = (self.client.get(self.url.clone())).map_err(DownloadError::Request)?;
        if offset > 0 {
            get = get.header(RANGE, format!("bytes={offset}-"));
            if let Some(validator) = note.as_ref().and_then(Note::validator) {
                get = get.header(IF_RANGE, validator);
            }
        }
        let sent = self.client.send(&self.url, get).await;
        let response = sent.map_err(DownloadError::Request)?;
        self.has_answered.store(true, Ordering::Relaxed);
        match response.status() {
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                if !self.continues(&response, offset, note.as_ref()) {
                    part.reset(writing).await?;
                    return Err(self.wrong_part());
                }
                writing.confirm();
                let whole = content_range(response.headers()).and_then(|(_, whole)| whole);
                self.receive(part, writing, response, whole).await
            }
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                // The server has no byte more: either that was all, or this is another file.
                if content_range(response.headers()) == Some((None, Some(offset))) {
                    writing.confirm();
                    return Ok(());
                }
                part.reset(writing).await?;
                Err(self.wrong_part())
            }
            StatusCode::OK => {
                // The server does not do ranges, or has another file by now.
                part.reset(writing).await?;
                part.write_note(&Note::of(&self.shown, response.headers()))?;
                let size = response.content_length();
                self.receive(part, writing, response, size).await
            }
            _ => Err(DownloadError::Request(RequestError::status(
                &self.url, &response,
            ))),
        }
    }

    /// Writes the body of an answer. `whole` is the size of the whole file, as far as the server
    /// says.
    async fn receive(
        &self,
        part: &Part<'_>,
        writing: &mut Writing,
        mut response: Response,
        whole: Option<u64>,
    ) -> Result<(), DownloadError> {
        // Better to know before the gigabytes than after.
        if let (Some(expected), Some(found)) = (self.size(), whole)
            && expected != found
        {
            // A page is called a page, whatever its size.
            let first = response.chunk().await.map_err(|error| self.failed(error))?;
            return Err(first
                .and_then(|bytes| writing.not_gzip(&bytes, &self.shown))
                .unwrap_or_else(|| self.wrong_size(expected, found)));
        }
        let total = self.size().or(whole);
        let taken = self.take(part, writing, &mut response, total).await;
        self.observer.event(Event::Downloaded {
            bytes: writing.length(),
            total,
        });
        taken?;
        match whole {
            Some(whole) if whole != writing.length() => Err(self.wrong_part()),
            _ => Ok(()),
        }
    }

    /// Appends what comes, until nothing more does.
    async fn take(
        &self,
        part: &Part<'_>,
        writing: &mut Writing,
        response: &mut Response,
        total: Option<u64>,
    ) -> Result<(), DownloadError> {
        // What an earlier run left has just been confirmed.
        part.flush(writing, total).await?;
        let mut reported = writing.length();
        let mut flushed = writing.length();
        loop {
            let mut next = pin!(response.chunk());
            let received = if writing.length() == flushed {
                next.await
            } else if let Ok(received) = timeout(IDLE, &mut next).await {
                received
            } else {
                // A reader is not to wait for what is here already.
                part.flush(writing, total).await?;
                flushed = writing.length();
                next.await
            };
            let Some(bytes) = received.map_err(|error| self.failed(error))? else {
                return Ok(());
            };
            if let Some(error) = writing.not_gzip(&bytes, &self.shown) {
                part.remove();
                return Err(error);
            }
            let length = writing.length() + bytes.len() as u64;
            if let Some(expected) = self.size()
                && length > expected
            {
                // It is a different file of unknown length.
                part.remove();
                return Err(self.wrong_size(expected, length));
            }
            part.append(writing, &bytes, total).await?;
            if writing.length() - reported >= REPORT {
                part.flush(writing, total).await?;
                flushed = writing.length();
                reported = writing.length();
                self.observer.event(Event::Downloaded {
                    bytes: reported,
                    total,
                });
            }
        }
    }

    /// Returns whether the response starts exactly where the file on disk ends.
    fn continues(&self, response: &Response, offset: u64, note: Option<&Note>) -> bool {
        let before = note.and_then(|note| note.etag.as_deref());
        let now = etag(response.headers());
        let is_other_file = matches!((before, &now), (Some(before), Some(now)) if before != now);
        let start = content_range(response.headers()).and_then(|(start, _)| start);
        start == Some(offset) && !is_other_file
    }

    /// Compares the whole file with what is expected.
    fn check(&self, writing: &Writing) -> Result<(), DownloadError> {
        let found = writing.length();
        if let Some(expected) = self.size()
            && expected != found
        {
            return Err(self.wrong_size(expected, found));
        }
        if found < part::MAGIC.len() as u64 {
            return Err(DownloadError::NotGzip {
                url: self.shown.clone(),
            });
        }
        match &self.request.expected {
            Some(expected) if expected.sha256 != writing.sha256() => Err(DownloadError::Sha256 {
                url: self.shown.clone(),
                expected: expected.sha256.clone(),
                found: writing.sha256(),
            }),
            _ => Ok(()),
        }
    }

    fn size(&self) -> Option<u64> {
        self.request.expected.as_ref()?.size
    }

    fn failed(&self, error: reqwest::Error) -> DownloadError {
        DownloadError::Request(self.client.failed(&self.url, error))
    }

    fn wrong_part(&self) -> DownloadError {
        DownloadError::Request(RequestError::WrongPart {
            url: self.shown.clone(),
        })
    }

    fn wrong_size(&self, expected: u64, found: u64) -> DownloadError {
        DownloadError::Size {
            url: self.shown.clone(),
            expected,
            found,
        }
    }
}

/// Returns start and whole size of a `Content-Range`, such as `bytes 5-9/10` or `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = match range.trim() {
        "*" => None,
        range => Some(range.split_once('-')?.0.trim().parse().ok()?),
    };
    Some((start, whole.trim().parse().ok()))
}

/// Returns the entity tag if it is a strong one; a weak one does not promise the same bytes.
fn etag(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(ETAG)?.to_str().ok()?;
    text.starts_with('"').then(|| text.to_owned())
}

fn last_modified(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(LAST_MODIFIED)?.to_str().ok()?.to_owned())
}

/// Returns the error and what it comes from in the end, in one line. It is told with every attempt,
/// so what is between is left out.
fn reason(error: &RequestError) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    match std::error::Error::source(error) {
        Some(_) => format!("{error}: {root}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
