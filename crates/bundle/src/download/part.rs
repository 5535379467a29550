//! The unfinished file of a download: the bytes on disk, their hash, and a note of their origin.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom};

use camino::{Utf8Path, Utf8PathBuf};
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};

use super::{Download, DownloadError, Downloaded, Feed, etag, last_modified};
use crate::digest::Hasher;
use crate::store::incoming::has_no_locks;

/// First bytes of gzip (RFC 1952, section 2.3.1).
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Number of bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// Origin of the bytes in an unfinished file, stored in `.part.json`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Note {
    pub(super) url: String,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

impl Note {
    pub(super) fn of(url: &str, headers: &HeaderMap) -> Self {
        Self {
            url: url.to_owned(),
            etag: etag(headers),
            last_modified: last_modified(headers),
        }
    }

    /// Returns the value of `If-Range`. With it, the server sends the rest only if it still has the
    /// same file.
    pub(super) fn validator(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }
}

/// An unfinished file, locked by this process.
pub(super) struct Part<'a> {
    destination: Utf8PathBuf,
    path: Utf8PathBuf,
    note: Utf8PathBuf,
    /// Holds the lock.
    file: File,
    /// The reader during the download.
    feed: Option<&'a Feed>,
}

/// An unfinished file while bytes are appended.
pub(super) struct Writing {
    file: BufWriter<tokio::fs::File>,
    hasher: Hasher,
    length: u64,
    /// The first bytes, up to the length of [`MAGIC`].
    head: Vec<u8>,
    /// Whether the bytes on disk belong to the file on the server, as far as is known.
    is_confirmed: bool,
}

impl Writing {
    pub(super) fn new(file: File, hasher: Hasher, length: u64) -> Self {
        Self {
            file: BufWriter::with_capacity(BUFFER, tokio::fs::File::from_std(file)),
            hasher,
            length,
            // An earlier run has checked its bytes.
            head: MAGIC
                .into_iter()
                .zip(0..length)
                .map(|(byte, _)| byte)
                .collect(),
            is_confirmed: false,
        }
    }

    /// Records that the bytes on disk are the beginning of the file on the server.
    pub(super) fn confirm(&mut self) {
        self.is_confirmed = true;
    }

    /// Returns the number of bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn sha256(&self) -> String {
        self.hasher.clone().hex()
    }

    /// Returns an error if the file does not begin like gzip. `next` are the bytes to append.
    pub(super) fn not_gzip(&mut self, next: &[u8], url: &str) -> Option<DownloadError> {
        if self.length >= MAGIC.len() as u64 {
            return None;
        }
        self.head
            .extend_from_slice(&next[..next.len().min(MAGIC.len())]);
        if MAGIC.starts_with(&self.head) || self.head.starts_with(&MAGIC) {
            return None;
        }
        let url = url.to_owned();
        Some(match next.trim_ascii_start().first() {
            Some(b'<') => DownloadError::Html { url },
            _ => DownloadError::NotGzip { url },
        })
    }
}

impl<'a> Part<'a> {
    /// Opens the unfinished file of a download from `url`. If it is of a different or unknown URL,
    /// it is renamed first, and its new path is returned.
    pub(super) fn open(
        destination: &Utf8Path,
        url: &str,
        feed: Option<&'a Feed>,
    ) -> Result<(Self, Option<Utf8PathBuf>), DownloadError> {
        if let Some(folder) = destination.parent() {
            fs::create_dir_all(folder).map_err(|source| io_error("create", folder, source))?;
        }
        let mut part = Self::lock(destination)?;
        let length = (part.file.metadata())
            .map_err(|source| io_error("read", &part.path, source))?
            .len();
        let is_ours = part.note().is_some_and(|note| note.url == url);
        let mut aside = None;
        if length > 0 && !is_ours {
            aside = Some(part.keep_aside()?);
            part = Self::lock(destination)?;
        }
        if let Some(feed) = feed {
            open_for(feed, &part.path)?;
        }
        part.feed = feed;
        Ok((part, aside))
    }

