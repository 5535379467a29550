//! Walks an untrusted tar member by member. Headers are bounded, sizes are enforced, and no data
//! may follow the end.
//!
//! The `tar` crate parses the headers. This module adds four checks that it lacks:
//!
//! - It would read long names and PAX records of any size into memory.
//! - It would fill the holes of sparse members with zeros.
//! - It would accept a stream that ends without the end marker.
//! - It would ignore data after the end marker.

use std::cell::Cell;
use std::io::{self, Read};

use tar::{Archive, EntryType};

use crate::gzip::StreamFault;

/// Maximum size of the headers of a member, in bytes: 1 MiB, far above the longest name of any file
/// system.
const LARGEST_HEADERS: u64 = 1 << 20;

/// Maximum length of a member's path, in bytes: the limit of Linux. Paths of archives stay in
/// memory.
const LONGEST_PATH: usize = 4096;

/// A fault of a tar. It travels inside [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarFault {
    #[error("{0}")]
    Malformed(String),
    #[error("the headers of one member take more than 1 MiB")]
    Headers,
    #[error("a member ends before its size is reached")]
    ShortMember,
    #[error("the path of a member has more than 4096 bytes")]
    LongPath,
    #[error("a member is sparse")]
    Sparse,
    #[error("the end marker is missing")]
    NoEnd,
    #[error("data follows the end marker")]
    BehindEnd,
}

