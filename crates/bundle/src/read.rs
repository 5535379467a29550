//! Reads a bundle in one pass: inflates it once, walks the tar, reads each archive in place, and
//! compares with the lock where there is one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Read};

use crate::ahead::Ahead;
use crate::archive::{ArchiveError, ArchiveReader, Fault};
use crate::contents::Contents;
use crate::digest;
use crate::document::LARGEST;
use crate::event::{Event, Observer};
use crate::gzip::{Gunzip, StreamFault};
use crate::lock::{Artifact, Lock, LockedFile, SkippedArchive};
use crate::name::{Name, base_name};
use crate::pipeline::Pipeline;
use crate::rules::{Rule, Rules};
use crate::sink::Sink;
use crate::store::StoreError;
use crate::tarball::{self, End, Member};

mod error;

pub use error::{Place, ReadError};

/// How many members of a set's bundle are listed as left out.
const MOST_SKIPPED: usize = 10_000;

/// Reads the bundle in `bundle` from beginning to end, and hands its blobs to `sink`.
///
/// With `expected`, everything is compared with that lock, and only blobs that it lists are handed
/// on. Success then means that bundle and lock are the same, to the last byte. Without it, success
/// means that the bundle is whole in itself.
///
/// The work is spread over four threads: one reads and hashes the bundle, the caller's inflates it
/// and takes it apart, one hashes blobs and writes them, one commits them. `sink` and `observer`
/// are called from the caller's thread, and the [`crate::BlobSink`]s of the sink from the other
/// ones. All of them have ended when this returns; after an error it waits for the read of `bundle`
/// that is under way, and for no other.
///
/// To stop it from outside, let `bundle` return an error of any kind but
/// [`io::ErrorKind::Interrupted`], after which reading continues: it comes back as the source of
/// [`ReadError::Input`].
///
/// # Errors
/// At the first thing that is wrong. Blobs that were handed on before are right nevertheless.
pub fn read(
    bundle: impl Read + Send,
    sink: &mut dyn Sink,
    expected: Option<&Lock>,
    observer: &dyn Observer,
) -> Result<Contents, ReadError> {
    let rules = expected.map(Rules::of).unwrap_or_default();
    read_by(bundle, sink, expected, &rules, observer)
}

/// Reads a bundle without a lock as [`read`] does, and the archives that `rules` cover as these
/// say.
///
/// # Errors
/// Those of [`read`].
pub fn read_observed(
    bundle: impl Read + Send,
    sink: &mut dyn Sink,
    rules: &Rules,
    observer: &dyn Observer,
) -> Result<Contents, ReadError> {
    read_by(bundle, sink, None, rules, observer)
}

fn read_by(
    bundle: impl Read + Send,
    sink: &mut dyn Sink,
    expected: Option<&Lock>,
    rules: &Rules,
    observer: &dyn Observer,
) -> Result<Contents, ReadError> {
    std::thread::scope(|scope| {
        let thread = |source| ReadError::Thread { source };
        let mut stream = Gunzip::new(Ahead::start(scope, bundle).map_err(thread)?, observer);
        let pipeline = Pipeline::start(scope).map_err(thread)?;
        let mut reading = Reading::new(sink, pipeline, expected, rules, observer);
        let walked = tarball::walk(&mut stream, End::Required, &mut |member| {
            reading.member(member)
        });
        reading.keep_rest()?;
        walked.map_err(|stop| reading.explain(stop))?;
        let (size, sha256) = stream
            .finish()
            .expect("a stream that was read to its end has been hashed");
        reading.finish(size, sha256)
    })
}

/// Why the walk over the bundle stopped: a reader's error, still to be explained, or one that is
/// complete.
enum Stop {
    Io(io::Error),
    Error(Box<ReadError>),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Error(Box::new(error))
    }
}

