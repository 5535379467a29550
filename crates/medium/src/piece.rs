//! Cuts files into pieces, and copies pieces with their hash.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};

use crate::{Content, Error, Piece, Progress, What};

/// Maximum size of a piece: 1 GiB.
pub const LARGEST_PIECE: u64 = 1 << 30;

/// Number of bytes copied at a time.
const BUFFER: usize = 256 << 10;

/// A content, and the file with its bytes.
#[derive(Debug, Clone)]
pub struct Source {
    /// The content. The volumes of its pieces are 0 before [`split`](crate::split()).
    pub content: Content,
    /// Path of the file.
    pub path: Utf8PathBuf,
}

impl Source {
    /// Returns a file of known hash as one piece, without reading it. It is hashed when it is
    /// copied.
    pub fn of_file(what: What, path: &Utf8Path, sha256: &str, size: u64) -> Self {
        let piece = Piece {
            sha256: sha256.to_owned(),
            size,
            volume: 0,
        };
        Self {
            content: Content {
                what,
                sha256: sha256.to_owned(),
                size,
                pieces: vec![piece],
            },
            path: path.to_owned(),
        }
    }

    /// Hashes a file in pieces of at most `largest` bytes.
    ///
    /// # Errors
    /// The file cannot be read, or the run was stopped.
    pub fn read(
        what: What,
        path: &Utf8Path,
        largest: u64,
        progress: Progress<'_>,
    ) -> Result<Self, Error> {
        let read = || Error::io("read", path);
        let mut file = files::open(path).map_err(read())?;
        let size = file.metadata().map_err(read())?.len();
        let largest = largest.clamp(1, LARGEST_PIECE);
        let mut sink = io::sink();
        let mut hashed = Hashed::new(&mut sink);
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < size || pieces.is_empty() {
            let length = largest.min(size - at);
            let (sha256, found) = copy(&mut (&mut file).take(length), &mut hashed, progress)
                .map_err(|failed| failed.or_read(|source| read()(source)))?;
            if found != length {
                return Err(read()(io::ErrorKind::UnexpectedEof.into()));
            }
            pieces.push(Piece {
                sha256,
                size: length,
                volume: 0,
            });
            at += length;
        }
        Ok(Self {
            content: Content {
                what,
                sha256: hashed.finish(),
                size,
                pieces,
            },
            path: path.to_owned(),
        })
    }
}

/// Returns the SHA-256 of a file.
///
/// # Errors
/// The file cannot be read.
pub fn hash_of(path: &Utf8Path) -> io::Result<String> {
    match copy(&mut files::open(path)?, &mut io::sink(), &|_| true) {
        Ok((sha256, _)) => Ok(sha256),
        Err(Failed::Read(source) | Failed::Write(source)) => Err(source),
        Err(Failed::Stopped) => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// Opens a file at an offset, limited to `size` bytes.
pub(crate) fn open_at(path: &Utf8Path, offset: u64, size: u64) -> io::Result<io::Take<File>> {
    let mut file = files::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file.take(size))
}

/// Why a copy failed.
pub(crate) enum Failed {
    Read(io::Error),
    Write(io::Error),
    Stopped,
}

impl Failed {
    /// Returns the error of a copy to a writer that cannot fail.
    pub(crate) fn or_read(self, read: impl FnOnce(io::Error) -> Error) -> Error {
        match self {
            Self::Read(source) | Self::Write(source) => read(source),
            Self::Stopped => Error::Stopped,
        }
    }
}

/// Copies all bytes. Returns their SHA-256 and their number.
pub(crate) fn copy(
    from: &mut dyn Read,
    into: &mut dyn Write,
    progress: Progress<'_>,
) -> Result<(String, u64), Failed> {
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok((hex::encode(hasher.finalize()), size)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failed::Read(error)),
        };
        hasher.update(&buffer[..count]);
        into.write_all(&buffer[..count]).map_err(Failed::Write)?;
        size += count as u64;
        if !progress(count as u64) {
            return Err(Failed::Stopped);
        }
    }
}

/// Returns the SHA-256 of bytes in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Hashes bytes on their way to a writer.
pub(crate) struct Hashed<'a> {
    into: &'a mut dyn Write,
    hasher: Sha256,
}

impl<'a> Hashed<'a> {
    pub(crate) fn new(into: &'a mut dyn Write) -> Self {
        Self {
            into,
            hasher: Sha256::new(),
        }
    }

    pub(crate) fn finish(self) -> String {
        hex::encode(self.hasher.finalize())
    }
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.into.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
