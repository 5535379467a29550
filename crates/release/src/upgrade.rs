//! The upgrade of a cluster by the book: what has to be there first, which commands run in which order, and what came of it.
//!
//! The vendor's order (OFF-411, UPG-421): the release is in the same registry, the release matrix is at hand unmodified, the mkectl of
//! the old release writes the backup where the new one wants that, the mkectl of the new one upgrades. Then the cluster is asked for its
//! configuration, which an upgrade changes (UPG-420).

use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use environment::yaml::{self, Node, Source};
use environment::{Environment, Problems};
use oci_spec::image::Digest;
use semver::Version;

use crate::apply::{self, Applied, Program};
use crate::event::{Event, Step};
use crate::plan::Plan;
use crate::run::{Ran, Run};
use crate::verify::Confirmed;
use crate::workspace::{Output, write_whole};
use crate::{Context, Error, carry, cluster, fetch, receipt, resolve};

mod after;

pub use after::After;
pub(crate) use after::after;

/// A release matrix has some kilobytes.
const LARGEST_MATRIX: u64 = 16 << 20;

/// The commands of an upgrade, ready to be run.
#[derive(Debug, Clone)]
pub struct Commands {
    /// The release that is there.
    pub(crate) from: Version,
    /// The mkectl of the release that is there, where there is one.
    old: Option<Program>,
    /// The mkectl of the release to come to.
    new: Program,
    /// The backup that the old one writes, and its archive.
    backup: Option<(mkectl::Command, Utf8PathBuf)>,
    upgrade: mkectl::Command,
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
    pub(crate) fn in_order(&self) -> Vec<(Step, mkectl::Command)> {
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
        tokio::task::block_in_place(|| observe(program)).map_err(|source| match source {
            Error::Mkectl(source) => Error::ClusterSilent {
                environment: environment.name.clone(),
                source,
            },
            other => other,
        })
    }
}

/// Asks the cluster for its configuration, and returns what it says of the cluster.
///
/// # Errors
/// It does not answer, or with no configuration.
pub(crate) fn observe(program: &Program) -> Result<(String, mke::Observed), Error> {
    let text = program.config_get()?;
    let observed = observed(&text)?;
    Ok((text, observed))
}

