//! The copies of mkectl in `bundles/mkectl/`, by release and platform, each beside its archive.

use bundle::LockedMkectl;
use camino::{Utf8Path, Utf8PathBuf};

use super::{Error, Program};
use crate::disk::DiskFull;
use crate::event::Event;
use crate::transfer::fetch;
use crate::{Context, Workspace, disk};

/// A program and its archive.
pub(crate) struct StoredProgram {
    pub(crate) folder: Utf8PathBuf,
    pub(crate) program: Utf8PathBuf,
    pub(crate) archive: Utf8PathBuf,
}

impl StoredProgram {
    pub(crate) fn of(workspace: &Workspace, lock: &bundle::Lock, locked: &LockedMkectl) -> Self {
        Self::at(workspace, &lock.release, &locked.platform)
    }

    /// Returns the error for a program that is refused. A full disk gets an error of its own.
    pub(super) fn refused(
        &self,
        workspace: &Workspace,
        source: bundle::ProgramError,
    ) -> crate::Error {
        match source.full() {
            Ok(source) => self.full(workspace, source),
            Err(source) => Error::Refused {
                folder: workspace.shown(&self.folder).to_owned(),
                source,
            }
            .into(),
        }
    }

    /// Returns the error for a full disk below the folder.
    pub(crate) fn full(&self, workspace: &Workspace, source: std::io::Error) -> crate::Error {
        let shown = workspace.shown(&self.folder);
        disk::Error::Full(DiskFull::new(&self.folder, shown, source)).into()
    }

    pub(super) fn at(workspace: &Workspace, release: &str, platform: &str) -> Self {
        let folder = workspace.mkectl().join(release).join(platform);
        Self {
            program: folder.join("mkectl"),
            archive: folder.join("mkectl.tar.gz"),
            folder,
        }
    }
}

/// Returns the folder of this machine's mkectl of a release, relative to the workspace.
pub fn folder(release: &str) -> Utf8PathBuf {
    Utf8Path::new("bundles/mkectl")
        .join(release)
        .join(platform())
}

/// Returns the fetched program, if it equals the one in the archive with the locked hash.
pub(super) fn checked(
    context: &Context<'_>,
    (kept, locked): &(StoredProgram, &LockedMkectl),
    variables: programs::Variables,
) -> Result<programs::Mkectl, crate::Error> {
    bundle::check_program(&kept.archive, &locked.sha256, &kept.program)
        .map_err(|source| kept.refused(context.workspace, source))?;
    programs::Mkectl::at(&kept.program, variables).map_err(crate::Error::Mkectl)
}

/// Returns the path of the mkectl that was fetched for this machine.
pub(crate) fn fetched(workspace: &Workspace, release: &str) -> Option<Utf8PathBuf> {
    let program = StoredProgram::at(workspace, release, &platform()).program;
    program.exists().then_some(program)
}

/// Returns the SHA-256 of each archive of a release's mkectl in the workspace, by platform.
///
/// # Errors
/// An archive cannot be read.
pub(crate) fn archive_hashes(
    workspace: &Workspace,
    release: &mke::Release,
) -> Result<std::collections::BTreeMap<String, String>, crate::Error> {
    let name = format!("v{}", release.version());
    let mut hashes = std::collections::BTreeMap::new();
    for download in release.mkectl() {
        let archive = StoredProgram::at(workspace, &name, download.platform).archive;
        match files::read(&archive) {
            Ok(bytes) => {
                hashes.insert(download.platform.to_owned(), crate::sha256(&bytes));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(crate::Error::read(&archive, source)),
        }
    }
    Ok(hashes)
}

/// Keeps a copy of the program that changes a cluster, unless it is kept already. If the operator
/// replaces the one on PATH, the only build that restores its backups would be lost. A failure is
/// only a warning.
pub(crate) fn keep(context: &Context<'_>, program: &Program) {
    let Program {
        mkectl, release, ..
    } = program;
    let of_tool = context.workspace.mkectl();
    let Some(sha256) = mkectl
        .sha256()
        .filter(|_| !mkectl.program.path.starts_with(&of_tool))
    else {
        return;
    };
    let folder = of_tool
        .join(format!("v{release}-{}", &sha256[..12]))
        .join(platform());
    let program = folder.join("mkectl");
    if program.exists() {
        return;
    }
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        let part = tempfile::NamedTempFile::new_in(&folder)?;
        // Also copies the permissions.
        std::fs::copy(&mkectl.program.path, part.path())?;
        part.persist(&program)?;
        Ok(())
    };
    if let Err(error) = copy() {
        context.reporter.report(Event::Warning(format!(
            "{} could not be kept as {}: {error}",
            mkectl.program.path,
            context.workspace.shown(&program)
        )));
    }
}

/// Compares the archives of mkectl with the locked hashes, for every platform.
///
/// # Errors
/// [`Error::Refused`] if one differs or cannot be read.
pub(crate) fn check(
    context: &Context<'_>,
    lock: &bundle::Lock,
) -> Result<Vec<(String, fetch::Found)>, crate::Error> {
    let found = |locked: &LockedMkectl| {
        let kept = StoredProgram::of(context.workspace, lock, locked);
        if !kept.archive.exists() && !kept.program.exists() {
            return Ok((locked.platform.clone(), fetch::Found::Missing));
        }
        let checked = match kept.program.exists() {
            true => bundle::check_program(&kept.archive, &locked.sha256, &kept.program),
            false => bundle::check_archive(&kept.archive, &locked.sha256),
        };
        checked.map_err(|source| kept.refused(context.workspace, source))?;
        Ok((locked.platform.clone(), fetch::Found::Verified))
    };
    lock.mkectl.iter().map(found).collect()
}

/// Returns the mkectl that was fetched for this machine, with its entry in the lock.
pub(super) fn kept<'l>(
    workspace: &Workspace,
    lock: &'l bundle::Lock,
) -> Option<(StoredProgram, &'l LockedMkectl)> {
    let locked = of_this_machine(lock)?;
    let kept = StoredProgram::of(workspace, lock, locked);
    kept.program.exists().then_some((kept, locked))
}

pub(super) fn of_this_machine(lock: &bundle::Lock) -> Option<&LockedMkectl> {
    let platform = platform();
    lock.mkectl
        .iter()
        .find(|locked| locked.platform == platform)
}

/// Returns the platform of this machine, as downloads of mkectl name it: `linux-x86_64`.
pub fn platform() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        system => system,
    };
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        machine => machine,
    };
    format!("{system}-{machine}")
}
