//! One archive of a bundle: an uncompressed tar of an OCI image layout that holds one artifact.
//!
//! The members come in whatever order the writer chose, so reading has two halves. While the archive streams by,
//! every blob is hashed against its own name and handed on, and every document is kept in short form
//! ([`crate::document`]). When it has ended, the documents are followed from `index.json` down, and everything that a
//! descriptor names must have been there.

use std::collections::BTreeMap;
use std::io::{self, Read};

use oci_spec::image::Digest;

use crate::digest::{self, Hasher};
use crate::document::{Document, LARGEST};
use crate::lock::Artifact;
use crate::name::Name;
use crate::sink::{BlobSink, Sink};
use crate::store::StoreError;
use crate::tarball::{self, End, Member};

mod error;
mod layout;

pub use error::ArchiveError;
use layout::{INDEX_FILE, LAYOUT_FILE, Layout};

/// How many bytes are read, hashed and written at once.
const PIECE: usize = 256 << 10;

/// Why reading an archive came to an end.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Reading failed: either the bundle around the archive, or the archive's own tar.
    Io(io::Error),
    /// The archive is not right.
    Archive(ArchiveError),
    /// The sink failed.
    Sink(StoreError),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// Reads archives, one after the other, with one set of buffers.
pub(crate) struct ArchiveReader {
    piece: Box<[u8]>,
    document: Vec<u8>,
}

impl ArchiveReader {
    pub(crate) fn new() -> Self {
        Self {
            piece: vec![0; PIECE].into_boxed_slice(),
            document: Vec::new(),
        }
    }

    /// Reads the archive in `reader` to its end. Returns its artifact and how many blobs no manifest names.
    ///
    /// `wanted` are the blobs to offer to the sink, with their sizes; without it, all are.
    pub(crate) fn read(
        &mut self,
        reader: &mut dyn Read,
        path: &str,
        name: &Name,
        wanted: Option<&BTreeMap<String, u64>>,
        sink: &mut dyn Sink,
    ) -> Result<(Artifact, u64), Fault> {
        let mut layout = Layout::default();
        let start = read_start(reader)?;
        if let Some(format) = compression(&start) {
            return Err(ArchiveError::Compressed { format }.into());
        }
        let mut whole = start.as_slice().chain(reader);
        // The end marker is not asked for: what is in the archive is counted by its manifests.
        tarball::walk::<Fault>(&mut whole, End::Optional, &mut |member| {
            self.member(member, &mut layout, wanted, sink)
        })?;
        Ok(layout.artifact(path, name)?)
    }

    fn member(
        &mut self,
        member: &mut Member<'_>,
        layout: &mut Layout,
        wanted: Option<&BTreeMap<String, u64>>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        let Ok(path) = std::str::from_utf8(&member.path).map(str::to_owned) else {
            return Ok(());
        };
        let blob = path
            .strip_prefix("blobs/sha256/")
            .and_then(digest::from_hex);
        if blob.is_none() && path != LAYOUT_FILE && path != INDEX_FILE {
            return Ok(());
        }
        if !member.kind.is_file() {
            return Err(ArchiveError::NotRegular { path }.into());
        }
        let Some(digest) = blob else {
            let text = self.text(member, &path)?;
            return Ok(layout.file(&path, text)?);
        };
        let is_wanted = match wanted.map(|wanted| wanted.get(digest.as_ref())) {
            None => true,
            Some(None) => false,
            // Not a byte is written of what is too long or too short to be right.
            Some(Some(&size)) if size != member.size => {
                return Err(ArchiveError::BlobSize {
                    digest,
                    size,
                    found: member.size,
                    named_by: "the lock".to_owned(),
                }
                .into());
            }
            Some(Some(_)) => true,
        };
        let offered = if is_wanted {
            sink.blob(&digest, member.size).map_err(Fault::Sink)?
        } else {
            None
        };
        let document = self.blob(member, &digest, offered)?;
        layout.blob(&digest, member.size, document)?;
        Ok(())
    }

    /// Reads one blob, compares it with its digest and only then has it kept. Returns it if it is a document.
    fn blob(
        &mut self,
        member: &mut Member<'_>,
        digest: &Digest,
        mut sink: Option<Box<dyn BlobSink>>,
    ) -> Result<Option<Document>, Fault> {
        let mut hasher = Hasher::new();
        let mut may_be_document = member.size <= LARGEST;
        self.document.clear();
        loop {
            let count = member.read(&mut self.piece)?;
            let bytes = &self.piece[..count];
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
            if let Some(sink) = &mut sink {
                sink.write(bytes).map_err(Fault::Sink)?;
            }
            if self.document.is_empty() && bytes.trim_ascii_start().first() != Some(&b'{') {
                may_be_document = false;
            }
            if may_be_document {
                self.document.extend_from_slice(bytes);
            }
        }
        let found = hasher.digest();
        if found != *digest {
            return Err(ArchiveError::WrongBlob {
                digest: digest.clone(),
                found,
            }
            .into());
        }
        if let Some(sink) = sink {
            sink.commit().map_err(Fault::Sink)?;
        }
        Ok(if may_be_document {
            Document::parse(&self.document)
        } else {
            None
        })
    }

    /// Reads one of the layout's own files.
    fn text(&mut self, member: &mut Member<'_>, path: &str) -> Result<&[u8], Fault> {
        if member.size > LARGEST {
            return Err(ArchiveError::TooLarge {
                document: path.to_owned(),
                size: member.size,
            }
            .into());
        }
        self.document.clear();
        member.read_to_end(&mut self.document)?;
        Ok(&self.document)
    }
}

/// Reads the first bytes, by which compressions are known.
fn read_start(reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(6);
    reader.take(6).read_to_end(&mut start)?;
    Ok(start)
}

fn compression(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    }
}
