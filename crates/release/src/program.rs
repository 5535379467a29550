//! The right mkectl: the one that the environment names, the one that the lock knows by its hash, or the one on PATH.
//!
//! What was fetched is kept in `bundles/mkectl/<release>/<platform>/`, also when another release is deployed since: a backup is restored
//! only by the build that wrote it. The download stays beside the program, so that the program can be compared with the lock each time.

use bundle::LockedMkectl;
use camino::Utf8PathBuf;
use environment::Environment;

use crate::event::{Event, Step};
use crate::{Context, Error, Workspace, demo, fetch};

/// A program and the download that it came in.
struct Kept {
    folder: Utf8PathBuf,
    program: Utf8PathBuf,
    archive: Utf8PathBuf,
}

impl Kept {
    fn of(workspace: &Workspace, lock: &bundle::Lock, locked: &LockedMkectl) -> Self {
        let folder = workspace
            .mkectl()
            .join(&lock.release)
            .join(&locked.platform);
        Self {
            program: folder.join("mkectl"),
            archive: folder.join("mkectl.tar.gz"),
            folder,
        }
    }
}

/// Returns the mkectl that an environment is to use, without asking it anything.
///
/// # Errors
/// There is none, it cannot be run on this machine, or the one that was fetched was changed since.
pub(crate) fn find(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    variables: mkectl::Variables,
) -> Result<mkectl::Mkectl, Error> {
    let found = if let Some(path) = &environment.mkectl {
        mkectl::Mkectl::at(path, variables)
    } else if let Some((kept, locked)) = kept(context.workspace, lock) {
        bundle::check_program(&kept.archive, &locked.sha256, &kept.program).map_err(|source| {
            Error::MkectlRefused {
                folder: context.workspace.shown(&kept.folder).to_owned(),
                source,
            }
        })?;
        mkectl::Mkectl::at(kept.program, variables)
    } else {
        mkectl::find("mkectl", variables)
    };
    let mkectl = found.map_err(Error::Mkectl)?;
    Ok(mkectl.remembering(context.workspace.mkectl().join("help")))
}

/// Returns the program whose file has this SHA-256, of those that are here: the one that the environment names, those that were fetched for
/// any release, and the one on PATH.
pub(crate) fn by_hash(
    context: &Context<'_>,
    environment: &Environment,
    sha256: Option<&str>,
) -> Option<Utf8PathBuf> {
    let sha256 = sha256?;
    let variables = &context.tool.variables;
    let fetched = (context.workspace.mkectl().read_dir_utf8())
        .into_iter()
        .flatten()
        .flatten();
    let fetched = fetched.map(|release| release.path().join(platform()).join("mkectl"));
    let on_path = mkectl::find("mkectl", variables.clone()).ok();
    (environment.mkectl.iter().cloned())
        .chain(fetched)
        .chain(on_path.map(|mkectl| mkectl.program))
        .find(|program| {
            let found = mkectl::Mkectl::at(program, variables.clone());
            found.is_ok_and(|found| found.sha256().as_deref() == Some(sha256))
        })
}

/// Brings the locked mkectl for this machine here, unless it is here already.
///
/// # Errors
/// The download failed, or is not the one that was locked.
pub async fn fetch(context: &Context<'_>, lock: &bundle::Lock) -> Result<(), Error> {
    if lock.bundle.url == demo::URL {
        return Ok(());
    }
    let Some(locked) = of_this_machine(lock) else {
        context.reporter.report(Event::Warning(format!(
            "the lock has no hash of mkectl {} for {}: the one on PATH is taken, and compared with nothing but its version",
            lock.release,
            platform()
        )));
        return Ok(());
    };
    let kept = Kept::of(context.workspace, lock, locked);
    let refused = |source| Error::MkectlRefused {
        folder: context.workspace.shown(&kept.folder).to_owned(),
        source,
    };
    if kept.program.exists() {
        return bundle::check_program(&kept.archive, &locked.sha256, &kept.program)
            .map_err(refused);
    }
    std::fs::create_dir_all(&kept.folder)
        .map_err(|source| Error::io("make", &kept.folder, source))?;
    if !kept.archive.exists() {
        fetch::download_file(context, &locked.url, &kept.archive, &locked.sha256).await?;
    }
    bundle::unpack_program(&kept.archive, &locked.sha256, &kept.program).map_err(refused)?;
    context.reporter.report(Event::Finished {
        step: Step::Fetch,
        what: format!(
            "mkectl {} is here: {}",
            lock.release,
            context.workspace.shown(&kept.program)
        ),
    });
    Ok(())
}

/// Returns what was fetched, if it was.
fn kept<'l>(workspace: &Workspace, lock: &'l bundle::Lock) -> Option<(Kept, &'l LockedMkectl)> {
    let locked = of_this_machine(lock)?;
    let kept = Kept::of(workspace, lock, locked);
    kept.program.exists().then_some((kept, locked))
}

fn of_this_machine(lock: &bundle::Lock) -> Option<&LockedMkectl> {
    let platform = platform();
    lock.mkectl
        .iter()
        .find(|locked| locked.platform == platform)
}

/// Returns this machine as downloads of mkectl name it.
fn platform() -> String {
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
