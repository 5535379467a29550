//! Keeps pieces until the others of their content arrive: volumes may be unpacked one after the
//! other.

use std::collections::BTreeSet;
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use medium::{Content, Medium, Piece, PieceSink};

use super::temporary;
use crate::{Context, Workspace};

/// Returns the path of a kept piece.
pub(super) fn path(workspace: &Workspace, piece: &Piece) -> Utf8PathBuf {
    let pieces = temporary(workspace).join("pieces");
    pieces.join(&piece.sha256[..2]).join(&piece.sha256)
}

/// Verifies a piece of a content, and keeps it if the content has further pieces.
///
/// # Errors
/// The piece is missing or damaged, or cannot be written.
pub(super) fn keep(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    piece: &Piece,
) -> Result<(), crate::Error> {
    let path = path(context.workspace, piece);
    if content.pieces.len() == 1 || path.is_file() || medium.path(piece).is_none() {
        return Ok(medium.copy_piece(piece, &mut io::sink(), &|_| true)?);
    }
    let wrong = |source| crate::Error::io("write", &path, source);
    let mut file = Box::new(File::new(path.clone())?);
    medium
        .copy_piece(piece, &mut *file, &|_| true)
        .map_err(|error| match error {
            medium::Error::Stream { source, .. } => wrong(source),
            error => error.into(),
        })?;
    file.done().map_err(wrong)
}

/// Removes the kept pieces of a medium that no incomplete content needs.
pub(super) fn forget_others(workspace: &Workspace, medium: &Medium, needed: &BTreeSet<String>) {
    for piece in medium.manifest().pieces() {
        if !needed.contains(&piece.sha256) {
            // `clean_up` removes a file that remains here.
            let _ = std::fs::remove_file(path(workspace, piece));
        }
    }
}

/// Receives a piece into a file, which gets its path when the piece is complete.
pub(super) struct File {
    file: tempfile::NamedTempFile,
    path: Utf8PathBuf,
}

impl File {
    pub(super) fn new(path: Utf8PathBuf) -> Result<Self, crate::Error> {
        let folder = path.parent().unwrap_or(Utf8Path::new("."));
        let file = std::fs::create_dir_all(folder)
            .and_then(|()| tempfile::NamedTempFile::new_in(folder))
            .map_err(|source| crate::Error::io("write", folder, source))?;
        Ok(Self { file, path })
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PieceSink for File {
    fn done(self: Box<Self>) -> io::Result<()> {
        let persisted = self.file.persist(&self.path);
        persisted.map(drop).map_err(|error| error.error)
    }
}
