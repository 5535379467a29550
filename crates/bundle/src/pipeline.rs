//! Hashes blobs and has them kept, in two threads beside the one that reads the bundle: one hashes
//! and writes, the other commits, since a store waits for the disk before it gives a blob its name.
//!
//! Everything goes through in the order in which it was handed in, so the first error is the same
//! one that a single thread would have come upon. A fixed number of pieces goes round, so memory is
//! bounded.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};

use oci_spec::image::Digest;

use crate::archive::{ArchiveError, Fault};
use crate::digest::Hasher;
use crate::sink::BlobSink;
use crate::store::StoreError;

/// How many bytes are read, hashed and written at a time.
const PIECE: usize = 256 << 10;

/// How many pieces of that size there are.
const PIECES: usize = 8;

/// A blob of at most this size has a piece of its own: 32 KiB. Most blobs are that small, and would
/// use up the large pieces.
const SMALL: u64 = 32 << 10;

/// How many parts of blobs may wait to be hashed. The small pieces among them take 2 MiB at most.
const PARTS: usize = 64;

/// How many blobs may wait to be committed. Each may hold a file open.
const COMMITS: usize = 32;

/// Room for some bytes of a blob.
pub(crate) struct Piece {
    bytes: Box<[u8]>,
    length: usize,
}

impl Piece {
    /// Returns the bytes that were put in.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Puts in what one read of `reader` gives, at least a byte unless it has ended.
    pub(crate) fn fill(&mut self, reader: &mut dyn io::Read) -> io::Result<()> {
        self.length = reader.read(&mut self.bytes)?;
        Ok(())
    }
}

/// Why a blob is not kept, and in which archive it is.
pub(crate) struct Failure {
    pub(crate) archive: Arc<str>,
    pub(crate) fault: Fault,
}

/// The way to the two threads. Dropping it ends them, and what was handed in half leaves nothing
/// behind.
pub(crate) struct Pipeline {
    /// None once everything has been handed in.
    work: Option<SyncSender<Work>>,
    /// The blob that was begun, until its first bytes are handed in.
    begin: Option<Blob>,
    emptied: Receiver<Piece>,
    /// How many pieces have been made.
    made: usize,
    /// How many blobs have been handed in.
    begun: u64,
    /// The blobs that a sink has taken and that may not be committed yet, with their numbers.
    on_the_way: HashMap<Digest, u64>,
    kept: Arc<Mutex<Progress>>,
    /// Nothing ever comes from here: it ends when the last thread does.
    end: Receiver<()>,
}

/// How far the threads are.
#[derive(Default)]
struct Progress {
    /// How many blobs in a row are right and committed, those included which no sink wanted.
    blobs: u64,
    /// What came after them, if that was an error.
    failure: Option<Failure>,
}

/// One message for most blobs: waking up a thread costs more than hashing a small blob.
enum Work {
    Part {
        /// The blob, before its first bytes.
        begin: Option<Blob>,
        /// Its next bytes; none if it is empty.
        piece: Option<Piece>,
        /// Whether the blob is complete.
        ends: bool,
    },
    /// Asks whether every blob so far has the right content.
    Ask(SyncSender<bool>),
}

struct Blob {
    archive: Arc<str>,
    digest: Digest,
    sink: Option<Box<dyn BlobSink>>,
}

/// A blob that has been read to its end.
struct Ended {
    archive: Arc<str>,
    result: Result<Option<Box<dyn BlobSink>>, Fault>,
}

