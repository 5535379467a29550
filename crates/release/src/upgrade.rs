//! The upgrade of a cluster by the book: what has to be there first, which commands run in which order, and what came of it.
//!
//! The order (DOCS-SRC, UPG-421): the release is in the same registry, the release matrix is at hand unmodified, the mkectl of the old
//! release writes a backup, the mkectl of the new one upgrades. Then the cluster is asked for its configuration, which an upgrade
//! changes (UPG-420).
//!
//! The new mkectl makes a backup of its own, which serves its automatic rollback and cannot be restored by hand (ROLLBACK). So the old
//! one writes an archive first, and without a complete archive `mkectl upgrade` does not run, unless the operator gives a reason.

use std::io::Write as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use environment::{Environment, Problems};
use oci_spec::image::Digest;
use semver::Version;

use crate::apply::Applied;
use crate::cluster::BackupError;
use crate::event::{Event, Step};
use crate::plan::Plan;
use crate::program::{self, Program};
use crate::run::{Ran, Run};
use crate::verify::Confirmed;
use crate::workspace::{Output, write_whole};
use crate::{Context, Error, carry, cluster, existing, fetch, receipt, resolve};

mod after;
mod notices;

pub use after::After;
pub(crate) use after::after;
pub(crate) use notices::notices;

/// The time limit of a backup in an environment without `apply-timeout`.
const BACKUP_LIMIT: Duration = Duration::from_secs(3600);

/// A release matrix has some kilobytes.
const LARGEST_MATRIX: u64 = 16 << 20;

/// The commands of an upgrade, ready to be run.
#[derive(Debug, Clone)]
pub struct Commands {
    /// The release that is there.
    pub(crate) from: Version,
    /// The mkectl of the release that is upgraded from, where there is one.
    old: Option<Program>,
    /// The mkectl of the release to come to.
    new: Program,
    /// The backup that the old one writes, and its archive; none only in a rehearsal and with a reason.
    backup: Option<(programs::Command, Utf8PathBuf)>,
    /// The operator's reason for an upgrade without that backup.
    pub(crate) without_backup: Option<String>,
    upgrade: programs::Command,
    /// Where the configuration goes that the cluster has before, which the commands are given.
    before: Utf8PathBuf,
    matrix: Matrix,
    /// What the cluster said of itself; nothing in a rehearsal.
    pub(crate) seen: Option<mke::Observed>,
    /// What people should know of these commands.
    pub(crate) warnings: Vec<String>,
}

/// The vendor's release matrix.
#[derive(Debug, Clone)]
enum Matrix {
    /// This mkectl takes none.
    NotWanted,
    /// The bundle's.
    OfBundle {
        /// Where it is put.
        path: Utf8PathBuf,
        /// What it has to be.
        file: bundle::LockedFile,
    },
    /// The bundle has none, and the environment names this one.
    Given(Utf8PathBuf),
}

impl Commands {
    /// Returns the mkectl of the release to come to.
    pub(crate) fn program(&self) -> &Program {
        &self.new
    }

    /// Returns each command in its order, with the step that it is.
    pub(crate) fn in_order(&self) -> Vec<(Step, programs::Command)> {
        let backup = self
            .backup
            .iter()
            .map(|(command, _)| (Step::Backup, command.clone()));
        // A rehearsal has no cluster that could be asked.
        let config_get =
            (self.seen.is_some()).then(|| (Step::Confirm, self.new.mkectl.config_get_command()));
        backup
            .chain([(Step::Upgrade, self.upgrade.clone())])
            .chain(config_get)
            .collect()
    }

    /// Returns the mkectl of the release that is there, where it is run, and that of the one to come to.
    pub(crate) fn programs(&self) -> (Option<&Program>, &Program) {
        (self.old.as_ref(), &self.new)
    }

    /// Returns the mkectl that knows the cluster as it is before.
    fn of_before(&self) -> &Program {
        self.old.as_ref().unwrap_or(&self.new)
    }

    /// Asks the cluster for its configuration, by the mkectl that knows it as it is before.
    fn ask(&self, environment: &Environment) -> Result<(String, mke::Observed), Error> {
        let program = self.of_before();
        tokio::task::block_in_place(|| existing::observe(program)).map_err(|source| match source {
            Error::Mkectl(source) => Error::ClusterSilent {
                environment: environment.name.clone(),
                source,
            },
            other => other,
        })
    }
}

