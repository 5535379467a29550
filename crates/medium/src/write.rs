//! Writes a medium to a folder: several pieces concurrently, then the manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use crate::find::VolumeFile;
use crate::layout::{self, MANIFEST, PROGRAM, SIGNATURE, START, VOLUME};
use crate::piece::{Failed, copy, open_at};
use crate::{Error, Manifest, Piece, Progress, Source};

/// Number of threads. Hashing limits the speed, and portable disks do not get faster with more.
const THREADS: usize = 4;

/// The files of a medium besides the pieces.
#[derive(Debug, Clone)]
pub struct Files<'a> {
    /// The bytes of [`Manifest::to_bytes`].
    pub manifest: &'a [u8],
    /// Signature of these bytes, in OpenSSH's format.
    pub signature: Option<&'a str>,
    /// Text of `START.txt`.
    pub start: &'a str,
    /// Path of the program to copy beside `START.txt`.
    pub program: Option<&'a Utf8Path>,
}

/// A piece, and the location of its bytes.
pub(crate) struct Job<'a> {
    pub(crate) piece: &'a Piece,
    pub(crate) path: &'a Utf8Path,
    pub(crate) offset: u64,
}

/// Returns each piece once, in the order of the contents.
pub(crate) fn jobs(sources: &[Source]) -> Vec<Job<'_>> {
    let mut seen = BTreeSet::new();
    let mut jobs = Vec::new();
    for source in sources {
        let mut offset = 0;
        for piece in &source.content.pieces {
            if seen.insert(&piece.sha256) {
                jobs.push(Job {
                    piece,
                    path: &source.path,
                    offset,
                });
            }
            offset += piece.size;
        }
    }
    jobs
}

/// Writes a medium. Pieces of an earlier run are kept if their hash is right. The manifest is
/// written last, so a folder that has one is complete.
///
/// # Errors
/// [`Error::Occupied`] or [`Error::Foreign`] for a folder in use, [`Error::Changed`] if a source
/// has changed, or reading or writing fails.
pub fn write(
    folder: &Utf8Path,
    manifest: &Manifest,
    files: &Files<'_>,
    sources: &[Source],
    progress: Progress<'_>,
) -> Result<(), Error> {
    let volumes: BTreeMap<u32, Utf8PathBuf> = manifest
        .volumes
        .iter()
        .map(|volume| (volume.number, folder.join(layout::volume(volume.number))))
        .collect();
    check_unoccupied(folder, files.manifest)?;
    let jobs = jobs(sources);
    for (number, volume) in &volumes {
        let of_volume = jobs.iter().filter(|job| job.piece.volume == *number);
        let kept: BTreeSet<&str> = of_volume.map(|job| job.piece.sha256.as_str()).collect();
        prepare(volume, &kept)?;
    }
    parallel(&jobs, &|job| {
        place(job, &volumes[&job.piece.volume], progress)
    })?;
    replace(&folder.join(START), files.start.as_bytes())?;
    if let Some(program) = files.program {
        place_program(program, folder)?;
    }
    for (number, volume) in &volumes {
        let file = VolumeFile::new(manifest, files.manifest, *number);
        replace(&volume.join(VOLUME), &file.to_bytes()?)?;
        write_manifest(volume, files)?;
    }
    // Pieces must be on disk before the manifest. Afterwards the operator may pull out the disk.
    files::sync_filesystem(folder).map_err(Error::io("write", folder))?;
    write_manifest(folder, files)?;
    files::sync_filesystem(folder).map_err(Error::io("write", folder))
}

/// Returns the number of bytes that are still to be written. Each file occupies a multiple of a
/// cluster, as on FAT.
pub fn to_write(folder: &Utf8Path, manifest: &Manifest, manifest_size: u64) -> u64 {
    let size = |bytes: u64| bytes.next_multiple_of(crate::split::CLUSTER);
    let is_missing = |piece: &&Piece| {
        let path = layout::piece(&folder.join(layout::volume(piece.volume)), &piece.sha256);
        !path.metadata().is_ok_and(|found| found.len() == piece.size)
    };
    let pieces = manifest.pieces().into_iter().filter(is_missing);
    let files = manifest.files.iter().map(|file| file.size);
    let copies = 1 + manifest.volumes.len() as u64;
    let bytes = pieces.map(|piece| piece.size).chain(files).map(size);
    bytes.sum::<u64>() + copies * size(manifest_size)
}

