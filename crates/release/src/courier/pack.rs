//! Packs what the other side lacks onto a medium: the repository, mkectl, the program, and the blobs of the locks.
//!
//! ```text
//! environments ─▶ locks ─┬─ receipts, --since, --have ─▶ missing blobs ─▶ store ─┐
//! git ─▶ bundle, mkectl, program ────────────────────────────────────────────────┴─▶ manifest ─▶ signature ─▶ pieces
//! ```
//!
//! The manifest is complete and signed before the first piece is written, so an operator types a passphrase at the beginning.

use std::collections::BTreeMap;
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use medium::{Assumed, AssumedBlob, Files, Manifest, RootFile, Served, ServedLock, Source, What};
use semver::Version;

use crate::event::{Event, Step};
use crate::transfer::{before_push, fetch, stream};
use crate::{Context, locked};

mod error;
mod have;
mod program;
mod signature;
mod sources;
mod start;
mod summary;

pub use error::Error;
pub use summary::{Amount, Summary};

/// The platform that is meant when nothing else is said.
const PLATFORM: &str = "linux-x86_64";

/// What is packed, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The largest volume in bytes; one volume without it.
    pub volume: Option<u64>,
    /// The release whose blobs the other side has.
    pub since: Option<Version>,
    /// Files that list what the other side has: registry snapshots and manifests of media.
    pub have: Vec<Utf8PathBuf>,
    /// Whether everything is packed, whatever the other side has.
    pub everything: bool,
    /// The platforms of mkectl.
    pub platforms: Vec<String>,
    /// The program for the medium, instead of the running one.
    pub program: Option<Utf8PathBuf>,
    /// Whether the sources of all dependencies are packed too.
    pub sources: bool,
    /// The beginnings of the names of pieces that a replacement is made of; everything if there are none.
    pub only: Vec<String>,
    /// The key that signs the manifest.
    pub sign: Option<Utf8PathBuf>,
    /// Whether only sizes are asked for. Nothing is downloaded, and what is not here is left out.
    pub dry_run: bool,
}

/// A medium that is ready to be written.
#[derive(Debug)]
pub struct Pack {
    manifest: Manifest,
    bytes: Vec<u8>,
    signature: Option<String>,
    start: String,
    program: Utf8PathBuf,
    sources: Vec<Source>,
    /// Temporary files among the sources.
    _scratch: Scratch,
    /// What it amounts to.
    pub summary: Summary,
}

