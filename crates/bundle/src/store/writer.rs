//! Writes one blob into the store: first to a temporary name, then renamed to its digest.

use std::fs::{self, File};
use std::io::{self, Write};

use camino::Utf8Path;
use oci_spec::image::Digest;
use tempfile::NamedTempFile;

use super::error::io_error;
use super::{Store, StoreError};
use crate::sink::BlobSink;

/// Blobs of this size in bytes, 1 MiB, and larger are synced one by one.
pub(super) const LARGE: u64 = 1 << 20;

/// Number of bytes after which the system is asked to write them to the disk. So the sync at the
/// end of a large blob is short, and does not delay the next blobs.
const WRITEBACK: u64 = 8 << 20;

/// A blob that is being written. It gets its final name in [`BlobSink::commit`].
#[derive(Debug)]
pub struct BlobWriter {
    pub(super) store: Store,
    digest: Digest,
    size: u64,
    written: u64,
    writeback: Writeback,
    pub(super) file: NamedTempFile,
}

impl BlobSink for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let result = self.file.write_all(bytes);
        result.map_err(|source| self.error(source))?;
        self.written += bytes.len() as u64;
        self.writeback.wrote(self.file.as_file(), self.written);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let path = self.store.path(&self.digest);
        if self.written != self.size {
            return Err(StoreError::Size {
                path,
                size: self.size,
                found: self.written,
            });
        }
        if self.size >= LARGE {
            let synced = self.file.as_file().sync_data();
            synced.map_err(|source| self.error(source))?;
        } else {
            self.store.shared().unsynced.push(self.digest.clone());
        }
        readable_by_all(self.file.as_file()).map_err(|source| io_error("write", &path, source))?;
        let file = self
            .file
            .persist(&path)
            .map_err(|error| io_error("write", &path, error.error))?;
        self.store.shared().checked.note(&self.digest, &file);
        Ok(())
    }
}

impl BlobWriter {
    /// Creates a temporary file in `incoming`.
    pub(super) fn new(
        store: Store,
        incoming: &Utf8Path,
        digest: &Digest,
        size: u64,
    ) -> Result<Self, StoreError> {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(MODE));
        let file = builder
            .prefix(digest.digest())
            .tempfile_in(incoming)
            .map_err(|source| write_error(incoming, &store.directory, size, source))?;
        Ok(Self {
            store,
            digest: digest.clone(),
            size,
            written: 0,
            writeback: Writeback::default(),
            file,
        })
    }

    fn error(&self, source: io::Error) -> StoreError {
        write_error(
            &self.store.path(&self.digest),
            &self.store.directory,
            self.size,
            source,
        )
    }
}

/// Number of bytes of a file that the system was asked to write to the disk.
#[derive(Debug, Default)]
pub(super) struct Writeback {
    handed_over: u64,
}

impl Writeback {
    /// Records that `file` has `written` bytes, and asks for writeback if enough are new.
    pub(super) fn wrote(&mut self, file: &File, written: u64) {
        let behind = written.saturating_sub(self.handed_over);
        if behind >= WRITEBACK {
            begin_writeback(file, self.handed_over, behind);
            self.handed_over = written;
        }
    }
}

/// Asks the system to begin writing a range of a file to the disk, without waiting. Returns whether
/// the system accepts. It is only a hint: errors are reported by the sync.
#[cfg(target_os = "linux")]
fn begin_writeback(file: &File, start: u64, length: u64) -> bool {
    use std::os::fd::AsRawFd as _;
    let (start, length) = (start.cast_signed(), length.cast_signed());
    // SAFETY: the descriptor is open for as long as `file`, and no memory is passed.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), start, length, libc::SYNC_FILE_RANGE_WRITE) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn begin_writeback(_: &File, _: u64, _: u64) -> bool {
    true
}

/// The mode of files in a store. Temporary files are private by default, but a team shares a store
/// and other tools read it.
#[cfg(unix)]
const MODE: u32 = 0o644;

/// Sets the mode of a file, which the process's umask may have made private.
#[cfg(unix)]
pub(super) fn readable_by_all(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    match mode == MODE {
        true => Ok(()),
        false => file.set_permissions(fs::Permissions::from_mode(MODE)),
    }
}

#[cfg(not(unix))]
pub(super) fn readable_by_all(_: &File) -> io::Result<()> {
    Ok(())
}

pub(super) fn write_error(
    path: &Utf8Path,
    store: &Utf8Path,
    size: u64,
    source: io::Error,
) -> StoreError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full {
            path: store.to_owned(),
            size,
            source,
        },
        _ => io_error("write", path, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writeback_begins_while_a_large_blob_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
        let digest = crate::digest::digest_of(&[]);
        let mut writer = store.writer(&digest, 3 * WRITEBACK).unwrap();
        let half = vec![1; WRITEBACK as usize / 2];
        let mut handed_over = Vec::new();
        for _ in 0..5 {
            writer.write(&half).unwrap();
            handed_over.push(writer.writeback.handed_over / WRITEBACK);
        }
        assert_eq!(handed_over, [0, 1, 1, 2, 2]);
        assert!(begin_writeback(writer.file.as_file(), 0, WRITEBACK));
    }
}