/// The state of one reading.
struct Reading<'a> {
    observer: &'a dyn Observer,
    archives: ArchiveReader<'a>,
    /// The artifacts that were not reported to the sink yet, since not all of their blobs are
    /// committed: how many blobs must be, and the artifact's place in `artifacts`.
    untold: VecDeque<(u64, usize)>,
    place: Place,
    expected: Option<Expected<'a>>,
    rules: &'a Rules,
    /// The path of the archive by its repository and tag.
    seen: HashMap<Name, String>,
    skipped: Vec<SkippedArchive>,
    artifacts: Vec<Artifact>,
    unnamed_blobs: BTreeMap<String, u64>,
    matrix: Option<Matrix>,
    ignored_files: u64,
    odd_files: Vec<String>,
    other_matrices: Vec<String>,
}

/// The lock, in the form in which it is asked.
struct Expected<'a> {
    lock: &'a Lock,
    artifacts: HashMap<&'a str, &'a Artifact>,
}

/// The best candidate for the release matrix so far.
struct Matrix {
    path: String,
    bytes: Vec<u8>,
}

impl<'a> Reading<'a> {
    fn new(
        sink: &'a mut dyn Sink,
        pipeline: Pipeline,
        expected: Option<&'a Lock>,
        rules: &'a Rules,
        observer: &'a dyn Observer,
    ) -> Self {
        let wanted = expected.map(Lock::blobs);
        let expected = expected.map(|lock| Expected {
            lock,
            artifacts: lock
                .artifacts
                .iter()
                .map(|artifact| (artifact.archive.as_str(), artifact))
                .collect(),
        });
        Self {
            observer,
            archives: ArchiveReader::new(pipeline, wanted, sink),
            untold: VecDeque::new(),
            place: Place::Start,
            expected,
            rules,
            seen: HashMap::new(),
            skipped: Vec::new(),
            artifacts: Vec::new(),
            unnamed_blobs: BTreeMap::new(),
            matrix: None,
            ignored_files: 0,
            odd_files: Vec::new(),
            other_matrices: Vec::new(),
        }
    }

    fn member(&mut self, member: &mut Member<'_>) -> Result<(), Stop> {
        if member.kind.is_dir() {
            let path = member.path.strip_suffix(b"/").unwrap_or(&member.path);
            if let Some(folder) = folder_like_archive(&[path, b"/"].concat()) {
                self.odd(folder);
            }
            return Ok(());
        }
        if member.kind.is_pax_global_extensions() {
            return Ok(());
        }
        let printable = std::str::from_utf8(&member.path)
            .ok()
            .filter(|path| !path.chars().any(char::is_control))
            .map(str::to_owned);
        let Some(path) = printable else {
            if !member.path.ends_with(b".tar") {
                self.ignore(member);
                return Ok(());
            }
            let path = member.path.escape_ascii().to_string();
            return Err(ReadError::Path { path }.into());
        };
        if let Some(Rule::Skip { reason }) = self.rules.archives.get(&path) {
            self.skip(path, reason.clone());
            return Ok(());
        }
        if self.rules.of_set.is_some() {
            return self.member_of_set(member, path);
        }
        if path.ends_with(".tar") || self.rules.archives.contains_key(&path) {
            let name = self.name(&path)?;
            return self.archive(member, path, name);
        }
        if is_compressed_archive(&path) {
            return Err(ReadError::CompressedName { file: path }.into());
        }
        if member.kind.is_file() && is_matrix(&path) {
            return self.matrix(member, path);
        }
        self.ignore(member);
        Ok(())
    }

    /// Reads a member of a set's bundle, or lists it as left out. A lock of the bundle may have
    /// only a part of it.
    fn member_of_set(&mut self, member: &mut Member<'_>, path: String) -> Result<(), Stop> {
        let is_unlocked = |one: &Expected<'_>| !one.artifacts.contains_key(path.as_str());
        if self.expected.as_ref().is_some_and(is_unlocked) {
            return Ok(());
        }
        if !path.ends_with(".tar") || !member.kind.is_file() {
            self.skip(path, "it is not an OCI archive".to_owned());
            return Ok(());
        }
        let names = self.rules.of_set.clone().unwrap_or_default();
        match names.decode(&path) {
            Ok(name) => self.archive(member, path, name),
            Err(error) => {
                self.skip(path, error.to_string());
                Ok(())
            }
        }
    }

