//! Downloads the locked mkectl, for this machine and for others.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use mke::Observations;
use mke::observations::ObservedMkectl;

use super::Error;
use super::find::{is_of, remembering};
use super::kept::{StoredProgram, kept, of_this_machine, platform};
use crate::event::{Event, Remediable, Step};
use crate::receipt::Receipt;
use crate::transfer::fetch;
use crate::workspace::{self, Output};
use crate::{Context, Workspace, demo, locked};

/// `HOME` when mkectl is run for its help, which shows paths below it.
const HOME: &str = "/home/operator";

/// Returns the lock that records the mkectl whose absence is the `problem` of a plan, if that
/// mkectl was not fetched. It is the release's own, or the one that writes the backup before an
/// upgrade.
fn lock_of_missing(
    workspace: &Workspace,
    environment: &Environment,
    lock: &Arc<bundle::Lock>,
    problem: &crate::Error,
) -> Option<Arc<bundle::Lock>> {
    let lock = match problem {
        crate::Error::Program(Error::NoOldMkectl { release }) => {
            let release = release.strip_prefix('v')?.parse().ok()?;
            locked::read(workspace, &release).ok()?.lock
        }
        crate::Error::Program(Error::Version { .. } | Error::Missing { .. })
            if environment.mkectl.is_none() && !environment.rehearsal =>
        {
            Arc::clone(lock)
        }
        _ => return None,
    };
    (of_this_machine(&lock).is_some() && kept(workspace, &lock).is_none()).then_some(lock)
}

/// Returns whether [`provide`] can fetch the mkectl whose absence is the `problem` of a plan,
/// unless its server does not respond.
pub(crate) fn can_be_provided(
    context: &Context<'_>,
    environment: &Environment,
    lock: &Arc<bundle::Lock>,
    problem: &crate::Error,
) -> bool {
    let lock = lock_of_missing(context.workspace, environment, lock, problem);
    lock.is_some_and(|lock| {
        let archive = StoredProgram::at(context.workspace, &lock.release, &platform()).archive;
        !context.offline || archive.exists()
    })
}

