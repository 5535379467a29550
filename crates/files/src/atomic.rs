//! Writes files atomically: a temporary file in the same folder gets the content, and a rename
//! gives it the name.
//!
//! Readers see either the old or the new content, even after a power failure. An interrupted
//! program leaves a hidden file that ends with `.part`.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use camino::Utf8Path;
use tempfile::NamedTempFile;

/// The permissions of a written file, independent of the umask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mode 600: the owner reads and writes.
    Owner,
    /// Mode 644: everyone reads, the owner writes.
    All,
    /// Mode 755: everyone reads and executes, the owner writes.
    Program,
}

/// Creates a temporary file in the folder of `path`. Only its owner may read it. Dropping it
/// removes the file.
///
/// # Errors
/// The folder is missing or cannot be written to.
pub fn temporary_beside(path: &Utf8Path) -> io::Result<NamedTempFile> {
    temporary_in(folder_of(path))
}

/// Creates such a file in `folder`. It is locked while it is open, if the file system supports
/// locks, so [`remove_abandoned`] leaves it alone.
///
/// # Errors
/// The folder is missing or cannot be written to.
pub fn temporary_in(folder: &Utf8Path) -> io::Result<NamedTempFile> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    // `tempfile_in` of the library would name the temporary file in its errors.
    let mut names = tempfile::Builder::new();
    names.prefix(".").suffix(".part");
    let file = names.make_in(folder, |path| options.open(path))?;
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Removes the unlocked temporary files of killed programs in a folder. Earlier versions named them
/// `.tmp...`.
pub fn remove_abandoned(folder: &Utf8Path) {
    for entry in folder.read_dir_utf8().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_temporary =
            name.starts_with(".tmp") || (name.starts_with('.') && name.ends_with(".part"));
        if is_temporary && crate::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            // After an error, the next run tries again.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Syncs a temporary file to disk and renames it to `path`, replacing an existing file.
///
/// # Errors
/// The disk fails, or `path` is a folder.
pub fn persist(file: NamedTempFile, path: &Utf8Path, access: Access) -> io::Result<()> {
    finish(file.as_file(), access)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Syncs a temporary file to disk and renames it to `path`, which must not exist.
///
/// # Errors
/// `path` exists, and the errors of [`persist`].
pub fn persist_new(file: NamedTempFile, path: &Utf8Path, access: Access) -> io::Result<()> {
    finish(file.as_file(), access)?;
    let persisted = file.persist_noclobber(path);
    persisted.map(drop).map_err(|error| error.error)
}

/// Writes a file, replacing an existing one.
///
/// # Errors
/// The folder is missing or cannot be written to, or the disk fails.
pub fn write(path: &Utf8Path, bytes: impl AsRef<[u8]>, access: Access) -> io::Result<()> {
    persist(with(path, bytes.as_ref())?, path, access)
}

/// Writes a file that must not exist yet.
///
/// # Errors
/// The file exists, and the errors of [`write()`].
pub fn write_new(path: &Utf8Path, bytes: impl AsRef<[u8]>, access: Access) -> io::Result<()> {
    persist_new(with(path, bytes.as_ref())?, path, access)
}

/// Returns the folder of a file, `.` for a bare name.
pub fn folder_of(path: &Utf8Path) -> &Utf8Path {
    match path.parent() {
        Some(folder) if folder != "" => folder,
        _ => Utf8Path::new("."),
    }
}

fn with(path: &Utf8Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = temporary_beside(path)?;
    file.as_file_mut().write_all(bytes)?;
    Ok(file)
}

fn finish(file: &File, access: Access) -> io::Result<()> {
    let mode = match access {
        Access::Owner => 0o600,
        Access::All => 0o644,
        Access::Program => 0o755,
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_atomically_and_no_temporary_file_remains() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(directory.path()).unwrap();
        let path = &folder.join("file");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        write_new(path, "old", Access::All).unwrap();
        let mut old = crate::open(path).unwrap();
        assert_eq!(mode(), 0o644);

        let refused = write_new(path, "new", Access::Owner).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        write(path, "new", Access::Owner).unwrap();
        assert_eq!(crate::read_text(path).unwrap(), "new");
        assert_eq!(mode(), 0o600);
        assert_eq!(io::read_to_string(&mut old).unwrap(), "old");
        assert_eq!(folder.read_dir().unwrap().count(), 1);

        let held = temporary_in(folder).unwrap();
        std::fs::write(folder.join(".AbCdEf.part"), "half").unwrap();
        std::fs::write(folder.join(".tmpAbCdEf"), "half").unwrap();
        remove_abandoned(folder);
        assert!(held.path().exists());
        assert_eq!(folder.read_dir().unwrap().count(), 2);

        let absent = folder.join("absent");
        let error = write(&absent.join("file"), "text", Access::All).unwrap_err();
        assert_eq!(error.to_string(), "No such file or directory (os error 2)");
    }
}