/// Builds the commands of an upgrade, and asks the cluster what it is. Nothing is written.
///
/// # Errors
/// The right mkectl is missing, the one that writes the backup is, the lock has no release matrix, the environment does not say
/// what this way asks for, or the cluster does not answer.
pub(crate) fn commands(
    context: &Context<'_>,
    environment: &Environment,
    (lock, lock_path): (&bundle::Lock, &Utf8Path),
    from: &Version,
    way: &mke::Upgrade,
    output: &Output,
    applied: Option<&receipt::Applied>,
) -> Result<Commands, Error> {
    let ports = way
        .gateway_node_ports(environment)
        .map_err(|problem| Error::Render(Problems(vec![problem])))?;
    let new = program::for_command(context, environment, lock, lock_path, &["upgrade"])?;
    let old = program::of_release(
        context,
        environment,
        from,
        applied.and_then(|applied| applied.mkectl.sha256.as_deref()),
    )?;
    let matrix = match (&lock.release_matrix, &environment.operation.release_matrix) {
        _ if !new.help.lists("--release-matrix") => Matrix::NotWanted,
        (Some(file), _) => Matrix::OfBundle {
            path: context.workspace.release_matrix(&lock.release),
            file: file.clone(),
        },
        (None, Some(path)) if path.is_file() => Matrix::Given(path.clone()),
        (None, _) => {
            return Err(Error::NoReleaseMatrix {
                release: lock.release.clone(),
            });
        }
    };
    let folder = (environment.operation.backups.as_ref()).unwrap_or(&output.backups);
    let names = Names::new(folder, from, &environment.release)?;
    let before = folder.join(names.before());
    let mut warnings = Vec::new();
    let archive = folder.join(names.archive());
    let backup = backup(context, environment, from, old.as_ref(), &mut warnings)?;
    // Archives are written where mkectl runs: a path in the name might mean a different place.
    let backup = backup.map(|(old, archives)| {
        let command = (old.mkectl).backup(&before, &names.archive(), archives, &old.help);
        (command.in_directory(folder.clone()), archive)
    });
    let unlisted = (programs::GATEWAY_PORTS.iter()).any(|flag| !new.help.lists(flag));
    if ports.is_some() && unlisted {
        warnings.push(format!(
            "the upgrade from v{from} to v{} requires the gateway's node ports, but its mkectl lists no flags for them: they are not passed",
            environment.release
        ));
    }
    let upgrade = new.mkectl.upgrade(
        &before,
        &programs::Upgrade {
            release: &environment.release,
            release_matrix: match &matrix {
                Matrix::NotWanted => None,
                Matrix::OfBundle { path, .. } | Matrix::Given(path) => Some(path),
            },
            gateway_ports: ports.map(|(http, https)| programs::GatewayPorts {
                node: programs::NodePorts { http, https },
                listener: mke::external_port(environment),
            }),
        },
        &new.help,
    );
    let mut commands = Commands {
        from: from.clone(),
        old,
        new,
        backup,
        without_backup: context.without_backup.map(str::to_owned),
        upgrade,
        before,
        matrix,
        seen: None,
        warnings,
    };
    if !environment.rehearsal {
        let (_, seen) = commands.ask(environment)?;
        commands.seen = Some(seen);
    }
    Ok(commands)
}

/// Returns the mkectl that writes the archive before an upgrade, and how it does that; none where the upgrade goes without. `warnings`
/// gets what the operator should know.
///
/// # Errors
/// That mkectl is missing or cannot write an archive, and the operator gave no reason to upgrade without one.
fn backup<'p>(
    context: &Context<'_>,
    environment: &Environment,
    from: &Version,
    old: Option<&'p Program>,
    warnings: &mut Vec<String>,
) -> Result<Option<(&'p Program, programs::Archives)>, Error> {
    let release = format!("v{from}");
    if let Some(reason) = context.without_backup {
        warnings.push(format!(
            "no backup is made before the upgrade from {release}, so there is no archive to restore: {reason}"
        ));
        return Ok(None);
    }
    let Some(old) = old else {
        return Err(Error::NoOldMkectl { release });
    };
    let archives = match environment.rehearsal {
        // The stand-in has no help of the release that it plays.
        true => mke::Release::of(from)
            .is_ok_and(|facts| facts.writes_archive())
            .then_some(programs::Archives::Cluster),
        false => old.mkectl.archives().map_err(Error::Mkectl)?,
    };
    match archives {
        Some(archives) => Ok(Some((old, archives))),
        None if environment.rehearsal => {
            warnings.push(format!(
                "mkectl {release} cannot write a backup archive to a local file: a deploy requires `--without-backup REASON`"
            ));
            Ok(None)
        }
        None => Err(Error::Backup(BackupError::Unsupported { release })),
    }
}