/// Downloads the mkectl whose absence is the `problem` of a plan, if a lock records it. Returns
/// whether it was fetched; the plan has to be computed again then. If the server is not reachable,
/// that is a warning.
///
/// # Errors
/// The download differs from the lock.
pub(crate) async fn provide(
    context: &Context<'_>,
    environment: &Environment,
    lock: &Arc<bundle::Lock>,
    problem: &crate::Error,
) -> Result<bool, crate::Error> {
    let Some(lock) = lock_of_missing(context.workspace, environment, lock, problem) else {
        return Ok(false);
    };
    // The operator is waiting, and behind an air gap no attempt succeeds.
    let retry = bundle::Retry {
        failures: 2,
        ..bundle::Retry::default()
    };
    match fetch_with(context, &lock, &platform(), retry).await {
        Ok(()) => Ok(kept(context.workspace, &lock).is_some()),
        Err(error) if fetch::is_unreachable(&error) => {
            context.reporter.report(Event::Warning(format!(
                "mkectl {} is not here and could not be brought: {}",
                lock.release,
                crate::chain(&error)
            )));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Downloads the locked mkectl for this machine, unless it was fetched before. If its server is not
/// reachable, any mkectl of this release is enough: at `named`, which the environment names, or on
/// `PATH`.
///
/// # Errors
/// The download failed or differs from the lock.
pub async fn fetch(
    context: &Context<'_>,
    lock: &bundle::Lock,
    named: Option<&camino::Utf8Path>,
) -> Result<(), crate::Error> {
    let fetched = fetch_with(context, lock, &platform(), bundle::Retry::default()).await;
    let Err(error) = fetched else { return Ok(()) };
    if !fetch::is_unreachable(&error) {
        return Err(error);
    }
    let variables = context.tool.variables.clone();
    let other = match named {
        Some(path) => programs::Mkectl::at(path, variables),
        None => programs::Mkectl::find(variables),
    };
    let Some(other) = other.ok().filter(|other| is_of(other, &lock.release)) else {
        return Err(error);
    };
    context.reporter.report(Event::Warning(format!(
        "mkectl {} is not downloaded: {}; {} is of this release and is used",
        lock.release,
        crate::chain(&error),
        other.program.path
    )));
    Ok(())
}

/// Downloads the locked mkectl for other platforms, unless it was fetched before.
///
/// # Errors
/// [`fetch::Error::NoPlatform`] if the lock has none for a platform; also if the download failed or
/// differs from the lock.
pub async fn fetch_for(
    context: &Context<'_>,
    lock: &bundle::Lock,
    platforms: &[String],
) -> Result<(), crate::Error> {
    for platform in locked_platforms(lock, platforms)? {
        fetch_with(context, lock, &platform, bundle::Retry::default()).await?;
    }
    Ok(())
}

/// Converts platforms to the names of mkectl's downloads, such as `linux-x86_64`. Names of
/// container platforms, such as `linux/amd64`, are accepted, too.
fn locked_platforms(
    lock: &bundle::Lock,
    platforms: &[String],
) -> Result<Vec<String>, crate::Error> {
    let known = |platform: &String| {
        let name = platform.replace('/', "-").replace("amd64", "x86_64");
        match lock.mkectl.iter().any(|locked| locked.platform == name) {
            true => Ok(name),
            false => Err(crate::Error::Fetch(fetch::Error::NoPlatform {
                release: lock.release.clone(),
                platform: platform.clone(),
                known: (lock.mkectl.iter().map(|locked| locked.platform.clone())).collect(),
            })),
        }
    };
    platforms.iter().map(known).collect()
}

/// A downloaded archive of mkectl.
pub(crate) struct LocalArchive {
    pub(crate) release: String,
    pub(crate) platform: String,
    pub(crate) sha256: String,
    pub(crate) path: Utf8PathBuf,
}

/// Returns the release that an environment's cluster runs, according to its receipt.
fn applied_release(
    context: &Context<'_>,
    environment: &str,
) -> Result<Option<semver::Version>, crate::Error> {
    let output = Output::below(&context.workspace.environment(environment));
    let applied = Receipt::read(&output.receipt)?.and_then(|receipt| receipt.applied);
    Ok(applied.and_then(|applied| applied.release.strip_prefix('v')?.parse().ok()))
}

/// Returns the archives of mkectl that environments need on these platforms: for their releases,
/// and for the releases that their clusters run. Missing ones are downloaded. With `only_local`,
/// nothing is downloaded, and the files of missing ones do not exist.
///
/// # Errors
/// A receipt or a lock cannot be read, or a download failed or differs from the lock.
pub(crate) async fn archives(
    context: &Context<'_>,
    environments: &[Environment],
    platforms: &[String],
    only_local: bool,
) -> Result<Vec<LocalArchive>, crate::Error> {
    let mut releases = std::collections::BTreeSet::new();
    for environment in environments {
        releases.extend(applied_release(context, &environment.name)?);
        releases.insert(environment.release.clone());
    }
    let mut archives = Vec::new();
    for release in releases {
        let lock = match locked::read(context.workspace, &release) {
            Ok(locked) => locked.lock,
            // A cluster may run a release that was never locked in this workspace.
            Err(crate::Error::Workspace(workspace::Error::NotLocked { .. })) => continue,
            Err(error) => return Err(error),
        };
        if lock.mkectl.is_empty() {
            context.reporter.report(Event::Warning(format!(
                "the lock of {} has no mkectl, so the medium has none",
                lock.release
            )));
            continue;
        }
        let platforms = locked_platforms(&lock, platforms)?;
        if !only_local {
            fetch_for(context, &lock, &platforms).await?;
        }
        for locked in &lock.mkectl {
            let kept = StoredProgram::of(context.workspace, &lock, locked);
            if platforms.contains(&locked.platform) {
                archives.push(LocalArchive {
                    release: lock.release.clone(),
                    platform: locked.platform.clone(),
                    sha256: locked.sha256.clone(),
                    path: kept.archive,
                });
            }
        }
    }
    Ok(archives)
}

/// Downloads the mkectl of the release that an environment's cluster runs, according to its
/// receipt, if that release is not `release` and has a lock. The backup before an upgrade may need
/// it.
///
/// # Errors
/// The receipt cannot be read, or the download failed or differs from the lock.
pub async fn fetch_earlier(
    context: &Context<'_>,
    environment: &str,
    release: &semver::Version,
) -> Result<(), crate::Error> {
    let applied = applied_release(context, environment)?;
    let Some(earlier) = applied.filter(|earlier| earlier != release) else {
        return Ok(());
    };
    match locked::read(context.workspace, &earlier) {
        Ok(locked) if of_this_machine(&locked.lock).is_some() => {
            fetch(context, &locked.lock, None).await
        }
        _ => Ok(()),
    }
}

/// Downloads the mkectl of a release for a platform without a published hash. Returns the SHA-256
/// of the archive. Only the archive for this machine is kept.
///
/// # Errors
/// The download failed, or the archive contains no mkectl.
pub(crate) async fn trust_on_first_use(
    context: &Context<'_>,
    release: &str,
    for_platform: &str,
    url: &str,
) -> Result<String, crate::Error> {
    let kept = StoredProgram::at(context.workspace, release, for_platform);
    std::fs::create_dir_all(&kept.folder)
        .map_err(|source| crate::Error::io("make", &kept.folder, source))?;
    let retry = bundle::Retry::default();
    let downloaded = fetch::download(context, url, &kept.archive, None, retry).await?;
    let unpacked = bundle::unpack_program(&kept.archive, &downloaded.sha256, &kept.program);
    if unpacked.is_err() || for_platform != platform() {
        // Removes only the files from above. The folder stays if it has others.
        for file in [&kept.archive, &kept.program] {
            match std::fs::remove_file(file) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(crate::Error::io("remove", file, source));
                }
                _ => {}
            }
        }
        let _ = std::fs::remove_dir(&kept.folder);
    }
    unpacked.map_err(|source| kept.refused(context.workspace, source))?;
    Ok(downloaded.sha256)
}

async fn fetch_with(
    context: &Context<'_>,
    lock: &bundle::Lock,
    platform: &str,
    retry: bundle::Retry,
) -> Result<(), crate::Error> {
    if lock.bundle.url == demo::URL {
        return Ok(());
    }
    let Some(locked) = lock
        .mkectl
        .iter()
        .find(|locked| locked.platform == platform)
    else {
        context.reporter.report(Event::Warning(format!(
            "the lock has no hash of mkectl {} for {platform}: the one on PATH is used, and only its version is compared",
            lock.release,
        )));
        return Ok(());
    };
    let kept = StoredProgram::of(context.workspace, lock, locked);
    let refused = |source| kept.refused(context.workspace, source);
    if kept.program.exists() {
        return bundle::check_program(&kept.archive, &locked.sha256, &kept.program)
            .map_err(refused);
    }
    std::fs::create_dir_all(&kept.folder)
        .map_err(|source| crate::Error::io("make", &kept.folder, source))?;
    if !kept.archive.exists() {
        let (url, sha256) = (locked.url.as_str(), Some(locked.sha256.as_str()));
        fetch::download(context, url, &kept.archive, sha256, retry).await?;
    }
    bundle::unpack_program(&kept.archive, &locked.sha256, &kept.program).map_err(refused)?;
    context.reporter.report(Event::Finished {
        step: Step::Fetch,
        what: format!(
            "mkectl {} is in {}",
            lock.release,
            context.workspace.shown(&kept.program)
        ),
    });
    compare_mkectl(context, &lock.release, &kept.program);
    Ok(())
}

/// Returns environment variables for reading help pages, without details of this machine that the
/// pages would show.
pub(crate) fn neutral_variables(context: &Context<'_>) -> programs::Variables {
    let mut variables = context.tool.variables.clone();
    variables.set("HOME", HOME);
    for name in ["KUBECONFIG", "USER", "LOGNAME", "HOSTNAME"] {
        variables.remove(name);
    }
    let of_home = variables.iter().filter_map(|(name, _)| name.to_str());
    let of_home: Vec<String> = of_home
        .filter(|name| name.starts_with("XDG_"))
        .map(str::to_owned)
        .collect();
    for name in of_home {
        variables.remove(&name);
    }
    variables
}

/// Warns if the help of a fetched mkectl contradicts the table of releases. A mkectl that cannot be
/// run is reported by the step that uses it.
fn compare_mkectl(context: &Context<'_>, release: &str, program: &Utf8Path) {
    let version = release.strip_prefix('v').and_then(|it| it.parse().ok());
    let known = version.map(|version| context.workspace.observations(&version));
    if !matches!(known, Some(Ok(None))) {
        return;
    }
    // The page is cached, so the next plan need not run mkectl for it.
    let mkectl = programs::Mkectl::at(program, neutral_variables(context));
    let help = mkectl.and_then(|it| remembering(context, it).help(&["apply"]));
    let Ok(help) = help else { return };
    let page = match help.lists(mke::observations::PULL_FLAG) {
        true => mke::observations::PULL_FLAG.to_owned(),
        false => String::new(),
    };
    let observations = Observations {
        release: release.to_owned(),
        mkectl: Some(ObservedMkectl {
            version: String::new(),
            sha256: std::collections::BTreeMap::new(),
            help: [("apply".to_owned(), page)].into(),
        }),
        ..Observations::default()
    };
    for contradiction in contradictions(&observations) {
        context.reporter.report(Event::Remediable(contradiction));
    }
}

/// Returns each contradiction between observations and the table of releases.
pub(crate) fn contradictions(observations: &Observations) -> Vec<Remediable> {
    (observations.contradictions().into_iter())
        .map(|one| Remediable::Contradiction {
            release: observations.release.clone(),
            what: format!(
                "{}: expected {} ({}), observed {}",
                one.subject,
                one.known,
                one.certainty.name(),
                one.observed
            ),
        })
        .collect()
}
