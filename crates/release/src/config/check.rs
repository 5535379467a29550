//! Checks an environment's files without network, credentials, mkectl or bundle.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use camino::{Utf8Path, Utf8PathBuf};
use environment::yaml::Node;
use environment::{AdminPassword, Environment, Problem, Problems};
use serde::Serialize;

use crate::config::{mke3, render};
use crate::locked::{self, Locked};
use crate::receipt::{Applied, Receipt};
use crate::workspace::Output;
use crate::{Context, Error, Workspace, parallel, requires, set, workspace};

/// The result of checking a valid environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checked {
    /// Name of the environment.
    pub environment: String,
    /// Its release, such as `v4.1.5`.
    pub release: String,
    /// Warnings, with the notices last.
    pub warnings: Vec<String>,
    /// Number of warnings that are known issues of the release. No file of the workspace can fix
    /// them.
    pub known_issues: usize,
    /// The environment's release or set without a lock. A deploy is refused until it is locked.
    #[serde(skip)]
    pub not_locked: Option<String>,
    /// Number of warnings that only describe what `deploy` will do or requires.
    pub notices: usize,
    /// Addresses of its machines; none for a rehearsal.
    #[serde(skip)]
    machines: BTreeSet<String>,
}

/// Checks environments concurrently, and returns a result for each, in order. `now` is the time for
/// the validity of certificates. Git is searched for in the `PATH` of `variables`.
pub fn all(
    workspace: &Workspace,
    names: &[String],
    now: jiff::Timestamp,
    variables: &programs::Variables,
) -> Vec<Result<Checked, Error>> {
    // Git is asked about all default places of secrets in one call.
    let outputs = names
        .iter()
        .map(|name| Output::below(&workspace.environment(name)));
    let files = outputs.flat_map(|output| {
        let password = std::iter::once(output.admin_password);
        password.chain(backup_files(&output.backups))
    });
    let mut committable = CommittableFiles::default();
    committable.ask(&files.collect::<Vec<_>>(), variables);
    parallel::map(names, |name| {
        one(workspace, name, now, variables, &committable)
    })
}

/// Checks one environment: its files, release and configuration, its registry's certificate at the
/// time `now`, and the values that its cluster keeps permanently.
fn one(
    workspace: &Workspace,
    name: &str,
    now: jiff::Timestamp,
    variables: &programs::Variables,
    committable: &CommittableFiles,
) -> Result<Checked, Error> {
    let mut environment = workspace.load(name)?;
    let receipt = Receipt::read(&Output::below(&workspace.environment(name)).receipt)?;
    let applied = receipt.and_then(|receipt| receipt.applied);
    let mut problems = Vec::new();
    let facts = mke::Release::of(&environment.release).ok();
    let faults = facts
        .as_ref()
        .map(mke::Release::known_issues)
        .unwrap_or_default();
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
    let secret = committed_secret_among(workspace, &environment, variables, committable);
    problems.extend(secret.err());
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
        machines: machines(&environment),
        environment: environment.name,
        release,
        warnings,
        known_issues,
        not_locked,
        notices: count,
    })
}

/// Adds a warning to each environment that shares a machine with a different one, checked or not.
///
/// # Errors
/// The environments cannot be listed.
pub fn warn_of_shared_machines(
    workspace: &Workspace,
    checked: &mut [Checked],
) -> Result<(), Error> {
    let mut all: BTreeMap<String, BTreeSet<String>> = checked
        .iter()
        .map(|one| (one.environment.clone(), one.machines.clone()))
        .collect();
    let mut others = environment::names(workspace.root())?;
    others.retain(|name| !all.contains_key(name));
    // An environment that cannot be loaded is reported by its own check.
    let machines = parallel::map(&others, |name| {
        workspace
            .load(name)
            .map(|one| machines(&one))
            .unwrap_or_default()
    });
    all.extend(others.into_iter().zip(machines));
    for one in checked {
        for (name, others) in all.iter().filter(|(name, _)| **name != one.environment) {
            let shared = one.machines.intersection(others);
            let shared: Vec<&str> = shared.map(String::as_str).collect();
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

/// Returns the addresses of an environment's machines. A rehearsal uses none.
fn machines(environment: &Environment) -> BTreeSet<String> {
    if environment.rehearsal {
        return BTreeSet::new();
    }
    let hosts = mke::hosts(environment);
    let addresses = hosts
        .iter()
        .filter_map(|host| host.get("ssh")?.get("address")?.text());
    addresses.map(str::to_owned).collect()
}

/// Returns the lock of an environment, or the name of its release or set that is not locked. An
/// unreadable lock is an error for every command.
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

/// Returns why a deploy of a new lock would be refused, if it would.
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

/// Renders an environment. A release that cannot be installed is reported at its line in the file.
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
                secrets.mask(&mut problems);
                Error::Workspace(workspace::Error::Configuration(Problems(problems)))
            }
            None => Error::Release(error),
        }
    })?;
    let release = match workspace.observations(&environment.release)? {
        Some(observations) => release.with_observations(observations),
        None => release,
    };
    render::render(workspace, environment, &release)
}