/// Upgrades the cluster. The registry has been confirmed to serve the new release.
///
/// # Errors
/// The release matrix is not available, the cluster does not print its configuration, the backup is not complete, or mkectl failed. Then
/// the cluster is, as far as mkectl could restore it, what it was.
pub(crate) async fn upgrade(
    context: &Context<'_>,
    plan: &Plan,
    commands: &Commands,
    _confirmed: &Confirmed,
    step: &mut Step,
) -> Result<Applied, Error> {
    let release = format!("v{}", plan.environment.release);
    // The values that the references have are secrets from now on.
    resolve::check(context, &plan.environment, &plan.release)?;
    let run = |step: Step, release: String, command: &programs::Command| -> Result<Ran, Error> {
        let run = Run {
            environment: &plan.environment,
            output: &plan.output,
            release,
            name: step.name(),
            step,
            results: None,
            // A backup leaves the cluster as it is.
            changes: step == Step::Upgrade,
            password_way_out: None,
        };
        let limit = plan.environment.operation.apply_timeout;
        let limit = limit.or_else(|| (step == Step::Backup).then_some(BACKUP_LIMIT));
        let command = command.clone().within(limit);
        run.run(context, &command)
    };
    *step = Step::Backup;
    if let Matrix::OfBundle { path, file } = &commands.matrix {
        put_matrix(context, plan, path, file).await?;
    }
    keep_before(plan, commands)?;
    if let Some(old) = &commands.old {
        program::keep(context, &old.mkectl, &format!("v{}", commands.from));
    }
    program::keep(context, &commands.new.mkectl, &release);
    if let Some((command, archive)) = &commands.backup {
        run(*step, format!("v{}", commands.from), command)?;
        // A rehearsal's stand-in writes none.
        if !plan.environment.rehearsal {
            let mkectl = receipt::Program {
                version: format!("v{}", commands.from),
                sha256: commands.of_before().mkectl.sha256(),
            };
            let applied = plan
                .receipt
                .as_ref()
                .and_then(|before| before.applied.clone());
            let note = cluster::describe(context, &plan.environment, archive, mkectl, applied)?;
            context.reporter.report(Event::Finished {
                step: Step::Backup,
                what: format!(
                    "{} written, {} bytes; only mkectl v{} can restore it",
                    context.workspace.shown(archive),
                    note.size,
                    commands.from
                ),
            });
        }
    }
    *step = Step::Upgrade;
    // As it is before it runs.
    let sha256 = commands.new.mkectl.sha256();
    let Ran { log } = run(*step, release.clone(), &commands.upgrade)?;
    context.reporter.report(Event::Finished {
        step: Step::Upgrade,
        what: format!("v{} became {release}; log in {log}", commands.from),
    });
    let after = match plan.environment.rehearsal {
        true => None,
        false => {
            let text = tokio::task::block_in_place(|| commands.new.config_get());
            after(context, plan, text)
        }
    };
    let is_there = |after: &After| after.changes.iter().all(|change| change.new.is_none());
    Ok(Applied {
        version: release,
        sha256,
        log,
        config_is_there: plan.environment.rehearsal || after.as_ref().is_some_and(is_there),
        after_upgrade: after,
    })
}

/// Puts the release matrix where mkectl is told that it is, unmodified: the vendor supports no other one (DOCS-SRC).
async fn put_matrix(
    context: &Context<'_>,
    plan: &Plan,
    path: &Utf8Path,
    file: &bundle::LockedFile,
) -> Result<(), Error> {
    let store = fetch::open_store(context.workspace)?;
    let digest: Digest = format!("sha256:{}", file.sha256)
        .parse()
        .unwrap_or_else(|_| unreachable!("a lock's digests were checked when it was read"));
    if !store.has(&digest, file.size) {
        let _ = carry::bring(context, &plan.lock).await?;
    }
    let bytes = store
        .read(&digest, LARGEST_MATRIX)
        .map_err(|source| Error::store(context.workspace, source))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is no text");
        Error::io("read", Utf8Path::new(&file.path), source)
    })?;
    write_whole(path, &text)
}

/// Keeps the configuration that the cluster has now: the commands are given it, and a restore needs it.
fn keep_before(plan: &Plan, commands: &Commands) -> Result<(), Error> {
    let text = match plan.environment.rehearsal {
        true => plan.config.text.clone(),
        false => commands.ask(&plan.environment)?.0,
    };
    write_for_owner(&commands.before, &text, IfThere::Refuse)
}

/// The names of what an upgrade leaves in the folder of backups. None of them is there already.
struct Names {
    stem: String,
    from: Version,
}

impl Names {
    fn new(folder: &Utf8Path, from: &Version, to: &Version) -> Result<Self, Error> {
        let failed = |source| Error::io("list", folder, source);
        let mut there = Vec::new();
        match folder.read_dir_utf8() {
            Ok(entries) => {
                for entry in entries {
                    there.push(entry.map_err(failed)?.file_name().to_owned());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
        let first = format!("v{from}-to-v{to}");
        let mut stem = first.clone();
        let mut number = 1;
        while there
            .iter()
            .any(|name| name.starts_with(&format!("{stem}_")))
        {
            number += 1;
            stem = format!("{first}-{number}");
        }
        Ok(Self {
            stem,
            from: from.clone(),
        })
    }

    /// The configuration before.
    fn before(&self) -> String {
        format!("{}_mke4.yaml", self.stem)
    }

    /// The archive that the old mkectl writes.
    fn archive(&self) -> String {
        format!("{}_by-v{}.tar", self.stem, self.from)
    }
}

/// What is done about a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfThere {
    Refuse,
    Replace,
}

/// Writes a file that only its owner may read: a cluster's configuration has the values of secrets.
fn write_for_owner(path: &Utf8Path, text: &str, if_there: IfThere) -> Result<(), Error> {
    let failed = |source| Error::io("write", path, source);
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    std::fs::create_dir_all(folder).map_err(|source| Error::io("make", folder, source))?;
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    match if_there {
        IfThere::Refuse => file.persist_noclobber(path),
        IfThere::Replace => file.persist(path),
    }
    .map(drop)
    .map_err(|error| failed(error.error))
}
