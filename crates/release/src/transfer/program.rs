//! Finds mkectl: the one that the environment names, the downloaded one whose hash is in the lock, or the one on PATH.
//!
//! What was fetched is kept in `bundles/mkectl/<release>/<platform>/`, also when another release is deployed since: a backup is restored
//! only by the build that wrote it. The download stays beside the program, to compare the program with the lock each time.

use std::sync::Arc;

use bundle::LockedMkectl;
use camino::{Utf8Path, Utf8PathBuf};
use environment::{CredentialSource, Environment, Reference};
use mke::Observations;
use mke::observations::ObservedMkectl;
use secrecy::SecretString;

use crate::disk::DiskFull;
use crate::event::{Event, Step};
use crate::receipt::{self, Receipt};
use crate::transfer::fetch;
use crate::workspace::Output;
use crate::{Context, Credentials, Tool, Workspace, demo, disk, kubeconfig, locked, workspace};

mod error;

pub use error::Error;

/// The home folder that mkectl is asked with: its help shows paths below it.
const HOME: &str = "/home/operator";

/// Returns the mkectl that an environment is to use, after asking it for its version.
///
/// # Errors
/// There is none, it cannot be run, or it is not the release's own: each mkectl serves one release only
/// (CLI-INST).
pub(crate) fn for_apply(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    lock_path: &Utf8Path,
) -> Result<Program, crate::Error> {
    let mut program = for_command(context, environment, lock, lock_path, &["apply"])?;
    program.pull = Pull::of(context, environment)?;
    Ok(program)
}

/// Returns the same, with what its help lists for a command.
///
/// # Errors
/// The same as of [`for_apply`].
pub(crate) fn for_command(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    lock_path: &Utf8Path,
    command: &[&str],
) -> Result<Program, crate::Error> {
    let variables = variables(context, environment);
    let mut mkectl = if environment.rehearsal {
        stand_in(context.tool, variables, &environment.release, lock_path)
    } else {
        find(context, environment, lock, variables)?
    };
    mkectl.kubeconfig = kubeconfig::flag(context, environment);
    Program::of(mkectl, &environment.release, command)
}

/// Returns the environment variables that an environment's mkectl gets: all but the secrets that it has no use for.
pub(crate) fn variables(context: &Context<'_>, environment: &Environment) -> programs::Variables {
    let mut variables = context.tool.variables.clone();
    // The cluster that it leads to may be a different one: where a cluster exists, the flag is passed.
    variables.remove(kubeconfig::VARIABLE);
    let registry = &environment.registry;
    let named = [&registry.push_credentials, &registry.pull_credentials];
    for CredentialSource::Environment(prefix) in named.into_iter().flatten() {
        // mkectl has no use for what may push, and gets what pulls by names of its own.
        variables.remove(&format!("{prefix}_USERNAME"));
        variables.remove(&format!("{prefix}_PASSWORD"));
    }
    for reference in environment::references(&environment.config) {
        if let Reference::Variable(name) = reference {
            // It gets the value in its file.
            variables.remove(&name);
        }
    }
    variables
}

/// A mkectl of the right version, and what it says that it can do.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) mkectl: programs::Mkectl,
    /// The release that it serves.
    pub(crate) release: semver::Version,
    /// What it lists for the command that it was asked about.
    pub(crate) help: programs::Help,
    /// What it is to give to nodes that pull with credentials.
    pull: Option<Pull>,
}

/// What a cluster pulls with credentials, and with which.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    username: String,
    password: SecretString,
    pulled: Vec<programs::Pulled>,
}

impl Pull {
    /// Returns what an environment says of it; none if everything is pulled without, since there is no secret then that they could go
    /// into (APPLY-421).
    ///
    /// # Errors
    /// The credentials that it names are not available.
    pub(crate) fn of(
        context: &Context<'_>,
        environment: &Environment,
    ) -> Result<Option<Self>, crate::Error> {
        let secrets = mke::PullSecrets::of(environment);
        let both = [
            (secrets.charts, programs::Pulled::Charts),
            (secrets.images, programs::Pulled::Images),
        ];
        let pulled = both.into_iter().filter(|(with_secret, _)| *with_secret);
        let pulled: Vec<_> = pulled.map(|(_, pulled)| pulled).collect();
        if pulled.is_empty() {
            return Ok(None);
        }
        Ok(match context.known_pull_credentials(environment)? {
            Some(Credentials::Basic { username, password }) => Some(Self {
                username,
                password,
                pulled,
            }),
            Some(Credentials::Anonymous) | None => None,
        })
    }

