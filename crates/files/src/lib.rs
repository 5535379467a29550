//! Opens files for reading and replaces files atomically. Only regular files are opened, and only a
//! bounded part is read into memory.
//!
//! A named pipe without a writer blocks `open` forever, and a device may never end. A path from the
//! operator, the workspace or a medium can lead to one, so all other crates read files through this
//! one.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

mod atomic;

pub use atomic::{
    Access, folder_of, persist, persist_new, remove_abandoned, temporary_beside, temporary_in,
    write, write_new,
};

/// Maximum size of a file that is read into memory: 32 MiB. Locks, the largest texts, have less
/// than 1 MiB.
pub const LARGEST: u64 = 32 << 20;

/// Why a file is not read. This is the inner error of the [`io::Error`] that this crate's functions
/// return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The path leads to something other than a regular file.
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    /// The file is larger than [`LARGEST`].
    #[error("it is larger than {} MiB", LARGEST >> 20)]
    TooLarge,
    /// The file is not UTF-8 text.
    #[error("it is not UTF-8 text: line {line} contains an invalid byte")]
    NotUtf8 {
        /// Number of the first line with an invalid byte, from 1.
        line: usize,
    },
}

impl Refusal {
    /// Returns the refusal inside of an error.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::NotRegular(_) => io::ErrorKind::InvalidInput,
            Refusal::TooLarge => io::ErrorKind::FileTooLarge,
            Refusal::NotUtf8 { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, refusal)
    }
}

/// Opens a regular file. Symbolic links are followed.
///
/// # Errors
/// The file cannot be opened. [`Refusal::NotRegular`] if it is not a regular file.
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    // Checked before `open`, because opening a device may have an effect.
    regular(path.metadata()?.file_type())?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    // The path may lead to a different file since.
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Returns whether an open file has several hard links, through which writes are visible, too.
pub fn has_other_names(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 1)
}

/// Reads a regular file of at most [`LARGEST`] bytes.
///
/// # Errors
/// The file cannot be read, is not a regular file, or is too large.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length <= LARGEST {
        // Bounded even if the file grows meanwhile.
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    }
    if length.max(bytes.len() as u64) > LARGEST {
        return Err(Refusal::TooLarge.into());
    }
    Ok(bytes)
}

/// Reads a regular file of at most [`LARGEST`] bytes as UTF-8 text.
///
/// # Errors
/// The file cannot be read, is not a regular file, is too large, or is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        Refusal::NotUtf8 { line }.into()
    })
}

/// Writes a folder's directory entries to disk.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(folder: impl AsRef<Path>) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes all cached data of a folder's file system to disk.
///
/// # Errors
/// The folder cannot be opened, or the disk fails.
pub fn sync_filesystem(folder: impl AsRef<Path>) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

fn regular(found: FileType) -> Result<(), Refusal> {
    let kind = match found {
        found if found.is_file() => return Ok(()),
        found if found.is_dir() => "a folder",
        found if found.is_fifo() => "a named pipe",
        found if found.is_socket() => "a socket",
        _ => "a device",
    };
    Err(Refusal::NotRegular(kind))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_no_open_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink(path("pipe"), path("link")).unwrap();
        let cases = [
            (path("pipe"), "a named pipe"),
            (path("link"), "a named pipe"),
            (path("socket"), "a socket"),
            (folder.path().to_owned(), "a folder"),
            ("/dev/zero".into(), "a device"),
        ];
        for (path, kind) in cases {
            for error in [open(&path).unwrap_err(), read_text(&path).unwrap_err()] {
                assert_eq!(
                    Refusal::of(&error),
                    Some(Refusal::NotRegular(kind)),
                    "{path:?}"
                );
            }
        }
        std::fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink(path("file"), path("good")).unwrap();
        assert_eq!(read_text(path("good")).unwrap(), "text");
        let absent = open(path("absent")).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_large_file_and_other_encodings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        assert_eq!(
            Refusal::of(&read(&path).unwrap_err()),
            Some(Refusal::TooLarge)
        );
        file.set_len(LARGEST).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, LARGEST);
        std::fs::write(&path, b"a\nb\nc \xe9\n").unwrap();
        assert_eq!(
            Refusal::of(&read_text(&path).unwrap_err()),
            Some(Refusal::NotUtf8 { line: 3 })
        );
        // Files of /proc are regular, and their size is 0.
        assert!(read_text("/proc/self/status").is_ok());
    }
}