    /// Opens and locks the file.
    fn lock(destination: &Utf8Path) -> Result<Self, DownloadError> {
        let path = Utf8PathBuf::from(format!("{destination}.part"));
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let opened = options.open(&path);
            opened.map_err(|source| io_error("create", &path, source))
        };
        let mut file = open()?;
        if files::has_other_names(&file) {
            // The file has a second hard link, whose content must not change.
            fs::remove_file(&path).map_err(|source| io_error("remove", &path, source))?;
            file = open()?;
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DownloadError::Busy { path }),
            // Without a lock, only the hash at the end detects concurrent downloads.
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path, source)),
        }
        let part = Self {
            destination: destination.to_owned(),
            note: Utf8PathBuf::from(format!("{path}.json")),
            path,
            file,
            feed: None,
        };
        // Between opening and locking, another process may have renamed the file to its final name.
        // Then it must not be written to.
        match part.is_still_there() {
            Ok(true) => Ok(part),
            Ok(false) => Err(DownloadError::Busy { path: part.path }),
            Err(source) => Err(io_error("read", &part.path, source)),
        }
    }

    /// Renames the file and its note, and returns the file's new path.
    fn keep_aside(&self) -> Result<Utf8PathBuf, DownloadError> {
        let name =
            |number: u32| Utf8PathBuf::from(format!("{}.kept-{number}.part", self.destination));
        let free = (1..)
            .map(name)
            .find(|path| fs::symlink_metadata(path).is_err());
        let aside = free.unwrap_or_else(|| unreachable!("a folder has fewer files than numbers"));
        fs::rename(&self.path, &aside).map_err(|source| io_error("rename", &self.path, source))?;
        match fs::rename(&self.note, format!("{aside}.json")) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(io_error("rename", &self.note, source))
            }
            _ => Ok(aside),
        }
    }

    /// Returns whether the file still has the name under which it was opened.
    pub(super) fn is_still_there(&self) -> io::Result<bool> {
        is_named(&self.file, &self.path)
    }

    /// Returns the note, if it exists and is valid.
    pub(super) fn note(&self) -> Option<Note> {
        let mut note: Note = serde_json::from_slice(&files::read(&self.note).ok()?).ok()?;
        // Earlier versions stored the query.
        note.url = crate::http::shown_url(&note.url);
        Some(note)
    }

    pub(super) fn write_note(&self, note: &Note) -> Result<(), DownloadError> {
        let text = serde_json::to_vec_pretty(note).expect("a note holds nothing JSON cannot say");
        // Replaced instead of overwritten, because the old note may have a second hard link.
        files::write(&self.note, text, files::Access::All)
            .map_err(|source| self.error(&self.note, None, source))
    }

    /// Hashes the bytes on disk and returns the file, positioned at its end.
    pub(super) async fn resume(&self) -> Result<Writing, DownloadError> {
        let cloned = self.file.try_clone();
        let mut file = cloned.map_err(|source| io_error("read", &self.path, source))?;
        let hashed = blocking(move || {
            let hashed = hash(&mut file)?;
            Ok((file, hashed))
        });
        let (file, (hasher, length)) = hashed
            .await
            .map_err(|source| io_error("read", &self.path, source))?;
        Ok(Writing::new(file, hasher, length))
    }

    pub(super) async fn append(
        &self,
        writing: &mut Writing,
        bytes: &[u8],
        total: Option<u64>,
    ) -> Result<(), DownloadError> {
        let written = writing.file.write_all(bytes).await;
        written.map_err(|source| self.write_error(writing, total, source))?;
        writing.hasher.update(bytes);
        writing.length += bytes.len() as u64;
        Ok(())
    }

    /// Flushes all appended bytes to the file, so a reader can read them.
    pub(super) async fn flush(
        &self,
        writing: &mut Writing,
        total: Option<u64>,
    ) -> Result<(), DownloadError> {
        let flushed = writing.file.flush().await;
        flushed.map_err(|source| self.write_error(writing, total, source))?;
        if let Some(feed) = self.feed
            && writing.is_confirmed
        {
            feed.advance(writing.length);
        }
        Ok(())
    }

    /// Truncates the file to start over.
    pub(super) async fn reset(&self, writing: &mut Writing) -> Result<(), DownloadError> {
        if let Some(feed) = self.feed {
            feed.start_over();
        }
        let emptied = async {
            writing.file.flush().await?;
            writing.file.get_mut().set_len(0).await?;
            writing.file.seek(SeekFrom::Start(0)).await
        };
        emptied
            .await
            .map_err(|source| self.error(&self.path, None, source))?;
        writing.hasher = Hasher::new();
        writing.length = 0;
        writing.head.clear();
        // An empty file is the beginning of any file.
        writing.is_confirmed = true;
        Ok(())
    }

    /// Renames the complete file to its final name.
    pub(super) async fn finish(self, writing: Writing) -> Result<Downloaded, DownloadError> {
        let downloaded = Downloaded {
            path: self.destination.clone(),
            size: writing.length,
            sha256: writing.sha256(),
        };
        let synced = writing.file.get_ref().sync_all().await;
        synced.map_err(|source| self.error(&self.path, None, source))?;
        fs::rename(&self.path, &self.destination)
            .map_err(|source| io_error("rename", &self.path, source))?;
        // A note without its file is harmless, so this failure is ignored.
        let _ = fs::remove_file(&self.note);
        let folder = files::folder_of(&self.destination);
        files::sync_folder(folder).map_err(|source| io_error("write", folder, source))?;
        Ok(downloaded)
    }

    /// Removes the file and its note. If that fails, the next run tries again.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.note);
        let _ = fs::remove_file(&self.path);
    }

    fn write_error(
        &self,
        writing: &Writing,
        total: Option<u64>,
        source: io::Error,
    ) -> DownloadError {
        let missing = total.map(|total| total.saturating_sub(writing.length));
        self.error(&self.path, missing, source)
    }

    fn error(&self, path: &Utf8Path, missing: Option<u64>, source: io::Error) -> DownloadError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DownloadError::Full {
                path: self.path.clone(),
                missing,
                source,
            },
            _ => io_error("write", path, source),
        }
    }
}