/// Runs jobs on several threads until all are done or one fails.
///
/// # Errors
/// The first error of a job, after all started jobs have ended.
pub fn parallel<T: Sync, E: Send>(
    jobs: &[T],
    run: &(dyn Fn(&T) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = run(job) {
                next.store(jobs.len(), Ordering::Relaxed);
                // The first error is the cause; others may follow from it.
                let mut failed = failed.lock().unwrap_or_else(|held| held.into_inner());
                failed.get_or_insert(error);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(THREADS).min(jobs.len()) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(|held| held.into_inner());
    failed.map_or(Ok(()), Err)
}

/// Checks that the folder has no complete medium of a different pack, and no files that `pack` did
/// not write: `pack` creates the volumes first.
fn check_unoccupied(folder: &Utf8Path, manifest: &[u8]) -> Result<(), Error> {
    let path = folder.join(MANIFEST);
    match files::read(&path) {
        Ok(found) if found != manifest => Err(Error::Occupied {
            path: folder.to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let has = |name: &&str| folder.join(name).symlink_metadata().is_ok();
            match [START, PROGRAM].into_iter().find(has) {
                Some(name) if !has(&layout::VOLUMES) => Err(Error::Foreign {
                    path: folder.to_owned(),
                    name,
                }),
                _ => Ok(()),
            }
        }
        Err(source) => Err(Error::io("read", &path)(source)),
    }
}

/// Returns the sorted names in a folder that do not belong to a medium. Hidden files and those of
/// file systems are left out.
pub fn others(folder: &Utf8Path) -> Vec<String> {
    const OURS: [&str; 5] = [START, PROGRAM, MANIFEST, SIGNATURE, layout::VOLUMES];
    const OF_FILE_SYSTEMS: [&str; 2] = ["lost+found", "System Volume Information"];
    let is_other = |name: &str| {
        let known = OURS.iter().chain(&OF_FILE_SYSTEMS);
        !name.starts_with('.')
            && known
                .into_iter()
                .all(|one| name.trim_end_matches(PART) != *one)
    };
    let files = folder.read_dir_utf8().into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_owned());
    let mut others: Vec<String> = names.filter(|name| is_other(name)).collect();
    others.sort();
    others
}

/// Creates the folders of a volume, and removes pieces of an interrupted run with different
/// contents.
fn prepare(volume: &Utf8Path, kept: &BTreeSet<&str>) -> Result<(), Error> {
    let pieces = volume.join("pieces");
    let above = volume.ancestors().take(2).chain([pieces.as_path()]);
    for folder in above {
        if folder.is_symlink() {
            let refusal = io::Error::other("it is a symbolic link");
            return Err(Error::io("write", folder)(refusal));
        }
    }
    let starts: BTreeSet<&str> = kept.iter().map(|sha256| &sha256[..2]).collect();
    for start in starts {
        let folder = pieces.join(start);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    }
    fs::create_dir_all(&pieces).map_err(Error::io("create", &pieces))?;
    let read = |folder: &Utf8Path| folder.read_dir_utf8().map_err(Error::io("read", folder));
    for folder in read(&pieces)?.flatten() {
        if !folder.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        for file in read(folder.path())?.flatten() {
            let name = file.file_name();
            let is_ours = layout::is_sha256(name.trim_end_matches(PART));
            if is_ours && !kept.contains(name) {
                fs::remove_file(file.path()).map_err(Error::io("remove", file.path()))?;
            }
        }
    }
    Ok(())
}

/// Extension of an unfinished file.
const PART: &str = ".part";

/// Writes one piece unless it is complete already.
fn place(job: &Job<'_>, volume: &Utf8Path, progress: Progress<'_>) -> Result<(), Error> {
    let path = layout::piece(volume, &job.piece.sha256);
    if has(&path, job.piece, progress)? {
        return Ok(());
    }
    let part = Utf8PathBuf::from(format!("{path}{PART}"));
    let read = || Error::io("read", job.path);
    let mut from = open_at(job.path, job.offset, job.piece.size).map_err(read())?;
    let mut into = create(&part).map_err(Error::io("write", &part))?;
    let (found, size) = copy(&mut from, &mut into, progress).map_err(|failed| match failed {
        Failed::Read(source) => read()(source),
        Failed::Write(source) => Error::io("write", &part)(source),
        Failed::Stopped => Error::Stopped,
    })?;
    if (found.as_str(), size) != (job.piece.sha256.as_str(), job.piece.size) {
        fs::remove_file(&part).map_err(Error::io("remove", &part))?;
        return Err(Error::Changed {
            path: job.path.to_owned(),
            found,
        });
    }
    fs::rename(&part, &path).map_err(Error::io("write", &path))
}

/// Returns whether a piece exists and has the right hash.
fn has(path: &Utf8Path, piece: &Piece, progress: Progress<'_>) -> Result<bool, Error> {
    let is_whole = path
        .symlink_metadata()
        .is_ok_and(|found| found.is_file() && found.len() == piece.size);
    if !is_whole {
        return Ok(false);
    }
    let read = || Error::io("read", path);
    let mut file = files::open(path).map_err(read())?;
    match copy(&mut file, &mut io::sink(), progress) {
        Ok((found, _)) => Ok(found == piece.sha256),
        // Writing to a bad sector may make the disk replace it.
        Err(Failed::Read(_)) => Ok(false),
        Err(failed) => Err(failed.or_read(read())),
    }
}

fn place_program(program: &Utf8Path, folder: &Utf8Path) -> Result<(), Error> {
    let path = folder.join(PROGRAM);
    let mut from = files::open(program).map_err(Error::io("read", program))?;
    let write = || Error::io("write", &path);
    let mut into = create(&path).map_err(write())?;
    io::copy(&mut from, &mut into).map_err(write())?;
    // FAT has no modes and refuses, but all its files are executable.
    let _ = into.set_permissions(PermissionsExt::from_mode(0o755));
    Ok(())
}

/// Creates a file. An existing file or link of this name is removed.
fn create(path: &Utf8Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(path)
}

fn write_manifest(folder: &Utf8Path, files: &Files<'_>) -> Result<(), Error> {
    let signature = folder.join(SIGNATURE);
    match files.signature {
        Some(text) => replace(&signature, text.as_bytes())?,
        None => match fs::remove_file(&signature) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &signature)(error));
            }
            _ => {}
        },
    }
    replace(&folder.join(MANIFEST), files.manifest)
}

/// Replaces a file atomically.
fn replace(path: &Utf8Path, bytes: &[u8]) -> Result<(), Error> {
    let part = Utf8PathBuf::from(format!("{path}{PART}"));
    let write = || -> io::Result<()> {
        let mut file = create(&part)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&part, path)
    };
    write().map_err(Error::io("write", path))
}
