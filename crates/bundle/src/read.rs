//! Reads a bundle in one pass: inflates it, walks the tar, reads each archive in place, and
//! compares all of it with the lock, if there is one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Read};

use crate::ahead::Ahead;
use crate::archive::{self, ArchiveError, ArchiveReader, Fault};
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

/// Maximum number of skipped members that are listed for a set's bundle.
const MOST_SKIPPED: usize = 10_000;

/// Reads the bundle in `bundle` to its end and writes its blobs to `sink`.
///
/// With `expected`, everything is compared with that lock, and only blobs that it lists are offered
/// to the sink. Success means that bundle and lock are equal to the last byte. Without a lock,
/// success means that the bundle is complete and consistent.
///
/// Four threads share the work:
///
/// 1. One reads and hashes the bundle.
/// 2. The caller's thread inflates it and takes it apart. It calls `sink` and `observer`.
/// 3. One hashes blobs and writes them to their [`crate::BlobSink`]s.
/// 4. One commits the `BlobSink`s.
///
/// All threads have ended when this function returns. After an error it waits only for the current
/// read of `bundle`.
///
/// To stop from outside, let `bundle` return an error of any kind but
/// [`io::ErrorKind::Interrupted`], which is retried. It becomes the source of [`ReadError::Input`].
///
/// # Errors
/// [`ReadError`] for the first fault. Blobs committed before are correct nevertheless.
pub fn read(
    bundle: impl Read + Send,
    sink: &mut dyn Sink,
    expected: Option<&Lock>,
    observer: &dyn Observer,
) -> Result<Contents, ReadError> {
    let rules = expected.map(Rules::of).unwrap_or_default();
    read_with_rules(bundle, sink, expected, &rules, observer)
}

/// Reads a bundle without a lock, like [`read`], but applies `rules` to its archives.
///
/// # Errors
/// [`ReadError`], as for [`read`].
pub fn read_observed(
    bundle: impl Read + Send,
    sink: &mut dyn Sink,
    rules: &Rules,
    observer: &dyn Observer,
) -> Result<Contents, ReadError> {
    read_with_rules(bundle, sink, None, rules, observer)
}

fn read_with_rules(
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
        reading.finish_pipeline()?;
        walked.map_err(|stop| reading.explain(stop))?;
        let (size, sha256) = stream
            .finish()
            .expect("a stream that was read to its end has been hashed");
        reading.finish(size, sha256)
    })
}

/// Reason why the walk over the bundle stopped: a reader's error, still to be classified, or a
/// complete one.
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

/// The state while a bundle is read.
struct Reading<'a> {
    observer: &'a dyn Observer,
    archives: ArchiveReader<'a>,
    /// Artifacts that are not yet reported to the sink, because some of their blobs are not
    /// committed: the number of blobs that must be, and the index in `artifacts`.
    unreported: VecDeque<(u64, usize)>,
    place: Place,
    expected: Option<Expected<'a>>,
    rules: &'a Rules,
    /// Paths of archives by repository and tag.
    seen: HashMap<Name, String>,
    skipped: Vec<SkippedArchive>,
    artifacts: Vec<Artifact>,
    unnamed_blobs: BTreeMap<String, u64>,
    matrix: Option<Matrix>,
    ignored_files: u64,
    suspicious_files: Vec<String>,
    other_matrices: Vec<String>,
}