    /// Returns a command that gives them to mkectl, where its help lists the flags for that.
    pub(crate) fn given_to(
        &self,
        command: programs::Command,
        help: &programs::Help,
    ) -> programs::Command {
        command.with_pull_credentials(&self.username, &self.password, &self.pulled, help)
    }

    /// Requires the flags in a command's help by which mkectl gets them.
    ///
    /// # Errors
    /// The help lists not all of them, and the environment does not accept that.
    pub(crate) fn require_flags(
        &self,
        program: &Program,
        environment: &Environment,
        help: &programs::Help,
        warnings: &mut Vec<String>,
    ) -> Result<(), crate::Error> {
        let unlisted = programs::unlisted_registry_users(&self.pulled, help);
        // The stand-in of a rehearsal pulls without credentials.
        if unlisted.is_empty() || environment.rehearsal {
            return Ok(());
        }
        let error = Error::NoPullFlags {
            program: program.mkectl.program.path.clone(),
            flags: unlisted.join(" and no "),
        };
        if !mke::accepts_pull_secret(environment) {
            return Err(error.into());
        }
        warnings.push(format!("{error}, which the environment accepts"));
        Ok(())
    }
}

impl Program {
    /// Takes a mkectl that says that it is of this release, with what its help lists for a command.
    ///
    /// # Errors
    /// It says that it is of another one, or does not answer.
    pub(crate) fn of(
        mkectl: programs::Mkectl,
        release: &semver::Version,
        command: &[&str],
    ) -> Result<Self, crate::Error> {
        let found = mkectl.version()?;
        if found != *release {
            return Err(Error::Version {
                program: mkectl.program.path,
                found: format!("v{found}"),
                wanted: format!("v{release}"),
            }
            .into());
        }
        let help = mkectl.help(command)?;
        Ok(Self {
            mkectl,
            release: found,
            help,
            pull: None,
        })
    }

    /// Returns the program itself, for commands other than `apply`.
    pub(crate) fn mkectl(&self) -> &programs::Mkectl {
        &self.mkectl
    }

    /// Returns what it is, for a note or a receipt.
    pub(crate) fn record(&self) -> receipt::RecordedProgram {
        receipt::RecordedProgram {
            version: format!("v{}", self.release),
            sha256: self.mkectl.sha256(),
        }
    }

    /// Returns the configuration that the cluster has, as YAML.
    pub(crate) fn config_get(&self) -> Result<String, crate::Error> {
        self.mkectl.config_get().map_err(crate::Error::Mkectl)
    }

    /// Returns the command that applies a configuration.
    pub(crate) fn apply(&self, config: &Utf8Path) -> programs::Command {
        let command = self.mkectl.apply(config, &self.help);
        match &self.pull {
            Some(pull) => pull.given_to(command, &self.help),
            None => command,
        }
    }

    /// Returns what to do where the administrator's password was missed, to be appended to a message, if this mkectl has a command for it
    /// (RESETPW).
    pub(crate) fn password_way_out(&self) -> Option<String> {
        let root = self.mkectl.help(&[]).ok()?;
        root.has_command("reset-password").then(|| {
            "; if the log does not have it, set a new one with `mkectl reset-password --user admin --password-stdin`".to_owned()
        })
    }

    /// Requires that this mkectl takes the credentials that nodes are to pull with. `warnings` gets what the environment accepts instead.
    ///
    /// # Errors
    /// It lists no flags for them, and the environment does not supply them by other means.
    pub(crate) fn require_pull_flags(
        &self,
        environment: &Environment,
        warnings: &mut Vec<String>,
    ) -> Result<(), crate::Error> {
        match &self.pull {
            Some(pull) => pull.require_flags(self, environment, &self.help, warnings),
            None => Ok(()),
        }
    }
}

/// Returns the stand-in as a program that the `programs` crate can run.
fn stand_in(
    tool: &Tool,
    variables: programs::Variables,
    release: &semver::Version,
    lock: &Utf8Path,
) -> programs::Mkectl {
    programs::Mkectl::stand_in(&tool.executable, variables, &format!("v{release}"), lock)
}

/// A program and the download that it came in.
pub(crate) struct Kept {
    pub(crate) folder: Utf8PathBuf,
    pub(crate) program: Utf8PathBuf,
    pub(crate) archive: Utf8PathBuf,
}

