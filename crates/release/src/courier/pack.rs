//! Packs the artifacts that the other side lacks onto a medium: the repository, mkectl, the
//! program, and the blobs of the locks.
//!
//! ```text
//! environments ─▶ locks ─┬─ receipts, --since, --have ─▶ missing blobs ─▶ store ─┐
//! git ─▶ bundle, mkectl, program ────────────────────────────────────────────────┴─▶ manifest ─▶ signature ─▶ pieces
//! ```
//!
//! The manifest is complete and signed before the first piece is written, so the operator types the
//! passphrase at the beginning.

use std::collections::BTreeMap;
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use medium::{Assumed, AssumedBlob, Files, Manifest, Served, ServedLock, Source, What};
use semver::Version;

use crate::event::{Event, Step};
use crate::transfer::{before_push, fetch, stream};
use crate::{Context, locked};

mod have;
mod program;
mod sources;
mod start;
mod seal;
mod signature;
mod summary;

// The medium that a site returns.
pub mod returned;

mod scratch;
mod error;

pub use error::Error;
pub use medium::others;
pub use programs::portable::ZIGBUILD;
pub use summary::{Amount, Summary};

use scratch::Scratch;
use seal::Draft;

/// Default platform of mkectl.
const PLATFORM: &str = "linux-x86_64";

/// Name of the history in [`Options::only`]. Its pieces have no stable names: they change with
/// every commit.
pub const HISTORY: &str = "history";

/// The options of a pack.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Maximum size of a volume in bytes; without it there is one volume.
    pub volume: Option<u64>,
    /// Release whose blobs the other side has.
    pub since: Option<Version>,
    /// Files that list what the other side has: registry snapshots and manifests of media.
    pub have: Vec<Utf8PathBuf>,
    /// Whether everything is packed, even if the other side has it.
    pub everything: bool,
    /// Platforms of mkectl; `linux-x86_64` if empty.
    pub platforms: Vec<String>,
    /// Program for the medium, instead of the running one.
    pub program: Option<Utf8PathBuf>,
    /// Whether the program is built for old systems, instead of packing the running one.
    pub portable: bool,
    /// Whether the sources of all dependencies are packed, too.
    pub sources: bool,
    /// Pieces of a replacement, by the beginnings of their names or [`HISTORY`]; everything if
    /// empty.
    pub only: Vec<String>,
    /// Private key that signs the manifest.
    pub sign: Option<Utf8PathBuf>,
    /// Whether only sizes are computed. Nothing is downloaded, and missing downloads are left out.
    pub dry_run: bool,
}

/// A medium that is ready to be written.
#[derive(Debug)]
pub struct Pack {
    manifest: Manifest,
    bytes: Vec<u8>,
    signature: Option<String>,
    start: String,
    /// `None` for a medium without a program.
    program: Option<Utf8PathBuf>,
    sources: Vec<Source>,
    /// Owns the temporary files among the sources.
    _scratch: Scratch,
    /// Sizes and contents, for the operator.
    pub summary: Summary,
}

/// Collects the contents of a medium for these environments and signs its manifest. Writes nothing
/// to the medium yet.
///
/// # Errors
/// The workspace has uncommitted changes, a bundle or mkectl is not available, or the manifest
/// cannot be signed.
pub async fn prepare(
    context: &Context<'_>,
    environments: &[Environment],
    options: &Options,
) -> Result<Pack, crate::Error> {
    let collected = collect(context, environments, options).await;
    collected.map_err(|error| super::shown(context.workspace, error))
}

