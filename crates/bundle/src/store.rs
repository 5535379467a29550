//! The store: a content-addressed OCI image layout on disk that holds each blob once, over all
//! releases.
//!
//! ```text
//! oci-layout             the version of the layout
//! index.json             every artifact that was ingested, as `<repository>:<tag>`
//! blobs/sha256/<hex>     the blobs
//! incoming/              blobs that are being written, under names of their own
//! partial/<digits>       blobs that are fetched in pieces, kept for the next run
//! incoming/lock          shared by writers, exclusive for a removal
//! index.lock             held while index.json is changed
//! ```
//!
//! Other tools read it: `skopeo inspect oci:bundles/store:<repository>:<tag>`.
//!
//! **What a crash can leave.** A blob gets its final name by a rename, after its digest has been
//! found right, so a killed process leaves at most files in `incoming`, which the next writer
//! removes. When the machine itself dies, a renamed file may be shorter than it was, since file
//! systems may write a name before the content. So large blobs are synced before the rename, where
//! the cost is that of the writing itself; small ones are synced together before `index.json` names
//! them; and each use of a blob compares its size ([`Store::has`]) or its digest ([`Store::read`],
//! [`Store::verify_blob`]).

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

/// How many small blobs are synced one by one. For more, the whole file system is synced: one
/// request instead of thousands, each of which would wait for the disk.
const FEW: usize = 64;

/// A store in a folder. Cheap to clone; clones share the folder and may be used from several
/// threads.
#[derive(Clone, Debug)]
pub struct Store {
    directory: Utf8PathBuf,
    shared: Arc<Mutex<Shared>>,
}

/// What the clones of a store share.
#[derive(Debug, Default)]
struct Shared {
    /// Held while this process may have files in `incoming`. None before the first write.
    incoming: Option<File>,
    /// Small blobs that were written and not yet synced.
    unsynced: Vec<Digest>,
    /// Artifacts that were read and are not yet listed.
    read: Vec<Artifact>,
    /// What was compared with its digest while it was written.
    checked: Checked,
}

