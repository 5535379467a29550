//! Collects the damaged pieces of a medium, and the command that packs a replacement.

use std::collections::{BTreeMap, BTreeSet};

use medium::{Content, Fault, Medium, Piece, What};

use super::{Error, kept};
use crate::courier::pack::HISTORY;
use crate::{Context, Workspace};

/// The damaged pieces found so far.
#[derive(Debug, Default)]
pub struct Damaged {
    /// By name of the piece.
    pieces: BTreeMap<String, (Piece, Fault)>,
    /// Names of all pieces of contents with a damaged piece.
    needed: BTreeSet<String>,
}

impl Damaged {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns the result of importing a content, or `None` if a piece of it is damaged. Then all
    /// its damaged pieces are recorded, and the others are kept.
    pub(super) fn unless_piece<T>(
        &mut self,
        context: &Context<'_>,
        medium: &Medium,
        content: &Content,
        made: Result<T, crate::Error>,
    ) -> Result<Option<T>, crate::Error> {
        match made {
            Ok(made) => Ok(Some(made)),
            Err(crate::Error::Unpack(Error::Medium(medium::Error::Piece { .. }))) => {
                self.note(context, medium, content)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Records the damaged pieces of a content, and keeps the others.
    pub(super) fn note(
        &mut self,
        context: &Context<'_>,
        medium: &Medium,
        content: &Content,
    ) -> Result<(), crate::Error> {
        for piece in &content.pieces {
            self.needed.insert(piece.sha256.clone());
            match kept::keep(context, medium, content, piece) {
                Err(crate::Error::Unpack(Error::Medium(medium::Error::Piece {
                    fault, ..
                }))) => {
                    let noted = (piece.clone(), fault);
                    self.pieces.insert(piece.sha256.clone(), noted);
                }
                kept => kept?,
            }
        }
        Ok(())
    }

    /// Records all damaged pieces of the medium.
    pub(super) fn examine(&mut self, medium: &Medium) {
        for piece in medium.manifest().pieces() {
            let read = medium.copy_piece(piece, &mut std::io::sink(), &|_| true);
            if let Err(medium::Error::Piece { fault, .. }) = read {
                let noted = (piece.clone(), fault);
                self.pieces.insert(piece.sha256.clone(), noted);
            }
        }
    }

    /// Returns the error that lists the damaged pieces and the command for a replacement.
    pub(super) fn error(
        self,
        workspace: &Workspace,
        medium: &Medium,
        is_first: bool,
    ) -> crate::Error {
        /// Number of digits that distinguish names of pieces.
        const DIGITS: usize = 12;
        kept::forget_others(workspace, medium, &self.needed);
        let is_history = |name: &String| {
            let mut contents = medium.manifest().contents.iter();
            contents.any(|content| {
                matches!(content.what, What::Repository { .. })
                    && content.pieces.iter().any(|piece| piece.sha256 == *name)
            })
        };
        let (history, others): (Vec<_>, Vec<_>) =
            self.pieces.keys().partition(|name| is_history(name));
        let names = others.iter().map(|name| &name[..DIGITS]);
        let names: Vec<&str> = history
            .iter()
            .map(|_| HISTORY)
            .take(1)
            .chain(names)
            .collect();
        let environments = medium.manifest().serves.environments.join(" ");
        // Missing volumes matter only if a damaged piece is on them.
        let is_lacking = |volume: &u32| {
            let mut pieces = self.pieces.values();
            pieces.any(|(piece, _)| piece.volume == *volume)
        };
        let mut missing_volumes = medium.missing_volumes();
        missing_volumes.retain(is_lacking);
        Error::Damaged {
            pack: medium.pack().to_owned(),
            replacement: format!("pack {environments} --only {} --out DIR", names.join(",")),
            missing_volumes,
            unreadable_volumes: medium.unreadable_volumes(),
            is_first,
            pieces: self.pieces.into_values().collect(),
        }
        .into()
    }
}
