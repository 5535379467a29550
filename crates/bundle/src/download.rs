//! Downloads large files over unreliable connections. Received bytes are kept in
//! `<destination>.part` and resumed, in this run or the next. The file gets its name when it is
//! complete.
//!
//! All files that Airlock downloads are gzip. A file that does not begin like gzip is refused
//! immediately: usually it is a proxy's log-in page or an error page.

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

/// Number of bytes between two reports of progress. The file is flushed at the same times.
const REPORT: u64 = 1 << 20;

/// Maximum time that received bytes stay in memory while no more bytes come.
const IDLE: Duration = Duration::from_millis(100);

/// A download and its destination.
#[derive(Clone, Debug)]
pub struct Download {
    /// URL with the scheme `http` or `https`.
    pub url: String,
    /// File to create. Until it is complete, `<destination>.part` and `<destination>.part.json` are
    /// beside it.
    pub destination: Utf8PathBuf,
    /// Size and hash that the file must have, if they are known.
    pub expected: Option<Expected>,
    /// Rule for repeating failed requests.
    pub retry: Retry,
}

/// Size and hash that a file must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Size in bytes, if it is known.
    pub size: Option<u64>,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// A complete file under its final name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Path of the file.
    pub path: Utf8PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl Download {
    /// Returns the download of `url` to `destination` without expectations, with the default
    /// [`Retry`].
    pub fn new(url: &str, destination: &Utf8Path) -> Self {
        Self {
            url: url.to_owned(),
            destination: destination.to_owned(),
            expected: None,
            retry: Retry::default(),
        }
    }
}

/// Downloads a file, or resumes its download. If the file exists and is as expected, no request is
/// sent. Otherwise it is replaced when the new one is complete.
///
/// # Errors
/// [`DownloadError`] if requests fail permanently or too often, the content is not as expected, or
/// the file cannot be written.
pub async fn download(
    request: &Download,
    client: &HttpClient,
    observer: &dyn Observer,
) -> Result<Downloaded, DownloadError> {
    download_to(request, client, observer, None).await
}