async fn collect(
    context: &Context<'_>,
    environments: &[Environment],
    options: &Options,
) -> Result<Pack, crate::Error> {
    let workspace = context.workspace;
    check_named(options)?;
    let scratch = Scratch::new(workspace, options.dry_run)?;
    let have = have::have(context, environments, options)?;
    let mut locks = BTreeMap::new();
    let mut needed = BTreeMap::new();
    let mut assumed = BTreeMap::new();
    for environment in environments {
        let locked = locked::of(workspace, environment)?;
        let is_at_site = |sha256: &String| have.has(&environment.name, sha256);
        for (digest, size) in locked.lock.blobs() {
            let sha256 = digest.trim_start_matches("sha256:").to_owned();
            match is_at_site(&sha256) {
                true => assumed.insert(sha256, size),
                false => needed.insert(sha256, size),
            };
        }
        // Registries never contain the release matrix.
        if let Some(matrix) = &locked.lock.release_matrix
            && !is_at_site(&matrix.sha256)
        {
            needed.insert(matrix.sha256.clone(), matrix.size);
        }
        let key = (environment.release.clone(), locked.sets.clone());
        locks.insert(key, locked);
    }
    assumed.retain(|sha256, _| !needed.contains_key(sha256));

    let largest = medium::largest_piece(options.volume);
    let mut sources = Vec::new();
    let commits = repository(
        context,
        &scratch,
        &have,
        environments,
        options,
        &mut sources,
    )?;
    let program = program::choose(context, options)?;
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
        let mut sites = environments.iter();
        if !sites.all(|one| have.has(&one.name, &archive.sha256)) {
            if !archive.path.exists() {
                context.reporter.report(Event::Warning(format!(
                    "mkectl {} for {} is not downloaded yet; `pack` downloads it, and its size is not counted here",
                    archive.release, archive.platform
                )));
                continue;
            }
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
                let _ = stream::fetch(context, &locked.lock).await?;
            }
        }
    }
    for (sha256, size) in &needed {
        let path = workspace.store().join("blobs/sha256").join(sha256);
        let what = What::Blob {};
        sources.push(
            match *size > largest.min(medium::LARGEST_PIECE) && !options.dry_run {
                true => read(what, &path, largest)?,
                false => Source::of_file(what, &path, sha256, *size),
            },
        );
    }
    if !options.only.is_empty() {
        retain_pieces(&mut sources, &options.only)?;
    }

    let has_program =
        (sources.iter()).any(|source| matches!(source.content.what, What::Program { .. }));
    let glibc = match (has_program, options.portable && options.dry_run) {
        (false, _) => None,
        (true, true) => Some(programs::portable::OLDEST_GLIBC.to_string()),
        (true, false) => program::glibc(&program)?,
    };
    let names: Vec<String> = environments.iter().map(|one| one.name.clone()).collect();
    let releases = locks.keys().map(|(release, _)| release.clone()).collect();
    let start = match has_program {
        true => start::text(&names, &releases, glibc.as_deref(), options),
        false => start::of_replacement(&names, options),
    };
    let blobs = assumed.into_iter();
    let blobs = blobs.map(|(sha256, size)| AssumedBlob { sha256, size });
    let draft = Draft {
        scratch,
        serves: Served {
            environments: names,
            locks: served(workspace, locks.values()),
        },
        assumes: Assumed {
            because: have.because,
            commits,
            blobs: blobs.collect(),
        },
        start,
        program,
        glibc,
        sources,
    };
    draft.seal(context, options)
}

impl Pack {
    /// Writes the medium to a folder, which is created if necessary. An interrupted run is resumed.
    ///
    /// # Errors
    /// The folder has a different medium or too little space, or writing fails.
    pub fn write(&self, context: &Context<'_>, folder: &Utf8Path) -> Result<(), crate::Error> {
        check_folder(context.workspace, folder)?;
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
    /// Reading or writing fails.
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
            program: self.program.as_deref(),
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
        write(&progress)
            .map_err(|source| super::shown(context.workspace, Error::Medium { source }.into()))?;
        context.reporter.report(Event::Finished {
            step,
            what: format!("{what} is complete"),
        });
        Ok(())
    }
}

/// Checks the key and the program that the operator named.
fn check_named(options: &Options) -> Result<(), crate::Error> {
    let named = |path: &Utf8Path, expected| Error::Named {
        path: path.to_owned(),
        expected,
    };
    if let Some(key) = options.sign.as_deref().filter(|key| !key.is_file()) {
        if !key.exists() {
            let key = key.to_owned();
            return Err(Error::NoKey { key }.into());
        }
        return Err(named(key, "the file of an OpenSSH key").into());
    }
    if let Some(program) = options.program.as_deref()
        && !program::is_executable(program)?
    {
        return Err(named(program, "an executable file").into());
    }
    if let Some(program) = options.program.as_deref()
        && !program::is_airlock(program)?
    {
        return Err(named(program, "Airlock").into());
    }
    Ok(())
}