    /// Lists a member that is left out. Beyond a number that no bundle has, it is only counted.
    fn skip(&mut self, archive: String, reason: String) {
        match self.skipped.len() < MOST_SKIPPED {
            true => self.skipped.push(SkippedArchive { archive, reason }),
            false => self.ignored_files += 1,
        }
    }

    /// Counts a file that is not read, and lists it if it may be meant as an archive.
    fn ignore(&mut self, member: &Member<'_>) {
        self.ignored_files += 1;
        match folder_like_archive(&member.path) {
            Some(folder) => self.odd(folder),
            None if is_odd(&member.path) => self.odd(&member.path),
            None => {}
        }
    }

    /// Lists what may be meant as an archive. A folder is found with each of its files.
    fn odd(&mut self, path: &[u8]) {
        let path = path.escape_ascii().to_string();
        if self.odd_files.len() < Contents::MOST_ODD && !self.odd_files.contains(&path) {
            self.odd_files.push(path);
        }
    }

    /// Returns what an archive's path says, or else what was observed of it.
    fn name(&self, path: &str) -> Result<Name, ReadError> {
        let observed = match self.rules.archives.get(path) {
            Some(Rule::Read { name, .. }) => name.clone(),
            _ => None,
        };
        match (Name::decode(path), observed) {
            (Ok(name), _) | (Err(_), Some(name)) => Ok(name),
            (Err(source), None) => Err(ReadError::Name {
                archive: path.to_owned(),
                source,
            }),
        }
    }

    fn archive(&mut self, member: &mut Member<'_>, path: String, name: Name) -> Result<(), Stop> {
        if !member.kind.is_file() {
            return Err(ReadError::NotRegular { archive: path }.into());
        }
        let root = match self.rules.archives.get(&path) {
            Some(Rule::Read { root, .. }) => root.as_ref(),
            _ => None,
        };
        if let Some(first) = self.seen.insert(name.clone(), path.clone()) {
            return Err(ReadError::Twice {
                reference: name.to_string(),
                first,
                second: path,
            }
            .into());
        }
        let expected = self.expected.as_ref();
        let locked = match expected {
            None => None,
            Some(expected) => match expected.artifacts.get(path.as_str()) {
                Some(&artifact) => Some(artifact),
                None => return Err(ReadError::Unexpected { archive: path }.into()),
            },
        };
        self.place = Place::In(path.clone());
        self.observer.event(Event::ArchiveStarted {
            archive: &path,
            size: member.size,
        });
        let read = self.archives.read(member, &path, &name, root);
        let (artifact, unnamed) = match read {
            Err(Fault::Archive(fault)) if self.rules.of_set.is_some() && fault.is_unsupported() => {
                self.seen.remove(&name);
                self.skip(path, fault.to_string());
                return Ok(());
            }
            read => read.map_err(|fault| self.stop(fault, &path))?,
        };
        if let Some(locked) = locked {
            compare(locked, &artifact)?;
        }
        if unnamed > 0 {
            self.unnamed_blobs.insert(path.clone(), unnamed);
        }
        self.observer.event(Event::ArchiveFinished {
            artifact: &artifact,
        });
        let blobs = self.archives.pipeline.begun();
        self.untold.push_back((blobs, self.artifacts.len()));
        self.artifacts.push(artifact);
        self.place = Place::After(path);
        self.tell(self.archives.pipeline.kept())?;
        Ok(())
    }

    /// Reports to the sink the artifacts whose blobs are among the first `kept` ones.
    fn tell(&mut self, kept: u64) -> Result<(), ReadError> {
        while let Some(&(blobs, place)) = self.untold.front()
            && blobs <= kept
        {
            self.untold.pop_front();
            let artifact = &self.artifacts[place];
            let told = self.archives.sink.artifact(artifact);
            told.map_err(|source| ReadError::Sink {
                place: Place::In(artifact.archive.clone()),
                source,
            })?;
        }
        Ok(())
    }