/// The lock, with its artifacts by archive.
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
            unreported: VecDeque::new(),
            place: Place::Start,
            expected,
            rules,
            seen: HashMap::new(),
            skipped: Vec::new(),
            artifacts: Vec::new(),
            unnamed_blobs: BTreeMap::new(),
            matrix: None,
            ignored_files: 0,
            suspicious_files: Vec::new(),
            other_matrices: Vec::new(),
        }
    }

    fn member(&mut self, member: &mut Member<'_>) -> Result<(), Stop> {
        if member.kind.is_dir() {
            let path = member.path.strip_suffix(b"/").unwrap_or(&member.path);
            if let Some(folder) = folder_like_archive(&[path, b"/"].concat()) {
                self.suspect(folder);
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
            archive::check_name(&path).map_err(|source| ReadError::Archive {
                archive: path.clone(),
                source,
            })?;
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

    /// Reads a member of a set's bundle, or lists it as skipped. Other members of a locked bundle
    /// are ignored: a set may have only a part of it.
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

    /// Lists a skipped member. Beyond the limit it is only counted.
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
            Some(folder) => self.suspect(folder),
            None if is_suspicious(&member.path) => self.suspect(&member.path),
            None => {}
        }
    }

    /// Lists a file or folder that may be meant as an archive, once.
    fn suspect(&mut self, path: &[u8]) {
        let path = path.escape_ascii().to_string();
        let files = &mut self.suspicious_files;
        if files.len() < Contents::MOST_LISTED && !files.contains(&path) {
            files.push(path);
        }
    }

    /// Returns the reference that an archive's path encodes or, if it encodes none, the reference
    /// in the rules.
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
        self.unreported.push_back((blobs, self.artifacts.len()));
        self.artifacts.push(artifact);
        self.place = Place::After(path);
        self.report_committed(self.archives.pipeline.committed())?;
        Ok(())
    }

    /// Reports the artifacts whose blobs are among the first `committed` ones to the sink.
    fn report_committed(&mut self, committed: u64) -> Result<(), ReadError> {
        while let Some(&(blobs, place)) = self.unreported.front()
            && blobs <= committed
        {
            self.unreported.pop_front();
            let artifact = &self.artifacts[place];
            let reported = self.archives.sink.artifact(artifact);
            reported.map_err(|source| ReadError::Sink {
                place: Place::In(artifact.archive.clone()),
                source,
            })?;
        }
        Ok(())
    }

    /// Waits for the blobs in the pipeline. The walk is ahead of them, so a failure of theirs takes
    /// precedence over the error that stopped the walk.
    fn finish_pipeline(&mut self) -> Result<(), ReadError> {
        let (committed, failure) = self.archives.pipeline.finish();
        self.report_committed(committed)?;
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
            if self.other_matrices.len() < Contents::MOST_LISTED {
                self.other_matrices.push(other.path);
            }
        }
        Ok(())
    }

    /// Checks, after the last byte, that the bundle is complete and equals the lock. Then finishes
    /// the sink.
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
            suspicious_files: self.suspicious_files,
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

    /// Classifies an error of reading an archive. An I/O error belongs either to the bundle or to
    /// the archive's own tar.
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

    /// Completes an error with the current place.
    fn explain(&self, stop: Stop) -> ReadError {
        match stop {
            Stop::Error(error) => *error,
            Stop::Io(error) => stream_error(error, self.place.clone()),
        }
    }
}

/// Classifies an error of the readers around the archives.
pub(crate) fn stream_error(error: io::Error, place: Place) -> ReadError {
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
    /// Returns the order of candidates: the plain name first, then by path.
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

/// Returns whether `path` is a release matrix. The vendor keeps its schema beside it.
pub(crate) fn is_matrix(path: &str) -> bool {
    let name = base_name(path);
    name.starts_with("release-matrix") && name.ends_with(".json") && !name.contains("schema")
}

/// Returns whether an ignored file has a name like an archive: `pause@3.10.TAR`, `pause@3.10.tar `
/// or `pause.oci`.
fn is_suspicious(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let name = name.to_ascii_lowercase();
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    has(b"@") || has(b":") || has(b".tar") || has(b".tgz") || has(b".oci")
}

/// Returns the first folder of a path that has a name like an archive: `dir@1.tar/` of
/// `dir@1.tar/x`.
fn folder_like_archive(path: &[u8]) -> Option<&[u8]> {
    let suffix = b".tar/";
    let start = path.windows(suffix.len()).position(|part| part == suffix)?;
    Some(&path[..start + suffix.len()])
}

/// Returns whether `path` has a name like an archive, but with the suffix of a compression.
fn is_compressed_archive(path: &str) -> bool {
    let name = base_name(path);
    let is_packed = [".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    name.contains('@') && is_packed
}

#[cfg(test)]
mod tests;