/// Adds the history of the workspace to `sources`, unless the other side has all of it. Returns the
/// commits that it builds on.
fn repository(
    context: &Context<'_>,
    scratch: &Scratch,
    have: &have::Have,
    environments: &[Environment],
    options: &Options,
    sources: &mut Vec<Source>,
) -> Result<Vec<String>, crate::Error> {
    let workspace = context.workspace;
    let wrong = |source| Error::Git { source };
    let git = programs::Git::of(workspace.root(), &context.tool.variables).map_err(wrong)?;
    let repository = git.top_level().map_err(wrong)?;
    if workspace.root().canonicalize_utf8().ok() != repository.canonicalize_utf8().ok() {
        return Err(Error::Subfolder {
            workspace: workspace.root().to_owned(),
            repository,
        }
        .into());
    }
    let state = git.state(&[]).map_err(wrong)?;
    let is_packed = |file: &String| {
        file.contains("environments/")
            || file.ends_with(bundle::Lock::SUFFIX)
            || file.ends_with(bundle::set::Set::SUFFIX)
            || file.ends_with(".init.yaml")
    };
    let files: Vec<String> = state.changed.into_iter().filter(is_packed).collect();
    if !files.is_empty() {
        return Err(Error::Uncommitted { files }.into());
    }
    let Some(commit) = state.revision else {
        return Err(Error::NoCommit.into());
    };
    if git.is_shallow().map_err(wrong)? {
        return Err(Error::ShallowClone.into());
    }
    let known = have.commits(&git, environments);
    if known.contains(&commit) {
        return Ok(known);
    }
    if options.only.is_empty() || options.only.iter().any(|one| one == HISTORY) {
        returned::remember_secrets(context, environments)?;
        returned::refuse_in_commits(context, &known)?;
    }
    let branch = git.branch().map_err(wrong)?;
    let file = scratch.folder.join("repository.bundle");
    git.write_bundle(&file, branch.as_deref(), &known)
        .map_err(wrong)?;
    let what = What::Repository {
        branch: branch.unwrap_or_else(|| "HEAD".to_owned()),
        commit,
    };
    sources.push(read(what, &file, medium::largest_piece(options.volume))?);
    Ok(known)
}

/// Returns the locks in a medium's manifest, including those of sets, each once.
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

/// Hashes a file in pieces.
fn read(what: What, path: &Utf8Path, largest: u64) -> Result<Source, Error> {
    Source::read(what, path, largest, &|_| true).map_err(|source| Error::Medium { source })
}

/// Retains the contents that have one of these pieces.
fn retain_pieces(sources: &mut Vec<Source>, pieces: &[String]) -> Result<(), Error> {
    let has = |source: &Source, start: &String| {
        if start == HISTORY {
            return matches!(source.content.what, What::Repository { .. });
        }
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

/// Checks the output folder of a medium, before a command starts its work.
///
/// # Errors
/// [`Error::Folder`] if the folder belongs to the workspace, or an error for a symbolic link that
/// leads to no folder.
pub fn check_folder(workspace: &crate::Workspace, folder: &Utf8Path) -> Result<(), crate::Error> {
    // A link may lead to the folder of a disk.
    if !folder.is_dir() {
        crate::links::check(folder, folder)?;
    }
    match belongs_to(workspace, folder) {
        false => Ok(()),
        true => Err(Error::Folder {
            folder: folder.to_owned(),
        }
        .into()),
    }
}

/// Returns whether a folder, which need not exist, is the workspace itself or in one of its
/// folders.
fn belongs_to(workspace: &crate::Workspace, folder: &Utf8Path) -> bool {
    let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
    let Some(root) = real(workspace.root()) else {
        return false;
    };
    // The real path of a missing folder is that of its nearest existing parent.
    let Some(place) = folder.ancestors().find_map(|one| match one.as_str() {
        "" => real(Utf8Path::new(".")),
        _ => real(one),
    }) else {
        return false;
    };
    let own = [".git", "bundles", "environments"];
    (place == root && folder.exists()) || own.iter().any(|name| place.starts_with(root.join(name)))
}
