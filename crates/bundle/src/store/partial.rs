//! A blob that is fetched in pieces, possibly over several runs. It gets its final name after size
//! and digest were compared.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek as _, Write as _};

use camino::Utf8PathBuf;
use oci_spec::image::Digest;

use super::error::io_error;
use super::incoming::has_no_locks;
use super::writer::{Writeback, readable_by_all, write_error};
use super::{Store, StoreError, remove_if_present};
use crate::digest::Hasher;

/// An incomplete blob in `partial/`, locked against other processes.
#[derive(Debug)]
pub struct PartialBlob {
    store: Store,
    digest: Digest,
    size: u64,
    path: Utf8PathBuf,
    file: File,
    hasher: Hasher,
    written: u64,
    writeback: Writeback,
}

impl Store {
    /// Opens an incomplete blob of `size` bytes with the bytes of earlier runs, or begins it.
    /// Returns `None` if another process writes or has finished it.
    ///
    /// # Errors
    /// [`StoreError`] if its file cannot be opened or locked.
    pub fn partial(&self, digest: &Digest, size: u64) -> Result<Option<PartialBlob>, StoreError> {
        self.prepare()?;
        let folder = self.partials();
        fs::create_dir_all(&folder).map_err(|source| io_error("create", &folder, source))?;
        let path = folder.join(digest.digest());
        let open = |path: &Utf8PathBuf| {
            let mut options = File::options();
            options.create(true).truncate(false).read(true).write(true);
            #[cfg(unix)]
            {
                use std::os::unix::fs::OpenOptionsExt as _;
                options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
            }
            options.open(path)
        };
        let mut file = open(&path).map_err(|source| io_error("write", &path, source))?;
        if files::has_other_names(&file) {
            // The file has a second hard link, whose content must not change.
            remove_if_present(&path)?;
            file = open(&path).map_err(|source| io_error("write", &path, source))?;
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path, source)),
        }
        if self.has(digest, size) || !is_named(&file, &path) {
            // Another process has finished the blob.
            return Ok(None);
        }
        let mut partial = PartialBlob {
            store: self.clone(),
            digest: digest.clone(),
            size,
            path,
            file,
            hasher: Hasher::new(),
            written: 0,
            writeback: Writeback::default(),
        };
        partial.hash_existing()?;
        Ok(Some(partial))
    }

    pub(super) fn partials(&self) -> Utf8PathBuf {
        self.directory.join("partial")
    }
}

impl PartialBlob {
    /// Returns the number of bytes so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns the digest of the bytes so far.
    pub fn found(&self) -> Digest {
        self.hasher.clone().digest()
    }

    /// Appends the next bytes.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| self.error(source))?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.writeback.wrote(&self.file, self.written);
        Ok(())
    }

    /// Discards all bytes.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be truncated.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|source| self.error(source))?;
        self.hasher = Hasher::new();
        self.written = 0;
        self.writeback = Writeback::default();
        Ok(())
    }

    /// Moves the complete blob to its final name.
    ///
    /// # Errors
    /// [`StoreError`] if size or digest is wrong, or the file cannot be synced or renamed. A wrong
    /// blob is removed.
    pub fn commit(self) -> Result<(), StoreError> {
        let path = self.store.path(&self.digest);
        let found = self.found();
        if self.written != self.size || found != self.digest {
            fs::remove_file(&self.path).map_err(|source| io_error("remove", &self.path, source))?;
            return Err(match self.written == self.size {
                true => StoreError::Corrupt { path, found },
                false => StoreError::Size {
                    path,
                    size: self.size,
                    found: self.written,
                },
            });
        }
        let synced = self.file.sync_data();
        synced.map_err(|source| self.error(source))?;
        readable_by_all(&self.file)
            .and_then(|()| fs::rename(&self.path, &path))
            .map_err(|source| io_error("write", &path, source))?;
        self.store.shared().checked.note(&self.digest, &self.file);
        Ok(())
    }

    /// Hashes the bytes of earlier runs. More than `size` are discarded.
    fn hash_existing(&mut self) -> Result<(), StoreError> {
        self.written = (self.hasher.update_from(&mut self.file, |_| {}))
            .map_err(|source| io_error("read", &self.path, source))?;
        match self.written > self.size {
            true => self.restart(),
            false => Ok(()),
        }
    }

    fn error(&self, source: io::Error) -> StoreError {
        write_error(&self.path, &self.store.directory, self.size, source)
    }
}

/// Returns whether `path` still names this file.
#[cfg(unix)]
fn is_named(file: &File, path: &Utf8PathBuf) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (ours, named) = (file.metadata(), fs::symlink_metadata(path));
    ours.is_ok_and(|ours| {
        named.is_ok_and(|named| {
            named.is_file() && (named.dev(), named.ino()) == (ours.dev(), ours.ino())
        })
    })
}

#[cfg(not(unix))]
fn is_named(_: &File, _: &Utf8PathBuf) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::digest::digest_of;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("store");
        let store = Store::open(&path).unwrap();
        (folder, store)
    }

    #[test]
    fn a_blob_is_resumed_and_named_when_it_is_complete() {
        let (_folder, store) = store();
        let digest = digest_of(b"twelve bytes");
        let mut partial = store.partial(&digest, 12).unwrap().unwrap();
        partial.write(b"twelve").unwrap();
        assert!(
            store.partial(&digest, 12).unwrap().is_none(),
            "it is in use"
        );
        drop(partial);
        let mut partial = store.partial(&digest, 12).unwrap().unwrap();
        assert_eq!(partial.written(), 6);
        partial.write(b" bytes").unwrap();
        assert!(!store.has(&digest, 12));
        partial.commit().unwrap();
        store.verify_blob(&digest, 12).unwrap();
        assert!(
            store.partial(&digest, 12).unwrap().is_none(),
            "it is complete"
        );
    }

    #[test]
    fn a_file_with_a_second_hard_link_is_not_written_to() {
        let (folder, store) = store();
        let digest = digest_of(b"twelve bytes");
        drop(store.partial(&digest, 12).unwrap());
        let path = store.partials().join(digest.digest());
        let other = folder.path().join("other");
        fs::write(&path, "twelve").unwrap();
        fs::hard_link(&path, &other).unwrap();
        let mut partial = store.partial(&digest, 12).unwrap().unwrap();
        assert_eq!(partial.written(), 0);
        partial.write(b"twelve bytes").unwrap();
        partial.commit().unwrap();
        store.verify_blob(&digest, 12).unwrap();
        assert_eq!(fs::read(other).unwrap(), b"twelve");
    }

    #[test]
    fn wrong_content_never_gets_the_name() {
        let (_folder, store) = store();
        let digest = digest_of(b"twelve bytes");
        let mut partial = store.partial(&digest, 12).unwrap().unwrap();
        partial.write(b"twelve lines").unwrap();
        assert!(matches!(partial.commit(), Err(StoreError::Corrupt { .. })));
        assert!(!store.path(&digest).exists());
        let mut partial = store.partial(&digest, 12).unwrap().unwrap();
        assert_eq!(partial.written(), 0);
        partial.write(b"short").unwrap();
        assert!(matches!(partial.commit(), Err(StoreError::Size { .. })));
        let mut partial = store.partial(&digest, 12).unwrap().unwrap();
        partial.write(b"wrong").unwrap();
        partial.restart().unwrap();
        partial.write(b"twelve bytes").unwrap();
        partial.commit().unwrap();
        store.verify_blob(&digest, 12).unwrap();
    }
}
