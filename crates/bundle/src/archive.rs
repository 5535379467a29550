//! One archive of a bundle: an uncompressed tar of an OCI image layout that holds one artifact.
//!
//! The members come in whatever order the writer chose, so reading has two halves. While the
//! archive streams by, every blob is hashed against its own name and handed on, and every document
//! is kept in short form ([`crate::document`]). When it has ended, the documents are followed from
//! `index.json` down, and everything that a descriptor names must have been there.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use oci_spec::image::Digest;

use crate::digest;
use crate::document::{Document, LARGEST};
use crate::lock::Artifact;
use crate::name::Name;
use crate::pipeline::Pipeline;
use crate::sink::Sink;
use crate::store::StoreError;
use crate::tarball::{self, End, Member};

mod error;
mod layout;

pub use error::ArchiveError;
pub(crate) use layout::Layout;
use layout::{INDEX_FILE, LAYOUT_FILE};

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

/// What the archives of a bundle are read with, and for.
pub(crate) struct ArchiveReader<'a> {
    /// Where blobs are hashed and kept.
    pub(crate) pipeline: Pipeline,
    /// The blobs to offer to the sink, with their sizes; without it, all are.
    pub(crate) wanted: Option<BTreeMap<String, u64>>,
    pub(crate) sink: &'a mut dyn Sink,
    document: Vec<u8>,
}

impl<'a> ArchiveReader<'a> {
    pub(crate) fn new(
        pipeline: Pipeline,
        wanted: Option<BTreeMap<String, u64>>,
        sink: &'a mut dyn Sink,
    ) -> Self {
        Self {
            pipeline,
            wanted,
            sink,
            document: Vec::new(),
        }
    }

    /// Reads the archive in `reader` to its end. Returns its artifact and how many blobs no
    /// manifest names. Its blobs may not be hashed yet: the pipeline reports a wrong one. `root` is
    /// the root that counts if there are several.
    pub(crate) fn read(
        &mut self,
        reader: &mut dyn Read,
        path: &str,
        name: &Name,
        root: Option<&Digest>,
    ) -> Result<(Artifact, u64), Fault> {
        let layout = self.layout(reader, path)?;
        self.pipeline.forget_kept();
        Ok(layout.artifact(path, name, root)?)
    }

    /// Reads the archive in `reader` to its end, and returns what was seen of its layout.
    pub(crate) fn layout(&mut self, reader: &mut dyn Read, path: &str) -> Result<Layout, Fault> {
        let mut layout = Layout::default();
        let start = read_start(reader)?;
        if let Some(format) = compression(&start) {
            return Err(ArchiveError::Compressed { format }.into());
        }
        let mut whole = start.as_slice().chain(reader);
        let archive: Arc<str> = path.into();
        // The end marker is not asked for: what is in the archive is counted by its manifests.
        tarball::walk::<Fault>(&mut whole, End::Optional, &mut |member| {
            self.member(member, &mut layout, &archive)
        })?;
        Ok(layout)
    }

    fn member(
        &mut self,
        member: &mut Member<'_>,
        layout: &mut Layout,
        archive: &Arc<str>,
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
        let is_wanted = self.is_wanted(&digest, member.size)?;
        self.pipeline.check()?;
        // What is on its way to the sink need not go there twice.
        let offered = if is_wanted && !self.pipeline.is_on_the_way(&digest) {
            self.sink.blob(&digest, member.size).map_err(Fault::Sink)?
        } else {
            None
        };
        self.pipeline
            .begin(archive, &digest, member.size, offered)?;
        let document = self.blob(member)?;
        layout.blob(&digest, member.size, document)?;
        Ok(())
    }

    fn is_wanted(&self, digest: &Digest, found: u64) -> Result<bool, ArchiveError> {
        let Some(wanted) = &self.wanted else {
            return Ok(true);
        };
        match wanted.get(digest.as_ref()) {
            None => Ok(false),
            // Not a byte is written of what is too long or too short to be right.
            Some(&size) if size != found => Err(ArchiveError::BlobSize {
                digest: digest.clone(),
                size,
                found,
                named_by: "the lock".to_owned(),
            }),
            Some(_) => Ok(true),
        }
    }

    /// Reads one blob, which is compared with its digest and only then kept. Returns it if it is a
    /// document.
    fn blob(&mut self, member: &mut Member<'_>) -> Result<Option<Document>, Fault> {
        let mut may_be_document = member.size <= LARGEST;
        let mut left = member.size;
        self.document.clear();
        while left > 0 {
            if left < member.size {
                self.pipeline.check()?;
            }
            let mut piece = self.pipeline.piece(left)?;
            piece.fill(member)?;
            let bytes = piece.bytes();
            left -= bytes.len() as u64;
            if self.document.is_empty() && bytes.trim_ascii_start().first() != Some(&b'{') {
                may_be_document = false;
            }
            if may_be_document {
                self.document.extend_from_slice(bytes);
            }
            self.pipeline.bytes(piece, left == 0)?;
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
