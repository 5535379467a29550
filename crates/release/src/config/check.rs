//! Checks an environment as far as its files alone can be wrong: no network, no credentials, no mkectl, no bundle.

use camino::Utf8Path;
use environment::{AdminPassword, Environment, Problem, Problems};
use serde::Serialize;

use crate::config::render;
use crate::locked::{self, Locked};
use crate::receipt::{Applied, Receipt};
use crate::workspace::Output;
use crate::{Error, Workspace, requires, set, workspace};

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
}

/// Checks one environment: its files, its release, all of its configuration, its registry's certificate at the time `now`,
/// and what its cluster keeps permanently. Git is looked for in the `PATH` of `variables`.
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
        .zip(applied.as_ref())
        .and_then(|(facts, applied)| upgrade(&facts, applied));
    if let Some(Ok(way)) = &upgrade
        && let Err(found) = way.gateway_node_ports(&environment)
    {
        problems.push(found);
    }
    if !problems.is_empty() {
        return Err(workspace::Error::Configuration(Problems(problems)).into());
    }
    let authority = environment.registry.ca.as_ref();
    warnings.extend(authority.and_then(|authority| authority.warning.clone()));
    let release = format!("v{}", environment.release);
    let mkectl = environment.mkectl.as_ref().filter(|path| !path.exists());
    warnings.extend(mkectl.map(|path| {
        format!(
            "`mkectl` names {}, which does not exist on this machine",
            workspace.shown(path)
        )
    }));
    warnings.extend(requires::rehearsal(workspace, &environment));
    let mut not_locked = None;
    match lock(workspace, &environment)? {
        Ok(locked) => {
            warnings.extend(requirement(
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
                warnings.push(format!(
                    "the cluster runs {applied}, so {release} is an upgrade: run `deploy`, not `apply`"
                ));
                warnings.extend(
                    upgrade
                        .and_then(Result::ok)
                        .into_iter()
                        .flat_map(|upgrade| upgrade.warnings),
                );
            }
        }
    }
    let known_issues = warnings.iter().filter(|one| faults.contains(one)).count();
    Ok(Checked {
        environment: environment.name,
        release,
        warnings,
        known_issues,
        not_locked,
    })
}

/// Reads the lock of an environment, or returns the release or set that has none yet. A lock that cannot be read is wrong for every
/// command.
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

/// Returns why a deploy of a lock that the environment does not have yet would be refused, if it would.
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

/// Renders an environment. A release that cannot be installed is a problem of the file that names it.
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

/// Asks the table about the way from what a cluster runs to another release; none if the receipt names no version.
pub(crate) fn upgrade(
    to: &mke::Release,
    applied: &Applied,
) -> Option<Result<mke::Upgrade, mke::UpgradeError>> {
    let from = applied.release.strip_prefix('v')?.parse().ok()?;
    Some(to.upgrade_from(&from))
}

/// Checks that git takes neither the file of the administrator's password nor the kubeconfig. In a workspace without a repository it
/// takes none.
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
    let password = match &operation.admin_password {
        Some(AdminPassword::File(path)) => Some(path),
        _ => None,
    };
    let of_password = key("admin-password").and_then(|node| node.get("file"));
    for (path, node, name, what, ignored) in [
        (
            password,
            of_password,
            "admin-password.file",
            "password",
            "admin-password",
        ),
        (
            operation.kubeconfig.as_ref(),
            key("kubeconfig"),
            "kubeconfig",
            "key of the cluster's administrator",
            "kubeconfig",
        ),
    ] {
        if let Some((path, node)) = path.zip(node)
            && would_commit(workspace, path, variables)
        {
            let rule = format!(
                "`{name}` is in the repository, and git does not ignore it: the {what} would be committed"
            );
            return Err(Problem::at(node, rule).with_help(format!(
                "name a file outside of the repository, or `{ignored}`, which .gitignore lists"
            )));
        }
    }
    Ok(())
}

/// Returns whether git would take a file.
pub(crate) fn would_commit(
    workspace: &Workspace,
    path: &Utf8Path,
    variables: &programs::Variables,
) -> bool {
    let git = programs::Git::of(workspace.root(), variables);
    git.and_then(|git| git.would_add(path)).unwrap_or(false)
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
