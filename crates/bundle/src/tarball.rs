//! Walks a tar that is not trusted: the members one after the other, with bounded headers, no
//! member shorter than it says or longer than what is there, and nothing hidden behind the end.
//!
//! The `tar` crate parses the headers. It would take a member's long name or PAX records into
//! memory whatever their size, make zeros of a sparse member's holes, end quietly where the stream
//! ends, and never look behind the end; those four are seen to here.

use std::cell::Cell;
use std::io::{self, Read};

use tar::{Archive, EntryType};

use crate::gzip::StreamFault;

/// How many bytes of headers may precede a member: 1 MiB, for a name that no file system would
/// take.
const LARGEST_HEADERS: u64 = 1 << 20;

/// The longest path of a member, in bytes: the limit of Linux. A reader of a bundle keeps those of
/// its archives.
const LONGEST_PATH: usize = 4096;

/// What is wrong with a tar. It travels inside [`io::Error`].
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

/// Whether a tar must have its end marker. A tar whose writer died may be packed without a flaw;
/// without the marker missing members cannot be detected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Required,
    Optional,
}

/// One member of a tar. Reading it gives exactly its size, or an error.
pub(crate) struct Member<'a> {
    /// Its path without leading `./`.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) size: u64,
    left: u64,
    reader: &'a mut dyn Read,
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let limit = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.reader.read(&mut buffer[..limit])?;
        if count == 0 {
            return Err(TarFault::ShortMember.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Calls `visit` for every member of the tar in `reader`, which is read to its end. What `visit`
/// leaves of a member is skipped.
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
        // Its holes are read as zeros, and a header alone can say that there are exabytes of them.
        if entry.header().entry_type().is_gnu_sparse() {
            return Err(io::Error::from(TarFault::Sparse).into());
        }
        if entry.path_bytes().len() > LONGEST_PATH {
            return Err(io::Error::from(TarFault::LongPath).into());
        }
        // The member's own bytes are not limited: the visitor reads them in pieces.
        allowance.set(u64::MAX);
        let mut member = Member {
            path: without_dot(&entry.path_bytes()).to_vec(),
            kind: entry.header().entry_type(),
            size: entry.size(),
            left: entry.size(),
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

/// Reads a tar, compressed with gzip or not, to its end marker, and returns the number of its
/// members.
///
/// # Errors
/// It cannot be read, is not a tar, or is cut off.
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

/// Reads to the end, where tars are padded with zeros.
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

/// The `tar` crate's own errors quote the header, which may be any bytes, so they are made fit for
/// a terminal.
fn printable(error: io::Error) -> io::Error {
    let is_ours = error
        .get_ref()
        .is_some_and(|held| held.is::<TarFault>() || held.is::<StreamFault>());
    if is_ours {
        return error;
    }
    TarFault::Malformed(redaction::line(&error.to_string(), 100)).into()
}

fn without_dot(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_prefix(b"./") {
        path = rest;
    }
    path
}

/// Lets as many bytes through as are allowed, and notes when there are no more.
struct Metered<'a> {
    reader: &'a mut dyn Read,
    allowance: &'a Cell<u64>,
    ended: &'a Cell<bool>,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowance = self.allowance.get();
        let limit = usize::try_from(allowance).map_or(buffer.len(), |left| left.min(buffer.len()));
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
    fn lists_members_by_their_whole_names() {
        let long = "d/".repeat(200) + "x.tar";
        let bytes = tar(&[("./a", b"12"), (&long, b"")]);
        assert_eq!(
            list(&bytes, End::Required),
            Ok(vec![("a".to_owned(), 2), (long, 0)])
        );
    }

    #[test]
    fn refuses_paths_that_no_system_takes() {
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
    fn quotes_nothing_that_a_terminal_would_obey() {
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
    fn asks_for_the_end_where_it_is_required() {
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
    fn holes_are_not_read_for_ages() {
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
    fn nothing_hides_behind_the_end() {
        let hidden = [tar(&[("a", b"12")]), tar(&[("b", b"34")])].concat();
        assert_eq!(
            list(&hidden, End::Required),
            Err("data follows the end marker".to_owned())
        );
        let padded = [tar(&[("a", b"12")]), vec![0; 9000]].concat();
        assert!(list(&padded, End::Required).is_ok());
    }
}