/// Collects everything that a medium for these environments has, signs its manifest, and writes nothing to the medium yet.
///
/// # Errors
/// The workspace has changes that are not committed, a bundle or mkectl is not available, or the manifest cannot be signed.
pub async fn prepare(
    context: &Context<'_>,
    environments: &[Environment],
    options: &Options,
) -> Result<Pack, crate::Error> {
    let workspace = context.workspace;
    let scratch = Scratch::new(workspace)?;
    let have = have::have(context, environments, options)?;
    let mut locks = BTreeMap::new();
    let mut needed = BTreeMap::new();
    let mut assumed = BTreeMap::new();
    for environment in environments {
        let locked = locked::of(workspace, environment)?;
        let there = have.blobs.get(&environment.name);
        for (digest, size) in locked.lock.blobs() {
            let sha256 = digest.trim_start_matches("sha256:").to_owned();
            match there.is_some_and(|there| there.contains(&sha256)) {
                true => assumed.insert(sha256, size),
                false => needed.insert(sha256, size),
            };
        }
        // Registries never get the matrix, so they cannot have it.
        if let Some(matrix) = &locked.lock.release_matrix
            && !have.contents.contains(&matrix.sha256)
        {
            needed.insert(matrix.sha256.clone(), matrix.size);
        }
        let key = (environment.release.clone(), locked.sets.clone());
        locks.insert(key, locked);
    }
    assumed.retain(|sha256, _| !needed.contains_key(sha256));

    let largest = options
        .volume
        .map_or(medium::LARGEST_PIECE, |volume| volume / 2);
    let mut sources = Vec::new();
    let commits = repository(context, &scratch, &have, &mut sources)?;
    let program = options
        .program
        .clone()
        .unwrap_or_else(|| context.tool.executable.clone());
    let platform = program::platform(&program)?;
    sources.push(read(What::Program { platform }, &program, largest)?);
    let mkectl = crate::transfer::program::archives(
        context,
        environments,
        &platforms(options),
        options.dry_run,
    )
    .await?;
    for archive in mkectl {
        if !have.contents.contains(&archive.sha256) {
            let what = What::Mkectl {
                release: archive.release,
                platform: archive.platform,
                file: "mkectl.tar.gz".to_owned(),
            };
            sources.push(read(what, &archive.path, largest)?);
        }
    }
    if options.sources {
        sources.push(sources::vendored(context, &scratch.folder, largest)?);
    }
    let store = fetch::open_store(workspace)?;
    if !options.dry_run {
        for locked in locks.values() {
            let missing = store.missing(&locked.lock);
            let is_needed = |blob: &bundle::MissingBlob| needed.contains_key(blob.digest.digest());
            if missing.iter().any(is_needed) {
                before_push::room(workspace, &locked.lock)?;
                let _ = stream::bring(context, &locked.lock).await?;
            }
        }
    }
    for (sha256, size) in &needed {
        let path = workspace.store().join("blobs/sha256").join(sha256);
        let what = What::Blob {};
        sources.push(
            match *size > largest.min(medium::LARGEST_PIECE) && !options.dry_run {
                true => read(what, &path, largest)?,
                false => Source::whole(what, &path, sha256, *size),
            },
        );
    }
    if !options.only.is_empty() {
        only(&mut sources, &options.only)?;
    }

    let glibc = program::glibc(&program)?;
    let names: Vec<String> = environments.iter().map(|one| one.name.clone()).collect();
    let releases = locks.keys().map(|(release, _)| release.clone()).collect();
    let start = start::text(&names, &releases, glibc.as_deref(), options);
    let root = RootFile::of(medium::START, start.as_bytes());
    let of_program = program_file(&sources);
    let first = root.size + of_program.as_ref().map_or(0, |file| file.size);
    let volumes = medium::split(&mut sources, options.volume, first, assumed.len() as u64)
        .map_err(|source| Error::Medium { source })?;
    let manifest = Manifest {
        format: Manifest::FORMAT,
        airlock: context.tool.version.clone(),
        serves: Served {
            environments: names,
            locks: served(workspace, locks.values()),
        },
        assumes: Assumed {
            because: have.because.clone(),
            commits,
            blobs: assumed
                .iter()
                .map(|(sha256, size)| AssumedBlob {
                    sha256: sha256.clone(),
                    size: *size,
                })
                .collect(),
        },
        files: std::iter::once(root).chain(of_program).collect(),
        volumes,
        contents: sources
            .iter()
            .map(|source| source.content.clone())
            .collect(),
    };
    let bytes = manifest
        .to_bytes()
        .map_err(|source| Error::Medium { source })?;
    let (signature, signed_by) = match &options.sign {
        Some(key) if !options.dry_run => {
            let (signature, signer) = signature::sign(context, key, &bytes, &scratch.folder)?;
            (Some(signature), Some(signer.fingerprint()))
        }
        _ => (None, None),
    };
    let summary = Summary {
        pack: crate::sha256(&bytes),
        signed_by,
        glibc,
        contents: summary::amounts(&manifest.contents),
        bytes: manifest.size(),
        volumes: manifest.volumes.iter().map(|volume| volume.size).collect(),
        assumed: Amount {
            what: "blobs",
            files: assumed.len(),
            bytes: assumed.values().sum(),
        },
        because: have.because,
    };
    Ok(Pack {
        manifest,
        bytes,
        signature,
        start,
        program,
        sources,
        _scratch: scratch,
        summary,
    })
}

impl Pack {
    /// Writes the medium to a folder, which is made if it does not exist. A run that was interrupted is resumed.
    ///
    /// # Errors
    /// The folder has a different medium or too little space, or something cannot be written.
    pub fn write(&self, context: &Context<'_>, folder: &Utf8Path) -> Result<(), crate::Error> {
        crate::links::check(folder, folder)?;
        std::fs::create_dir_all(folder)
            .map_err(|source| crate::Error::io("make", folder, source))?;
        let needed = medium::to_write(folder, &self.manifest, self.bytes.len() as u64);
        if let Ok(free) = before_push::free(folder)
            && free < needed
        {
            return Err(Error::NoRoom {
                folder: folder.to_owned(),
                free,
                needed,
            }
            .into());
        }
        self.reporting(context, folder.as_str(), |progress| {
            medium::write(
                folder,
                &self.manifest,
                &self.files(),
                &self.sources,
                progress,
            )
        })
    }

    /// Writes the medium to a stream.
    ///
    /// # Errors
    /// Something cannot be read or written.
    pub fn stream(&self, context: &Context<'_>, out: &mut dyn Write) -> Result<(), crate::Error> {
        self.reporting(context, "the stream", |progress| {
            medium::write_stream(out, &self.manifest, &self.files(), &self.sources, progress)
        })
    }

    fn files(&self) -> Files<'_> {
        Files {
            manifest: &self.bytes,
            signature: self.signature.as_deref(),
            start: &self.start,
            program: program_file(&self.sources).map(|_| self.program.as_path()),
        }
    }

    fn reporting(
        &self,
        context: &Context<'_>,
        what: &str,
        write: impl FnOnce(medium::Progress<'_>) -> Result<(), medium::Error>,
    ) -> Result<(), crate::Error> {
        let step = Step::Pack;
        context.reporter.report(Event::Started {
            step,
            what: what.to_owned(),
            bytes: Some(self.manifest.size()),
        });
        let progress = |bytes| {
            context.reporter.report(Event::Advanced { step, bytes });
            true
        };
        write(&progress).map_err(|source| Error::Medium { source })?;
        context.reporter.report(Event::Finished {
            step,
            what: format!("{what} is complete"),
        });
        Ok(())
    }
}