impl Kept {
    pub(crate) fn of(workspace: &Workspace, lock: &bundle::Lock, locked: &LockedMkectl) -> Self {
        Self::at(workspace, &lock.release, &locked.platform)
    }

    /// Returns the error of a program that is not used. A full disk is not blamed on it.
    fn refused(&self, workspace: &Workspace, source: bundle::ProgramError) -> crate::Error {
        match source.full() {
            Ok(source) => self.full(workspace, source),
            Err(source) => Error::Refused {
                folder: workspace.shown(&self.folder).to_owned(),
                source,
            }
            .into(),
        }
    }

    /// Returns the error of a full disk below the folder.
    pub(crate) fn full(&self, workspace: &Workspace, source: std::io::Error) -> crate::Error {
        let shown = workspace.shown(&self.folder);
        disk::Error::Full(DiskFull::new(&self.folder, shown, source)).into()
    }

    fn at(workspace: &Workspace, release: &str, platform: &str) -> Self {
        let folder = workspace.mkectl().join(release).join(platform);
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

/// Returns the folder, relative to the workspace, where this machine's mkectl of a release is looked for.
pub fn folder(release: &str) -> Utf8PathBuf {
    Utf8Path::new("bundles/mkectl")
        .join(release)
        .join(platform())
}

/// Returns whether a mkectl says that it is of this release, `v4.1.5`.
fn is_of(mkectl: &programs::Mkectl, release: &str) -> bool {
    mkectl
        .version()
        .is_ok_and(|version| format!("v{version}") == release)
}

/// Returns the mkectl that the receipt of an environment records for this release, if it was kept. Without a receipt, or if it does
/// not name the build, it is the only one that was kept.
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

/// Returns the mkectl of a release, `v4.1.5`, that is kept for this machine, if all that are kept are the same build.
fn only_kept(context: &Context<'_>, release: &str) -> Option<Utf8PathBuf> {
    let folders = context.workspace.mkectl().read_dir_utf8().ok()?.flatten();
    let mut programs = folders.filter_map(|folder| {
        let build = folder.file_name().strip_prefix(release)?;
        let path = folder.path().join(platform()).join("mkectl");
        let program = programs::Mkectl::at(&path, context.tool.variables.clone()).ok()?;
        let sha256 = program.sha256()?;
        // What was changed since is a different build than its folder names.
        let is_right = build.is_empty() || build == format!("-{}", &sha256[..12]);
        is_right.then_some((sha256, path))
    });
    let (sha256, path) = programs.next()?;
    programs.all(|(other, _)| other == sha256).then_some(path)
}

/// Returns what was fetched, if it is, byte by byte, in the download whose hash is in the lock.
fn checked(
    context: &Context<'_>,
    (kept, locked): &(Kept, &LockedMkectl),
    variables: programs::Variables,
) -> Result<programs::Mkectl, crate::Error> {
    bundle::check_program(&kept.archive, &locked.sha256, &kept.program).map_err(|source| {
        Error::Refused {
            folder: context.workspace.shown(&kept.folder).to_owned(),
            source,
        }
    })?;
    programs::Mkectl::at(&kept.program, variables).map_err(crate::Error::Mkectl)
}

pub(crate) fn remembering(context: &Context<'_>, mkectl: programs::Mkectl) -> programs::Mkectl {
    mkectl.remembering(context.workspace.mkectl().join("help"))
}

/// Returns the mkectl of a release that the environment does not name any more, with what its help lists: the one that was fetched, the
/// one that the receipt knows by its SHA-256, the one on PATH, if it is of this release, or the only one that was kept. A rehearsal has
/// a stand-in.
///
/// # Errors
/// The one that was kept was changed since, or cannot be asked.
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

/// Returns the mkectl of a release that was fetched for this machine.
pub(crate) fn fetched(workspace: &Workspace, release: &str) -> Option<Utf8PathBuf> {
    let program = Kept::at(workspace, release, &platform()).program;
    program.exists().then_some(program)
}

/// Returns the SHA-256 of each download of a release's mkectl that is in the workspace, by platform.
///
/// # Errors
/// A download cannot be read.
pub(crate) fn archive_hashes(
    workspace: &Workspace,
    release: &mke::Release,
) -> Result<std::collections::BTreeMap<String, String>, crate::Error> {
    let name = format!("v{}", release.version());
    let mut hashes = std::collections::BTreeMap::new();
    for download in release.mkectl() {
        let archive = Kept::at(workspace, &name, download.platform).archive;
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

/// Keeps a copy of the program that changes a cluster, unless it is kept already: replacing the one on PATH would lose the only
/// build that restores its backups. If it cannot be kept, that is reported and stops nothing.
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
        // Its permissions come with it.
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

/// Returns the lock of the mkectl whose absence is the `problem` of a plan, if it records one that was not fetched yet: the release's
/// own, or the one that writes the backup before an upgrade.
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

/// Returns whether [`provide`] can bring the mkectl whose absence is the `problem` of a plan, unless its server does not answer.
pub(crate) fn can_be_provided(
    context: &Context<'_>,
    environment: &Environment,
    lock: &Arc<bundle::Lock>,
    problem: &crate::Error,
) -> bool {
    let lock = lock_of_missing(context.workspace, environment, lock, problem);
    lock.is_some_and(|lock| {
        let archive = Kept::at(context.workspace, &lock.release, &platform()).archive;
        !context.offline || archive.exists()
    })
}

/// Downloads the mkectl whose absence is the `problem` of a plan, if a lock records it. Returns whether one came, so the plan has to be
/// made again. Without a network the plan stays as it is.
///
/// # Errors
/// What came is not what was locked.
pub(crate) async fn provide(
    context: &Context<'_>,
    environment: &Environment,
    lock: &Arc<bundle::Lock>,
    problem: &crate::Error,
) -> Result<bool, crate::Error> {
    let Some(lock) = lock_of_missing(context.workspace, environment, lock, problem) else {
        return Ok(false);
    };
    // The operator waits, and behind an air gap in vain.
    let patience = bundle::Retry {
        failures: 2,
        ..bundle::Retry::default()
    };
    match fetch_with(context, &lock, &platform(), patience).await {
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
    let on_path = programs::Mkectl::find(variables.clone()).ok();
    (environment.mkectl.iter().cloned())
        .chain(fetched)
        .chain(on_path.map(|mkectl| mkectl.program.path))
        .find(|program| {
            let found = programs::Mkectl::at(program, variables.clone());
            found.is_ok_and(|found| found.sha256().as_deref() == Some(sha256))
        })
}

/// Downloads the locked mkectl for this machine, unless it was fetched before. If it cannot be reached, a mkectl of this release is
/// enough, wherever it is: at `named`, which the environment names, or on `PATH`.
///
/// # Errors
/// The download failed, or is not the one that was locked.
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

/// Downloads the locked mkectl for other machines, unless it was fetched before.
///
/// # Errors
/// The lock has none for a platform, the download failed, or is not the one that was locked.
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

/// Returns platforms as mkectl's downloads name them. They may be named as container images do, too.
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

/// A download of mkectl that is on this machine.
pub(crate) struct LocalArchive {
    pub(crate) release: String,
    pub(crate) platform: String,
    pub(crate) sha256: String,
    pub(crate) path: Utf8PathBuf,
}

/// Returns the downloads of mkectl that these environments need on these platforms: of their releases, and of the releases that their
/// clusters run. What is not here is downloaded, or left out if only sizes are asked for.
///
/// # Errors
/// A receipt or a lock cannot be read, a download failed, or is not the one that was locked.
pub(crate) async fn archives(
    context: &Context<'_>,
    environments: &[Environment],
    platforms: &[String],
    only_local: bool,
) -> Result<Vec<LocalArchive>, crate::Error> {
    let mut releases = std::collections::BTreeSet::new();
    for environment in environments {
        let output = Output::below(&context.workspace.environment(&environment.name));
        let applied = Receipt::read(&output.receipt)?.and_then(|receipt| receipt.applied);
        let runs = applied.and_then(|applied| applied.release.strip_prefix('v')?.parse().ok());
        releases.extend(runs);
        releases.insert(environment.release.clone());
    }
    let mut archives = Vec::new();
    for release in releases {
        let lock = match locked::read(context.workspace, &release) {
            Ok(locked) => locked.lock,
            // A cluster may run what was never locked here.
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
            let kept = Kept::of(context.workspace, &lock, locked);
            if platforms.contains(&locked.platform) && kept.archive.exists() {
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

/// Compares the downloads of mkectl on this machine with their hashes in the lock, for every platform.
///
/// # Errors
/// One differs, or cannot be read.
pub(crate) fn check(
    context: &Context<'_>,
    lock: &bundle::Lock,
) -> Result<Vec<(String, fetch::Found)>, crate::Error> {
    let found = |locked: &LockedMkectl| {
        let kept = Kept::of(context.workspace, lock, locked);
        if !kept.archive.exists() && !kept.program.exists() {
            return Ok((locked.platform.clone(), fetch::Found::Missing));
        }
        let checked = match kept.program.exists() {
            true => bundle::check_program(&kept.archive, &locked.sha256, &kept.program),
            false => bundle::check_archive(&kept.archive, &locked.sha256),
        };
        match checked {
            Ok(()) => Ok((locked.platform.clone(), fetch::Found::Verified)),
            Err(source) => Err(Error::Refused {
                folder: context.workspace.shown(&kept.folder).to_owned(),
                source,
            }
            .into()),
        }
    };
    lock.mkectl.iter().map(found).collect()
}

/// Brings the mkectl of the release that an environment's cluster runs, according to its receipt, where that is another one than `release` and a lock
/// knows it: the backup before an upgrade may need it.
///
/// # Errors
/// The receipt cannot be read, the download failed, or it is not the one that was locked.
pub async fn fetch_earlier(
    context: &Context<'_>,
    environment: &str,
    release: &semver::Version,
) -> Result<(), crate::Error> {
    let output = Output::below(&context.workspace.environment(environment));
    let applied = Receipt::read(&output.receipt)?.and_then(|receipt| receipt.applied);
    let earlier: Option<semver::Version> = applied
        .and_then(|applied| applied.release.strip_prefix('v')?.parse().ok())
        .filter(|earlier| earlier != release);
    let Some(earlier) = earlier else {
        return Ok(());
    };
    match locked::read(context.workspace, &earlier) {
        Ok(locked) if of_this_machine(&locked.lock).is_some() => {
            fetch(context, &locked.lock, None).await
        }
        _ => Ok(()),
    }
}

/// Downloads the mkectl of a release for a platform without a published hash, and returns the hash of the download. What is for this
/// machine stays.
///
/// # Errors
/// It is not available, or holds no mkectl.
pub(crate) async fn first_use(
    context: &Context<'_>,
    release: &str,
    platform_of_it: &str,
    url: &str,
) -> Result<String, crate::Error> {
    let kept = Kept::at(context.workspace, release, platform_of_it);
    std::fs::create_dir_all(&kept.folder)
        .map_err(|source| crate::Error::io("make", &kept.folder, source))?;
    let downloaded = fetch::download(context, url, &kept.archive).await?;
    let unpacked = bundle::unpack_program(&kept.archive, &downloaded.sha256, &kept.program);
    if unpacked.is_err() || platform_of_it != platform() {
        // Only what this made. A folder that has more in it stays.
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
    patience: bundle::Retry,
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
    let kept = Kept::of(context.workspace, lock, locked);
    let refused = |source| kept.refused(context.workspace, source);
    if kept.program.exists() {
        return bundle::check_program(&kept.archive, &locked.sha256, &kept.program)
            .map_err(refused);
    }
    std::fs::create_dir_all(&kept.folder)
        .map_err(|source| crate::Error::io("make", &kept.folder, source))?;
    if !kept.archive.exists() {
        fetch::download_file(
            context,
            locked.url.as_str(),
            &kept.archive,
            &locked.sha256,
            patience,
        )
        .await?;
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

/// Returns the variables that mkectl is asked with: nothing of this machine that its help would show.
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

/// Warns if the help of a mkectl that was just fetched contradicts what is known of its release. One that cannot be asked is left to
/// the step that runs it.
fn compare_mkectl(context: &Context<'_>, release: &str, program: &Utf8Path) {
    let version = release.strip_prefix('v').and_then(|it| it.parse().ok());
    let known = version.map(|version| context.workspace.observations(&version));
    if !matches!(known, Some(Ok(None))) {
        return;
    }
    // The page is remembered, so the next plan does not ask for it again.
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
    for warning in contradictions(&observations) {
        context.reporter.report(Event::Warning(warning));
    }
}

/// Returns a warning for each contradiction between observations and the table.
pub(crate) fn contradictions(observations: &Observations) -> Vec<String> {
    let release = &observations.release;
    (observations.contradictions().into_iter())
        .map(|one| {
            format!(
                "{release}: {}: expected {} ({}), observed {}; `cargo xtask learn {release}` records it",
                one.subject,
                one.known,
                one.certainty.name(),
                one.observed
            )
        })
        .collect()
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
