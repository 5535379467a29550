//! A medium as a tar stream, for a data diode or a pipe. The manifest comes first, so pieces are
//! usable as they arrive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8Path;
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, Header};

use crate::find::VolumeFile;
use crate::layout::{self, MANIFEST, PROGRAM, SIGNATURE, START, VOLUME};
use crate::piece::{Failed, copy, open_at};
use crate::write::jobs;
use crate::{Error, Fault, Files, Found, Manifest, Medium, Piece, Progress, Source};

fn writing(source: io::Error) -> Error {
    Error::Stream {
        action: "write",
        source,
    }
}

/// Returns an error without control characters: it may quote bytes of the stream.
fn escaped(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => io::Error::new(error.kind(), redaction::line(&error.to_string(), 100)),
    }
}

fn reading(source: io::Error) -> Error {
    Error::Stream {
        action: "read",
        source,
    }
}

/// Writes a medium as a tar stream. The same medium yields the same bytes. Unpacked with `tar`, the
/// stream is a medium in a folder.
///
/// # Errors
/// [`Error::Changed`] if a source has changed, or reading or writing fails.
pub fn write_stream(
    out: &mut dyn Write,
    manifest: &Manifest,
    files: &Files<'_>,
    sources: &[Source],
    progress: Progress<'_>,
) -> Result<(), Error> {
    let mut tar = Builder::new(out);
    let mut add = |name: &Utf8Path, mode, size, from: &mut dyn Read| {
        let mut header = Header::new_gnu();
        header.set_size(size);
        header.set_mode(mode);
        header.set_mtime(0);
        tar.append_data(&mut header, name, from).map_err(writing)
    };
    let mut add_bytes =
        |name: &Utf8Path, bytes: &[u8]| add(name, 0o644, bytes.len() as u64, &mut &*bytes);
    add_bytes(START.into(), files.start.as_bytes())?;
    if let Some(signature) = files.signature {
        add_bytes(SIGNATURE.into(), signature.as_bytes())?;
    }
    add_bytes(MANIFEST.into(), files.manifest)?;
    for volume in &manifest.volumes {
        let file = VolumeFile::new(manifest, files.manifest, volume.number).to_bytes()?;
        let folder = layout::volume(volume.number);
        add_bytes(&folder.join(VOLUME), &file)?;
        if let Some(signature) = files.signature {
            add_bytes(&folder.join(SIGNATURE), signature.as_bytes())?;
        }
        add_bytes(&folder.join(MANIFEST), files.manifest)?;
    }
    if let Some(program) = files.program {
        let read = || Error::io("read", program);
        let mut from = files::open(program).map_err(read())?;
        let size = from.metadata().map_err(read())?.len();
        add(PROGRAM.into(), 0o755, size, &mut from)?;
    }
    for job in jobs(sources) {
        let path = layout::piece(&layout::volume(job.piece.volume), &job.piece.sha256);
        let from =
            open_at(job.path, job.offset, job.piece.size).map_err(Error::io("read", job.path))?;
        let mut from = Hashing::new(from, progress);
        add(&path, 0o644, job.piece.size, &mut from).map_err(|error| match from.stopped {
            true => Error::Stopped,
            false => error,
        })?;
        let found = from.finish();
        if found != job.piece.sha256 {
            return Err(Error::Changed {
                path: job.path.to_owned(),
                found,
            });
        }
    }
    tar.into_inner().and_then(Write::flush).map_err(writing)
}