/// A blob that a lock names and the store lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Store {
    /// Opens the store in `directory`. A folder that is missing is an empty store, and made by the
    /// first write.
    ///
    /// # Errors
    /// When the folder holds something else, or cannot be read.
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

    /// Returns where the blob is, or would be. A digest of another algorithm than sha256 never is
    /// anywhere.
    pub fn path(&self, digest: &Digest) -> Utf8PathBuf {
        self.directory
            .join("blobs")
            .join(digest.algorithm().as_ref())
            .join(digest.digest())
    }

    /// Returns whether the blob is there, with `size` bytes.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.path(digest))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
    }

    /// Returns what the store lacks of everything that `lock` lists, the release matrix included,
    /// by digest. A bundle of which nothing is missing need not be read.
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

    /// Reads a blob of at most `limit` bytes, and compares it with its digest.
    ///
    /// # Errors
    /// When it is missing, is larger, or has different content.
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
        same(digest, digest::digest_of(&bytes), path)?;
        Ok(bytes)
    }

    /// Opens a blob for reading. Its content is not compared with its digest; the sender hashes it
    /// on the way.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
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

    /// Returns whether this process compared everything with its digest that a lock names and the
    /// store has.
    pub fn has_compared(&self, lock: &Lock) -> bool {
        let mut digests = lock.artifacts.iter().flat_map(Artifact::blobs);
        digests.all(|(digest, size)| {
            let is_noted = self.shared().checked.names(digest);
            is_noted || !self.has(digest, size)
        })
    }

    /// Returns whether an opened blob is the file that this process hashed as it wrote it, and was
    /// not touched since.
    pub fn is_checked(&self, digest: &Digest, file: &File) -> bool {
        self.shared().checked.holds(digest, file)
    }

    /// Reads a blob from beginning to end and compares it with its digest and `size`.
    ///
    /// # Errors
    /// When it is missing, or is something else.
    pub fn verify_blob(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let path = self.path(digest);
        let mut file = self.open_blob(digest)?;
        let mut hasher = Hasher::new();
        let mut found = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(io_error("read", &path, source)),
            };
            hasher.update(&buffer[..count]);
            found += count as u64;
        }
        if found != size {
            return Err(StoreError::Size { path, size, found });
        }
        same(digest, hasher.digest(), path)
    }

    /// Removes a blob that was found to be something else than its name says, so the next reading
    /// restores it.
    ///
    /// # Errors
    /// When it cannot be removed. A missing one is not an error.
    pub fn discard(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    /// Begins to write a blob of `size` bytes. The writer trusts the digest that
    /// [`BlobSink::commit`] is called with, and checks the size.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn writer(&self, digest: &Digest, size: u64) -> Result<BlobWriter, StoreError> {
        self.prepare()?;
        let incoming = self.incoming();
        BlobWriter::new(self.clone(), &incoming, digest, size)
    }

    /// Names `artifacts` in `index.json`, in place of others of the same repository and tag, after
    /// making their blobs durable. Their blobs must be there.
    ///
    /// # Errors
    /// When a root manifest is missing, or something cannot be written.
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

    /// Returns the artifacts that `index.json` names, by name.
    ///
    /// # Errors
    /// When `index.json` cannot be read.
    pub fn listed(&self) -> Result<Vec<Listed>, StoreError> {
        index::read(&self.directory)
    }

    /// Returns every blob with its size in bytes, by digest.
    ///
    /// # Errors
    /// When the folder cannot be read. A missing one is not an error.
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
            // What is not a blob is not ours.
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

    /// Returns the store for removing from it while no process writes to it; none if there is no
    /// store.
    ///
    /// # Errors
    /// When something writes to it at this moment, another [`Store`] of this process or a clone of
    /// this one included, or it cannot be locked.
    pub fn exclusive(&self) -> Result<Option<Exclusive<'_>>, StoreError> {
        if !self.directory.join("oci-layout").exists() {
            return Ok(None);
        }
        let incoming = self.incoming();
        fs::create_dir_all(&incoming).map_err(|source| io_error("create", &incoming, source))?;
        match incoming::lock_alone(&incoming)? {
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

    /// Makes the folders and the layout file before the first write, and removes what killed
    /// processes have left.
    fn prepare(&self) -> Result<(), StoreError> {
        let mut shared = self.shared();
        if shared.incoming.is_some() {
            return Ok(());
        }
        let incoming = self.incoming();
        for folder in [&self.directory.join("blobs").join("sha256"), &incoming] {
            fs::create_dir_all(folder).map_err(|source| io_error("create", folder, source))?;
        }
        // The layout is written by way of a file in the folder, which is ours only from here on.
        let ours = incoming::take_over(&incoming)?;
        index::write_layout(&self.directory)?;
        shared.incoming = Some(ours);
        Ok(())
    }

    /// Syncs the small blobs of this process, and the folder with their names. Returns how many
    /// requests to the disk that took.
    fn sync(&self) -> Result<usize, StoreError> {
        let unsynced = std::mem::take(&mut self.shared().unsynced);
        let blobs = self.directory.join("blobs").join("sha256");
        if unsynced.len() > FEW && files::sync_filesystem(&blobs).is_ok() {
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
        // Nothing is left half-done in there by a thread that panics.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Store {
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn BlobSink>>, StoreError> {
        // Also where nothing needs to be written: from here to the end of the reading, nothing may
        // be removed.
        self.prepare()?;
        if self.has(digest, size) {
            return Ok(None);
        }
        Ok(Some(Box::new(self.writer(digest, size)?)))
    }

    fn artifact(&mut self, artifact: &Artifact) -> Result<(), StoreError> {
        self.shared().read.push(artifact.clone());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        let read = std::mem::take(&mut self.shared().read);
        self.list(&read)
    }
}

fn same(digest: &Digest, found: Digest, path: Utf8PathBuf) -> Result<(), StoreError> {
    if found == *digest {
        Ok(())
    } else {
        Err(StoreError::Corrupt { path, found })
    }
}

#[cfg(test)]
mod tests;
