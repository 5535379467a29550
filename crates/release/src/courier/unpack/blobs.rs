//! Imports blobs into the store, several concurrently, each in one pass.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Mutex;

use bundle::{BlobSink as _, BlobWriter, Store, StoreError};
use medium::{Content, Medium, What};

use super::{Damaged, Unpacked, advanced};
use crate::event::{Event, Step};
use crate::transfer::before_push::{self, NotReady};
use crate::transfer::fetch::open_store;
use crate::transfer::local;
use crate::{Context, Workspace};

/// Writes a blob into the store. [`StoreWriter::commit`] gives it its name.
pub(super) struct StoreWriter(Box<BlobWriter>);

impl StoreWriter {
    pub(super) fn new(store: &Store, content: &Content) -> Result<Self, StoreError> {
        let digest = digest(&content.sha256)?;
        Ok(Self(Box::new(store.writer(&digest, content.size)?)))
    }

    /// Keeps the blob after its hash was checked.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.0.commit()
    }
}

impl Write for StoreWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the error of a write to a [`StoreWriter`].
pub(super) fn of_write(workspace: &Workspace, source: io::Error) -> crate::Error {
    match source.downcast::<StoreError>() {
        Ok(source) => crate::Error::store(workspace, source),
        Err(source) => crate::Error::io("write", &workspace.store(), source),
    }
}

fn digest(sha256: &str) -> Result<oci_spec::image::Digest, StoreError> {
    bundle::sha256_digest(&format!("sha256:{sha256}")).map_err(|error| StoreError::Io {
        action: "name",
        path: sha256.into(),
        source: io::Error::other(error.to_string()),
    })
}

/// Returns whether the store has a blob.
pub(super) fn has(store: &Store, content: &Content) -> bool {
    digest(&content.sha256).is_ok_and(|digest| store.has(&digest, content.size))
}

/// Checks that the disk has room for all contents that are not in the store.
///
/// # Errors
/// [`super::Error::NoRoom`] or [`NotReady::NoRoom`].
pub(super) fn check_room(workspace: &Workspace, medium: &Medium) -> Result<(), crate::Error> {
    let store = open_store(workspace)?;
    let contents = medium.manifest().contents.iter();
    let missing = contents.filter(|one| one.what != What::Blob {} || !has(&store, one));
    let needed = missing.map(|content| content.size).sum();
    let folder = workspace.bundles();
    match before_push::free(&folder) {
        // Before the workspace exists, `store gc` cannot free space.
        Ok(free) if free < needed && !workspace.root().join("environments").is_dir() => {
            Err(super::Error::NoRoom {
                folder: workspace.root().to_owned(),
                free,
                needed,
            }
            .into())
        }
        Ok(free) if free < needed => Err(NotReady::NoRoom {
            folder: workspace.shown(&folder).to_owned(),
            free,
            needed,
        }
        .into()),
        _ => Ok(()),
    }
}

/// Imports the blobs that the store lacks, and adds complete artifacts to its index.
///
/// # Errors
/// The store cannot be written, or a lock cannot be read.
pub(super) fn fill(
    context: &Context<'_>,
    medium: &Medium,
    unpacked: &mut Unpacked,
    damaged: &mut Damaged,
) -> Result<(), crate::Error> {
    let workspace = context.workspace;
    let store = open_store(workspace)?;
    let contents = medium.manifest().contents.iter();
    let mut seen = BTreeSet::new();
    let blobs: Vec<&Content> = contents
        .filter(|content| content.what == What::Blob {} && seen.insert(&content.sha256))
        .collect();
    let (here, missing): (Vec<&Content>, Vec<&Content>) =
        blobs.into_iter().partition(|content| has(&store, content));
    context.reporter.report(Event::Skipped {
        step: Step::Unpack,
        bytes: here.iter().map(|content| content.size).sum(),
    });
    let done = Mutex::new((0_usize, 0_u64));
    let failed = Mutex::new(Vec::new());
    medium::parallel(&missing, &|content| {
        let mut into = StoreWriter::new(&store, content)
            .map_err(|source| crate::Error::store(workspace, source))?;
        match medium.copy(content, &mut into, &|bytes| advanced(context, bytes)) {
            Ok(()) => {
                let committed = into.commit();
                committed.map_err(|source| crate::Error::store(workspace, source))?;
                let mut done = done.lock().unwrap_or_else(|held| held.into_inner());
                *done = (done.0 + 1, done.1 + content.size);
                Ok(())
            }
            Err(medium::Error::Piece { .. }) => {
                let mut failed = failed.lock().unwrap_or_else(|held| held.into_inner());
                failed.push(*content);
                Ok(())
            }
            Err(medium::Error::Stream { source, .. }) => Err(of_write(workspace, source)),
            Err(error) => Err(error.into()),
        }
    })?;
    for content in failed.into_inner().unwrap_or_else(|held| held.into_inner()) {
        damaged.note(context, medium, content)?;
    }
    let (blobs, bytes) = done.into_inner().unwrap_or_else(|held| held.into_inner());
    // Blobs of a stream are in the store already.
    unpacked.kept += here.len().saturating_sub(unpacked.blobs);
    unpacked.blobs += blobs;
    unpacked.bytes += bytes;
    let assumed = medium.manifest().assumes.blobs.iter();
    unpacked.assumed = assumed
        .filter(|blob| !digest(&blob.sha256).is_ok_and(|digest| store.has(&digest, blob.size)))
        .count();
    match unpacked.blobs + unpacked.kept {
        0 => Ok(()),
        _ => index_artifacts(workspace, &store),
    }
}

/// Syncs all blobs, and adds the artifacts of all locks that are complete in the store to its
/// index.
fn index_artifacts(workspace: &Workspace, store: &Store) -> Result<(), crate::Error> {
    for path in workspace.locks()? {
        let lock = bundle::Lock::read(&path)?;
        local::sync_and_list(store, &lock)
            .map_err(|source| crate::Error::store(workspace, source))?;
    }
    Ok(())
}
