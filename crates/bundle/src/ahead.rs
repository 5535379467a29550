//! A thread that reads and hashes the compressed bundle ahead of the thread that inflates it.
//!
//! A fixed number of chunks circulates between the two. So memory is bounded, and the slower side
//! makes the faster one wait.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use crate::digest::Hasher;

/// Size of a chunk in bytes.
const CHUNK: usize = 256 << 10;

/// Number of chunks. Two would be enough if both sides had the same speed at all times.
const CHUNKS: usize = 4;

/// Consecutive bytes of the input. A chunk is full, except at the end of the input and before an
/// error.
pub(crate) struct Chunk {
    bytes: Box<[u8]>,
    length: usize,
}

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Reads until the chunk is full or the input ends. Bytes read before an error are kept.
    fn fill(&mut self, input: &mut impl Read) -> io::Result<()> {
        self.length = 0;
        while self.length < self.bytes.len() {
            match input.read(&mut self.bytes[self.length..]) {
                Ok(0) => break,
                Ok(count) => self.length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

enum Filled {
    Chunk(Chunk),
    Failed(io::Error),
    /// The input has ended. This is its SHA-256.
    End(String),
}

/// The receiving end of the thread. Dropping it stops the thread when its current read returns.
pub(crate) struct Ahead {
    filled: Receiver<Filled>,
    emptied: SyncSender<Chunk>,
    sha256: Option<String>,
}

impl Ahead {
    /// Starts to read `input`.
    ///
    /// # Errors
    /// [`io::Error`] if no thread can be started.
    pub(crate) fn start<'scope, R: Read + Send + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        input: R,
    ) -> io::Result<Self> {
        let (fill, filled) = sync_channel(CHUNKS);
        let (emptied, reuse) = sync_channel(CHUNKS);
        Builder::new()
            .name("bundle reader".to_owned())
            .spawn_scoped(scope, move || read(input, &fill, &reuse))?;
        Ok(Self {
            filled,
            emptied,
            sha256: None,
        })
    }

    /// Returns the next chunk, `None` at the end. Takes back a used chunk.
    pub(crate) fn next(&mut self, used: Option<Chunk>) -> io::Result<Option<Chunk>> {
        if let Some(used) = used {
            // The channel has room for all chunks. The thread may have ended.
            let _ = self.emptied.send(used);
        }
        if self.sha256.is_some() {
            return Ok(None);
        }
        match self.filled.recv() {
            Ok(Filled::Chunk(chunk)) => Ok(Some(chunk)),
            Ok(Filled::End(sha256)) => {
                self.sha256 = Some(sha256);
                Ok(None)
            }
            Ok(Filled::Failed(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Returns the SHA-256 of the input, 64 hexadecimal digits; `None` before its end.
    pub(crate) fn sha256(self) -> Option<String> {
        self.sha256
    }
}

/// Runs the thread. It ends with the input, or when the receiver is dropped.
fn read(mut input: impl Read, fill: &SyncSender<Filled>, reuse: &Receiver<Chunk>) {
    let mut hasher = Hasher::new();
    let mut made = 0;
    loop {
        let chunk = if made < CHUNKS {
            made += 1;
            Some(Chunk {
                bytes: vec![0; CHUNK].into_boxed_slice(),
                length: 0,
            })
        } else {
            reuse.recv().ok()
        };
        let Some(mut chunk) = chunk else { return };
        let result = chunk.fill(&mut input);
        hasher.update(chunk.bytes());
        let is_last = chunk.length < CHUNK;
        if chunk.length > 0 && fill.send(Filled::Chunk(chunk)).is_err() {
            return;
        }
        let last = match result {
            Err(error) => Filled::Failed(error),
            Ok(()) if is_last => Filled::End(hasher.hex()),
            Ok(()) => continue,
        };
        // The receiver may be dropped.
        let _ = fill.send(last);
        return;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::scope;

    use super::*;
    use crate::digest::hex_of;

    #[test]
    fn every_byte_is_returned_and_hashed() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK + 7] {
            let input: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
            let (found, sha256) = scope(|scope| {
                let mut ahead = Ahead::start(scope, input.as_slice()).unwrap();
                let mut found = Vec::new();
                let mut used = None;
                while let Some(chunk) = ahead.next(used).unwrap() {
                    found.extend_from_slice(chunk.bytes());
                    used = Some(chunk);
                }
                assert!(ahead.next(None).unwrap().is_none(), "an end stays one");
                (found, ahead.sha256().unwrap())
            });
            assert!(found == input, "{length} bytes");
            assert_eq!(sha256, hex_of(&input));
        }
    }

    /// An endless input that counts the bytes taken from it.
    struct Endless<'a>(&'a AtomicUsize);

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(buffer.len(), Ordering::SeqCst);
            buffer.fill(7);
            Ok(buffer.len())
        }
    }

    #[test]
    fn reads_a_bounded_number_of_chunks_ahead_and_stops_without_a_receiver() {
        let taken = AtomicUsize::new(0);
        scope(|scope| {
            let mut ahead = Ahead::start(scope, Endless(&taken)).unwrap();
            let first = ahead.next(None).unwrap();
            assert!(first.is_some());
            // The scope waits for the thread, so a thread that does not stop would hang the test.
        });
        assert!(taken.load(Ordering::SeqCst) <= CHUNKS * CHUNK);
    }

    #[test]
    fn an_error_follows_the_bytes_before_it() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::TimedOut.into())
            }
        }
        scope(|scope| {
            let input = b"before".chain(Failing);
            let mut ahead = Ahead::start(scope, input).unwrap();
            assert_eq!(ahead.next(None).unwrap().unwrap().bytes(), b"before");
            let error = ahead.next(None).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(ahead.sha256().is_none());
        });
    }
}