/// Downloads a file like [`download()`], and lets the other end of `feed` read it meanwhile
/// ([`following()`]).
///
/// The reader gets bytes of earlier runs after the server confirmed that the rest belongs to them.
/// It gets the bytes of a complete file immediately.
///
/// The download does not wait for the reader. The reader waits for the download in a thread of its
/// own, so the caller must poll this future until it is ready, or drop it.
///
/// # Errors
/// [`DownloadError`], as for [`download()`]. The reader gets [`FollowError::Failed`].
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
            part::feed_complete(feed, &present)?;
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
        observer.event(Event::UnknownFileRenamed { path });
    }
    let mut writing = transfer.resume(&part).await?;
    let mut is_old = writing.length() > 0;
    loop {
        if let Err(error) = transfer.run(&part, &mut writing).await {
            if writing.length() == 0 {
                // Without bytes there is nothing to resume.
                part.remove();
            }
            return Err(error);
        }
        match transfer.check(&writing) {
            // Bytes of an earlier run may be damaged, for example by a power failure.
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

/// The state of one download.
struct Transfer<'a> {
    request: &'a Download,
    url: Url,
    shown: String,
    client: &'a HttpClient,
    observer: &'a dyn Observer,
    /// Whether the server has responded in this run, with any status.
    has_answered: AtomicBool,
}

impl Transfer<'_> {
    /// Keeps the bytes of an earlier run if the rest can be verified to belong to them.
    async fn resume(&self, part: &Part<'_>) -> Result<Writing, DownloadError> {
        let mut writing = part.resume().await?;
        let note = part.note();
        // Without a validator, only the hash shows whether the rest belongs to the bytes on disk.
        let is_verifiable = self.request.expected.is_some()
            || note.as_ref().is_some_and(|note| note.validator().is_some());
        let is_too_long = self.size().is_some_and(|size| writing.length() > size);
        if !is_verifiable || is_too_long {
            part.reset(&mut writing).await?;
        }
        Ok(writing)
    }

    /// Repeats requests until the file is received to its end, or a failure is final.
    async fn run(&self, part: &Part<'_>, writing: &mut Writing) -> Result<(), DownloadError> {
        let mut failures = 0;
        loop {
            let before = writing.length();
            let outcome = self.attempt(part, writing).await;
            // Received bytes are kept, whatever the outcome.
            let flushed = part.flush(writing, self.size()).await;
            let error = match outcome {
                Ok(()) => return flushed,
                Err(DownloadError::Request(error)) => error,
                Err(error) => return Err(error),
            };
            flushed?;
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

    /// Sends one request and appends the body of its response.
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
                let size = content_range(response.headers()).and_then(|(_, size)| size);
                self.receive(part, writing, response, size).await
            }
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                // The server has no more bytes: either the file is complete, or it is a different
                // one.
                if content_range(response.headers()) == Some((None, Some(offset))) {
                    writing.confirm();
                    return Ok(());
                }
                part.reset(writing).await?;
                Err(self.wrong_part())
            }
            StatusCode::OK => {
                // The server does not support ranges, or has a different file now.
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

    /// Appends the body of a response. `size` is the size of the file according to the server.
    async fn receive(
        &self,
        part: &Part<'_>,
        writing: &mut Writing,
        mut response: Response,
        size: Option<u64>,
    ) -> Result<(), DownloadError> {
        // A wrong size is reported before gigabytes are received.
        if let (Some(expected), Some(found)) = (self.size(), size)
            && expected != found
        {
            // An HTML page is reported as such, whatever its size.
            let first = response.chunk().await.map_err(|error| self.failed(error))?;
            return Err(first
                .and_then(|bytes| writing.not_gzip(&bytes, &self.shown))
                .unwrap_or_else(|| self.wrong_size(expected, found)));
        }
        let total = self.size().or(size);
        let appended = self.append(part, writing, &mut response, total).await;
        self.observer.event(Event::Downloaded {
            bytes: writing.length(),
            total,
        });
        appended?;
        match size {
            Some(size) if size != writing.length() => Err(self.wrong_part()),
            _ => Ok(()),
        }
    }

    /// Appends bytes until the response ends.
    async fn append(
        &self,
        part: &Part<'_>,
        writing: &mut Writing,
        response: &mut Response,
        total: Option<u64>,
    ) -> Result<(), DownloadError> {
        // Lets a reader have the bytes of an earlier run, which are confirmed by now.
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
                // Lets a reader have the received bytes.
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
                // The server's file is a different one of unknown length.
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

    /// Returns whether the response starts exactly where the file on disk ends, and is of the same
    /// file.
    fn continues(&self, response: &Response, offset: u64, note: Option<&Note>) -> bool {
        let before = note.and_then(|note| note.etag.as_deref());
        let now = etag(response.headers());
        let is_other_file = matches!((before, &now), (Some(before), Some(now)) if before != now);
        let start = content_range(response.headers()).and_then(|(start, _)| start);
        start == Some(offset) && !is_other_file
    }

    /// Compares the complete file with the expected size and hash.
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

/// Returns the start of the range and the size of the file in a `Content-Range`, such as
/// `bytes 5-9/10` or `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = match range.trim() {
        "*" => None,
        range => Some(range.split_once('-')?.0.trim().parse().ok()?),
    };
    Some((start, size.trim().parse().ok()))
}

/// Returns the entity tag if it is strong. A weak one does not promise identical bytes.
fn etag(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(ETAG)?.to_str().ok()?;
    text.starts_with('"').then(|| text.to_owned())
}

fn last_modified(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(LAST_MODIFIED)?.to_str().ok()?.to_owned())
}

/// Returns the error and its root cause in one line. It is printed for each attempt, so the causes
/// between are left out.
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
