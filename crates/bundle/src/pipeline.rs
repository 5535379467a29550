//! Hashes, writes and commits blobs in two threads beside the one that reads the bundle. The first
//! hashes and writes. The second commits, because a store waits for the disk before it names a
//! blob.
//!
//! Blobs pass in order, so the first error is the one that a single thread would report. A fixed
//! number of pieces circulates, so memory is bounded.

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

/// Size of a large piece in bytes.
const PIECE: usize = 256 << 10;

/// Number of large pieces.
const PIECES: usize = 8;

/// Maximum size of a blob that gets a piece of its own, in bytes: 32 KiB. Most blobs are that
/// small, and would use up the large pieces.
const SMALL: u64 = 32 << 10;

/// Maximum number of parts that wait to be hashed. The small pieces among them have 2 MiB at most.
const PARTS: usize = 64;

/// Maximum number of blobs that wait to be committed. Each may hold a file open.
const COMMITS: usize = 32;

/// A buffer for consecutive bytes of a blob.
pub(crate) struct Piece {
    bytes: Box<[u8]>,
    length: usize,
}

impl Piece {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Fills the piece with one read of `reader`: at least one byte unless `reader` has ended.
    pub(crate) fn fill(&mut self, reader: &mut dyn io::Read) -> io::Result<()> {
        self.length = reader.read(&mut self.bytes)?;
        Ok(())
    }
}

/// The first failure: its cause, and the archive of the blob.
pub(crate) struct Failure {
    pub(crate) archive: Arc<str>,
    pub(crate) fault: Fault,
}

/// The sending end of the two threads. Dropping it ends them. A blob that was not complete is
/// discarded.
pub(crate) struct Pipeline {
    /// `None` once all work is sent.
    work: Option<SyncSender<Work>>,
    /// The current blob, until its first part is sent.
    begin: Option<Blob>,
    emptied: Receiver<Piece>,
    /// Number of large pieces made so far.
    made: usize,
    /// Number of blobs begun so far.
    begun: u64,
    /// Blobs that a sink accepted and that may not be committed yet, with their numbers.
    in_flight: HashMap<Digest, u64>,
    progress: Arc<Mutex<Progress>>,
    /// Disconnects when the second thread ends. Nothing is sent.
    end: Receiver<()>,
}

/// The state of the second thread.
#[derive(Default)]
struct Progress {
    /// Number of consecutive blobs, from the first, that are correct and committed. Includes those
    /// that no sink accepted.
    blobs: u64,
    /// The failure of the next blob.
    failure: Option<Failure>,
}

/// One message for most blobs: waking up a thread costs more than hashing a small blob.
enum Work {
    Part {
        /// The blob, in its first part.
        begin: Option<Blob>,
        /// Its next bytes; `None` for an empty blob.
        piece: Option<Piece>,
        /// Whether this is the last part.
        ends: bool,
    },
    /// Asks whether all blobs so far are correct.
    Check(SyncSender<bool>),
}

struct Blob {
    archive: Arc<str>,
    digest: Digest,
    sink: Option<Box<dyn BlobSink>>,
}

/// A blob that was hashed to its end.
struct HashedBlob {
    archive: Arc<str>,
    result: Result<Option<Box<dyn BlobSink>>, Fault>,
}

