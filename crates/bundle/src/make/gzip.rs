//! Writes gzip. At level 0 it writes stored blocks of a fixed size itself, so the bytes do not
//! depend on a compression library.

use std::io::{self, Write};

use flate2::{Compression, Crc, GzBuilder, write::GzEncoder};

/// Maximum size of a stored block (RFC 1951, section 3.2.4).
const BLOCK: usize = 0xffff;

/// A header without time, name or operating system (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

pub(super) enum Encoder<W: Write> {
    Stored {
        output: W,
        block: Vec<u8>,
        checksum: Crc,
    },
    Compressed(Box<GzEncoder<W>>),
}

/// Returns `bytes` as a gzip file.
pub(super) fn gzip(bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    let mut encoder = Encoder::new(&mut packed, level)?;
    encoder.write_all(bytes)?;
    encoder.finish()?;
    Ok(packed)
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(mut output: W, level: u32) -> io::Result<Self> {
        if level == 0 {
            output.write_all(&HEADER)?;
            return Ok(Self::Stored {
                output,
                block: Vec::with_capacity(BLOCK),
                checksum: Crc::new(),
            });
        }
        let encoder = GzBuilder::new()
            .operating_system(255)
            .write(output, Compression::new(level.min(9)));
        Ok(Self::Compressed(Box::new(encoder)))
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Stored {
                mut output,
                block,
                checksum,
            } => {
                write_block(&mut output, &block, true)?;
                output.write_all(&checksum.sum().to_le_bytes())?;
                // The length is modulo 2^32, as the format requires.
                output.write_all(&checksum.amount().to_le_bytes())?;
                output.flush()
            }
            Self::Compressed(encoder) => encoder.finish()?.flush(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stored {
                output,
                block,
                checksum,
            } => {
                if block.len() == BLOCK {
                    write_block(output, block, false)?;
                    block.clear();
                }
                let count = bytes.len().min(BLOCK - block.len());
                block.extend_from_slice(&bytes[..count]);
                checksum.update(&bytes[..count]);
                Ok(count)
            }
            Self::Compressed(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            // Flushing a partial block would make the bytes depend on the calls of `flush`.
            Self::Stored { output, .. } => output.flush(),
            Self::Compressed(encoder) => encoder.flush(),
        }
    }
}

fn write_block(output: &mut impl Write, block: &[u8], last: bool) -> io::Result<()> {
    let length = u16::try_from(block.len()).expect("a stored block has at most 65535 bytes");
    output.write_all(&[u8::from(last)])?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(&(!length).to_le_bytes())?;
    output.write_all(block)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_gzip_reader_returns_the_original_bytes() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let bytes = super::super::noise("gzip", size);
            for level in [0, 1, 9] {
                let mut out = Vec::new();
                GzDecoder::new(gzip(&bytes, level).unwrap().as_slice())
                    .read_to_end(&mut out)
                    .unwrap();
                assert!(out == bytes, "{size} bytes at level {level}");
            }
        }
    }

    #[test]
    fn level_0_does_not_depend_on_the_sizes_of_writes() {
        let bytes = super::super::noise("pieces", 200_000);
        let mut packed = Vec::new();
        let mut encoder = Encoder::new(&mut packed, 0).unwrap();
        for piece in bytes.chunks(777) {
            encoder.write_all(piece).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap();
        assert!(packed == gzip(&bytes, 0).unwrap());
    }
}
