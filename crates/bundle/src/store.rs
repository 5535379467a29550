//! The store: a content-addressed OCI image layout on disk. It holds each blob once, for all
//! releases.
//!
//! ```text
//! oci-layout             the version of the layout
//! index.json             every artifact that was ingested, as `<repository>:<tag>`
//! blobs/sha256/<hex>     the blobs
//! incoming/              blobs that are being written, under temporary names
//! partial/<digits>       blobs that are fetched in pieces, kept for the next run
//! incoming/lock          shared by writers, exclusive for a removal
//! index.lock             held while index.json is changed
//! ```
//!
//! Other tools read it: `skopeo inspect oci:bundles/store:<repository>:<tag>`.
//!
//! **What a crash can leave.** A blob gets its final name by a rename, after its digest was
//! compared. So a killed process leaves only files in `incoming`, which the next writer removes.
//! After a power failure, a renamed file may be cut, because file systems may write a name before
//! the content. Three things guard against that:
//!
//! - Large blobs are synced before the rename. The cost is that of writing them.
//! - Small blobs are synced together before `index.json` names them.
//! - Each use of a blob compares its size ([`Store::has`]) or its digest ([`Store::read`],
//!   [`Store::verify_blob`]).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::Digest;

use crate::digest::{self, Hasher};
use crate::lock::{Artifact, Lock};
use crate::sink::{BlobSink, Sink};

mod checked;
mod collect;
mod error;
pub(crate) mod incoming;
mod index;
mod partial;
mod writer;

use checked::Checked;
pub use collect::Exclusive;
pub use error::StoreError;
use error::io_error;
pub use index::Listed;
pub use partial::PartialBlob;
pub use writer::BlobWriter;

/// Maximum number of small blobs that are synced one by one. For more, the file system is synced:
/// one request instead of thousands that each wait for the disk.
const MOST_SINGLE_SYNCS: usize = 64;

/// A store in a folder. Clones are cheap, share the folder, and may be used from several threads.
#[derive(Clone, Debug)]
pub struct Store {
    directory: Utf8PathBuf,
    shared: Arc<Mutex<Shared>>,
}

/// State shared by the clones of a store.
#[derive(Debug, Default)]
struct Shared {
    /// The shared lock on `incoming`; `None` before the first write.
    incoming: Option<File>,
    /// Small blobs that were written and are not synced yet.
    unsynced: Vec<Digest>,
    /// Artifacts that were read from a bundle and are not in `index.json` yet.
    unlisted: Vec<Artifact>,
    /// Files that this process hashed while it wrote them.
    checked: Checked,
}

/// A blob that a lock lists and the store lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBlob {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