/// Reads a medium from a stream. `trust` decides about the manifest. `take` returns a sink for a
/// piece; it is called once for each piece of the manifest, in the order of the stream.
///
/// # Errors
/// The stream is not a medium, is not trusted, ends early, or has a damaged piece.
pub fn read_stream<E: From<Error>>(
    from: &mut dyn Read,
    trust: impl FnOnce(Found) -> Result<Medium, E>,
    mut take: impl FnMut(&Medium, &Piece) -> Result<Box<dyn PieceSink>, E>,
    progress: Progress<'_>,
) -> Result<Medium, E> {
    let mut archive = Archive::new(from);
    let mut entries = archive.entries().map_err(reading)?;
    let mut signature = None;
    let mut trust = Some(trust);
    let mut medium: Option<Medium> = None;
    let mut expected = BTreeMap::new();
    let mut is_tar = false;
    for entry in &mut entries {
        let mut entry = entry.map_err(|error| match is_tar || error.raw_os_error().is_some() {
            true => reading(escaped(error)),
            false => Error::NoMedium,
        })?;
        is_tar = true;
        let name = entry
            .path()
            .map_err(reading)?
            .to_string_lossy()
            .into_owned();
        let Some(known) = &medium else {
            match name.as_str() {
                START => {}
                SIGNATURE => signature = String::from_utf8(small(&mut entry)?).ok(),
                MANIFEST => {
                    let found = Found::in_stream(small(&mut entry)?, signature.take());
                    let Some(trust) = trust.take() else { continue };
                    let trusted = trust(found)?;
                    for piece in trusted.manifest().pieces() {
                        expected.insert(piece.sha256.clone(), piece.clone());
                    }
                    medium = Some(trusted);
                }
                _ => return Err(Error::NoMedium.into()),
            }
            continue;
        };
        let Some(piece) =
            layout::piece_of(Utf8Path::new(&name)).and_then(|name| expected.remove(name))
        else {
            continue;
        };
        let mut sink = take(known, &piece)?;
        let fault = match copy(&mut entry, &mut *sink, progress) {
            Ok((_, size)) if size < piece.size => Fault::CutOff,
            Ok((found, _)) if found != piece.sha256 => Fault::Damaged,
            Ok(_) => {
                sink.done().map_err(writing)?;
                continue;
            }
            Err(Failed::Write(source)) => return Err(writing(source).into()),
            Err(failed) => return Err(failed.or_read(reading).into()),
        };
        return Err(faulty(piece, fault).into());
    }
    match (medium, expected.into_values().next()) {
        (None, _) => Err(Error::NoMedium.into()),
        (Some(_), Some(piece)) => Err(faulty(piece, Fault::Missing).into()),
        (Some(medium), None) => Ok(medium),
    }
}

/// Writes a folder to a tar file, below the name `prefix`. The same folder yields the same bytes.
///
/// # Errors
/// Reading or writing fails.
pub fn tar_folder(folder: &Utf8Path, prefix: &str, to: &Utf8Path) -> Result<(), Error> {
    let out = File::create(to).map_err(Error::io("write", to))?;
    let mut tar = Builder::new(BufWriter::new(out));
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in next.read_dir_utf8().map_err(Error::io("read", &next))? {
            let entry = entry.map_err(Error::io("read", &next))?;
            let kind = entry.file_type().map_err(Error::io("read", &next))?;
            match kind.is_dir() {
                true => folders.push(entry.into_path()),
                false => found.push(entry.into_path()),
            }
        }
    }
    found.sort();
    for path in found {
        let read = || Error::io("read", &path);
        let mut from = files::open(&path).map_err(read())?;
        let metadata = from.metadata().map_err(read())?;
        let is_program = metadata.permissions().mode() & 0o111 != 0;
        let mut header = Header::new_gnu();
        header.set_size(metadata.len());
        header.set_mode(if is_program { 0o755 } else { 0o644 });
        header.set_mtime(0);
        let name = Utf8Path::new(prefix).join(path.strip_prefix(folder).unwrap_or(&path));
        tar.append_data(&mut header, name, &mut from)
            .map_err(read())?;
    }
    let finish = || {
        tar.into_inner()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    };
    finish().map(drop).map_err(Error::io("write", to))
}

/// Receives a piece of a stream.
pub trait PieceSink: Write {
    /// Accepts the written bytes after the hash was checked. If this is not called, they must be
    /// discarded.
    ///
    /// # Errors
    /// The bytes cannot be kept.
    fn done(self: Box<Self>) -> io::Result<()>;
}

fn faulty(piece: Piece, fault: Fault) -> Error {
    Error::Piece {
        sha256: piece.sha256,
        volume: piece.volume,
        fault,
    }
}

/// Reads a small file of the stream, truncated to [`files::LARGEST`].
fn small(entry: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    entry
        .take(files::LARGEST)
        .read_to_end(&mut bytes)
        .map_err(reading)?;
    Ok(bytes)
}

/// Hashes bytes on their way from a reader.
struct Hashing<'a, R> {
    from: R,
    hasher: Sha256,
    progress: Progress<'a>,
    stopped: bool,
}

impl<'a, R: Read> Hashing<'a, R> {
    fn new(from: R, progress: Progress<'a>) -> Self {
        Self {
            from,
            hasher: Sha256::new(),
            progress,
            stopped: false,
        }
    }

    fn finish(self) -> String {
        hex::encode(self.hasher.finalize())
    }
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.stopped = !(self.progress)(count as u64);
        match self.stopped {
            true => Err(io::Error::other("stopped")),
            false => Ok(count),
        }
    }
}
