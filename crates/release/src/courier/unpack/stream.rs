//! A medium that comes as a stream. What is one piece goes to the store as it arrives; the rest is
//! kept in a folder until the end.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use medium::{Content, Medium, Piece, PieceSink, What};

use super::blobs::{self, Into};
use super::{Error, Trust, Unpacked, advanced, kept, place, temporary};
use crate::transfer::fetch::open_store;
use crate::{Context, Workspace};

/// Reads a stream to its end. Everything that is not in the store afterwards is in a folder of the
/// workspace.
///
/// # Errors
/// It is not trusted, or ends early. What was received stays, and is not written again.
pub(super) fn receive(
    context: &Context<'_>,
    from: &mut dyn Read,
    trust: &Trust<'_>,
    unpacked: &mut Unpacked,
) -> Result<(Medium, Option<String>), crate::Error> {
    let workspace = context.workspace;
    let folder = temporary(workspace);
    let mut line = None;
    let received = Rc::new(Cell::new((0, 0)));
    let store = open_store(workspace)?;
    let medium = medium::read_stream(
        from,
        |found| -> Result<Medium, crate::Error> {
            let (medium, of_signer) = trust.check(workspace, &found)?;
            line = of_signer;
            blobs::check_room(workspace, &medium)?;
            super::report_start(context, &medium);
            Ok(medium)
        },
        |medium, piece| {
            let path = kept::path(workspace, piece);
            match alone(medium, piece) {
                Some(content) if blobs::has(&store, content) => Ok(Box::new(Discard)),
                Some(content) => Ok(Box::new(Blob {
                    into: Some(
                        Into::new(&store, content)
                            .map_err(|source| crate::Error::store(workspace, source))?,
                    ),
                    size: content.size,
                    received: Rc::clone(&received),
                })),
                None if path.metadata().is_ok_and(|found| found.len() == piece.size) => {
                    Ok(Box::new(Discard))
                }
                None => Ok(Box::new(kept::File::new(path)?)),
            }
        },
        &|bytes| advanced(context, bytes),
    );
    let medium = medium.map_err(|error| match error {
        crate::Error::Unpack(Error::Medium(medium::Error::Stream {
            action: "write",
            source,
        })) => blobs::of_write(workspace, source),
        error => error,
    })?;
    (unpacked.blobs, unpacked.bytes) = received.get();
    Ok((medium.with_folder(&folder), line))
}

/// Returns the blob that a piece is all of, unless another content has the piece, too.
fn alone<'m>(medium: &'m Medium, piece: &Piece) -> Option<&'m Content> {
    let contents = medium.manifest().contents.iter();
    let mut with = contents.filter(|content| content.pieces.contains(piece));
    let first = with.next()?;
    let is_alone = first.what == What::Blob {} && first.pieces.len() == 1;
    (is_alone && with.all(|other| other.what == first.what && other.sha256 == first.sha256))
        .then_some(first)
}

/// Removes what was kept of streams, and what killed runs have left.
///
/// # Errors
/// It cannot be removed.
pub(super) fn clean_up(workspace: &Workspace) -> Result<(), crate::Error> {
    place::remove(&temporary(workspace))
}

/// Receives a piece that is not needed: it is compared with its hash, and nothing else.
struct Discard;

impl Write for Discard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PieceSink for Discard {
    fn done(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Receives a blob.
struct Blob {
    into: Option<Into>,
    size: u64,
    /// How many blobs came into the store, and their bytes.
    received: Rc<Cell<(usize, u64)>>,
}

impl Write for Blob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.into {
            Some(into) => into.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PieceSink for Blob {
    fn done(&mut self) -> io::Result<()> {
        if let Some(into) = self.into.take() {
            into.commit().map_err(io::Error::other)?;
            let (blobs, bytes) = self.received.get();
            self.received.set((blobs + 1, bytes + self.size));
        }
        Ok(())
    }
}
