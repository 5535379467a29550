//! What a measurement needs of bundles: one of a given size and shape, the blobs in it, and the
//! floor below which no reading of it can go.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ::bundle::make::Recipe;
use camino::{Utf8Path, Utf8PathBuf};
use flate2::read::MultiGzDecoder;
use semver::Version;
use sha2::{Digest as _, Sha256};

use release::Workspace;

use crate::failure::Failure;
use crate::scratch::PROJECT;

mod shape;

pub(crate) use shape::{CHARTS, Kind, Shape};

/// How much is read, inflated and hashed at a time, in bytes.
const BUFFER: usize = 256 * 1024;

/// How many buffers may be on their way from one thread to the next.
const AHEAD: usize = 8;

/// Returns the release that measured bundles are named for: the newest one of which everything is
/// known.
pub(crate) fn release() -> Version {
    Version::new(4, 1, 5)
}

/// Writes a bundle of `shape` to `path`, the same bytes each time.
pub(crate) fn make(path: &Utf8Path, shape: &Shape) -> Result<(), Failure> {
    let failed = |source| Failure::io("write", path, source);
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let recipe: Recipe = shape.recipe();
    let mut output = io::BufWriter::new(&mut file);
    ::bundle::make::write(&recipe, &mut output).map_err(|source| Failure::Make {
        path: path.to_owned(),
        source,
    })?;
    output.into_inner().map_err(|error| failed(error.into()))?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// What a locked bundle comes to.
#[derive(Debug)]
pub(crate) struct Held {
    /// How many artifacts there are.
    pub(crate) artifacts: usize,
    /// Where a push puts each of them below a registry.
    pub(crate) references: Vec<String>,
    /// The blobs, each once, by their digests: where the store has them, and their sizes in bytes.
    pub(crate) blobs: BTreeMap<String, (Utf8PathBuf, u64)>,
    /// The bytes of blobs and manifests, each counted once: what a store of this bundle holds.
    pub(crate) unique_bytes: u64,
}

/// Returns what the locked bundle of [`release()`] in a workspace comes to.
pub(crate) fn held(workspace: &Workspace) -> Result<Held, Failure> {
    let lock = release::locked::read(workspace, &release())?.lock;
    let store = ::bundle::Store::open(&workspace.store()).map_err(Failure::Store)?;
    let blobs = lock
        .artifacts
        .iter()
        .flat_map(|artifact| &artifact.manifests)
        .flat_map(|manifest| &manifest.blobs)
        .map(|blob| {
            let place = (store.path(&blob.digest), blob.size);
            (blob.digest.to_string(), place)
        })
        .collect();
    Ok(Held {
        artifacts: lock.artifacts.len(),
        references: (lock.artifacts.iter())
            .map(|artifact| format!("{PROJECT}/{}", artifact.reference()))
            .collect(),
        blobs,
        unique_bytes: lock.blobs().values().sum(),
    })
}

/// Reads a bundle, hashes it, inflates it and hashes what comes out, with the same libraries as
/// everything else here and nothing between them: no tar, no store. Returns how many bytes came
/// out.
///
/// Three threads, one for each of the works that can continue side by side.
pub(crate) fn inflate_and_hash(path: &Utf8Path) -> Result<u64, Failure> {
    let failed = |source| Failure::io("read", path, source);
    let mut file = files::open(path).map_err(failed)?;
    let (packed, to_inflate) = pipe();
    let (inflated, to_hash) = pipe();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || pump(&mut file, &packed, Some(Sha256::new())));
        let hasher = scope.spawn(move || {
            let mut hash = Sha256::new();
            let mut bytes = 0;
            while let Ok((buffer, count)) = to_hash.full.recv() {
                hash.update(&buffer[..count]);
                bytes += count as u64;
                to_hash.give_back(buffer);
            }
            std::hint::black_box(hash.finalize());
            bytes
        });
        let mut gzip = MultiGzDecoder::new(Arriving {
            pipe: to_inflate,
            now: (Vec::new(), 0),
            taken: 0,
        });
        let outcome = pump(&mut gzip, &inflated, None);
        drop((gzip, inflated));
        let read = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let bytes = hasher
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.and(read).map_err(failed)?;
        Ok(bytes)
    })
}

/// Moves everything from a reader into a pipe, and hashes it on the way if it is to be hashed.
fn pump(from: &mut impl Read, to: &Filling, mut hash: Option<Sha256>) -> io::Result<()> {
    // When the other end is gone, the receiver has met an error, and reports it.
    while let Ok(mut buffer) = to.empty.recv() {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        if let Some(hash) = &mut hash {
            hash.update(&buffer[..count]);
        }
        if to.full.send((buffer, count)).is_err() {
            break;
        }
    }
    std::hint::black_box(hash.map(Sha256::finalize));
    Ok(())
}

/// The end of a pipe at which buffers are filled.
struct Filling {
    /// Buffers, and how much of each is filled.
    full: SyncSender<(Vec<u8>, usize)>,
    empty: Receiver<Vec<u8>>,
}

/// The end of a pipe at which they are emptied and given back: memory that is new each time would
/// cost more than the hashing.
struct Emptying {
    full: Receiver<(Vec<u8>, usize)>,
    empty: SyncSender<Vec<u8>>,
}

impl Emptying {
    fn give_back(&self, buffer: Vec<u8>) {
        // It is not needed when everything has been read.
        let _ = self.empty.send(buffer);
    }
}

fn pipe() -> (Filling, Emptying) {
    let (full, to_empty) = sync_channel(AHEAD);
    let (emptied, empty) = sync_channel(AHEAD);
    for _ in 0..AHEAD {
        // There is room for all of them.
        let _ = emptied.send(vec![0; BUFFER]);
    }
    (
        Filling { full, empty },
        Emptying {
            full: to_empty,
            empty: emptied,
        },
    )
}

/// Reads what comes through a pipe.
struct Arriving {
    pipe: Emptying,
    now: (Vec<u8>, usize),
    taken: usize,
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.now.1 {
            let Ok(next) = self.pipe.full.recv() else {
                return Ok(0);
            };
            let (before, _) = std::mem::replace(&mut self.now, next);
            if !before.is_empty() {
                self.pipe.give_back(before);
            }
            self.taken = 0;
        }
        let rest = &self.now.0[self.taken..self.now.1];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_reads_the_whole_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("b.tar.gz");
        let shape = Shape {
            kind: Kind::Mke,
            size: 2_000_000,
            archives: 5,
            platforms: 2,
            blobs: 0,
        };
        make(&path, &shape).unwrap();
        let mut tar = Vec::new();
        MultiGzDecoder::new(std::fs::File::open(&path).unwrap())
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(inflate_and_hash(&path).unwrap(), tar.len() as u64);

        let packed = std::fs::read(&path).unwrap();
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        assert!(inflate_and_hash(&path).is_err());
    }
}
