//! The body of an upload: read from a file in pieces, hashed, and reported while it is sent.
//!
//! Memory holds at most two pieces, whatever the size of the blob. The last piece is sent only if
//! the digest of the whole is right, so no registry can accept a wrong file. A body without a
//! declared length ends early when a stop was requested.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
use crate::retry::Failure;
use crate::{Blob, BlobSource, Error, Event, Observer, Place, Settings, Stop, classify};

/// How much of a file is read at a time, in bytes. Smaller pieces cost processor time; larger ones
/// only memory.
const PIECE: usize = 512 * 1024;

/// The same for a blob of a few pieces, of which many may be on their way.
const SMALL_PIECE: usize = 128 * 1024;

/// How often progress is reported and the watch looks.
const BEAT: Duration = Duration::from_millis(200);

/// A blob on its way into a repository.
pub(crate) struct Upload<'a> {
    pub(crate) repository: &'a str,
    pub(crate) blob: &'a Blob,
    pub(crate) source: &'a dyn BlobSource,
    /// The bytes that are sent: all of them, or a part.
    pub(crate) range: Range<u64>,
    /// How the body may end early, if the request has no length.
    pub(crate) stream_body: Option<&'a StreamBody>,
}

/// The end of a body that goes to the end of its blob, and may end anywhere before.
#[derive(Debug)]
pub(crate) struct StreamBody {
    /// What the session holds already, hashed.
    hashed: Sha256,
    /// The least that the body has to carry before it may end early, in bytes.
    least: u64,
    /// How much it carried when it was sent last, in bytes.
    sent: AtomicU64,
}

impl StreamBody {
    pub(crate) fn new(hashed: Sha256, least: u64) -> Self {
        Self {
            hashed,
            least,
            sent: AtomicU64::new(0),
        }
    }

    /// Returns how much the body carried when it was sent last, in bytes.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// What the body, which belongs to the connection, reports to the watch.
#[derive(Debug, Default)]
struct Progress {
    sent: AtomicU64,
    waits: AtomicBool,
    fault: Mutex<Option<Error>>,
}

impl Upload<'_> {
    /// Returns how many bytes are sent.
    pub(crate) fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Checks the whole file before a part of it is sent, since a part has no digest.
    pub(crate) async fn check_content(&self, stop: &Stop) -> Result<(), Failure> {
        let digest = &self.blob.digest;
        let file = open(self.source, self.blob).map_err(Failure::last)?;
        if self.source.is_checked(digest, &file) {
            return Ok(());
        }
        let found = format_digest(self.hash_file(file, self.blob.size, stop).await?);
        if found == digest.as_ref() {
            return Ok(());
        }
        Err(Failure::last(Error::SourceContent {
            digest: digest.clone(),
            found,
        }))
    }

    /// Hashes the file's first `length` bytes.
    pub(crate) async fn hash(&self, length: u64, stop: &Stop) -> Result<Sha256, Failure> {
        if length == 0 {
            return Ok(Sha256::new());
        }
        let file = open(self.source, self.blob).map_err(Failure::last)?;
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
        let hashed = hashing.await.map_err(io::Error::other).flatten();
        let hashed = hashed.map_err(|source| {
            Failure::last(Error::Source {
                digest: self.blob.digest.clone(),
                source,
            })
        })?;
        hashed.ok_or(Failure::last(Error::Stopped))
    }

