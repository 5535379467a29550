//! Decides which mkectl on this machine an environment uses.

use camino::Utf8PathBuf;
use environment::Environment;

use super::kept::{checked, kept, of_this_machine, platform};
use super::{Error, Program, stand_in, variables};
use crate::receipt::{self, Receipt};
use crate::workspace::{self, Output};
use crate::{Context, kubeconfig, locked};

/// Returns the mkectl of an environment, without checking its version.
///
/// # Errors
/// There is none, it cannot be run on this machine, or the fetched one was changed.
pub(crate) fn find(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    variables: programs::Variables,
) -> Result<programs::Mkectl, crate::Error> {
    let found = if let Some(path) = &environment.mkectl {
        programs::Mkectl::at(path, variables)
    } else if let Some(kept) = kept(context.workspace, lock) {
        return Ok(remembering(context, checked(context, &kept, variables)?));
    } else {
        let on_path = programs::Mkectl::find(variables.clone());
        let fits = (on_path.as_ref()).is_ok_and(|found| is_of(found, &lock.release));
        match recorded(context, environment, lock) {
            Some(recorded) if !fits => programs::Mkectl::at(recorded, variables),
            _ => on_path,
        }
    };
    found
        .map(|mkectl| remembering(context, mkectl))
        .map_err(|error| match error {
            programs::Error::NotFound { searched, .. } => Error::Missing {
                searched,
                release: lock.release.clone(),
                is_locked: of_this_machine(lock).is_some(),
            }
            .into(),
            error => crate::Error::Mkectl(error),
        })
}

/// Returns whether a mkectl reports this release, such as `v4.1.5`.
pub(super) fn is_of(mkectl: &programs::Mkectl, release: &str) -> bool {
    mkectl
        .version()
        .is_ok_and(|version| format!("v{version}") == release)
}

/// Returns the kept mkectl that the environment's receipt records for this release. If there is no
/// receipt, or it has no hash, returns the only kept one of the release.
fn recorded(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
) -> Option<Utf8PathBuf> {
    let output = Output::below(&context.workspace.environment(&environment.name));
    let receipt = Receipt::read(&output.receipt).ok().flatten();
    match receipt.and_then(|receipt| receipt.applied) {
        Some(applied) if applied.release != lock.release => None,
        Some(receipt::Applied { mkectl, .. }) if mkectl.sha256.is_some() => {
            by_hash(context, environment, mkectl.sha256.as_deref())
        }
        _ => only_kept(context, &lock.release),
    }
}

/// Returns the kept mkectl of a release such as `v4.1.5` for this machine, if all kept ones are the
/// same build.
fn only_kept(context: &Context<'_>, release: &str) -> Option<Utf8PathBuf> {
    let folders = context.workspace.mkectl().read_dir_utf8().ok()?.flatten();
    let mut programs = folders.filter_map(|folder| {
        let build = folder.file_name().strip_prefix(release)?;
        let path = folder.path().join(platform()).join("mkectl");
        let program = programs::Mkectl::at(&path, context.tool.variables.clone()).ok()?;
        let sha256 = program.sha256()?;
        // A folder name has the start of the hash. A program that was changed does not match it.
        let is_right = build.is_empty() || build == format!("-{}", &sha256[..12]);
        is_right.then_some((sha256, path))
    });
    let (sha256, path) = programs.next()?;
    programs.all(|(other, _)| other == sha256).then_some(path)
}

pub(crate) fn remembering(context: &Context<'_>, mkectl: programs::Mkectl) -> programs::Mkectl {
    mkectl.remembering(context.workspace.mkectl().join("help"))
}

/// Returns the mkectl of an earlier release of the environment. It is the first of these that
/// exists:
///
/// - in a rehearsal, the stand-in
/// - the fetched one
/// - the one with the SHA-256 of the receipt
/// - the one on PATH, if it is of this release
/// - the only kept one, if the receipt has no SHA-256
///
/// # Errors
/// The fetched one was changed, or cannot be run.
pub(crate) fn of_release(
    context: &Context<'_>,
    environment: &Environment,
    release: &semver::Version,
    sha256: Option<&str>,
) -> Result<Option<Program>, crate::Error> {
    let variables = variables(context, environment);
    if environment.rehearsal {
        let lock = context
            .workspace
            .lock(&format!("v{release}"), crate::workspace::DEFAULT_ARCH);
        let mkectl = stand_in(context.tool, variables, release, &lock);
        return Program::of(mkectl, release, &[]).map(Some);
    }
    let locked = match locked::read(context.workspace, release) {
        Ok(locked) => Some(locked.lock),
        Err(crate::Error::Workspace(workspace::Error::NotLocked { .. })) => None,
        Err(error) => return Err(error),
    };
    let mut mkectl = match locked
        .as_ref()
        .and_then(|lock| kept(context.workspace, lock))
    {
        Some(kept) => checked(context, &kept, variables)?,
        None => {
            let found = match by_hash(context, environment, sha256) {
                Some(program) => programs::Mkectl::at(program, variables),
                None => programs::Mkectl::find(variables),
            };
            let name = format!("v{release}");
            let fits = |mkectl: &programs::Mkectl| is_of(mkectl, &name);
            let kept = || {
                let program = only_kept(context, &name).filter(|_| sha256.is_none())?;
                programs::Mkectl::at(program, self::variables(context, environment)).ok()
            };
            match found.ok().filter(fits).or_else(|| kept().filter(fits)) {
                Some(mkectl) => mkectl,
                None => return Ok(None),
            }
        }
    };
    mkectl.kubeconfig = kubeconfig::flag(context, environment);
    Program::of(remembering(context, mkectl), release, &[]).map(Some)
}

/// Returns the program with this SHA-256: the one that the environment names, one that was fetched
/// for any release, or the one on PATH.
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
    let on_path = programs::Mkectl::find(variables.clone()).ok();
    (environment.mkectl.iter().cloned())
        .chain(fetched)
        .chain(on_path.map(|mkectl| mkectl.program.path))
        .find(|program| {
            let found = programs::Mkectl::at(program, variables.clone());
            found.is_ok_and(|found| found.sha256().as_deref() == Some(sha256))
        })
}
