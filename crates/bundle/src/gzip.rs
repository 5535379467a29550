//! Inflates a bundle while hashing and counting its compressed bytes.
//!
//! Faults of the stream are distinguished, because their remedies differ. An HTML page instead of a
//! bundle comes from a proxy. A stream that ends early is an incomplete copy. Bytes after the end
//! are a faulty copy.

use std::error::Error;
use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::ahead::{Ahead, Chunk};
use crate::event::{Event, Observer};

/// Number of bytes at the beginning that identify a format: a tar has its magic at offset 257.
const HEAD: usize = 512;

/// Number of bytes between two reports of progress.
const REPORT: u64 = 1 << 20;

/// A fault of the stream. It travels inside [`io::Error`], through readers that do not know it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamFault {
    #[error("nothing to read")]
    Empty,
    #[error("an HTML page")]
    Html,
    #[error("an uncompressed tar")]
    Tar,
    #[error("not gzip")]
    NotGzip,
    #[error("the stream ends early")]
    Truncated,
    #[error("data follows the end at byte {offset}")]
    TrailingGarbage { offset: u64 },
    #[error("the stream is corrupt")]
    Corrupt(#[source] io::Error),
    #[error("cannot read")]
    Input(#[source] io::Error),
}

impl StreamFault {
    /// Returns the fault inside `error`; otherwise returns `error` unchanged.
    pub(crate) fn of(error: io::Error) -> Result<Self, io::Error> {
        error.downcast::<Self>()
    }

    fn is_in(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(<dyn Error + Send + Sync>::is::<Self>)
    }
}

impl From<StreamFault> for io::Error {
    fn from(fault: StreamFault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// Inflates gzip of one or more members, and reads its input to the end.
pub(crate) struct Gunzip<'a> {
    state: State<'a>,
}

enum State<'a> {
    /// Before the first member, between two, or after the last.
    Between(Source<'a>),
    /// Inside of a member.
    Member(Box<GzDecoder<Source<'a>>>),
    /// After a failure.
    Broken,
}

impl<'a> Gunzip<'a> {
    pub(crate) fn new(input: Ahead, observer: &'a dyn Observer) -> Self {
        Self {
            state: State::Between(Source::new(input, observer)),
        }
    }

    /// Returns size and SHA-256 of the input; `None` before its end.
    pub(crate) fn finish(self) -> Option<(u64, String)> {
        match self.state {
            State::Between(source) => Some((source.total, source.input.sha256()?)),
            State::Member(_) | State::Broken => None,
        }
    }
}

impl Read for Gunzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, State::Broken) {
                State::Between(mut source) => {
                    let first = source.position() == 0;
                    let head = source.peek(if first { HEAD } else { 2 })?;
                    match head {
                        [] if !first => {
                            self.state = State::Between(source);
                            return Ok(0);
                        }
                        [0x1f, 0x8b, ..] => {
                            self.state = State::Member(Box::new(GzDecoder::new(source)))
                        }
                        _ if first => return Err(identify(head).into()),
                        // This includes a member that is cut within its first two bytes.
                        _ => {
                            let offset = source.position();
                            return Err(StreamFault::TrailingGarbage { offset }.into());
                        }
                    }
                }
                State::Member(mut decoder) => match decoder.read(buffer) {
                    Ok(0) => self.state = State::Between(decoder.into_inner()),
                    Ok(count) => {
                        self.state = State::Member(decoder);
                        return Ok(count);
                    }
                    Err(error) if StreamFault::is_in(&error) => return Err(error),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Err(StreamFault::Truncated.into());
                    }
                    Err(error) => return Err(StreamFault::Corrupt(error).into()),
                },
                State::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

/// Identifies a file that is not gzip by its first bytes.
fn identify(head: &[u8]) -> StreamFault {
    let text = head.trim_ascii_start();
    if head.is_empty() {
        StreamFault::Empty
    } else if text.first() == Some(&b'<') {
        StreamFault::Html
    } else if head.get(257..262) == Some(b"ustar") {
        StreamFault::Tar
    } else {
        StreamFault::NotGzip
    }
}

/// The compressed input, counted.
struct Source<'a> {
    input: Ahead,
    chunk: Option<Chunk>,
    /// Offset in the chunk of the first byte that is not consumed.
    start: usize,
    /// Bytes that `peek` collected across the boundary of two chunks. They precede the rest of the
    /// chunk.
    seam: Vec<u8>,
    /// Number of bytes received.
    total: u64,
    /// Value of `total` in the last report.
    reported: u64,
    observer: &'a dyn Observer,
}

impl<'a> Source<'a> {
    fn new(input: Ahead, observer: &'a dyn Observer) -> Self {
        Self {
            input,
            chunk: None,
            start: 0,
            seam: Vec::new(),
            total: 0,
            reported: 0,
            observer,
        }
    }

    /// Returns the number of bytes consumed.
    fn position(&self) -> u64 {
        self.total - (self.seam.len() + self.rest().len()) as u64
    }

    /// Returns the bytes of the chunk that are not consumed.
    fn rest(&self) -> &[u8] {
        self.chunk
            .as_ref()
            .map_or(&[], |chunk| &chunk.bytes()[self.start..])
    }

    /// Returns the next `count` bytes without consuming them; fewer only at the end.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.seam.is_empty() && self.rest().len() >= count {
            return Ok(&self.rest()[..count]);
        }
        while self.seam.len() < count {
            if self.rest().is_empty() && !self.next()? {
                break;
            }
            let taken = self.rest().len().min(count - self.seam.len());
            let end = self.start + taken;
            if let Some(chunk) = &self.chunk {
                self.seam.extend_from_slice(&chunk.bytes()[self.start..end]);
            }
            self.start = end;
        }
        Ok(&self.seam[..self.seam.len().min(count)])
    }

    /// Receives the next chunk. Returns false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let used = self.chunk.take();
        self.start = 0;
        self.chunk = self.input.next(used).map_err(StreamFault::Input)?;
        let count = self.rest().len() as u64;
        self.total += count;
        if self.total - self.reported >= REPORT || (count == 0 && self.total > self.reported) {
            self.reported = self.total;
            self.observer.event(Event::BundleRead { bytes: self.total });
        }
        Ok(self.chunk.is_some())
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.seam.is_empty() {
            return Ok(&self.seam);
        }
        if self.rest().is_empty() {
            self.next()?;
        }
        Ok(self.rest())
    }

    fn consume(&mut self, count: usize) {
        if self.seam.is_empty() {
            self.start += count;
        } else {
            self.seam.drain(..count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::digest;
    use crate::event::Silent;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Returns one byte per read, like a slow pipe.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    fn inflate(input: impl Read + Send) -> Result<(Vec<u8>, u64, String), StreamFault> {
        std::thread::scope(|scope| {
            let mut out = Vec::new();
            let input = Ahead::start(scope, input).unwrap();
            let mut gunzip = Gunzip::new(input, &Silent);
            gunzip
                .read_to_end(&mut out)
                .map_err(|error| StreamFault::of(error).unwrap())?;
            let (size, sha256) = gunzip.finish().unwrap();
            Ok((out, size, sha256))
        })
    }

    #[test]
    fn reads_several_members_and_hashes_them_all() {
        let packed = [gzip(b"one"), gzip(b""), gzip(b" two")].concat();
        let (out, size, sha256) = inflate(Trickle(&packed)).unwrap();
        assert_eq!(out, b"one two");
        assert_eq!(size, packed.len() as u64);
        assert_eq!(sha256, digest::hex_of(&packed));
    }

    #[test]
    fn a_member_may_begin_anywhere_in_a_chunk() {
        // Stored blocks keep lengths: one more byte of input is one more byte of output. So the
        // boundary of two chunks falls on each part of a header.
        let noise: Vec<u8> = (0..256 << 10)
            .map(|place| (place * 7 % 251) as u8)
            .collect();
        let stored = |length: usize| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
            encoder.write_all(&noise[..length]).unwrap();
            encoder.finish().unwrap()
        };
        let overhead = stored(noise.len() - 64).len() - (noise.len() - 64);
        for before_the_seam in 0..12 {
            let length = noise.len() - overhead - before_the_seam;
            let packed = [stored(length), gzip(b"two")].concat();
            let (out, _, sha256) = inflate(packed.as_slice()).unwrap();
            assert!(out == [&noise[..length], b"two"].concat());
            assert_eq!(sha256, digest::hex_of(&packed));
            let garbage = [stored(length), b"xyz".to_vec()].concat();
            match inflate(garbage.as_slice()) {
                Err(StreamFault::TrailingGarbage { offset }) => {
                    assert_eq!(offset, garbage.len() as u64 - 3);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn identifies_files_that_are_not_gzip() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(matches!(inflate(Trickle(b"")), Err(StreamFault::Empty)));
        assert!(matches!(
            inflate(Trickle(b"\n <!doctype html>")),
            Err(StreamFault::Html)
        ));
        assert!(matches!(inflate(Trickle(&tar)), Err(StreamFault::Tar)));
        assert!(matches!(
            inflate(Trickle(b"PK\x03\x04")),
            Err(StreamFault::NotGzip)
        ));
        assert!(matches!(
            inflate(Trickle(b"\x1f")),
            Err(StreamFault::NotGzip)
        ));
    }

    #[test]
    fn every_cut_is_an_error() {
        let packed = gzip(&b"some text that is long enough to be packed, packed, packed".repeat(9));
        for length in 2..packed.len() {
            assert!(
                matches!(
                    inflate(Trickle(&packed[..length])),
                    Err(StreamFault::Truncated)
                ),
                "cut after {length}"
            );
        }
    }

    #[test]
    fn garbage_after_the_end_is_an_error_and_has_a_place() {
        let packed = gzip(b"bundle");
        for garbage in [&b"x"[..], b"\0\0\0", b"\x1f"] {
            let all = [&packed, garbage].concat();
            match inflate(Trickle(&all)) {
                Err(StreamFault::TrailingGarbage { offset }) => {
                    assert_eq!(offset, packed.len() as u64);
                }
                other => panic!("{garbage:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_wrong_gzip_checksum_is_corruption() {
        let mut packed = gzip(b"bundle");
        let last = packed.len() - 6;
        packed[last] ^= 1;
        assert!(matches!(
            inflate(Trickle(&packed)),
            Err(StreamFault::Corrupt(_))
        ));
    }

    #[test]
    fn an_input_error_is_not_corruption() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StaleNetworkFileHandle.into())
            }
        }
        assert!(matches!(inflate(Failing), Err(StreamFault::Input(_))));
    }
}
