//! Restores a backup with the mkectl that wrote it.

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use serde::Serialize;

use super::{Cluster, Note, backup, refuse_a_rehearsal};
use crate::config::resolve;
use crate::event::Event;
use crate::transfer::program;
use crate::workspace::Output;
use crate::{Context, Error, cluster, workspace};

/// A backup that was restored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restored {
    /// The environment's name.
    pub environment: String,
    /// The archive, relative to the workspace.
    pub archive: Utf8PathBuf,
    /// The version of the mkectl that wrote and restored it, `v4.1.5`.
    pub mkectl: String,
    /// The log of mkectl's output, relative to the workspace.
    pub log: Utf8PathBuf,
}

/// A backup that can be restored: it matches its note, and the mkectl that wrote it was found.
pub struct Restorable {
    environment: Environment,
    archive: Utf8PathBuf,
    hosts: Option<Utf8PathBuf>,
    note: Note,
}

impl Restorable {
    /// Checks the backup `archive` and the file of `hosts`, and changes nothing. This is done
    /// before the operator is asked to confirm.
    ///
    /// # Errors
    /// - The archive has no note, or does not match it.
    /// - [`cluster::Error::NoMatchingMkectl`] if the mkectl that wrote it was not found.
    /// - The file of hosts cannot be read.
    /// - [`cluster::Error::Unapplied`] if the environment's files differ from the applied
    ///   configuration.
    pub fn examine(
        context: &Context<'_>,
        mut environment: Environment,
        archive: Utf8PathBuf,
        hosts: Option<Utf8PathBuf>,
    ) -> Result<Self, Error> {
        refuse_a_rehearsal(&environment)?;
        let shown = context.workspace.shown(&archive).to_owned();
        if !archive.exists() {
            let output = Output::below(&context.workspace.environment(&environment.name));
            let folder = environment.operation.backups.unwrap_or(output.backups);
            return Err(cluster::Error::NoArchive {
                archive: shown,
                environment: environment.name,
                folder: context.workspace.shown(&folder).to_owned(),
            }
            .into());
        }
        if let Some(hosts) = &hosts {
            files::open(hosts).map_err(|source| Error::read(hosts, source))?;
        }
        let note = Note::read(&archive)?;
        if note.environment != environment.name {
            return Err(cluster::Error::BackupOfAnother {
                archive: shown,
                found: note.environment,
                environment: environment.name,
            }
            .into());
        }
        let measured = backup::measure(&archive).map_err(|source| Error::read(&archive, source))?;
        if measured != (note.size, note.sha256.clone()) {
            return Err(cluster::Error::BackupChanged { archive: shown }.into());
        }
        let matching = program::by_hash(context, &environment, note.mkectl.sha256.as_deref());
        let Some(matching) = matching else {
            return Err(cluster::Error::NoMatchingMkectl {
                archive: shown,
                version: note.mkectl.version,
                sha256: note.mkectl.sha256.unwrap_or_default(),
            }
            .into());
        };
        super::unapplied::refuse(context, &environment)?;
        // Only the mkectl that wrote the backup restores it, whatever the cluster runs now.
        environment.mkectl = Some(matching);
        environment.release = version_of(&note, shown)?;
        Ok(Self {
            environment,
            archive,
            hosts,
            note,
        })
    }

    /// Returns the environment whose cluster is restored, with the release and the mkectl of the
    /// backup.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Restores the backup. mkectl begins with one host: the first controller of the environment,
    /// unless a file of hosts was given. `typed` are additional arguments for mkectl.
    ///
    /// # Errors
    /// - mkectl cannot be run, or failed.
    /// - Unless `take_over`: a command from elsewhere is changing the cluster, or has changed it.
    pub async fn restore(
        self,
        context: &Context<'_>,
        take_over: bool,
        typed: &[String],
    ) -> Result<Restored, Error> {
        let Self {
            environment,
            archive,
            hosts,
            note,
        } = self;
        let shown = context.workspace.shown(&archive).to_owned();
        let cluster = Cluster::of_named_release(context, environment)?;
        let (Some(folder), Some(name)) = (archive.parent(), archive.file_name()) else {
            return Err(cluster::Error::BackupNotAFile { archive: shown }.into());
        };
        let root = cluster.help(&[])?;
        let archives = cluster.archives()?;
        let temporary_hosts = match &hosts {
            Some(_) => None,
            None => Some(first_host(context, &cluster)?),
        };
        let hosts = (hosts.as_deref())
            .or(temporary_hosts.as_ref().map(resolve::Resolved::path))
            .unwrap_or(Utf8Path::new(""));
        let started = cluster.begin(context, take_over).await?;
        let outcome = cluster.run(context, "restore", true, |config| {
            let command = (cluster.mkectl()).restore(config, hosts, name, archives, &root);
            command.in_directory(folder).typed(typed)
        });
        let concluded = cluster.conclude(context, started.run.clone(), note.applied, outcome);
        let concluded = match temporary_hosts {
            Some(hosts) => hosts.remove_after(concluded),
            None => concluded,
        };
        started.end(context, &concluded).await?;
        let ran = concluded?;
        Ok(Restored {
            environment: cluster.environment.name.clone(),
            archive: shown,
            mkectl: note.mkectl.version,
            log: ran.log,
        })
    }
}

fn version_of(note: &Note, archive: Utf8PathBuf) -> Result<semver::Version, cluster::Error> {
    let version = note.mkectl.version.strip_prefix('v');
    version
        .and_then(|version| semver::Version::parse(version).ok())
        .ok_or_else(|| cluster::Error::NoteProgram {
            archive,
            version: note.mkectl.version.clone(),
        })
}

/// Writes a temporary file with the host that a restore begins with.
fn first_host(context: &Context<'_>, cluster: &Cluster) -> Result<resolve::Resolved, Error> {
    let machines = cluster.machines(context)?;
    let Some(first) = machines.iter().find(|machine| machine.is_controller()) else {
        return Err(cluster::Error::NoController {
            environment: cluster.environment.name.clone(),
        }
        .into());
    };
    context.reporter.report(Event::Warning(format!(
        "the restore begins with {}; `--hosts FILE` takes a different file of hosts",
        first.ssh.address
    )));
    let text = mke::restore_hosts(first).map_err(|source| workspace::Error::Hosts { source })?;
    resolve::scratch(&cluster.output.logs, &text)
}