    /// Waits for the blobs that are still on their way. What failed among them comes before
    /// whatever stopped the walk, since the walk is ahead of them.
    fn keep_rest(&mut self) -> Result<(), ReadError> {
        let (kept, failure) = self.archives.pipeline.finish();
        self.tell(kept)?;
        let Some(failure) = failure else {
            return Ok(());
        };
        let stop = self.stop(failure.fault, &failure.archive);
        Err(self.explain(stop))
    }

    fn matrix(&mut self, member: &mut Member<'_>, path: String) -> Result<(), Stop> {
        if member.size > LARGEST {
            let size = member.size;
            return Err(ReadError::MatrixSize { path, size }.into());
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes)?;
        let found = Matrix { path, bytes };
        let is_better = match &self.matrix {
            Some(best) => found.rank() < best.rank(),
            None => true,
        };
        let other = match is_better {
            true => self.matrix.replace(found),
            false => Some(found),
        };
        if let Some(other) = other {
            self.ignored_files += 1;
            if self.other_matrices.len() < Contents::MOST_ODD {
                self.other_matrices.push(other.path);
            }
        }
        Ok(())
    }

    /// Everything has been read: is it everything, and what the lock says?
    fn finish(mut self, size: u64, sha256: String) -> Result<Contents, ReadError> {
        if self.artifacts.is_empty() {
            let skipped = self.skipped.len() as u64;
            let files = self.ignored_files + skipped + u64::from(self.matrix.is_some());
            let mut skipped = self.skipped.into_iter();
            return Err(match skipped.find(|one| one.archive.ends_with(".tar")) {
                Some(SkippedArchive { archive, reason }) => ReadError::NothingUsed {
                    files,
                    archive,
                    reason,
                },
                None => ReadError::NoArchives { files },
            });
        }
        let release_matrix = self.matrix.as_ref().map(Matrix::locked);
        if let Some(expected) = &self.expected {
            let matrix = release_matrix.as_ref();
            expected.compare(&self.artifacts, &self.skipped, matrix, size, &sha256)?;
        }
        self.keep_matrix()
            .and_then(|()| self.archives.sink.finish())
            .map_err(|source| self.sink_error(source))?;
        Ok(Contents {
            size,
            sha256,
            artifacts: self.artifacts,
            skipped: self.skipped,
            release_matrix,
            ignored_files: self.ignored_files,
            odd_files: self.odd_files,
            other_matrices: self.other_matrices,
            unnamed_blobs: self.unnamed_blobs,
        })
    }

    fn keep_matrix(&mut self) -> Result<(), StoreError> {
        let Some(matrix) = &self.matrix else {
            return Ok(());
        };
        let digest = digest::digest_of(&matrix.bytes);
        if let Some(mut blob) = self
            .archives
            .sink
            .blob(&digest, matrix.bytes.len() as u64)?
        {
            blob.write(&matrix.bytes)?;
            blob.commit()?;
        }
        Ok(())
    }

    /// An error of a reader within an archive is either the bundle's or the archive's own.
    fn stop(&self, fault: Fault, archive: &str) -> Stop {
        let archive = archive.to_owned();
        match fault {
            Fault::Io(error) => match StreamFault::of(error) {
                Ok(fault) => Stop::Io(fault.into()),
                Err(source) => ReadError::Archive {
                    archive,
                    source: ArchiveError::Tar { source },
                }
                .into(),
            },
            Fault::Archive(source) => ReadError::Archive { archive, source }.into(),
            Fault::Sink(source) => ReadError::Sink {
                place: Place::In(archive),
                source,
            }
            .into(),
        }
    }

    fn sink_error(&self, source: StoreError) -> ReadError {
        ReadError::Sink {
            place: self.place.clone(),
            source,
        }
    }

    /// Returns what an error of the outer readers means.
    fn explain(&self, stop: Stop) -> ReadError {
        match stop {
            Stop::Error(error) => *error,
            Stop::Io(error) => outer(error, self.place.clone()),
        }
    }
}

