//! The body of an upload: reads a file in pieces, hashes it, and reports progress while it is sent.
//!
//! Memory holds at most two pieces, whatever the size of the blob. The last piece is sent only if
//! the digest of the whole blob is right, so no registry can accept a damaged file. A body without
//! a declared length ends early after a stop.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use reqwest::RequestBuilder;
use reqwest::header::CONTENT_LENGTH;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::io::ReaderStream;

use crate::digest::{format_digest, sha256};
use crate::limiter::Limiter;
use crate::recorded::lock;
use crate::retry::Failure;
use crate::{Blob, BlobSource, Error, Event, Observer, RequestInfo, Settings, Stop, classify};

/// Size of one read from a file, in bytes. Smaller pieces cost processor time, larger ones
/// only memory.
const PIECE: usize = 512 * 1024;

/// The same for a blob of a few pieces, of which many may be in progress.
const SMALL_PIECE: usize = 128 * 1024;

/// How often progress is reported and a stall is checked.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// An upload of a blob, or of a part of it, to a repository.
pub(crate) struct Upload<'a> {
    pub(crate) repository: &'a str,
    pub(crate) blob: &'a Blob,
    pub(crate) source: &'a dyn BlobSource,
    /// The bytes to send: all of the blob, or a part.
    pub(crate) range: Range<u64>,
    /// Set if the request declares no length, so its body may end early.
    pub(crate) stream_body: Option<&'a StreamBody>,
}

/// State of a body without a declared length, which ends at the end of its blob or earlier.
#[derive(Debug)]
pub(crate) struct StreamBody {
    /// Hash of the bytes that the session already has.
    prefix_hash: Sha256,
    /// Minimum length of the body in bytes, after which it may end early.
    min_length: u64,
    /// Number of bytes in the last body that was sent.
    sent: AtomicU64,
}

impl StreamBody {
    pub(crate) fn new(prefix_hash: Sha256, min_length: u64) -> Self {
        Self {
            prefix_hash,
            min_length,
            sent: AtomicU64::new(0),
        }
    }

    /// Returns the number of bytes in the last body that was sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

/// What the body, which the connection owns, reports to the task that waits for the response.
#[derive(Debug, Default)]
struct Progress {
    sent: AtomicU64,
    is_throttled: AtomicBool,
    fault: Mutex<Option<Error>>,
}

impl Upload<'_> {
    /// Returns the number of bytes to send.
    pub(crate) fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Compares the whole file with its digest before a part of it is sent, since a part has no
    /// digest.
    pub(crate) async fn check_content(&self, stop: &Stop) -> Result<(), Failure> {
        let digest = &self.blob.digest;
        let file = open(self.source, self.blob).map_err(Failure::permanent)?;
        if self.source.is_checked(digest, &file) {
            return Ok(());
        }
        let found = format_digest(self.hash_file(file, self.blob.size, stop).await?);
        if found == digest.as_ref() {
            return Ok(());
        }
        Err(Failure::permanent(Error::SourceContent {
            digest: digest.clone(),
            found,
        }))
    }

    /// Hashes the file's first `length` bytes.
    pub(crate) async fn hash(&self, length: u64, stop: &Stop) -> Result<Sha256, Failure> {
        if length == 0 {
            return Ok(Sha256::new());
        }
        let file = open(self.source, self.blob).map_err(Failure::permanent)?;
        self.hash_file(file, length, stop).await
    }