/// Looks up the upgrade from the release that a cluster runs. Returns `None` if the receipt has no
/// valid version.
pub(crate) fn upgrade(
    to: &mke::Release,
    applied: &Applied,
) -> Option<Result<mke::Upgrade, mke::UpgradeError>> {
    let from = applied.release.strip_prefix('v')?.parse().ok()?;
    Some(to.upgrade_from(&from))
}

/// Checks that git would commit none of an environment's secrets: the administrator password, the
/// kubeconfig, and backups. If git has no answer, default places are accepted if `.gitignore` has
/// the shipped lines.
///
/// # Errors
/// The first secret that git would commit.
pub(crate) fn committed_secret(
    workspace: &Workspace,
    environment: &Environment,
    variables: &programs::Variables,
) -> Result<(), Problem> {
    let known = CommittableFiles::default();
    committed_secret_among(workspace, environment, variables, &known)
}

/// Like [`committed_secret`], with answers that git gave before.
fn committed_secret_among(
    workspace: &Workspace,
    environment: &Environment,
    variables: &programs::Variables,
    known: &CommittableFiles,
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
    let secrets = [
        Secret {
            named: password,
            default: default(&output.admin_password),
            node: of_password,
            key: "admin-password.file",
            what: "password",
            ignored: "admin-password*",
        },
        Secret {
            named: operation.kubeconfig.as_ref(),
            default: None,
            node: key("kubeconfig"),
            key: "kubeconfig",
            what: KUBECONFIG,
            ignored: "kubeconfig*",
        },
        Secret {
            named: operation.backups.as_ref(),
            default: default(&output.backups),
            node: key("backups"),
            key: "backups",
            what: BACKUPS,
            ignored: "backups/",
        },
    ];
    let files: Vec<Utf8PathBuf> = secrets.iter().flat_map(Secret::files).collect();
    let known = files.iter().filter_map(|file| known.0.get_key_value(file));
    let known = known.map(|(file, why)| (file.clone(), why.clone()));
    let mut committable = CommittableFiles(known.collect());
    committable.ask(&files, variables);
    for secret in &secrets {
        let Some(path) = secret.path() else { continue };
        let files = secret.files();
        let Some(why) = files.iter().find_map(|file| committable.why(file)) else {
            continue;
        };
        let Secret {
            named,
            node,
            key,
            what,
            ignored,
            ..
        } = *secret;
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
                return Err(problem(node, key).with_help(format!(
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

/// A secret of an environment, and its place.
#[derive(Clone, Copy)]
struct Secret<'a> {
    /// Path in the environment's file.
    named: Option<&'a Utf8PathBuf>,
    /// Path without one in the file.
    default: Option<&'a Utf8PathBuf>,
    /// Value of the key in the file.
    node: Option<&'a Node>,
    key: &'static str,
    /// The secret, for messages.
    what: &'static str,
    /// Pattern of the shipped .gitignore for the default place.
    ignored: &'static str,
}

impl<'a> Secret<'a> {
    fn path(&self) -> Option<&'a Utf8PathBuf> {
        self.named.or(self.default)
    }

    /// Returns the files to ask git about.
    fn files(&self) -> Vec<Utf8PathBuf> {
        match self.path() {
            None => Vec::new(),
            Some(path) if self.what == BACKUPS => backup_files(path).into(),
            Some(path) => vec![path.clone()],
        }
    }
}

/// Returns the files that a backup creates in its folder.
fn backup_files(folder: &Utf8Path) -> [Utf8PathBuf; 2] {
    ["backup.tar", "mke4.yaml"].map(|name| folder.join(name))
}

/// The secret in a kubeconfig, for messages.
pub(crate) const KUBECONFIG: &str = "key of the cluster's administrator";

/// The secrets in a backup, for messages.
pub(crate) const BACKUPS: &str = "cluster's secrets";

/// Git's answers whether it would commit files.
#[derive(Default)]
struct CommittableFiles(HashMap<Utf8PathBuf, Option<Committable>>);

/// Why a file may get into a commit.
#[derive(Clone)]
enum Committable {
    /// Git would add it.
    NotIgnored,
    /// It is in a repository, but git has no answer. Contains the reason.
    Unknown(String),
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

impl CommittableFiles {
    /// Asks git about files that it was not asked about yet, with one call for each repository.
    fn ask(&mut self, files: &[Utf8PathBuf], variables: &programs::Variables) {
        let mut repositories: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for path in files {
            if !self.0.contains_key(path) {
                self.0.insert(path.clone(), None);
                if let Some((root, real)) = in_repository(path) {
                    repositories.entry(root).or_default().push((path, real));
                }
            }
        }
        for (root, files) in repositories {
            let (paths, real): (Vec<_>, Vec<_>) = files.into_iter().unzip();
            let ignored = programs::Git::of(&root, variables).and_then(|git| git.ignored(&real));
            for (path, real) in paths.into_iter().zip(&real) {
                let why = match &ignored {
                    Ok(ignored) => (!ignored.contains(real)).then_some(Committable::NotIgnored),
                    Err(absent) => Some(Committable::Unknown(absent.to_string())),
                };
                self.0.insert(path.clone(), why);
            }
        }
    }

    /// Returns why git may commit a file that it was asked about.
    fn why(&self, path: &Utf8Path) -> Option<&Committable> {
        self.0.get(path)?.as_ref()
    }
}

/// Returns the root of a file's repository and the file's real path, or `None` outside of
/// repositories: a workspace need not be one. `path` is absolute and need not exist.
fn in_repository(path: &Utf8Path) -> Option<(Utf8PathBuf, Utf8PathBuf)> {
    let (folder, rest) = path.ancestors().skip(1).find_map(|folder| {
        let rest = path.strip_prefix(folder).ok()?;
        Some((folder.canonicalize_utf8().ok()?, rest))
    })?;
    let root = folder
        .ancestors()
        .find(|above| above.join(".git").exists())?;
    Some((root.to_owned(), folder.join(rest)))
}

/// Refuses a typed path for a secret, if git may commit it. `ignored` is a path in the
/// environment's folder that .gitignore lists.
///
/// # Errors
/// [`workspace::Error::Committed`].
pub(crate) fn refuse_committed(
    context: &Context<'_>,
    environment: &Environment,
    path: &Utf8Path,
    (what, ignored): (&'static str, &'static str),
) -> Result<(), Error> {
    let real = camino::absolute_utf8(path).map_err(|source| Error::io("find", path, source))?;
    let mut committable = CommittableFiles::default();
    committable.ask(std::slice::from_ref(&real), &context.tool.variables);
    match committable.why(&real) {
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

/// Checks that an environment does not change values that its cluster keeps permanently.
///
/// # Errors
/// [`workspace::Error::WriteOnce`] lists the changed values.
pub(crate) fn write_once(environment: &Environment, applied: &Applied) -> Result<(), Error> {
    let problems = mke::refuse_changes(
        environment,
        mke::Installed {
            registry: &applied.registry,
            external_address: applied.external_address.as_deref(),
            write_once: applied.kept.as_ref(),
        },
    );
    if problems.is_empty() {
        return Ok(());
    }
    Err(workspace::Error::WriteOnce(Problems(problems)).into())
}
