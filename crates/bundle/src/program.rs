//! The download of `mkectl`: a compressed tar that contains the program (CLI-INST, BREW). The lock
//! records the hash of the download.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::read::MultiGzDecoder;

use crate::digest::Hasher;
use crate::tarball::{self, End};

/// File name of the program in the tar.
const NAME: &[u8] = b"mkectl";

/// Maximum size of the program in bytes.
const LARGEST: u64 = 4 << 30;

/// Reason why a download of `mkectl` is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The download does not have the hash in the lock.
    #[error("`{path}` has SHA-256 {found}, but the lock records {expected}")]
    Sha256 {
        /// Path of the download.
        path: Utf8PathBuf,
        /// SHA-256 of the download.
        found: String,
        /// SHA-256 in the lock.
        expected: String,
    },
    /// The download contains no program.
    #[error("`{path}` contains no file `mkectl`")]
    NoProgram {
        /// Path of the download.
        path: Utf8PathBuf,
    },
    /// The unpacked program differs from the one in the download.
    #[error("`{path}` is not the program in {archive}: it was changed")]
    Changed {
        /// Path of the program.
        path: Utf8PathBuf,
        /// Path of the download.
        archive: Utf8PathBuf,
    },
    /// The program cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// Path of the program.
        path: Utf8PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl ProgramError {
    /// Returns the cause if the disk is full.
    ///
    /// # Errors
    /// The error itself if it has a different cause.
    pub fn full(self) -> Result<io::Error, Self> {
        match self {
            Self::Write { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                Ok(source)
            }
            error => Err(error),
        }
    }
}

/// Unpacks the program in `archive` to `program`, atomically and executable. The SHA-256 of
/// `archive` must be `sha256`.
///
/// # Errors
/// [`ProgramError`] if the archive has a different hash or no program, or a file cannot be read or
/// written. Then `program` is unchanged.
pub fn unpack_program(
    archive: &Utf8Path,
    sha256: &str,
    program: &Utf8Path,
) -> Result<(), ProgramError> {
    let failed = |source| ProgramError::Write {
        path: program.to_owned(),
        source,
    };
    files::remove_abandoned(files::folder_of(program));
    let mut file = files::temporary_beside(program).map_err(failed)?;
    program_in(archive, sha256, &mut |bytes| {
        file.write_all(bytes).map_err(failed)
    })?;
    files::persist(file, program, files::Access::Program).map_err(failed)
}

/// Checks that `program` equals the one in `archive`, whose SHA-256 must be `sha256`.
///
/// # Errors
/// [`ProgramError`] if one of the two differs, or cannot be read.
pub fn check_program(
    archive: &Utf8Path,
    sha256: &str,
    program: &Utf8Path,
) -> Result<(), ProgramError> {
    let expected = program_in(archive, sha256, &mut |_| Ok(()))?;
    let read = |source| ProgramError::Read {
        path: program.to_owned(),
        source,
    };
    let mut file = files::open(program).map_err(read)?;
    let mut hasher = Hasher::new();
    hasher.update_from(&mut file, |_| {}).map_err(read)?;
    if hasher.hex() != expected {
        return Err(ProgramError::Changed {
            path: program.to_owned(),
            archive: archive.to_owned(),
        });
    }
    Ok(())
}

/// Checks that the SHA-256 of `archive` is `sha256`, and that it contains a program.
///
/// # Errors
/// [`ProgramError`] if the archive has a different hash or no program, or cannot be read.
pub fn check_archive(archive: &Utf8Path, sha256: &str) -> Result<(), ProgramError> {
    program_in(archive, sha256, &mut |_| Ok(())).map(drop)
}

/// Passes the bytes of the program in `archive` to `write` and returns their SHA-256. If it fails,
/// they must not be used.
fn program_in(
    archive: &Utf8Path,
    sha256: &str,
    write: &mut dyn FnMut(&[u8]) -> Result<(), ProgramError>,
) -> Result<String, ProgramError> {
    let read = |source| ProgramError::Read {
        path: archive.to_owned(),
        source,
    };
    let mut input = Hashed::new(files::open(archive).map_err(read)?);
    let ended = walk_to_program(&mut input, write);
    // The hash of the archive is compared first: faults inside of a wrong file do not matter.
    io::copy(&mut input, &mut io::sink()).map_err(read)?;
    let found = input.finish();
    if found != sha256 {
        return Err(ProgramError::Sha256 {
            path: archive.to_owned(),
            found,
            expected: sha256.to_owned(),
        });
    }
    match ended {
        Ok(()) => Err(ProgramError::NoProgram {
            path: archive.to_owned(),
        }),
        Err(Ended::Found(sha256)) => Ok(sha256),
        Err(Ended::Read(source)) => Err(read(source)),
        Err(Ended::Write(error)) => Err(error),
    }
}