impl Pipeline {
    /// Starts the threads.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> io::Result<Self> {
        let (work, to_do) = sync_channel(PARTS);
        let (give_back, emptied) = sync_channel(PIECES);
        let (commit, to_commit) = sync_channel(COMMITS);
        let (ending, end) = sync_channel(0);
        let kept = Arc::new(Mutex::new(Progress::default()));
        let committed = kept.clone();
        Builder::new()
            .name("blob hasher".to_owned())
            .spawn_scoped(scope, move || hash_and_write(&to_do, &give_back, &commit))?;
        Builder::new()
            .name("blob committer".to_owned())
            .spawn_scoped(scope, move || {
                commit_all(&to_commit, &committed);
                drop::<SyncSender<()>>(ending);
            })?;
        Ok(Self {
            work: Some(work),
            begin: None,
            emptied,
            made: 0,
            begun: 0,
            on_the_way: HashMap::new(),
            kept,
            end,
        })
    }

    /// Returns an error once something has failed, so no more is read in vain. What failed says
    /// [`Self::finish`].
    pub(crate) fn check(&self) -> io::Result<()> {
        match locked(&self.kept).failure {
            None => Ok(()),
            Some(_) => Err(gone()),
        }
    }

    /// Returns whether a sink has taken this blob and perhaps not kept it yet.
    pub(crate) fn is_on_the_way(&self, digest: &Digest) -> bool {
        self.on_the_way.contains_key(digest)
    }

    /// Begins a blob of `size` bytes. Unless it is empty, its bytes are to follow.
    pub(crate) fn begin(
        &mut self,
        archive: &Arc<str>,
        digest: &Digest,
        size: u64,
        sink: Option<Box<dyn BlobSink>>,
    ) -> io::Result<()> {
        self.begun += 1;
        if sink.is_some() {
            self.on_the_way.insert(digest.clone(), self.begun);
        }
        self.begin = Some(Blob {
            archive: archive.clone(),
            digest: digest.clone(),
            sink,
        });
        match size {
            0 => self.part(None, true),
            _ => Ok(()),
        }
    }

    /// Returns a piece to be filled with bytes of a blob of `size` bytes, and waits until there is
    /// one.
    pub(crate) fn piece(&mut self, size: u64) -> io::Result<Piece> {
        if size <= SMALL {
            return Ok(Piece {
                bytes: vec![0; size as usize].into_boxed_slice(),
                length: 0,
            });
        }
        if self.made < PIECES {
            self.made += 1;
            return Ok(Piece {
                bytes: vec![0; PIECE].into_boxed_slice(),
                length: 0,
            });
        }
        self.emptied.recv().map_err(|_| gone())
    }

    /// Hands in the next bytes of the blob, which `ends` with them or not.
    pub(crate) fn bytes(&mut self, piece: Piece, ends: bool) -> io::Result<()> {
        self.part(Some(piece), ends)
    }

    fn part(&mut self, piece: Option<Piece>, ends: bool) -> io::Result<()> {
        let begin = self.begin.take();
        self.send(Work::Part { begin, piece, ends })
    }

    /// Forgets which blobs were on the way and are committed by now.
    pub(crate) fn forget_kept(&mut self) {
        let kept = self.kept();
        self.on_the_way.retain(|_, number| *number > kept);
    }

    /// Waits until every blob that was handed in has been hashed, though perhaps not committed, and
    /// returns an error if one is wrong.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        let (answer, answered) = sync_channel(1);
        self.send(Work::Ask(answer))?;
        match answered.recv() {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(gone()),
        }
    }

    /// Returns how many blobs have been handed in.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Returns how many of the blobs that were handed in are right and committed, in a row from the
    /// first.
    pub(crate) fn kept(&self) -> u64 {
        locked(&self.kept).blobs
    }

    /// Waits until everything that was handed in is committed. Returns how many blobs are, and what
    /// failed first.
    pub(crate) fn finish(&mut self) -> (u64, Option<Failure>) {
        self.work = None;
        // The end of the channel is the news.
        let _ = self.end.recv();
        let mut kept = locked(&self.kept);
        (kept.blobs, kept.failure.take())
    }

    fn send(&self, work: Work) -> io::Result<()> {
        match &self.work {
            Some(to_do) => to_do.send(work).map_err(|_| gone()),
            None => Err(gone()),
        }
    }
}

/// The first thread's work.
fn hash_and_write(
    work: &Receiver<Work>,
    give_back: &SyncSender<Piece>,
    commit: &SyncSender<Ended>,
) {
    let mut is_right = true;
    let mut current: Option<(Blob, Hasher, Result<(), StoreError>)> = None;
    while let Ok(work) = work.recv() {
        match work {
            Work::Part { begin, piece, ends } => {
                if let Some(blob) = begin {
                    current = Some((blob, Hasher::new(), Ok(())));
                }
                let Some((mut blob, mut hasher, mut written)) = current.take() else {
                    continue;
                };
                if let Some(piece) = piece {
                    hasher.update(piece.bytes());
                    if let (Some(sink), Ok(())) = (&mut blob.sink, &written) {
                        written = sink.write(piece.bytes());
                    }
                    if piece.bytes.len() == PIECE {
                        // There is room for every piece. The reader may have stopped.
                        let _ = give_back.send(piece);
                    }
                }
                if !ends {
                    current = Some((blob, hasher, written));
                    continue;
                }
                let ended = Ended::new(blob, hasher.digest(), written);
                is_right &= ended.result.is_ok();
                if commit.send(ended).is_err() {
                    return;
                }
            }
            Work::Ask(answer) => {
                let _ = answer.send(is_right);
            }
        }
    }
}

impl Ended {
    fn new(blob: Blob, found: Digest, written: Result<(), StoreError>) -> Self {
        let result = match written {
            Err(error) => Err(Fault::Sink(error)),
            Ok(()) if found == blob.digest => Ok(blob.sink),
            Ok(()) => Err(ArchiveError::WrongBlob {
                digest: blob.digest,
                found,
            }
            .into()),
        };
        Self {
            archive: blob.archive,
            result,
        }
    }
}

/// The second thread's work. A blob after a failure is committed too: it is right, and was offered.
fn commit_all(to_commit: &Receiver<Ended>, kept: &Mutex<Progress>) {
    while let Ok(Ended { archive, result }) = to_commit.recv() {
        let committed = result.and_then(|sink| match sink {
            Some(sink) => sink.commit().map_err(Fault::Sink),
            None => Ok(()),
        });
        let mut kept = locked(kept);
        match committed {
            _ if kept.failure.is_some() => {}
            Ok(()) => kept.blobs += 1,
            Err(fault) => kept.failure = Some(Failure { archive, fault }),
        }
    }
}

/// The error after a thread has stopped. It is never shown: either a blob's failure is the reason,
/// which is reported instead, or a panic, which continues when the threads are joined.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn locked(kept: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    // Nothing is left half-done in there by a thread that panics.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
