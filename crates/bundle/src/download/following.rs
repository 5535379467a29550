//! Reads a file while it is downloaded. The download reports how much is on disk, and a reader in a
//! different thread reads it from the beginning.
//!
//! The bytes pass through the file and not through memory, so a slow reader does not delay the
//! download.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Reason why reading a file during its download ended. It travels inside [`io::Error`]; see
/// [`FollowError::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The download restarted after bytes were read: the server has a different file, or bytes of
    /// an earlier run were damaged. The bytes read are useless; read the finished file.
    #[error("the download started over")]
    StartedOver,
    /// The download failed. Its [`super::DownloadError`] has the cause.
    #[error("the download failed")]
    Failed,
    /// The download was aborted before its end.
    #[error("the download was aborted")]
    Aborted,
}

impl FollowError {
    /// Returns the error of a [`Following`] inside `error`; `None` if there is none.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<FollowError> for io::Error {
    fn from(error: FollowError) -> Self {
        Self::other(error)
    }
}

/// Returns two ends of a download: one for [`super::download_feeding`], and one to read from.
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

/// The download's end. If it is dropped before the download ended, the reader gets
/// [`FollowError::Aborted`].
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

/// The reader's end. It returns the file's bytes from the beginning and waits for bytes that are
/// not on disk yet. It reports the end only after size and hash were verified and the file has its
/// final name.
///
/// Dropping it does not affect the download.
#[derive(Debug)]
pub struct Following {
    shared: Arc<Shared>,
    file: Option<File>,
    /// Number of bytes read.
    position: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The file, opened for the reader with a position of its own, until the reader takes it.
    file: Option<File>,
    /// Number of bytes that may be read.
    length: u64,
    /// Whether the reader has begun to read.
    is_begun: bool,
    end: Option<Result<(), FollowError>>,
}

impl Feed {
    /// Passes the file to the reader. Must be called before [`Self::advance`].
    pub(super) fn open(&self, file: File) {
        self.change(|state| state.file = Some(file));
    }

    /// Reports that `length` bytes are on disk and belong to the file, as far as is known.
    pub(super) fn advance(&self, length: u64) {
        self.change(|state| state.length = length);
    }

    /// Announces that the file will be truncated. Must be called before that.
    pub(super) fn start_over(&self) {
        self.change(|state| {
            state.length = 0;
            if state.is_begun {
                state.end = Some(Err(FollowError::StartedOver));
            }
        });
    }

    /// Reports the end of the download.
    pub(super) fn end(&self, is_complete: bool) {
        self.finish(is_complete.then_some(()).ok_or(FollowError::Failed));
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
        self.finish(Err(FollowError::Aborted));
    }
}

impl Following {
    /// Waits for bytes. Returns the number of readable bytes, 0 at the end.
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
        // From now on the reader must learn of a truncation, even of one before the bytes are read.
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
        // Bytes read during a truncation do not belong to the file.
        if let Some(Err(error)) = self.shared.state().end {
            return Err(error.into());
        }
        match read? {
            // Another process has truncated the file.
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
        // A thread that panics leaves no partial state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
