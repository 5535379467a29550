//! Plans an upgrade: its requirements, and the order of its steps.
//!
//! The vendor's order (DOCS-SRC, UPG-421), after the new release is in the registry:
//!
//! 1. The unmodified release matrix is put in place.
//! 2. The mkectl of the old release writes a backup.
//! 3. The mkectl of the new release upgrades.
//! 4. The cluster is asked for its configuration, which an upgrade changes (UPG-420).
//!
//! The new mkectl makes a backup of its own for its automatic rollback, which cannot be restored by
//! hand (ROLLBACK). Therefore step 2 must write a complete archive, or the operator must give a
//! reason to upgrade without one.

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

/// The result of [`prepare`].
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) steps: Vec<ClusterStep>,
    /// The live configuration; `None` in a rehearsal.
    pub(crate) live: Option<mke::ClusterConfig>,
    pub(crate) warnings: Vec<String>,
}

/// Plans the steps of an upgrade, and asks the cluster for its configuration. Writes nothing.
///
/// # Errors
/// - The mkectl of the new or the old release is missing.
/// - [`Error::NoReleaseMatrix`] if neither the lock nor the environment names a release matrix.
/// - The environment lacks the gateway ports that this upgrade requires.
/// - [`existing::Error::Silent`] if the cluster does not answer.
pub(crate) fn prepare(
    context: &Context<'_>,
    environment: &Environment,
    (lock, lock_path): (&bundle::Lock, &Utf8Path),
    from: &Version,
    path: &mke::Upgrade,
    output: &Output,
    applied: Option<&receipt::Applied>,
) -> Result<Prepared, crate::Error> {
    let ports = path.gateway_node_ports(environment)?;
    let new = program::for_command(context, environment, lock, lock_path, &["upgrade"])?;
    let old = program::of_release(
        context,
        environment,
        from,
        applied.and_then(|applied| applied.mkectl.sha256.as_deref()),
    )?;
    let mut steps = Vec::new();
    // Until the backup is written, the cluster is unchanged: these tasks belong to `Step::Backup`.
    let mut add = |step, task| steps.push(ClusterStep { step, task });
    let matrix = match (&lock.release_matrix, &environment.operation.release_matrix) {
        _ if !new.help.lists("--release-matrix") => None,
        (Some(file), _) => {
            let (path, file) = (
                context.workspace.release_matrix(&lock.release),
                file.clone(),
            );
            let task = Task::WriteMatrix {
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
    // The old mkectl knows the old configuration best.
    let of_before = Box::new(old.as_ref().unwrap_or(&new).clone());
    let live = match environment.rehearsal {
        true => None,
        false => Some(existing::require_live_config(environment, &of_before)?.1),
    };
    let keep = Task::KeepConfig {
        program: of_before,
        path: before.clone(),
    };
    add(Step::Backup, keep);
    let limit = environment.operation.apply_timeout;
    if let Some((old, archives)) = backup {
        // mkectl runs in the folder of backups and gets a bare file name: it might resolve a path
        // relative to a different place.
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
        // The stand-in of a rehearsal writes no archive.
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
    // A rehearsal has no cluster to compare with.
    if live.is_some() {
        let written = None;
        add(Step::Upgrade, Task::Compare { program, written });
    }
    Ok(Prepared {
        steps,
        live,
        warnings,
    })
}

/// Returns the mkectl that writes the archive before an upgrade, and its kind of archives; `None`,
/// with a warning, for an upgrade without an archive.
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
        // The stand-in does not print the help of the release that it plays.
        true => mke::Release::of(from)
            .is_ok_and(|facts| facts.can_write_archive())
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

/// Names of the files that an upgrade writes to the folder of backups. No file there starts with
/// the same stem: an earlier attempt's files are kept, and the stem gets a number.
struct Names {
    stem: String,
    from: Version,
}

impl Names {
    fn new(folder: &Utf8Path, from: &Version, to: &Version) -> Result<Self, crate::Error> {
        let failed = |source| crate::Error::io("list", folder, source);
        let mut existing = Vec::new();
        match folder.read_dir_utf8() {
            Ok(entries) => {
                for entry in entries {
                    existing.push(entry.map_err(failed)?.file_name().to_owned());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
        let first = format!("v{from}-to-v{to}");
        let mut stem = first.clone();
        let mut number = 1;
        while existing
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

    /// The configuration before the upgrade.
    fn before(&self) -> String {
        format!("{}_mke4.yaml", self.stem)
    }

    /// The archive that the old mkectl writes.
    fn archive(&self) -> String {
        format!("{}_by-v{}.tar", self.stem, self.from)
    }
}