/// Reason to stop before the end of the tar.
enum Ended {
    /// The program was copied. Has its SHA-256.
    Found(String),
    /// The archive cannot be read.
    Read(io::Error),
    /// The copy cannot be written.
    Write(ProgramError),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Reads a compressed tar up to the end of the program.
fn walk_to_program(
    input: &mut dyn Read,
    write: &mut dyn FnMut(&[u8]) -> Result<(), ProgramError>,
) -> Result<(), Ended> {
    let mut inflated = MultiGzDecoder::new(input);
    tarball::walk(&mut inflated, End::Optional, &mut |member| {
        if !member.kind.is_file() || member.path.rsplit(|&byte| byte == b'/').next() != Some(NAME) {
            return Ok(());
        }
        let mut program = BufReader::new(Hashed::new(member.take(LARGEST)));
        loop {
            let bytes = program.fill_buf()?;
            if bytes.is_empty() {
                return Err(Ended::Found(program.into_inner().finish()));
            }
            write(bytes).map_err(Ended::Write)?;
            let length = bytes.len();
            program.consume(length);
        }
    })
}

/// A reader that hashes all bytes read.
struct Hashed<R> {
    input: R,
    hasher: Hasher,
}

impl<R> Hashed<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            hasher: Hasher::new(),
        }
    }

    fn finish(self) -> String {
        self.hasher.hex()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn archive(folder: &Utf8Path, name: &str) -> (Utf8PathBuf, String) {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        let content: &[u8] = b"#!/bin/sh\necho Version: v4.1.5\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, content).unwrap();
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        let path = folder.join("mkectl.tar.gz");
        std::fs::write(&path, &bytes).unwrap();
        (path, crate::digest::hex_of(&bytes))
    }

    #[test]
    fn a_full_disk_is_not_blamed_on_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (path, sha256) = archive(folder, "mkectl");
        let mut full = std::fs::File::create("/dev/full").unwrap();
        let mut write = |bytes: &[u8]| {
            full.write_all(bytes).map_err(|source| ProgramError::Write {
                path: path.clone(),
                source,
            })
        };
        let error = program_in(&path, &sha256, &mut write).unwrap_err();
        assert!(error.full().is_ok());
        // A wrong archive is named first.
        let refused = program_in(&path, "", &mut write);
        assert!(matches!(refused, Err(ProgramError::Sha256 { .. })));
    }

    #[test]
    fn a_changed_byte_in_either_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (path, sha256) = archive(folder, "mkectl");
        let program = folder.join("mkectl");
        unpack_program(&path, &sha256, &program).unwrap();
        check_program(&path, &sha256, &program).unwrap();
        let mode = std::fs::metadata(&program).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);

        let whole = std::fs::read(&program).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&program, changed).unwrap();
            assert!(matches!(
                check_program(&path, &sha256, &program),
                Err(ProgramError::Changed { .. })
            ));
        }
        std::fs::write(&program, &whole).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert!(matches!(
                check_program(&path, &sha256, &program),
                Err(ProgramError::Sha256 { .. })
            ));
        }
        let other = folder.join("other");
        assert!(matches!(
            unpack_program(&path, &sha256, &other),
            Err(ProgramError::Sha256 { .. })
        ));
        assert!(!other.exists());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(
            check_program(&path, &sha256, &program),
            Err(ProgramError::Read { .. })
        ));
        assert_eq!(folder.read_dir_utf8().unwrap().count(), 1);
    }

    #[test]
    fn giant_headers_are_not_taken_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_path("././@LongLink").unwrap();
        header.set_size(16 << 20);
        header.set_cksum();
        gzip.write_all(header.as_bytes()).unwrap();
        gzip.write_all(&vec![b'a'; 16 << 20]).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_path("mkectl").unwrap();
        header.set_size(0);
        header.set_cksum();
        gzip.write_all(header.as_bytes()).unwrap();
        gzip.write_all(&[0; 1024]).unwrap();
        let bytes = gzip.finish().unwrap();
        let path = folder.join("mkectl.tar.gz");
        std::fs::write(&path, &bytes).unwrap();
        let sha256 = crate::digest::hex_of(&bytes);
        let error = unpack_program(&path, &sha256, &folder.join("mkectl")).unwrap_err();
        let ProgramError::Read { source, .. } = error else {
            panic!("{error:?}");
        };
        assert!(source.to_string().contains("more than 1 MiB"), "{source}");
    }

    #[test]
    fn an_archive_without_the_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (path, sha256) = archive(folder, "kubectl");
        assert!(matches!(
            unpack_program(&path, &sha256, &folder.join("mkectl")),
            Err(ProgramError::NoProgram { .. })
        ));
    }
}