/// Returns what a configuration says of its cluster.
///
/// # Errors
/// It is no YAML.
pub(crate) fn observed(text: &str) -> Result<mke::Observed, Error> {
    let node = parse(Utf8Path::new("mkectl config get"), text)?;
    Ok(mke::Observed::of(&node))
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
    let new = apply::program_for(context, environment, lock, lock_path, &["upgrade"])?;
    let old = crate::program::of_release(
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
    let backup = match (way.backup_by_old_mkectl, &old) {
        (false, _) => None,
        (true, None) => {
            return Err(Error::NoOldMkectl {
                release: format!("v{from}"),
            });
        }
        // Archives are written where mkectl runs, so that a path in their name might mean another place.
        (true, Some(old)) => Some((
            old.mkectl
                .backup(&before, &names.by_old(), &old.help)
                .in_directory(folder.clone()),
            folder.join(names.by_old()),
        )),
    };
    let own = folder.join(names.by_new(new.help.lists("--backup-path")));
    let mut warnings = Vec::new();
    if ports.is_some()
        && !mkectl::GATEWAY_PORTS
            .iter()
            .all(|flag| new.help.lists(flag))
    {
        warnings.push(format!(
            "the way from v{from} to v{} asks for the gateway's node ports, and its mkectl lists no flags for them: they are not given",
            environment.release
        ));
    }
    let upgrade = new.mkectl.upgrade(
        &before,
        &mkectl::Upgrade {
            release: &environment.release,
            release_matrix: match &matrix {
                Matrix::NotWanted => None,
                Matrix::OfBundle { path, .. } | Matrix::Given(path) => Some(path),
            },
            backup: Some(&own),
            config_out: None,
            gateway_node_ports: ports.map(|(http, https)| mkectl::NodePorts { http, https }),
        },
        &new.help,
    );
    let mut commands = Commands {
        from: from.clone(),
        old,
        new,
        backup,
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

/// Upgrades the cluster. The registry has been confirmed to serve the new release.
///
/// # Errors
/// The release matrix cannot be had, the cluster does not tell its configuration, or mkectl failed. Then the cluster is, as far as
/// mkectl could see to it, what it was.
pub(crate) async fn upgrade(
    context: &Context<'_>,
    plan: &Plan,
    commands: &Commands,
    _confirmed: &Confirmed,
    step: &mut Step,
) -> Result<Applied, Error> {
    let release = format!("v{}", plan.environment.release);
    let secrets = resolve::secrets(context, plan)?;
    let run = |step: Step, release: String, command: &mkectl::Command| -> Result<Ran, Error> {
        let run = Run {
            environment: &plan.environment,
            output: &plan.output,
            release,
            name: step.name(),
            step,
            results: None,
            // A backup leaves the cluster as it is.
            changes: step == Step::Upgrade,
        };
        let command = command
            .clone()
            .within(plan.environment.operation.apply_timeout)
            .masked(secrets.iter().cloned());
        run.run(context, &command)
    };
    *step = Step::Backup;
    if let Matrix::OfBundle { path, file } = &commands.matrix {
        put_matrix(context, plan, path, file).await?;
    }
    keep_before(plan, commands)?;
    if let Some(old) = &commands.old {
        crate::program::keep(context, &old.mkectl, &format!("v{}", commands.from));
    }
    crate::program::keep(context, &commands.new.mkectl, &release);
    if let Some((command, archive)) = &commands.backup {
        let Ran { log } = run(*step, format!("v{}", commands.from), command)?;
        let shown = context.workspace.shown(archive);
        match archive.exists() {
            // A rehearsal's stand-in writes none.
            _ if plan.environment.rehearsal => {}
            true => {
                let mkectl = receipt::Program {
                    version: format!("v{}", commands.from),
                    sha256: commands.of_before().mkectl.sha256(),
                };
                let applied = plan.receipt.as_ref().and_then(|before| before.applied.clone());
                cluster::describe(context, &plan.environment, archive, mkectl, applied)?;
                context.reporter.report(Event::Finished {
                    step: Step::Backup,
                    what: format!(
                        "{shown} is written; only mkectl v{} restores it",
                        commands.from
                    ),
                });
            }
            false => context.reporter.report(Event::Warning(format!(
                "mkectl says that the backup is written, and there is no {shown}: {log} says where it is"
            ))),
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
            after(context, plan, text, &secrets)
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

/// Puts the release matrix where mkectl is told that it is, unmodified: the vendor supports no other one (OFF-411).
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

/// Keeps the configuration that the cluster has now: the commands are given it, and whoever restores a backup needs it.
fn keep_before(plan: &Plan, commands: &Commands) -> Result<(), Error> {
    let text = match plan.environment.rehearsal {
        true => plan.config.text.clone(),
        false => commands.ask(&plan.environment)?.0,
    };
    write_for_owner(&commands.before, &text, IfThere::Refuse)
}

fn parse(path: &Utf8Path, text: &str) -> Result<Node, Error> {
    let source = std::sync::Arc::new(Source {
        path: path.to_owned(),
        text: text.to_owned(),
    });
    yaml::parse(source).map_err(|problem| Error::Render(Problems(vec![problem])))
}

/// The names of what an upgrade leaves in the folder of backups. None of them is there already.
struct Names {
    stem: String,
    from: Version,
    to: Version,
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
            to: to.clone(),
        })
    }

    /// The configuration before.
    fn before(&self) -> String {
        format!("{}_mke4.yaml", self.stem)
    }

    /// The archive that the old mkectl writes.
    fn by_old(&self) -> String {
        format!("{}_by-v{}.tar", self.stem, self.from)
    }

    /// What the new mkectl writes: an archive, or up to 4.1.2 an etcd snapshot (UPG-412, UPG-420).
    fn by_new(&self, is_archive: bool) -> String {
        match is_archive {
            true => format!("{}_by-v{}.tar", self.stem, self.to),
            false => format!("{}_etcd-snapshot", self.stem),
        }
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
