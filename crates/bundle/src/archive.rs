//! Reads one archive of a bundle: an uncompressed tar of an OCI image layout that holds one
//! artifact.
//!
//! The members come in any order, so reading has two phases:
//!
//! 1. While the archive is streamed, each blob is hashed, compared with its name and passed on.
//!    Each document is kept in reduced form ([`crate::document`]).
//! 2. At the end, the documents are followed from `index.json` down. Each blob that a descriptor
//!    names must have been in the archive.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use oci_spec::image::Digest;

use crate::digest;
use crate::document::{Document, LARGEST};
use crate::lock::Artifact;
use crate::name::{Name, base_name};
use crate::pipeline::Pipeline;
use crate::sink::Sink;
use crate::store::StoreError;
use crate::tarball::{self, End, Member};

mod error;
mod layout;

pub use error::ArchiveError;
pub(crate) use layout::Layout;
use layout::{INDEX_FILE, LAYOUT_FILE};

/// Reason why reading an archive stopped.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The bundle around the archive, or the tar of the archive, cannot be read.
    Io(io::Error),
    /// The archive is not valid.
    Archive(ArchiveError),
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

/// Reads the archives of one bundle, one after the other.
pub(crate) struct ArchiveReader<'a> {
    /// Hashes and writes the blobs.
    pub(crate) pipeline: Pipeline,
    /// Blobs to offer to the sink, with their sizes in bytes; `None` offers all.
    pub(crate) wanted: Option<BTreeMap<String, u64>>,
    pub(crate) sink: &'a mut dyn Sink,
    /// Buffer for the document that is being read.
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

    /// Reads the archive in `reader` to its end. Returns its artifact and the number of blobs that
    /// no manifest names.
    ///
    /// The pipeline may still hash its last blobs; it reports corrupt ones later. `root` selects
    /// the root if there are several.
    pub(crate) fn read(
        &mut self,
        reader: &mut dyn Read,
        path: &str,
        name: &Name,
        root: Option<&Digest>,
    ) -> Result<(Artifact, u64), Fault> {
        let layout = self.layout(reader, path)?;
        self.pipeline.forget_committed();
        Ok(layout.artifact(path, name, root)?)
    }

    /// Reads the archive in `reader` to its end and returns its layout.
    pub(crate) fn layout(&mut self, reader: &mut dyn Read, path: &str) -> Result<Layout, Fault> {
        check_name(path)?;
        let mut layout = Layout::default();
        let start = read_start(reader)?;
        if start.is_empty() {
            return Err(ArchiveError::Empty.into());
        }
        if let Some(format) = compression(&start) {
            return Err(ArchiveError::Compressed { format }.into());
        }
        let mut archive_bytes = start.as_slice().chain(reader);
        let archive: Arc<str> = path.into();
        // The end marker may be missing: the manifests show whether the archive is complete.
        tarball::walk::<Fault>(&mut archive_bytes, End::Optional, &mut |member| {
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
        // Images of one bundle share blobs. One that is being written is not offered again.
        let offered = if is_wanted && !self.pipeline.is_in_flight(&digest) {
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
            // A blob of the wrong size cannot be right, so none of it is written.
            Some(&size) if size != found => Err(ArchiveError::BlobSize {
                digest: digest.clone(),
                size,
                found,
                named_by: "the lock".to_owned(),
            }),
            Some(_) => Ok(true),
        }
    }

    /// Reads one blob and passes it to the pipeline. Returns it parsed if it is a document.
    fn blob(&mut self, member: &mut Member<'_>) -> Result<Option<Document>, Fault> {
        let mut may_be_document = member.size <= LARGEST;
        let mut remaining = member.size;
        self.document.clear();
        while remaining > 0 {
            if remaining < member.size {
                self.pipeline.check()?;
            }
            let mut piece = self.pipeline.piece(remaining)?;
            piece.fill(member)?;
            let bytes = piece.bytes();
            remaining -= bytes.len() as u64;
            if self.document.is_empty() && bytes.trim_ascii_start().first() != Some(&b'{') {
                may_be_document = false;
            }
            if may_be_document {
                self.document.extend_from_slice(bytes);
            }
            self.pipeline.bytes(piece, remaining == 0)?;
        }
        Ok(may_be_document
            .then(|| Document::parse(&self.document))
            .flatten())
    }

    /// Reads `oci-layout` or `index.json`.
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

/// Checks that the name of a file is not that of attributes that macOS stores beside an archive.
pub(crate) fn check_name(path: &str) -> Result<(), ArchiveError> {
    match base_name(path).starts_with("._") {
        true => Err(ArchiveError::AppleDouble),
        false => Ok(()),
    }
}

/// Reads the first bytes, which identify a compression.
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