impl Store {
    /// Opens the store in `directory`. A missing folder is an empty store; the first write creates
    /// it.
    ///
    /// # Errors
    /// [`StoreError`] if the folder contains something else, or cannot be read.
    pub fn open(directory: &Utf8Path) -> Result<Self, StoreError> {
        index::check_layout(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            shared: Arc::default(),
        })
    }

    /// Returns the store's folder.
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// Returns the path of a blob, whether the store has it or not. No file exists for digests of
    /// algorithms other than SHA-256.
    pub fn path(&self, digest: &Digest) -> Utf8PathBuf {
        self.directory
            .join("blobs")
            .join(digest.algorithm().as_ref())
            .join(digest.digest())
    }

    /// Returns whether the store has the blob with `size` bytes. Its content is not read.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.path(digest))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
    }

    /// Returns the blobs of `lock` that the store lacks, sorted by digest. The release matrix
    /// counts as a blob. If nothing is missing, the bundle need not be read.
    pub fn missing(&self, lock: &Lock) -> Vec<MissingBlob> {
        let matrix = lock
            .release_matrix
            .iter()
            .map(|file| (format!("sha256:{}", file.sha256), file.size));
        let blobs: BTreeMap<String, u64> = lock.blobs().into_iter().chain(matrix).collect();
        blobs
            .into_iter()
            .filter_map(|(digest, size)| {
                let digest = digest::sha256_digest(&digest).ok()?;
                (!self.has(&digest, size)).then_some(MissingBlob { digest, size })
            })
            .collect()
    }

    /// Reads a blob of at most `limit` bytes and compares it with its digest.
    ///
    /// # Errors
    /// [`StoreError`] if the blob is missing, is larger, or has different content.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(digest);
        let file = self.open_blob(digest)?;
        let size = file
            .metadata()
            .map_err(|source| io_error("read", &path, source))?
            .len();
        if size > limit {
            return Err(StoreError::TooLarge { path, size, limit });
        }
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|source| io_error("read", &path, source))?;
        expect_digest(digest, digest::digest_of(&bytes), path)?;
        Ok(bytes)
    }

    /// Opens a blob for reading. Its content is not compared with its digest: the caller hashes it.
    ///
    /// # Errors
    /// [`StoreError`] if the blob is missing or cannot be read.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        files::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing {
                digest: digest.clone(),
                path: self.directory.clone(),
            },
            _ => io_error("read", &path, source),
        })
    }

    /// Returns whether this process hashed every blob of `lock` that is in the store.
    pub fn has_hashed(&self, lock: &Lock) -> bool {
        let mut digests = lock.artifacts.iter().flat_map(Artifact::blobs);
        digests.all(|(digest, size)| {
            let is_hashed = self.shared().checked.contains(digest);
            is_hashed || !self.has(digest, size)
        })
    }

    /// Returns whether an opened blob is the file that this process hashed while writing it,
    /// unchanged since.
    pub fn is_checked(&self, digest: &Digest, file: &File) -> bool {
        self.shared().checked.is_unchanged(digest, file)
    }

    /// Reads a blob to its end and compares it with its digest and `size`.
    ///
    /// # Errors
    /// [`StoreError`] if the blob is missing, or has a different size or content.
    pub fn verify_blob(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let path = self.path(digest);
        let mut file = self.open_blob(digest)?;
        let mut hasher = Hasher::new();
        let found = hasher
            .update_from(&mut file, |_| {})
            .map_err(|source| io_error("read", &path, source))?;
        if found != size {
            return Err(StoreError::Size { path, size, found });
        }
        expect_digest(digest, hasher.digest(), path)
    }

    /// Removes a corrupt blob, so the next reading of a bundle restores it.
    ///
    /// # Errors
    /// [`StoreError`] if the blob cannot be removed. A missing blob is not an error.
    pub fn discard(&self, digest: &Digest) -> Result<(), StoreError> {
        remove_if_present(&self.path(digest))
    }

    /// Begins to write a blob of `size` bytes. The writer checks the size; the caller of
    /// [`BlobSink::commit`] compares the digest.
    ///
    /// # Errors
    /// [`StoreError`] if the folder is not writable.
    pub fn writer(&self, digest: &Digest, size: u64) -> Result<BlobWriter, StoreError> {
        self.prepare()?;
        let incoming = self.incoming();
        BlobWriter::new(self.clone(), &incoming, digest, size)
    }

    /// Adds `artifacts` to `index.json` after syncing their blobs. Each replaces an entry of the
    /// same repository and tag. The store must have all their blobs.
    ///
    /// # Errors
    /// [`StoreError`] if a root manifest is missing, or a file cannot be written.
    pub fn list<'a>(
        &self,
        artifacts: impl IntoIterator<Item = &'a Artifact>,
    ) -> Result<(), StoreError> {
        let artifacts: Vec<&Artifact> = artifacts.into_iter().collect();
        for artifact in &artifacts {
            if !self.has(&artifact.digest, artifact.size) {
                return Err(StoreError::Missing {
                    digest: artifact.digest.clone(),
                    path: self.directory.clone(),
                });
            }
        }
        self.prepare()?;
        self.sync()?;
        index::add(&self.directory, &artifacts)
    }

    /// Returns the artifacts in `index.json`, sorted by name.
    ///
    /// # Errors
    /// [`StoreError`] if `index.json` cannot be read.
    pub fn listed(&self) -> Result<Vec<Listed>, StoreError> {
        index::read(&self.directory)
    }

    /// Returns all blobs with their sizes in bytes, sorted by digest.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be read. A missing folder is not an error.
    pub fn blobs(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let folder = self.directory.join("blobs").join("sha256");
        let read = |source| io_error("read", &folder, source);
        let files = match folder.read_dir_utf8() {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(read(source)),
        };
        let mut blobs = BTreeMap::new();
        for file in files {
            let file = file.map_err(read)?;
            // Foreign files are ignored.
            let Some(digest) = digest::from_hex(file.file_name()) else {
                continue;
            };
            match file.metadata() {
                Ok(metadata) => blobs.insert(digest.to_string(), metadata.len()),
                // Another process has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(read(source)),
            };
        }
        Ok(blobs)
    }

    /// Locks the store for removing blobs. Returns `None` if the store does not exist.
    ///
    /// # Errors
    /// [`StoreError`] if the store is being written to, or cannot be locked. Other [`Store`]s of
    /// this process and clones of this one count as writers.
    pub fn exclusive(&self) -> Result<Option<Exclusive<'_>>, StoreError> {
        if !self.directory.join("blobs").exists() {
            return Ok(None);
        }
        let incoming = self.incoming();
        fs::create_dir_all(&incoming).map_err(|source| io_error("create", &incoming, source))?;
        match incoming::lock_exclusive(&incoming)? {
            Some(lock) => Ok(Some(Exclusive {
                store: self,
                _lock: lock,
            })),
            None => Err(StoreError::InUse {
                path: self.directory.clone(),
            }),
        }
    }

    fn incoming(&self) -> Utf8PathBuf {
        self.directory.join("incoming")
    }

    /// Creates the folders and the layout file before the first write, and removes the files of
    /// killed processes.
    fn prepare(&self) -> Result<(), StoreError> {
        let mut shared = self.shared();
        if shared.incoming.is_some() {
            return Ok(());
        }
        let incoming = self.incoming();
        for folder in [&self.directory.join("blobs").join("sha256"), &incoming] {
            fs::create_dir_all(folder).map_err(|source| io_error("create", folder, source))?;
        }
        // Writing the layout uses a temporary file in `incoming`, which is safe only under the
        // lock.
        let lock = incoming::lock_shared(&incoming)?;
        index::write_layout(&self.directory)?;
        shared.incoming = Some(lock);
        Ok(())
    }

    /// Syncs the small blobs of this process, and the folder with their names. Returns the number
    /// of requests to the disk.
    fn sync(&self) -> Result<usize, StoreError> {
        let unsynced = std::mem::take(&mut self.shared().unsynced);
        let blobs = self.directory.join("blobs").join("sha256");
        if unsynced.len() > MOST_SINGLE_SYNCS && files::sync_filesystem(&blobs).is_ok() {
            return Ok(1);
        }
        let requests = unsynced.len() + 1;
        for digest in unsynced {
            let path = self.path(&digest);
            match files::open(&path).and_then(|file| file.sync_data()) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("write", &path, source));
                }
                _ => {}
            }
        }
        files::sync_folder(&blobs).map_err(|source| io_error("write", &blobs, source))?;
        Ok(requests)
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        // A thread that panics leaves no partial state.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Store {
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn BlobSink>>, StoreError> {
        // Takes the lock even if nothing is written: until the bundle is read, no blob may be
        // removed.
        self.prepare()?;
        if self.has(digest, size) {
            return Ok(None);
        }
        Ok(Some(Box::new(self.writer(digest, size)?)))
    }

    fn artifact(&mut self, artifact: &Artifact) -> Result<(), StoreError> {
        self.shared().unlisted.push(artifact.clone());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        let unlisted = std::mem::take(&mut self.shared().unlisted);
        self.list(&unlisted)
    }
}

fn expect_digest(digest: &Digest, found: Digest, path: Utf8PathBuf) -> Result<(), StoreError> {
    if found == *digest {
        Ok(())
    } else {
        Err(StoreError::Corrupt { path, found })
    }
}

/// Removes a file. A missing one is not an error.
fn remove_if_present(path: &Utf8Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path, source))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