impl From<TarFault> for io::Error {
    fn from(fault: TarFault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// Whether a tar must have its end marker. A writer that died leaves a tar without one, which may
/// be compressed without a fault. Only the marker shows then that members are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Required,
    Optional,
}

/// One member of a tar. Reading returns exactly `size` bytes, or an error.
pub(crate) struct Member<'a> {
    /// Path without leading `./`.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) size: u64,
    remaining: u64,
    reader: &'a mut dyn Read,
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let limit = capped(self.remaining, buffer.len());
        let count = self.reader.read(&mut buffer[..limit])?;
        if count == 0 {
            return Err(TarFault::ShortMember.into());
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

/// Calls `visit` for each member of the tar in `reader`, and reads `reader` to its end. Bytes of a
/// member that `visit` does not read are skipped.
pub(crate) fn walk<E: From<io::Error>>(
    reader: &mut dyn Read,
    end: End,
    visit: &mut dyn FnMut(&mut Member<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let allowance = Cell::new(LARGEST_HEADERS);
    let ended = Cell::new(false);
    let mut archive = Archive::new(Metered {
        reader,
        allowance: &allowance,
        ended: &ended,
    });
    let mut entries = archive.entries()?;
    loop {
        allowance.set(LARGEST_HEADERS);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(printable)?;
        // The `tar` crate reads holes as zeros, and a header alone can declare exabytes of them.
        if entry.header().entry_type().is_gnu_sparse() {
            return Err(io::Error::from(TarFault::Sparse).into());
        }
        if entry.path_bytes().len() > LONGEST_PATH {
            return Err(io::Error::from(TarFault::LongPath).into());
        }
        // The content is not limited: visitors read it in pieces.
        allowance.set(u64::MAX);
        let mut member = Member {
            path: without_dot(&entry.path_bytes()).to_vec(),
            kind: entry.header().entry_type(),
            size: entry.size(),
            remaining: entry.size(),
            reader: &mut entry,
        };
        visit(&mut member)?;
        io::copy(&mut member, &mut io::sink())?;
    }
    if ended.get() && end == End::Required {
        return Err(io::Error::from(TarFault::NoEnd).into());
    }
    allowance.set(u64::MAX);
    only_zeros(&mut archive.into_inner())?;
    Ok(())
}

/// Reads a tar, plain or compressed with gzip, to its end marker, and returns the number of its
/// members.
///
/// # Errors
/// [`io::Error`] if the file cannot be read, is not a tar, or is cut off.
pub fn count_members(file: &mut (impl Read + io::Seek)) -> io::Result<u64> {
    let mut magic = [0; 2];
    let is_gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.rewind()?;
    let file = io::BufReader::with_capacity(1 << 18, file);
    let mut reader: Box<dyn Read + '_> = match is_gzip {
        true => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    let mut members = 0;
    walk(&mut reader, End::Required, &mut |_| {
        members += 1;
        Ok::<(), io::Error>(())
    })?;
    Ok(members)
}

/// Reads the padding after the end marker, which must be zeros.
fn only_zeros(reader: &mut dyn Read) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) if buffer[..count].iter().any(|&byte| byte != 0) => {
                return Err(TarFault::BehindEnd.into());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Escapes an error of the `tar` crate, which may quote arbitrary bytes of the header.
fn printable(error: io::Error) -> io::Error {
    let is_ours = error
        .get_ref()
        .is_some_and(|held| held.is::<TarFault>() || held.is::<StreamFault>());
    if is_ours {
        return error;
    }
    TarFault::Malformed(redaction::line(&error.to_string(), 100)).into()
}

/// Returns the smaller one of `number` and `limit`.
fn capped(number: u64, limit: usize) -> usize {
    usize::try_from(number).map_or(limit, |number| number.min(limit))
}

fn without_dot(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_prefix(b"./") {
        path = rest;
    }
    path
}

/// A reader that fails after `allowance` bytes, and sets `ended` at the end of the input.
struct Metered<'a> {
    reader: &'a mut dyn Read,
    allowance: &'a Cell<u64>,
    ended: &'a Cell<bool>,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowance = self.allowance.get();
        let limit = capped(allowance, buffer.len());
        if limit == 0 && !buffer.is_empty() {
            return Err(TarFault::Headers.into());
        }
        let count = self.reader.read(&mut buffer[..limit])?;
        self.ended.set(count == 0 && !buffer.is_empty());
        self.allowance.set(allowance - count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;

    fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, bytes) in members {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn list(bytes: &[u8], end: End) -> Result<Vec<(String, u64)>, String> {
        let mut found = Vec::new();
        let result = walk::<io::Error>(&mut &*bytes, end, &mut |member| {
            found.push((String::from_utf8(member.path.clone()).unwrap(), member.size));
            Ok(())
        });
        match result {
            Ok(()) => Ok(found),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn lists_members_by_their_complete_names() {
        let long = "d/".repeat(200) + "x.tar";
        let bytes = tar(&[("./a", b"12"), (&long, b"")]);
        assert_eq!(
            list(&bytes, End::Required),
            Ok(vec![("a".to_owned(), 2), (long, 0)])
        );
    }

    #[test]
    fn refuses_paths_longer_than_the_limit_of_linux() {
        for (length, expected) in [
            (4096, Ok(())),
            (
                4097,
                Err("the path of a member has more than 4096 bytes".to_owned()),
            ),
        ] {
            let path = "d/".repeat(2000) + &"x".repeat(length - 4000);
            let listed = list(&tar(&[(&path, b"")]), End::Required);
            assert_eq!(listed.map(drop), expected, "{length}");
        }
    }

    #[test]
    fn escapes_control_characters_in_errors() {
        let text = list(&b"\x1b]0;owned\x07".repeat(200), End::Required).unwrap_err();
        assert!(text.contains(r"\u{1b}]0;owned"), "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn refuses_giant_headers_before_they_are_in_memory() {
        // A long name of 1 GiB that the stream seems to have: only the first MiB of it is ever
        // read.
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 30);
        header.set_path("././@LongLink").unwrap();
        header.set_cksum();
        let mut reader = header.as_bytes().chain(io::repeat(b'a'));
        let result = walk::<io::Error>(&mut reader, End::Required, &mut |_| Ok(()));
        assert_eq!(
            result.unwrap_err().to_string(),
            "the headers of one member take more than 1 MiB"
        );
    }

    #[test]
    fn requires_the_end_marker_if_asked() {
        let whole = tar(&[("a", b"12")]);
        let cut = &whole[..1024];
        assert_eq!(
            list(cut, End::Required),
            Err("the end marker is missing".to_owned())
        );
        assert_eq!(list(cut, End::Optional), Ok(vec![("a".to_owned(), 2)]));
    }

    #[test]
    fn a_cut_member_is_an_error() {
        let whole = tar(&[("a", &[7; 600])]);
        assert_eq!(
            list(&whole[..700], End::Optional),
            Err("a member ends before its size is reached".to_owned())
        );
    }

    #[test]
    fn sparse_members_are_refused() {
        // A sparse member of 2^62 bytes, which is a header and nothing else.
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_path("notes").unwrap();
        header.set_size(0);
        let end = 1_u64 << 62;
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(end);
        gnu.sparse[0].set_offset(end);
        gnu.sparse[0].set_length(0);
        header.set_cksum();
        let bytes = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(list(&bytes, End::Required)));
        let listed = receiver.recv_timeout(std::time::Duration::from_secs(10));
        assert_eq!(
            listed.expect("it is still read"),
            Err("a member is sparse".to_owned())
        );
    }

    #[test]
    fn data_after_the_end_is_refused() {
        let hidden = [tar(&[("a", b"12")]), tar(&[("b", b"34")])].concat();
        assert_eq!(
            list(&hidden, End::Required),
            Err("data follows the end marker".to_owned())
        );
        let padded = [tar(&[("a", b"12")]), vec![0; 9000]].concat();
        assert!(list(&padded, End::Required).is_ok());
    }
}