    /// Sends the blob by `request` and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        place: Place,
        limiter: &Arc<Limiter>,
        settings: &Settings,
        observer: &dyn Observer,
    ) -> Result<reqwest::Response, Failure> {
        let mut file = open(self.source, self.blob).map_err(Failure::last)?;
        let Range { start, end } = self.range;
        io::Seek::seek(&mut file, io::SeekFrom::Start(start)).map_err(|source| {
            Failure::last(Error::Source {
                digest: self.blob.digest.clone(),
                source,
            })
        })?;
        let progress = Arc::new(Progress::default());
        let size = end - start;
        let whole = size == self.blob.size;
        let hasher = match self.stream_body {
            _ if self.source.is_checked(&self.blob.digest, &file) => None,
            Some(stream_body) => Some(stream_body.hashed.clone()),
            None => whole.then(Sha256::new),
        };
        tracing::trace!(blob = %self.blob.digest, hashes = hasher.is_some(), "body");
        let body = body(Body {
            file,
            blob: self.blob.clone(),
            range: self.range.clone(),
            hasher,
            early: self
                .stream_body
                .map(|stream_body| (settings.stop.clone(), stream_body.least)),
            limiter: Arc::clone(limiter),
            progress: Arc::clone(&progress),
        });
        // With the length known, reqwest sends it instead of chunks.
        let request = match self.stream_body {
            Some(_) => request,
            None => request.header(CONTENT_LENGTH, size),
        };
        let answer = request.body(reqwest::Body::wrap_stream(body)).send();
        tokio::pin!(answer);
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = 0;
        let mut moved = Instant::now();
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                _ = beat.tick() => {}
            }
            let sent = progress.sent.load(Ordering::Relaxed);
            // Waiting for the configured limit is not a stall.
            if progress.waits.load(Ordering::Relaxed) {
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
                return Err(Failure::passing(Error::Stalled {
                    at: Box::new(place),
                    moved: sent,
                    size,
                    after: patience,
                }));
            }
        };
        let sent = progress.sent.load(Ordering::Relaxed);
        limiter.sent(sent.saturating_sub(seen));
        if let Some(stream_body) = self.stream_body {
            stream_body.sent.store(sent, Ordering::Relaxed);
        }
        // A fault of the source is the cause even if the connection's error is what shows.
        if let Some(fault) = progress.take_fault() {
            return Err(Failure::last(fault));
        }
        answer.map_err(|error| classify::connection(&error, place, settings.connect_timeout))
    }
}

/// Reads a manifest whole, and checks it like any other blob.
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

/// Opens a blob and compares its length, which costs nothing and finds a file that was cut before
/// any of it is sent.
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

/// What a body is made of.
struct Body {
    file: File,
    blob: Blob,
    range: Range<u64>,
    /// Covers what comes before the range; nothing for a part and for a file that were checked
    /// beforehand.
    hasher: Option<Sha256>,
    /// What ends the body early, once it has carried this many bytes.
    early: Option<(Stop, u64)>,
    limiter: Arc<Limiter>,
    progress: Arc<Progress>,
}

fn body(body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    struct State {
        pieces: ReaderStream<tokio::io::Take<tokio::fs::File>>,
        hasher: Option<Sha256>,
        early: Option<(Stop, u64)>,
        sent: u64,
        left: u64,
        blob: Blob,
        limiter: Arc<Limiter>,
        progress: Arc<Progress>,
        ended: bool,
    }
    let left = body.range.end - body.range.start;
    let most = match body.hasher {
        // One byte too many shows that the file has grown.
        Some(_) => left.saturating_add(1),
        None => left,
    };
    let file = tokio::fs::File::from_std(body.file);
    let largest = if body.early.is_some() || left > 8 * PIECE as u64 {
        PIECE
    } else {
        SMALL_PIECE
    };
    let piece = body.limiter.chunk_size(largest);
    let state = State {
        pieces: ReaderStream::with_capacity(tokio::io::AsyncReadExt::take(file, most), piece),
        hasher: body.hasher,
        early: body.early,
        sent: 0,
        left,
        blob: body.blob,
        limiter: body.limiter,
        progress: body.progress,
        ended: false,
    };
    stream::unfold(state, |mut state| async move {
        if state.ended {
            return None;
        }
        let fault = match state.pieces.next().await {
            Some(Ok(piece)) if piece.len() as u64 <= state.left => {
                state.progress.waits.store(true, Ordering::Relaxed);
                let stop = match &state.early {
                    Some((stop, least)) if state.sent >= *least => stop.clone(),
                    _ => Stop::default(),
                };
                // With a rate that is set, a piece may wait for long.
                let goes_on = tokio::select! {
                    biased;
                    () = stop.requested() => false,
                    () = state.limiter.throttle(piece.len()) => true,
                };
                // From an early end on, it is the registry that is waited for.
                state.progress.waits.store(false, Ordering::Relaxed);
                if !goes_on {
                    return None;
                }
                if let Some(hasher) = &mut state.hasher {
                    hasher.update(&piece);
                }
                state.sent += piece.len() as u64;
                state.left -= piece.len() as u64;
                if state.left > 0 {
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
                found: "another length than when it was opened".to_owned(),
            },
        };
        state.progress.fail(fault);
        state.ended = true;
        // Breaks the request off, so the registry sees an upload that was cut.
        let cut = io::Error::new(io::ErrorKind::InvalidData, "the source of the blob failed");
        Some((Err(cut), state))
    })
}

impl Progress {
    fn add(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn fail(&self, fault: Error) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn take_fault(&self) -> Option<Error> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.take()
    }
}

#[cfg(test)]
mod tests;
