//! Plans an upgrade: its requirements, and the order of its commands.
//!
//! The order (DOCS-SRC, UPG-421): the release is in the same registry, the release matrix is at
//! hand unmodified, the mkectl of the old release writes a backup, the mkectl of the new one
//! upgrades. Then the cluster is asked for its configuration, which an upgrade changes (UPG-420).
//!
//! The new mkectl makes a backup of its own, which serves its automatic rollback and cannot be
//! restored by hand (ROLLBACK). So the old one writes an archive first, and without a complete
//! archive `mkectl upgrade` does not run, unless the operator gives a reason.

use std::time::Duration;

use camino::Utf8Path;
use environment::Environment;
use semver::Version;

use crate::cluster::executor::{ClusterStep, Command, Task};
use crate::cluster::existing;
use crate::cluster::{BackupError, BackupFailure};
use crate::event::Step;
use crate::transfer::program::{self, Program};
use crate::workspace::Output;
use crate::{Context, cluster, receipt};

mod error;
mod notices;

pub use error::Error;

pub(crate) use notices::notices;

/// The time limit of a backup in an environment without `apply-timeout`.
const BACKUP_LIMIT: Duration = Duration::from_secs(3600);

/// An upgrade that is ready to be run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) steps: Vec<ClusterStep>,
    /// What the cluster said of itself; nothing in a rehearsal.
    pub(crate) seen: Option<mke::ClusterConfig>,
    /// What people should know of these steps.
    pub(crate) warnings: Vec<String>,
}

/// Plans the steps of an upgrade, and asks the cluster what it is. Nothing is written.
///
/// # Errors
/// The right mkectl is missing, the one that writes the backup is, the lock has no release matrix,
/// the environment does not say what this way asks for, or the cluster does not answer.
pub(crate) fn prepare(
    context: &Context<'_>,
    environment: &Environment,
    (lock, lock_path): (&bundle::Lock, &Utf8Path),
    from: &Version,
    way: &mke::Upgrade,
    output: &Output,
    applied: Option<&receipt::Applied>,
) -> Result<Prepared, crate::Error> {
    let ports = way.gateway_node_ports(environment)?;
    let new = program::for_command(context, environment, lock, lock_path, &["upgrade"])?;
    let old = program::of_release(
        context,
        environment,
        from,
        applied.and_then(|applied| applied.mkectl.sha256.as_deref()),
    )?;
    let mut steps = Vec::new();
    // The steps up to the backup are the backup's: the cluster is as it was.
    let mut add = |step, task| steps.push(ClusterStep { step, task });
    let matrix = match (&lock.release_matrix, &environment.operation.release_matrix) {
        _ if !new.help.lists("--release-matrix") => None,
        (Some(file), _) => {
            let (path, file) = (
                context.workspace.release_matrix(&lock.release),
                file.clone(),
            );
            let task = Task::PutMatrix {
                path: path.clone(),
                file,
            };
            add(Step::Backup, task);
            Some(path)
        }
        (None, Some(path)) if path.is_file() => Some(path.clone()),
        (None, _) => {
            return Err(Error::NoReleaseMatrix {
                release: lock.release.clone(),
            }
            .into());
        }
    };
    let folder = (environment.operation.backups.as_ref()).unwrap_or(&output.backups);
    let names = Names::new(folder, from, &environment.release)?;
    let before = folder.join(names.before());
    let mut warnings = Vec::new();
    let archive = folder.join(names.archive());
    let backup = backup(context, environment, from, old.as_ref(), &mut warnings)?;
    // The one that knows the cluster as it is before.
    let of_before = Box::new(old.as_ref().unwrap_or(&new).clone());
    let seen = match environment.rehearsal {
        true => None,
        false => Some(existing::answer(environment, &of_before)?.1),
    };
    let keep = Task::KeepConfig {
        program: of_before,
        path: before.clone(),
    };
    add(Step::Backup, keep);
    let limit = environment.operation.apply_timeout;
    if let Some((old, archives)) = backup {
        // Archives are written where mkectl runs: a path in the name might mean a different place.
        let command = (old.mkectl)
            .backup(&before, &names.archive(), archives, &old.help)
            .in_directory(folder.clone())
            .within(limit.or(Some(BACKUP_LIMIT)));
        let run = Command {
            program: old.clone(),
            name: Step::Backup.name(),
            command,
            reads_config: false,
            is_printed: true,
            effect: None,
        };
        add(Step::Backup, Task::Run(Box::new(run)));
        // A rehearsal's stand-in writes none.
        if !environment.rehearsal {
            let by = Box::new(old.clone());
            add(Step::Backup, Task::DescribeBackup { archive, by });
        }
    }
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
            release_matrix: matrix.as_deref(),
            gateway_ports: ports.map(|(http, https)| programs::GatewayPorts {
                node: programs::NodePorts { http, https },
                listener: mke::external_port(environment),
            }),
        },
        &new.help,
    );
    let program = Box::new(new.clone());
    let run = Command {
        command: upgrade.within(limit),
        program: new,
        name: Step::Upgrade.name(),
        reads_config: false,
        is_printed: true,
        effect: Some(format!("v{from} became v{}", environment.release)),
    };
    add(Step::Upgrade, Task::Run(Box::new(run)));
    // A rehearsal has no cluster that could be asked.
    if seen.is_some() {
        let written = None;
        add(Step::Upgrade, Task::Compare { program, written });
    }
    Ok(Prepared {
        steps,
        seen,
        warnings,
    })
}

/// Returns the mkectl that writes the archive before an upgrade, and how it does that; none if the
/// upgrade goes without. `warnings` gets what the operator should know.
///
/// # Errors
/// That mkectl is missing or cannot write an archive, and the operator gave no reason to upgrade
/// without one.
fn backup<'p>(
    context: &Context<'_>,
    environment: &Environment,
    from: &Version,
    old: Option<&'p Program>,
    warnings: &mut Vec<String>,
) -> Result<Option<(&'p Program, programs::Archives)>, crate::Error> {
    let release = format!("v{from}");
    if let Some(reason) = context.without_backup {
        warnings.push(format!(
            "no backup is made before the upgrade from {release}, so there is no archive to restore: {reason}"
        ));
        return Ok(None);
    }
    let Some(old) = old else {
        return Err(program::Error::NoOldMkectl { release }.into());
    };
    let archives = match environment.rehearsal {
        // The stand-in has no help of the release that it plays.
        true => mke::Release::of(from)
            .is_ok_and(|facts| facts.writes_archive())
            .then_some(programs::Archives::Cluster),
        false => old.mkectl.archives()?,
    };
    match archives {
        Some(archives) => Ok(Some((old, archives))),
        None if environment.rehearsal => {
            warnings.push(format!(
                "mkectl {release} cannot write a backup archive to a local file: a deploy requires `--without-backup REASON`"
            ));
            Ok(None)
        }
        None => Err(cluster::Error::Backup(BackupFailure {
            environment: environment.name.clone(),
            is_before_upgrade: true,
            problem: BackupError::Unsupported { release },
        })
        .into()),
    }
}

/// The names of what an upgrade leaves in the folder of backups. None of them exists yet.
struct Names {
    stem: String,
    from: Version,
}

impl Names {
    fn new(folder: &Utf8Path, from: &Version, to: &Version) -> Result<Self, crate::Error> {
        let failed = |source| crate::Error::io("list", folder, source);
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
