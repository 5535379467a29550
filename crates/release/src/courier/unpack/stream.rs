//! Receives a medium as a stream. A blob of one piece goes to the store as it arrives. Other pieces
//! are kept in a folder until the end.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use medium::{Content, Medium, Piece, PieceSink, What};

use super::blobs::{self, StoreWriter};
use super::{Error, Trust, Unpacked, WorkspaceLock, advanced, kept, place, temporary};
use crate::transfer::fetch::open_store;
use crate::{Context, Workspace};

/// Reads a stream to its end. Pieces that do not go to the store are kept in a folder of the
/// workspace.
///
/// # Errors
/// The medium is not trusted, or the stream ends early. Received pieces are kept for the next run.
pub(super) fn receive(
    context: &Context<'_>,
    from: &mut dyn Read,
    trust: &Trust<'_>,
    unpacked: &mut Unpacked,
    lock: &mut Option<WorkspaceLock>,
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
            *lock = Some(WorkspaceLock::acquire(workspace)?);
            super::report_start(context, &medium);
            Ok(medium)
        },
        |medium, piece| {
            let path = kept::path(workspace, piece);
            match sole_blob(medium, piece) {
                Some(content) if blobs::has(&store, content) => Ok(Box::new(Discard)),
                Some(content) => Ok(Box::new(Blob {
                    into: StoreWriter::new(&store, content)
                        .map_err(|source| crate::Error::store(workspace, source))?,
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

/// Returns the blob that consists of a piece, unless a different content has the piece, too.
fn sole_blob<'m>(medium: &'m Medium, piece: &Piece) -> Option<&'m Content> {
    let contents = medium.manifest().contents.iter();
    let mut with = contents.filter(|content| content.pieces.contains(piece));
    let first = with.next()?;
    let is_alone = first.what == What::Blob {} && first.pieces.len() == 1;
    (is_alone && with.all(|other| other.what == first.what && other.sha256 == first.sha256))
        .then_some(first)
}

/// Removes the kept pieces and the temporary files of killed runs.
///
/// # Errors
/// The folder cannot be removed.
pub(super) fn clean_up(workspace: &Workspace) -> Result<(), crate::Error> {
    place::remove(&temporary(workspace))
}

/// Discards a piece that is not needed, after its hash was checked.
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
    fn done(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// Receives a blob into the store.
struct Blob {
    into: StoreWriter,
    size: u64,
    /// Number and bytes of the blobs added to the store.
    received: Rc<Cell<(usize, u64)>>,
}

impl Write for Blob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.into.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PieceSink for Blob {
    fn done(self: Box<Self>) -> io::Result<()> {
        self.into.commit().map_err(io::Error::other)?;
        let (blobs, bytes) = self.received.get();
        self.received.set((blobs + 1, bytes + self.size));
        Ok(())
    }
}