/// Returns the finished file if it exists and is as expected.
pub(super) async fn present(request: &Download) -> Result<Option<Downloaded>, DownloadError> {
    let Some(expected) = &request.expected else {
        return Ok(None);
    };
    let path = request.destination.clone();
    let mut file = match files::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", &path, source)),
    };
    let length = file
        .metadata()
        .map_err(|source| io_error("read", &path, source))?
        .len();
    if expected.size.is_some_and(|size| size != length) {
        return Ok(None);
    }
    let hashed = blocking(move || hash(&mut file)).await;
    let (hasher, size) = hashed.map_err(|source| io_error("read", &path, source))?;
    let sha256 = hasher.hex();
    Ok((sha256 == expected.sha256).then_some(Downloaded { path, size, sha256 }))
}

/// Lets the reader have a file that is already complete.
pub(super) fn feed_complete(feed: &Feed, present: &Downloaded) -> Result<(), DownloadError> {
    open_for(feed, &present.path)?;
    feed.advance(present.size);
    Ok(())
}

/// Opens a file for its reader. A clone of the writer's handle would share its position.
fn open_for(feed: &Feed, path: &Utf8Path) -> Result<(), DownloadError> {
    let file = files::open(path).map_err(|source| io_error("read", path, source))?;
    feed.open(file);
    Ok(())
}

/// Returns whether `path` is the name of `file`.
#[cfg(unix)]
fn is_named(file: &File, path: &Utf8Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_named(_: &File, _: &Utf8Path) -> io::Result<bool> {
    // Windows does not rename open files.
    Ok(true)
}

/// Hashes a file from its beginning and leaves it at its end. Returns its length in bytes.
fn hash(file: &mut File) -> io::Result<(Hasher, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Hasher::new();
    let length = hasher.update_from(file, |_| {})?;
    Ok((hasher, length))
}

/// Runs disk work in a thread where it does not delay the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn io_error(action: &'static str, path: &Utf8Path, source: io::Error) -> DownloadError {
    DownloadError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