/// Returns what an error of the outer readers means.
pub(crate) fn outer(error: io::Error, place: Place) -> ReadError {
    match StreamFault::of(error) {
        Ok(StreamFault::Empty) => ReadError::Empty,
        Ok(StreamFault::Html) => ReadError::Html,
        Ok(StreamFault::Tar) => ReadError::UncompressedTar,
        Ok(StreamFault::NotGzip) => ReadError::NotGzip,
        Ok(StreamFault::Truncated) => ReadError::Truncated { place },
        Ok(StreamFault::TrailingGarbage { offset }) => ReadError::TrailingGarbage { offset },
        Ok(StreamFault::Corrupt(source)) => ReadError::Corrupt { place, source },
        Ok(StreamFault::Input(source)) => ReadError::Input { place, source },
        Err(source) => ReadError::Tar { place, source },
    }
}

impl Expected<'_> {
    fn compare(
        &self,
        artifacts: &[Artifact],
        skipped_found: &[SkippedArchive],
        matrix: Option<&LockedFile>,
        size: u64,
        sha256: &str,
    ) -> Result<(), ReadError> {
        let found: HashSet<&str> = artifacts
            .iter()
            .map(|artifact| artifact.archive.as_str())
            .collect();
        let locked = &self.lock.artifacts;
        if let Some(missing) = locked
            .iter()
            .find(|artifact| !found.contains(artifact.archive.as_str()))
        {
            return Err(ReadError::Missing {
                archive: missing.archive.clone(),
            });
        }
        if let Some(missing) =
            (self.lock.skipped.iter()).find(|skipped| !skipped_found.contains(skipped))
        {
            return Err(ReadError::Missing {
                archive: missing.archive.clone(),
            });
        }
        if matrix != self.lock.release_matrix.as_ref() {
            return Err(ReadError::Matrix);
        }
        let bundle = &self.lock.bundle;
        if size != bundle.size {
            return Err(ReadError::Size {
                locked: bundle.size,
                found: size,
            });
        }
        if sha256 != bundle.sha256 {
            return Err(ReadError::Sha256 {
                locked: bundle.sha256.clone(),
                found: sha256.to_owned(),
            });
        }
        Ok(())
    }
}

impl Matrix {
    /// The plain name is better than a decorated one, and then the order of paths decides.
    fn rank(&self) -> (bool, &str) {
        (base_name(&self.path) != "release-matrix.json", &self.path)
    }

    fn locked(&self) -> LockedFile {
        LockedFile {
            path: self.path.clone(),
            size: self.bytes.len() as u64,
            sha256: digest::hex_of(&self.bytes),
        }
    }
}

fn compare(locked: &Artifact, found: &Artifact) -> Result<(), ReadError> {
    let archive = || found.archive.clone();
    if locked.digest != found.digest {
        return Err(ReadError::Differs {
            archive: archive(),
            locked: locked.digest.clone(),
            found: found.digest.clone(),
        });
    }
    if locked != found {
        return Err(ReadError::DescribedWrongly { archive: archive() });
    }
    Ok(())
}

/// Returns whether `path` is a release matrix. The vendor keeps a schema beside it, which is none.
pub(crate) fn is_matrix(path: &str) -> bool {
    let name = base_name(path);
    name.starts_with("release-matrix") && name.ends_with(".json") && !name.contains("schema")
}

/// Returns whether a file that is not read is named like an archive: `pause@3.10.TAR`,
/// `pause@3.10.tar ` or `pause.oci`.
fn is_odd(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let name = name.to_ascii_lowercase();
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    has(b"@") || has(b":") || has(b".tar") || has(b".tgz") || has(b".oci")
}

/// Returns the folder of a path, with its slash, that is named as an archive is: `dir@1.tar/` of
/// `dir@1.tar/x`.
fn folder_like_archive(path: &[u8]) -> Option<&[u8]> {
    let suffix = b".tar/";
    let start = path.windows(suffix.len()).position(|part| part == suffix)?;
    Some(&path[..start + suffix.len()])
}

/// Returns whether `path` is named as an archive is, with a compression's suffix.
fn is_compressed_archive(path: &str) -> bool {
    let name = base_name(path);
    let is_packed = [".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    name.contains('@') && is_packed
}

#[cfg(test)]
mod tests;