/// Temporary files, in a folder of `bundles/` that git ignores.
#[derive(Debug)]
struct Scratch {
    folder: Utf8PathBuf,
    /// Held as long as the folder is used.
    _lock: std::fs::File,
}

impl Scratch {
    /// The file that is locked.
    const LOCK: &str = "lock";

    fn new(workspace: &crate::Workspace) -> Result<Self, crate::Error> {
        let folder = workspace.bundles().join("pack");
        crate::links::refuse_one(workspace, &folder)?;
        let make = |source| crate::Error::io("make", &folder, source);
        std::fs::create_dir_all(&folder).map_err(make)?;
        let lock = folder.join(Self::LOCK);
        crate::links::refuse_one(workspace, &lock)?;
        let lock = std::fs::File::create(lock).map_err(make)?;
        if matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
            return Err(Error::InUse { folder }.into());
        }
        // A run that was killed has left its own.
        for entry in folder.read_dir_utf8().map_err(make)?.flatten() {
            let _ = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => std::fs::remove_dir_all(entry.path()),
                false if entry.file_name() != Self::LOCK => std::fs::remove_file(entry.path()),
                false => Ok(()),
            };
        }
        Ok(Self {
            folder,
            _lock: lock,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next run tries again.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Adds the history of the workspace, unless the other side has all of it. Returns the commits that it builds on.
fn repository(
    context: &Context<'_>,
    scratch: &Scratch,
    have: &have::Have,
    sources: &mut Vec<Source>,
) -> Result<Vec<String>, crate::Error> {
    let workspace = context.workspace;
    let wrong = |source| Error::Git { source };
    let git = programs::Git::of(workspace.root(), &context.tool.variables).map_err(wrong)?;
    let state = git.state(&[]).map_err(wrong)?;
    let is_carried = |file: &String| {
        file.contains("environments/")
            || file.ends_with(bundle::Lock::SUFFIX)
            || file.ends_with(bundle::set::Set::SUFFIX)
            || file.ends_with(".init.yaml")
    };
    let files: Vec<String> = state.changed.into_iter().filter(is_carried).collect();
    if !files.is_empty() {
        return Err(Error::Uncommitted { files }.into());
    }
    let Some(commit) = state.revision else {
        return Err(Error::NoCommit.into());
    };
    if git.is_cut().map_err(wrong)? {
        return Err(Error::Cut.into());
    }
    let known: Vec<String> = (have.commits.iter())
        .filter(|commit| git.contains(commit))
        .cloned()
        .collect();
    if known.contains(&commit) {
        return Ok(known);
    }
    let branch = git.branch().map_err(wrong)?;
    let file = scratch.folder.join("repository.bundle");
    git.write_bundle(&file, branch.as_deref(), &known)
        .map_err(wrong)?;
    let what = What::Repository {
        branch: branch.unwrap_or_else(|| "HEAD".to_owned()),
        commit,
    };
    sources.push(read(what, &file, medium::LARGEST_PIECE)?);
    Ok(known)
}

/// Returns the locks that a medium is for, those of sets included, each once.
fn served<'a>(
    workspace: &crate::Workspace,
    locks: impl Iterator<Item = &'a locked::Locked>,
) -> Vec<ServedLock> {
    let mut served = BTreeMap::new();
    for locked in locks {
        served.insert(locked.path.clone(), locked.digest.clone());
        for (set, digest) in &locked.sets {
            served.insert(workspace.set_lock(set), digest.clone());
        }
    }
    let locks = served.into_iter().map(|(path, sha256)| ServedLock {
        path: workspace.shown(&path).to_string(),
        sha256,
    });
    locks.collect()
}

/// Describes a file by reading it.
fn read(what: What, path: &Utf8Path, largest: u64) -> Result<Source, Error> {
    Source::read(what, path, largest, &|_| true).map_err(|source| Error::Medium { source })
}

/// Keeps the contents that have these pieces.
fn only(sources: &mut Vec<Source>, pieces: &[String]) -> Result<(), Error> {
    let has = |source: &Source, start: &String| {
        let mut pieces = source.content.pieces.iter();
        pieces.any(|piece| piece.sha256.starts_with(start))
    };
    for piece in pieces {
        if !sources.iter().any(|source| has(source, piece)) {
            return Err(Error::UnknownPiece {
                piece: piece.clone(),
            });
        }
    }
    sources.retain(|source| pieces.iter().any(|piece| has(source, piece)));
    Ok(())
}

fn platforms(options: &Options) -> Vec<String> {
    match options.platforms.is_empty() {
        true => vec![PLATFORM.to_owned()],
        false => options.platforms.clone(),
    }
}

/// Returns the entry of the program that is placed beside the manifest.
fn program_file(sources: &[Source]) -> Option<RootFile> {
    let mut programs = sources
        .iter()
        .filter(|source| matches!(source.content.what, What::Program { .. }));
    programs.next().map(|source| RootFile {
        name: medium::PROGRAM.to_owned(),
        sha256: source.content.sha256.clone(),
        size: source.content.size,
    })
}