    async fn hash_file(&self, file: File, length: u64, stop: &Stop) -> Result<Sha256, Failure> {
        let stop = stop.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            let mut file = io::Read::take(file, length);
            let mut hasher = Sha256::new();
            let mut piece = vec![0; PIECE];
            loop {
                match io::Read::read(&mut file, &mut piece)? {
                    0 => return Ok(Some(hasher)),
                    _ if stop.is_requested() => return Ok(None),
                    length => hasher.update(&piece[..length]),
                }
            }
        });
        let hasher = hashing.await.map_err(io::Error::other).flatten();
        let hasher = hasher.map_err(|source| {
            Failure::permanent(Error::Source {
                digest: self.blob.digest.clone(),
                source,
            })
        })?;
        hasher.ok_or(Failure::permanent(Error::Stopped))
    }

    /// Sends the blob with `request` and waits for the head of the response.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        place: RequestInfo,
        limiter: &Arc<Limiter>,
        settings: &Settings,
        observer: &dyn Observer,
    ) -> Result<reqwest::Response, Failure> {
        let mut file = open(self.source, self.blob).map_err(Failure::permanent)?;
        let Range { start, end } = self.range;
        io::Seek::seek(&mut file, io::SeekFrom::Start(start)).map_err(|source| {
            Failure::permanent(Error::Source {
                digest: self.blob.digest.clone(),
                source,
            })
        })?;
        let progress = Arc::new(Progress::default());
        let size = end - start;
        let whole = size == self.blob.size;
        let hasher = match self.stream_body {
            _ if self.source.is_checked(&self.blob.digest, &file) => None,
            Some(stream_body) => Some(stream_body.prefix_hash.clone()),
            None => whole.then(Sha256::new),
        };
        tracing::trace!(blob = %self.blob.digest, hashes = hasher.is_some(), "body");
        let early_end = self
            .stream_body
            .map(|body| (settings.stop.clone(), body.min_length));
        let body = Body {
            pieces: pieces(file, size, hasher.is_some(), early_end.is_some(), limiter),
            hasher,
            early_end,
            sent: 0,
            remaining: size,
            blob: self.blob.clone(),
            limiter: Arc::clone(limiter),
            progress: Arc::clone(&progress),
            ended: false,
        };
        // With this header, reqwest declares the length instead of sending chunks.
        let request = match self.stream_body {
            Some(_) => request,
            None => request.header(CONTENT_LENGTH, size),
        };
        let response = request
            .body(reqwest::Body::wrap_stream(body.into_stream()))
            .send();
        tokio::pin!(response);
        let mut ticks = interval(PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = 0;
        let mut moved = Instant::now();
        let response = loop {
            tokio::select! {
                response = &mut response => break response,
                _ = ticks.tick() => {}
            }
            let sent = progress.sent.load(Relaxed);
            // Waiting for the configured rate is not a stall.
            if progress.is_throttled.load(Relaxed) {
                moved = Instant::now();
            }
            if sent != seen {
                limiter.sent(sent - seen);
                seen = sent;
                moved = Instant::now();
                observer.event(Event::BlobProgress {
                    repository: self.repository,
                    digest: &self.blob.digest,
                    sent: start + sent,
                    size: self.blob.size,
                });
            }
            let patience = if sent == size {
                settings.finish_timeout
            } else {
                settings.stall_timeout
            };
            if moved.elapsed() >= patience {
                return Err(Failure::transient(Error::Stalled {
                    at: Box::new(place),
                    moved: sent,
                    size,
                    after: patience,
                }));
            }
        };
        let sent = progress.sent.load(Relaxed);
        limiter.sent(sent.saturating_sub(seen));
        if let Some(stream_body) = self.stream_body {
            stream_body.sent.store(sent, Relaxed);
        }
        // If the source failed, the error of the connection is only a consequence.
        if let Some(fault) = progress.take_fault() {
            return Err(Failure::permanent(fault));
        }
        response.map_err(|error| classify::connection(&error, place, settings.connect_timeout))
    }
}

/// Reads a blob of at most `limit` bytes into memory, and compares it with its digest.
pub(crate) fn read_checked(
    source: &dyn BlobSource,
    blob: &Blob,
    limit: u64,
) -> Result<Bytes, Error> {
    let content = |found: String| Error::SourceContent {
        digest: blob.digest.clone(),
        found,
    };
    let file = open(source, blob)?;
    if blob.size > limit {
        return Err(content(format!(
            "{} bytes, too many for a manifest",
            blob.size
        )));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit), &mut bytes).map_err(|source| {
        Error::Source {
            digest: blob.digest.clone(),
            source,
        }
    })?;
    if bytes.len() as u64 != blob.size {
        return Err(content(format!("{} bytes", bytes.len())));
    }
    let found = sha256(&bytes);
    if found != blob.digest.as_ref() {
        return Err(content(found));
    }
    Ok(bytes.into())
}

