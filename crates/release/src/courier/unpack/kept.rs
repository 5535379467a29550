//! Pieces that are kept until the others of their content come: volumes may be unpacked one after the other.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use medium::{Content, Medium, Piece, PieceSink as _};

use super::{stream::File, temporary};
use crate::{Context, Workspace};

/// Returns where a piece is kept.
pub(super) fn path(workspace: &Workspace, piece: &Piece) -> Utf8PathBuf {
    let pieces = temporary(workspace).join("pieces");
    pieces.join(&piece.sha256[..2]).join(&piece.sha256)
}

/// Compares a piece of a content with its hash, and keeps it if the content has others.
///
/// # Errors
/// It is missing or damaged, or cannot be written.
pub(super) fn keep(
    context: &Context<'_>,
    medium: &Medium,
    content: &Content,
    piece: &Piece,
) -> Result<(), crate::Error> {
    let path = path(context.workspace, piece);
    if content.pieces.len() == 1 || path.is_file() || medium.path(piece).is_none() {
        return Ok(medium.copy_piece(piece, &mut std::io::sink(), &|_| true)?);
    }
    let wrong = |source| crate::Error::io("write", &path, source);
    let mut file = File::new(path.clone())?;
    medium
        .copy_piece(piece, &mut file, &|_| true)
        .map_err(|error| match error {
            medium::Error::Stream { source, .. } => wrong(source),
            error => error.into(),
        })?;
    file.done().map_err(wrong)
}

/// Removes the pieces of a medium whose contents are complete by now.
pub(super) fn forget_others(workspace: &Workspace, medium: &Medium, needed: &BTreeSet<String>) {
    for piece in medium.manifest().pieces() {
        if !needed.contains(&piece.sha256) {
            // A file that stays is removed in the end.
            let _ = std::fs::remove_file(path(workspace, piece));
        }
    }
}
