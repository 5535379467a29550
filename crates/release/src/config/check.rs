//! Checks an environment as far as its files alone can be wrong: no network, no credentials, no
//! mkectl, no bundle.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use environment::{AdminPassword, Environment, Problem, Problems};
use serde::Serialize;

use crate::config::{mke3, render};
use crate::locked::{self, Locked};
use crate::receipt::{Applied, Receipt};
use crate::workspace::Output;
use crate::{Context, Error, Workspace, parallel, requires, set, workspace};

/// A valid environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checked {
    /// The environment.
    pub environment: String,
    /// Its release, `v4.1.5`.
    pub release: String,
    /// What people should know.
    pub warnings: Vec<String>,
    /// How many of them are known issues of the release, which no file of the workspace can fix.
    pub known_issues: usize,
    /// Its release or set without a lock, if there is one: until it has one, a deploy is refused.
    #[serde(skip)]
    pub not_locked: Option<String>,
    /// How many of them only report what `deploy` will do, or what it waits for.
    pub notices: usize,
}

/// Checks one environment: its files, its release, all of its configuration, its registry's
/// certificate at the time `now`, and what its cluster keeps permanently. Git is looked for in the
/// `PATH` of `variables`.
///
/// # Errors
/// Everything that is wrong with it, or what keeps it from being read.
pub fn one(
    workspace: &Workspace,
    name: &str,
    now: jiff::Timestamp,
    variables: &programs::Variables,
) -> Result<Checked, Error> {
    let mut environment = workspace.load(name)?;
    let receipt = Receipt::read(&Output::below(&workspace.environment(name)).receipt)?;
    let applied = receipt.and_then(|receipt| receipt.applied);
    let mut problems = Vec::new();
    let facts = mke::Release::of(&environment.release).ok();
    let faults = facts.as_ref().map(mke::Release::faults).unwrap_or_default();
    let mut warnings = match rendered(workspace, &mut environment) {
        Ok(rendered) => rendered.warnings,
        Err(Error::Workspace(workspace::Error::Configuration(found))) => {
            problems.extend(found.0);
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    for checked in [
        requires::check(workspace, &environment),
        set::check_names(workspace, &environment),
    ] {
        match checked {
            Err(Error::Workspace(workspace::Error::Configuration(found))) => {
                problems.extend(found.0)
            }
            checked => checked?,
        }
    }
    if let Err(found) = environment.check_dates(now.as_second()) {
        problems.extend(found.0);
    }
    if let Some(Err(Error::Workspace(workspace::Error::WriteOnce(found)))) = applied
        .as_ref()
        .map(|applied| write_once(&environment, applied))
    {
        problems.extend(found.0);
    }
    problems.extend(committed_secret(workspace, &environment, variables).err());
    let upgrade = facts
        .as_ref()
        .zip(applied.as_ref())
        .and_then(|(facts, applied)| upgrade(facts, applied));
    if let Some(Ok(way)) = &upgrade
        && let Err(found) = way.gateway_node_ports(&environment)
    {
        problems.push(found);
    }
    if let (Some(facts), None) = (&facts, &applied) {
        problems.extend(mke3::problem(&environment, facts, false)?);
    }
    if !problems.is_empty() {
        return Err(workspace::Error::Configuration(Problems(problems)).into());
    }
    let authority = environment.registry.ca.as_ref();
    warnings.extend(authority.and_then(|authority| authority.warning.clone()));
    let release = format!("v{}", environment.release);
    let described = environment.mke3.as_ref().filter(|_| applied.is_none());
    let named = [
        ("mkectl", environment.mkectl.as_ref()),
        (
            "mke3.config",
            described.and_then(|mke3| mke3.config.as_ref()),
        ),
    ];
    for (key, path) in named {
        if let Some(path) = path.filter(|path| !path.exists()) {
            let path = workspace.shown(path);
            warnings.push(format!(
                "`{key}` names {path}, which does not exist on this machine"
            ));
        }
    }
    warnings.extend(requires::rehearsal(workspace, &environment));
    let mut notices = Vec::new();
    let mut not_locked = None;
    match lock(workspace, &environment)? {
        Ok(locked) => {
            notices.extend(requirement(
                workspace,
                &environment,
                &locked,
                applied.as_ref(),
                now,
            )?);
        }
        Err(name) => not_locked = Some(name),
    }
    if let Some(applied) = applied.filter(|applied| applied.release != release) {
        let applied = applied.release;
        match upgrade {
            Some(Err(refusal)) => warnings.push(format!(
                "the cluster runs {applied}, but {refusal}: `deploy` and `apply` refuse {release}"
            )),
            upgrade => {
                notices.push(format!(
                    "the cluster runs {applied}, so {release} is an upgrade: run `deploy`, not `apply`"
                ));
                notices.extend(
                    upgrade
                        .and_then(Result::ok)
                        .into_iter()
                        .flat_map(|upgrade| upgrade.warnings),
                );
            }
        }
    }
    let known_issues = warnings.iter().filter(|one| faults.contains(one)).count();
    let count = notices.len();
    warnings.extend(notices);
    Ok(Checked {
        environment: environment.name,
        release,
        warnings,
        known_issues,
        not_locked,
        notices: count,
    })
}

/// Adds a warning to each environment that has a machine of a different one. A rehearsal uses no
/// machines.
///
/// # Errors
/// The environments cannot be listed.
pub fn warn_of_shared_machines(
    workspace: &Workspace,
    checked: &mut [Checked],
) -> Result<(), Error> {
    let names = environment::names(workspace.root())?;
    let machines = parallel::map(&names, |name| match workspace.load(name) {
        Ok(environment) if !environment.rehearsal => addresses(&environment),
        // What is wrong is reported by its own check.
        _ => BTreeSet::new(),
    });
    let all: BTreeMap<&String, BTreeSet<String>> = names.iter().zip(machines).collect();
    for one in checked {
        let Some(own) = all.get(&one.environment) else {
            continue;
        };
        for (name, others) in all.iter().filter(|(name, _)| **name != &one.environment) {
            let shared: Vec<&str> = own.intersection(others).map(String::as_str).collect();
            if !shared.is_empty() {
                one.warnings.push(format!(
                    "{name} has the same machines: {}; a machine belongs to one cluster",
                    shared.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// Returns the addresses of an environment's machines.
fn addresses(environment: &Environment) -> BTreeSet<String> {
    let hosts = mke::hosts(environment);
    let addresses = hosts
        .iter()
        .filter_map(|host| host.get("ssh")?.get("address")?.text());
    addresses.map(str::to_owned).collect()
}

/// Reads the lock of an environment, or returns the release or set that has none yet. A lock that
/// cannot be read is wrong for every command.
fn lock(workspace: &Workspace, environment: &Environment) -> Result<Result<Locked, String>, Error> {
    match locked::of(workspace, environment) {
        Ok(locked) => Ok(Ok(locked)),
        Err(Error::Workspace(workspace::Error::NotLocked { release, .. })) => {
            for name in environment.set_names() {
                set::load(workspace, name)?;
            }
            Ok(Err(release))
        }
        Err(Error::Set(set::Error::NotLocked { set, .. })) => Ok(Err(set)),
        Err(error) => Err(error),
    }
}

/// Returns why a deploy of a lock that the environment does not have yet would be refused, if it
/// would.
fn requirement(
    workspace: &Workspace,
    environment: &Environment,
    locked: &Locked,
    applied: Option<&Applied>,
    now: jiff::Timestamp,
) -> Result<Option<String>, Error> {
    if applied.is_some_and(|applied| applied.lock == locked.digest && applied.sets == locked.sets) {
        return Ok(None);
    }
    let unmet = requires::unmet(workspace, environment, locked, now)?;
    Ok(unmet.map(|unmet| {
        format!(
            "it requires {}, but {unmet}: until then `deploy` and `apply` are refused",
            unmet.environment
        )
    }))
}

/// Renders an environment. A release that cannot be installed is a problem of the file that names
/// it.
pub(crate) fn rendered(
    workspace: &Workspace,
    environment: &mut Environment,
) -> Result<mke::Rendered, Error> {
    let release = mke::Release::of(&environment.release).map_err(|error| {
        match environment.merged.get("release") {
            Some(node) => {
                let (near_misses, secrets) =
                    mke::near_misses(&environment.config, &environment.inventory);
                let mut problems = vec![Problem::at(node, error.to_string())];
                problems.extend(near_misses);
                secrets.cover(&mut problems);
                Error::Workspace(workspace::Error::Configuration(Problems(problems)))
            }
            None => Error::Release(error),
        }
    })?;
    let release = match workspace.observations(&environment.release)? {
        Some(observations) => release.observed(observations),
        None => release,
    };
    render::render(workspace, environment, &release)
}

/// Asks the table about the way from what a cluster runs to another release; none if the receipt
/// names no version.
pub(crate) fn upgrade(
    to: &mke::Release,
    applied: &Applied,
) -> Option<Result<mke::Upgrade, mke::UpgradeError>> {
    let from = applied.release.strip_prefix('v')?.parse().ok()?;
    Some(to.upgrade_from(&from))
}

/// Checks that git takes none of the files with secrets of an environment: the administrator's
/// password, the kubeconfig, and backups. Where git cannot be asked, the lines of the shipped
/// .gitignore are trusted for the default places.
///
/// # Errors
/// It does.
pub(crate) fn committed_secret(
    workspace: &Workspace,
    environment: &Environment,
    variables: &programs::Variables,
) -> Result<(), Problem> {
    let key = |name| environment.merged.get(name);
    let operation = &environment.operation;
    let output = Output::below(&workspace.environment(&environment.name));
    let password = match &operation.admin_password {
        Some(AdminPassword::File(path)) => Some(path),
        _ => None,
    };
    let of_password = key("admin-password").and_then(|node| node.get("file"));
    let lists = |line: &str| {
        let text = files::read_text(workspace.root().join(".gitignore"));
        text.is_ok_and(|text| text.lines().any(|listed| listed == line))
    };
    // A rehearsal's mkectl prints no password and writes no backup.
    let default = |path| (!environment.rehearsal).then_some(path);
    for (named, default, node, name, what, ignored) in [
        (
            password,
            default(&output.admin_password),
            of_password,
            "admin-password.file",
            "password",
            "admin-password*",
        ),
        (
            operation.kubeconfig.as_ref(),
            None,
            key("kubeconfig"),
            "kubeconfig",
            KUBECONFIG,
            "kubeconfig*",
        ),
        (
            operation.backups.as_ref(),
            default(&output.backups),
            key("backups"),
            "backups",
            BACKUPS,
            "backups/",
        ),
    ] {
        let Some(path) = named.or(default) else {
            continue;
        };
        // Of backups, the folder is named.
        let probes = match what == BACKUPS {
            true => vec![path.join("backup.tar"), path.join("mke4.yaml")],
            false => vec![path.clone()],
        };
        let Some(why) = probes.iter().find_map(|file| would_commit(file, variables)) else {
            continue;
        };
        let line = format!("/environments/*/{ignored}");
        let problem = |node, name: &str| {
            let rule =
                format!("`{name}` is in the repository, and {why}: the {what} would be committed");
            Problem::at(node, rule)
        };
        match (named, node) {
            (Some(_), Some(node)) => {
                let kind = if what == BACKUPS { "folder" } else { "file" };
                let ignored = ignored.trim_end_matches('*');
                return Err(problem(node, name).with_help(format!(
                    "name a {kind} outside of the repository, or `{ignored}`, which .gitignore lists"
                )));
            }
            _ if matches!(why, Committable::Unknown(_)) && lists(&line) => {}
            _ => {
                let shown = workspace.shown(path);
                return Err(problem(&environment.merged, shown.as_str()).with_help(format!(
                    "add the line `{line}` to .gitignore; if git tracks it already: `git rm -r --cached {shown}`"
                )));
            }
        }
    }
    Ok(())
}

/// What a kubeconfig gives away.
pub(crate) const KUBECONFIG: &str = "key of the cluster's administrator";

/// What a backup gives away.
pub(crate) const BACKUPS: &str = "cluster's secrets";

/// Why a file may get into a commit.
enum Committable {
    /// Git would add it.
    NotIgnored,
    /// It is in a repository, and git has no answer.
    Unknown(programs::Absent),
}

impl std::fmt::Display for Committable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotIgnored => formatter.write_str("git does not ignore it"),
            Self::Unknown(absent) => {
                write!(formatter, "it is unknown whether git ignores it ({absent})")
            }
        }
    }
}

/// Returns why git may take a file, which need not exist. `path` is absolute; the repository is
/// that of the folder it leads to.
fn would_commit(path: &Utf8Path, variables: &programs::Variables) -> Option<Committable> {
    let (folder, real) = path.ancestors().skip(1).find_map(|folder| {
        let rest = path.strip_prefix(folder).ok()?;
        let folder = folder.canonicalize_utf8().ok()?;
        let real = folder.join(rest);
        Some((folder, real))
    })?;
    // A workspace need not be a repository, or have git.
    if !folder.ancestors().any(|above| above.join(".git").exists()) {
        return None;
    }
    match programs::Git::of(&folder, variables).and_then(|git| git.ignored(&[real])) {
        Ok(ignored) => ignored.is_empty().then_some(Committable::NotIgnored),
        Err(absent) => Some(Committable::Unknown(absent)),
    }
}

/// Refuses a path that the operator typed for a secret, if git may take it. `ignored` is a place in
/// the environment's folder that .gitignore lists.
///
/// # Errors
/// It may.
pub(crate) fn refuse_committed(
    context: &Context<'_>,
    environment: &Environment,
    path: &Utf8Path,
    (what, ignored): (&'static str, &'static str),
) -> Result<(), Error> {
    let real = camino::absolute_utf8(path).map_err(|source| Error::io("find", path, source))?;
    match would_commit(&real, &context.tool.variables) {
        Some(why) => Err(workspace::Error::Committed {
            path: path.to_owned(),
            why: why.to_string(),
            what,
            instead: format!("environments/{}/{ignored}", environment.name),
        }
        .into()),
        None => Ok(()),
    }
}

/// Checks that an environment leaves alone what its cluster keeps permanently.
///
/// # Errors
/// It does not.
pub(crate) fn write_once(environment: &Environment, applied: &Applied) -> Result<(), Error> {
    let problems = mke::refuse_changes(
        environment,
        mke::Installed {
            registry: &applied.registry,
            external_address: applied.external_address.as_deref(),
            kept: applied.kept.as_ref(),
        },
    );
    if problems.is_empty() {
        return Ok(());
    }
    Err(workspace::Error::WriteOnce(Problems(problems)).into())
}
