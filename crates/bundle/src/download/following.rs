//! Reading a file while it is being downloaded: the download says how much of it is on disk, and a
//! reader in another thread gets the bytes from the beginning as they come.
//!
//! The bytes go through the file and not through memory. Neither side delays the other: a slow
//! reader makes no download wait, and the reader's end of a file of many gigabytes costs nothing.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Why a file that was followed cannot be read on. It travels inside [`io::Error`]; see
/// [`FollowError::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The download began again after bytes had been read: the server has another file by now, or
    /// what an earlier run had left was damaged. What was read is worth nothing; the finished file
    /// is to be read once it is there.
    #[error("the download started over")]
    StartedOver,
    /// The download failed. Why says the [`super::DownloadError`] that it returned.
    #[error("the download failed")]
    Failed,
    /// The download was aborted before its end: nothing waits for it any more.
    #[error("the download was aborted")]
    GivenUp,
}

impl FollowError {
    /// Returns why a [`Following`] returned `error`, or none if that is from somewhere else.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<FollowError> for io::Error {
    fn from(error: FollowError) -> Self {
        Self::other(error)
    }
}

/// Returns the two ends of a download that is read while it is under way: one for
/// [`super::download_feeding`], one to read from.
pub fn following() -> (Feed, Following) {
    let shared = Arc::new(Shared::default());
    let feed = Feed {
        shared: shared.clone(),
    };
    let following = Following {
        shared,
        file: None,
        position: 0,
    };
    (feed, following)
}

/// The download's end. Dropped before the download has ended, it tells the reader that nothing more
/// comes.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

/// The reader's end: gives the file's bytes from the first on, and waits where they are not yet
/// there. It gives no byte that is not on disk, and its end only after the download has found size
/// and hash right and the file has its name.
///
/// Dropped, it does not concern the download.
#[derive(Debug)]
pub struct Following {
    shared: Arc<Shared>,
    file: Option<File>,
    /// How many bytes have been read.
    position: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The file, for the reader to take: it has a position of its own.
    file: Option<File>,
    /// How many bytes may be read.
    length: u64,
    /// Whether some of them have been.
    is_begun: bool,
    end: Option<Result<(), FollowError>>,
}

impl Feed {
    /// Hands over the file that is going to be read, opened for it alone. To be called before
    /// [`Self::advance`].
    pub(super) fn open(&self, file: File) {
        self.change(|state| state.file = Some(file));
    }

    /// Reports that `length` bytes are on disk, and that they are the file's, as far as can be
    /// known.
    pub(super) fn advance(&self, length: u64) {
        self.change(|state| state.length = length);
    }

    /// Reports that the file is about to be emptied. To be called before it is.
    pub(super) fn start_over(&self) {
        self.change(|state| {
            state.length = 0;
            if state.is_begun {
                state.end = Some(Err(FollowError::StartedOver));
            }
        });
    }

    /// Reports how the download ended.
    pub(super) fn end(&self, is_whole: bool) {
        self.finish(if is_whole {
            Ok(())
        } else {
            Err(FollowError::Failed)
        });
    }

    fn finish(&self, end: Result<(), FollowError>) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.changed.notify_all();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.finish(Err(FollowError::GivenUp));
    }
}

impl Following {
    /// Waits until there are bytes to be read. Returns how many, none at the end.
    fn wait(&mut self) -> Result<u64, FollowError> {
        let position = self.position;
        let waiting = self
            .shared
            .changed
            .wait_while(self.shared.state(), |state| {
                state.end.is_none() && state.length <= position
            });
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = state.end {
            return Err(error);
        }
        // From here on the file must not be emptied unnoticed, even if it happens before the bytes
        // are read.
        state.is_begun = true;
        if self.file.is_none() {
            self.file = state.file.take();
        }
        Ok(state.length.saturating_sub(position))
    }
}

impl Read for Following {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let ready = self.wait()?;
        let limit = usize::try_from(ready).map_or(buffer.len(), |ready| ready.min(buffer.len()));
        if limit == 0 {
            return Ok(0);
        }
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let read = file.read(&mut buffer[..limit]);
        // Whatever was read while the file was being emptied is not the file's.
        if let Some(Err(error)) = self.shared.state().end {
            return Err(error.into());
        }
        match read? {
            // Somebody else has cut the file.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.position += count as u64;
                Ok(count)
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-done in there by a thread that panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