impl Pipeline {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`io::Error`] if a thread cannot be started.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> io::Result<Self> {
        let (work, to_do) = sync_channel(PARTS);
        let (give_back, emptied) = sync_channel(PIECES);
        let (commit, to_commit) = sync_channel(COMMITS);
        let (ending, end) = sync_channel(0);
        let progress = Arc::new(Mutex::new(Progress::default()));
        let shared = progress.clone();
        Builder::new()
            .name("blob hasher".to_owned())
            .spawn_scoped(scope, move || hash_and_write(&to_do, &give_back, &commit))?;
        Builder::new()
            .name("blob committer".to_owned())
            .spawn_scoped(scope, move || {
                commit_all(&to_commit, &shared);
                drop::<SyncSender<()>>(ending);
            })?;
        Ok(Self {
            work: Some(work),
            begin: None,
            emptied,
            made: 0,
            begun: 0,
            in_flight: HashMap::new(),
            progress,
            end,
        })
    }

    /// Returns an error after a failure, so the caller stops reading. [`Self::finish`] returns the
    /// failure itself.
    pub(crate) fn check(&self) -> io::Result<()> {
        match locked(&self.progress).failure {
            None => Ok(()),
            Some(_) => Err(stopped()),
        }
    }

    /// Returns whether a sink accepted this blob and may not have committed it yet.
    pub(crate) fn is_in_flight(&self, digest: &Digest) -> bool {
        self.in_flight.contains_key(digest)
    }

    /// Begins a blob of `size` bytes. Unless it is empty, the caller sends its bytes next.
    pub(crate) fn begin(
        &mut self,
        archive: &Arc<str>,
        digest: &Digest,
        size: u64,
        sink: Option<Box<dyn BlobSink>>,
    ) -> io::Result<()> {
        self.begun += 1;
        if sink.is_some() {
            self.in_flight.insert(digest.clone(), self.begun);
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

    /// Returns a piece for a blob with `size` bytes to come. Waits until one is free.
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
        self.emptied.recv().map_err(|_| stopped())
    }

    /// Sends the next bytes of the current blob. `ends` marks the last ones.
    pub(crate) fn bytes(&mut self, piece: Piece, ends: bool) -> io::Result<()> {
        self.part(Some(piece), ends)
    }

    fn part(&mut self, piece: Option<Piece>, ends: bool) -> io::Result<()> {
        let begin = self.begin.take();
        self.send(Work::Part { begin, piece, ends })
    }

    /// Removes committed blobs from those in flight.
    pub(crate) fn forget_committed(&mut self) {
        let committed = self.committed();
        self.in_flight.retain(|_, number| *number > committed);
    }

    /// Waits until all blobs sent so far are hashed. Returns an error if one is corrupt. They may
    /// not be committed yet.
    pub(crate) fn wait_until_hashed(&mut self) -> io::Result<()> {
        let (answer, answered) = sync_channel(1);
        self.send(Work::Check(answer))?;
        match answered.recv() {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(stopped()),
        }
    }

    /// Returns the number of blobs begun so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Returns the number of consecutive blobs, from the first, that are correct and committed.
    pub(crate) fn committed(&self) -> u64 {
        locked(&self.progress).blobs
    }

    /// Waits until all blobs are committed. Returns their number and the first failure.
    pub(crate) fn finish(&mut self) -> (u64, Option<Failure>) {
        self.work = None;
        // The channel disconnects when the thread ends.
        let _ = self.end.recv();
        let mut progress = locked(&self.progress);
        (progress.blobs, progress.failure.take())
    }

    fn send(&self, work: Work) -> io::Result<()> {
        match &self.work {
            Some(to_do) => to_do.send(work).map_err(|_| stopped()),
            None => Err(stopped()),
        }
    }
}

/// Runs the first thread.
fn hash_and_write(
    work: &Receiver<Work>,
    give_back: &SyncSender<Piece>,
    commit: &SyncSender<HashedBlob>,
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
                        // The channel has room for all pieces. The reader may have stopped.
                        let _ = give_back.send(piece);
                    }
                }
                if !ends {
                    current = Some((blob, hasher, written));
                    continue;
                }
                let hashed = HashedBlob::new(blob, hasher.digest(), written);
                is_right &= hashed.result.is_ok();
                if commit.send(hashed).is_err() {
                    return;
                }
            }
            Work::Check(answer) => {
                let _ = answer.send(is_right);
            }
        }
    }
}

impl HashedBlob {
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

/// Runs the second thread. Blobs after a failure are committed too: they are correct, and the sink
/// accepted them.
fn commit_all(to_commit: &Receiver<HashedBlob>, progress: &Mutex<Progress>) {
    while let Ok(HashedBlob { archive, result }) = to_commit.recv() {
        let committed = result.and_then(|sink| match sink {
            Some(sink) => sink.commit().map_err(Fault::Sink),
            None => Ok(()),
        });
        let mut progress = locked(progress);
        match committed {
            _ if progress.failure.is_some() => {}
            Ok(()) => progress.blobs += 1,
            Err(fault) => progress.failure = Some(Failure { archive, fault }),
        }
    }
}

/// Returns the error for a thread that has ended. It is never shown: the cause is a failure, which
/// is reported instead, or a panic, which continues when the threads are joined.
fn stopped() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn locked(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    // A thread that panics leaves no partial state.
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