/// Opens a blob and compares its size, which finds a truncated file before a byte is sent.
fn open(source: &dyn BlobSource, blob: &Blob) -> Result<File, Error> {
    let read = |source| Error::Source {
        digest: blob.digest.clone(),
        source,
    };
    let file = source.open(&blob.digest).map_err(read)?;
    let length = file.metadata().map_err(read)?.len();
    if length != blob.size {
        return Err(Error::SourceContent {
            digest: blob.digest.clone(),
            found: format!("{length} bytes instead of {}", blob.size),
        });
    }
    Ok(file)
}

type Pieces = ReaderStream<tokio::io::Take<tokio::fs::File>>;

/// Returns the pieces of the next `length` bytes of a file.
fn pieces(file: File, length: u64, is_hashed: bool, is_stream: bool, limiter: &Limiter) -> Pieces {
    // If the file is hashed, one more byte shows that it has grown.
    let limit = length.saturating_add(u64::from(is_hashed));
    let largest = if is_stream || length > 8 * PIECE as u64 {
        PIECE
    } else {
        SMALL_PIECE
    };
    let file = tokio::io::AsyncReadExt::take(tokio::fs::File::from_std(file), limit);
    ReaderStream::with_capacity(file, limiter.chunk_size(largest))
}

/// A body while it is sent.
struct Body {
    pieces: Pieces,
    /// Hash of everything before the next piece. `None` for a part, and for a file that was
    /// verified before.
    hasher: Option<Sha256>,
    /// Ends the body early once it has this many bytes.
    early_end: Option<(Stop, u64)>,
    sent: u64,
    remaining: u64,
    blob: Blob,
    limiter: Arc<Limiter>,
    progress: Arc<Progress>,
    ended: bool,
}

impl Body {
    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::unfold(self, |mut state| async move {
            if state.ended {
                return None;
            }
            let fault = match state.pieces.next().await {
                Some(Ok(piece)) if piece.len() as u64 <= state.remaining => {
                    state.progress.is_throttled.store(true, Relaxed);
                    let stop = match &state.early_end {
                        Some((stop, min_length)) if state.sent >= *min_length => stop.clone(),
                        _ => Stop::default(),
                    };
                    // With a configured rate, a piece may wait for a long time.
                    let is_allowed = tokio::select! {
                        biased;
                        () = stop.requested() => false,
                        () = state.limiter.throttle(piece.len()) => true,
                    };
                    // After an early end, the registry's response is awaited.
                    state.progress.is_throttled.store(false, Relaxed);
                    if !is_allowed {
                        return None;
                    }
                    if let Some(hasher) = &mut state.hasher {
                        hasher.update(&piece);
                    }
                    state.sent += piece.len() as u64;
                    state.remaining -= piece.len() as u64;
                    if state.remaining > 0 {
                        state.progress.add(piece.len());
                        return Some((Ok(piece), state));
                    }
                    let expected = state.blob.digest.as_ref();
                    let found = state.hasher.take().map(format_digest);
                    let found = found.unwrap_or_else(|| expected.to_owned());
                    if found == expected {
                        state.progress.add(piece.len());
                        state.ended = true;
                        return Some((Ok(piece), state));
                    }
                    Error::SourceContent {
                        digest: state.blob.digest.clone(),
                        found,
                    }
                }
                Some(Err(source)) => Error::Source {
                    digest: state.blob.digest.clone(),
                    source,
                },
                None if state.blob.size == 0 && sha256(b"") == state.blob.digest.as_ref() => {
                    return None;
                }
                Some(Ok(_)) | None => Error::SourceContent {
                    digest: state.blob.digest.clone(),
                    found: "its length changed after it was opened".to_owned(),
                },
            };
            state.progress.fail(fault);
            state.ended = true;
            // Aborts the request, so the registry sees an incomplete upload.
            let cut = io::Error::new(io::ErrorKind::InvalidData, "the source of the blob failed");
            Some((Err(cut), state))
        })
    }
}

impl Progress {
    fn add(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    fn fail(&self, fault: Error) {
        *lock(&self.fault) = Some(fault);
    }

    fn take_fault(&self) -> Option<Error> {
        lock(&self.fault).take()
    }
}

#[cfg(test)]
mod tests;
