//! Compares files, receipt, registry and, on request, the cluster of environments. Each difference
//! has a fix.
//!
//! Nothing is written. A registry or cluster that does not answer is a difference, too, and does
//! not delay the others.

use std::sync::{Mutex, PoisonError};

use camino::Utf8PathBuf;
use environment::Environment;
use semver::Version;
use serde::Serialize;

use crate::cluster::existing;
use crate::cluster::in_progress::RunNote;
use crate::config::check;
use crate::event::Step;
use crate::locked::Locked;
use crate::receipt::{self, Receipt};
use crate::shared_state::State;
use crate::transfer::program;
use crate::workspace::{Output, read_if_exists};
use crate::{
    Context, Error, Workspace, chain, cluster, locked, parallel, requires, set, sha256, workspace,
};

mod registries;

use registries::Question;

/// Maximum number of clusters that are read concurrently, each by a process of mkectl.
const CONCURRENT_CLUSTERS: usize = 16;

/// The state of an environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Name of the environment.
    pub environment: String,
    /// The release that the files require, `v4.1.5`; `None` if they are invalid.
    pub release: Option<String>,
    /// The last deploy in the receipt; `None` if there was none.
    pub deployed: Option<Deployed>,
    /// SHA-256 of the receipt's file. The shared state has the same if it records the same deploy.
    #[serde(skip)]
    pub receipt_sha256: Option<String>,
    /// The registry's contents; `None` without a valid lock.
    pub registry: Option<Registry>,
    /// The last deploy from any checkout that the registry records; `None` if it was not read or
    /// records none.
    pub shared: Option<State>,
    /// Number of values in which the cluster differs from the rendered configuration; `None` if it
    /// was not read.
    pub cluster_changes: Option<usize>,
    /// Registry that the release was locked from, if not from its bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_from: Option<String>,
    /// The differences, each with its fix.
    pub drift: Vec<Drift>,
}

/// The last deploy in a receipt.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deployed {
    /// The release of the last successful deploy; `None` if none succeeded.
    pub release: Option<String>,
    /// End of the last deploy, in UTC.
    pub ended: String,
    /// The step at which the last deploy failed; `None` if it succeeded.
    pub failed_at: Option<String>,
}

/// The artifacts of a lock that a registry serves to nodes.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registry {
    /// Registry and project, `HOST[:PORT]/PROJECT`.
    pub url: String,
    /// Number of artifacts in the lock.
    pub artifacts: usize,
    /// Number of artifacts that are served; `None` if the registry did not answer.
    pub served: Option<usize>,
}

/// A difference.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drift {
    /// The difference, a sentence without its full stop.
    pub what: String,
    /// The fix. xtask words it.
    #[serde(skip)]
    pub fix: Fix,
}

/// The fix of a difference, or how to find out more. Most are the command of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Show the problems of the files.
    Check,
    /// Render the configuration.
    Render,
    /// Push missing artifacts.
    Push,
    /// Deploy the environment.
    Deploy,
    /// Upgrade the cluster from MKE 3.
    Migrate,
    /// Apply the configuration.
    Apply,
    /// Lock this release or set.
    Lock(String),
    /// Plan, which shows what the registry records.
    Plan,
    /// Check the registry.
    Preflight,
    /// Compare the cluster with the configuration.
    DiffLive,
    /// Show the facts of this release.
    Releases(String),
    /// Show the state of this required environment.
    Required(String),
    /// Pull the commits of a different checkout.
    Pull,
    /// Wait for a command that uses the environment.
    Wait,
    /// Free the address of a rehearsal's registry.
    FreeAddress,
    /// Restore this committed file.
    Restore(Utf8PathBuf),
    /// Use the version of Airlock that wrote the receipt, or a newer one.
    NewerAirlock,
    /// Find out why this file cannot be read.
    List(Utf8PathBuf),
    /// Follow this log of a running mkectl.
    Follow(Utf8PathBuf),
}

/// Compares environments: first their files, then all registries, then all clusters.
pub async fn status(context: &Context<'_>, names: &[String], live: bool) -> Vec<Status> {
    let compared =
        tokio::task::block_in_place(|| parallel::map(names, |name| files_of(context, name)));
    let (mut all, questions): (Vec<Status>, Vec<Option<Question>>) = compared.into_iter().unzip();
    registries::ask(context, &mut all, questions).await;
    if live {
        compare_clusters(context, &mut all);
    }
    all.iter_mut().for_each(Status::order);
    all
}

impl Status {
    fn add(&mut self, what: impl Into<String>, fix: Fix) {
        self.drift.push(Drift {
            what: what.into(),
            fix,
        });
    }

    /// Orders the differences by their fixes:
    ///
    /// - If the checkout is outdated, only that difference is kept.
    /// - If files are invalid, fixes that are refused until then are removed.
    /// - A deploy also pushes, so it replaces the fix `push`, and it comes last.
    fn order(&mut self) {
        let has = |fix: Fix| self.drift.iter().any(|drift| drift.fix == fix);
        let deploy = if has(Fix::Migrate) {
            Fix::Migrate
        } else {
            Fix::Deploy
        };
        let (is_outdated, is_wrong) = (has(Fix::Pull), has(Fix::Check));
        if is_outdated {
            self.drift.retain(|drift| drift.fix == Fix::Pull);
        }
        if is_wrong {
            let refused = [Fix::Render, Fix::Push, deploy.clone()];
            self.drift.retain(|drift| !refused.contains(&drift.fix));
        }
        if self.drift.iter().any(|drift| drift.fix == deploy) {
            let pushes = self.drift.iter_mut().filter(|drift| drift.fix == Fix::Push);
            pushes.for_each(|drift| drift.fix.clone_from(&deploy));
        }
        self.drift.sort_by_key(|drift| drift.fix == deploy);
    }
}

/// Compares the files of an environment with its receipt. Also returns the question for its
/// registry.
fn files_of(context: &Context<'_>, name: &str) -> (Status, Option<Question>) {
    let mut status = Status {
        environment: name.to_owned(),
        release: None,
        deployed: None,
        receipt_sha256: None,
        registry: None,
        shared: None,
        cluster_changes: None,
        locked_from: None,
        drift: Vec::new(),
    };
    let output = Output::below(&context.workspace.environment(name));
    let receipt = Receipt::read(&output.receipt);
    if let Err(error) = &receipt {
        let path = context.workspace.shown(&output.receipt);
        // A file that cannot be opened is not restored: it may be newer than the committed one.
        let fix = match error {
            Error::Receipt(receipt::Error::Version { .. }) => Fix::NewerAirlock,
            Error::Receipt(_) => Fix::Restore(path.to_owned()),
            _ => Fix::List(path.to_owned()),
        };
        status.add(chain(error), fix);
    }
    let text = read_if_exists(&output.receipt).ok().flatten();
    status.receipt_sha256 = text.map(|text| sha256(text.as_bytes()));
    let recorded = receipt.as_ref().ok().and_then(Option::as_ref);
    status.deployed = recorded.and_then(deployed);
    let environment = match mke::load(context.workspace.root(), name) {
        Ok(environment) => environment,
        Err(error) => {
            let what = match &error {
                environment::Error::Wrong(problems) => {
                    format!(
                        "its files have {}",
                        environment::count_problems(&problems.0)
                    )
                }
                error => chain(error),
            };
            status.add(what, Fix::Check);
            return (status, None);
        }
    };
    let release = format!("v{}", environment.release);
    status.release = Some(release.clone());
    let locked = match locked::of(context.workspace, &environment) {
        Ok(locked) => Some(locked),
        Err(Error::Workspace(workspace::Error::NotLocked { .. })) => {
            status.add(format!("{release} is not locked"), Fix::Lock(release));
            None
        }
        Err(error) => {
            let fix = match &error {
                Error::Set(
                    set::Error::NotLocked { set, .. } | set::Error::Outdated { set, .. },
                ) => Fix::Lock(set.clone()),
                Error::Set(_) => Fix::Check,
                Error::InvalidLock(error) => Fix::Restore(error.path().to_owned()),
                _ => Fix::Restore(format!("bundles/{release}-amd64.lock.yaml").into()),
            };
            status.add(chain(&error), fix);
            None
        }
    };
    let config = configuration(context, &environment, &output, &mut status);
    let lock = locked.as_ref();
    status.locked_from = lock.and_then(|locked| locked.lock.from.clone());
    let needs_deploy = compare(
        context.workspace,
        &environment,
        &output,
        receipt.as_ref().map(Option::as_ref).map_err(|_| Unknown),
        lock,
        config.as_deref(),
        &mut status,
    );
    if let Some(lock) = lock.filter(|_| needs_deploy) {
        requirement(context, &environment, lock, &mut status);
    }
    let question = locked.map(|locked| Question::new(environment, locked, output, receipt.ok()));
    (status, question)
}

/// Returns the first problem and the number of the others.
fn first(problems: &environment::Problems) -> String {
    let first = problems.0.first().map_or("", |problem| &problem.rule);
    match problems.0.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first} (and {} more)", count - 1),
    }
}

fn deployed(receipt: &Receipt) -> Option<Deployed> {
    let applied = receipt.applied.as_ref();
    let failed = receipt.failed.as_ref();
    let ended = failed
        .map(|failed| &failed.ended)
        .or(applied.map(|applied| &applied.ended))?;
    Some(Deployed {
        release: applied.map(|applied| applied.release.clone()),
        ended: ended.clone(),
        failed_at: failed.map(|failed| failed.step.clone()),
    })
}

/// Renders the configuration, compares the committed file with it, and returns its SHA-256.
fn configuration(
    context: &Context<'_>,
    environment: &Environment,
    output: &Output,
    status: &mut Status,
) -> Option<String> {
    let rendered = match check::rendered(context.workspace, &mut environment.clone()) {
        Ok(rendered) => rendered.text,
        Err(error) => {
            let what = match error.problems() {
                Some(problems) => format!("it cannot be rendered: {}", first(problems)),
                None => chain(&error),
            };
            status.add(what, Fix::Check);
            return None;
        }
    };
    let path = context.workspace.shown(&output.config);
    match read_if_exists(&output.config) {
        Err(error) => status.add(chain(&error), Fix::List(path.to_owned())),
        Ok(None) => status.add(format!("{path} is missing"), Fix::Render),
        Ok(Some(committed)) if committed != rendered => {
            status.add(format!("{path} differs from what is rendered"), Fix::Render);
        }
        Ok(Some(_)) => {}
    }
    Some(sha256(rendered.as_bytes()))
}

/// A receipt that cannot be read, so the state of the cluster is unknown.
struct Unknown;

/// Compares the files with the receipt. Returns whether a deploy is needed.
fn compare(
    workspace: &Workspace,
    environment: &Environment,
    output: &Output,
    receipt: Result<Option<&Receipt>, Unknown>,
    lock: Option<&Locked>,
    config: Option<&str>,
    status: &mut Status,
) -> bool {
    // MKE 3 is replaced by `migrate`, not by `deploy`.
    let is_mke3 = environment.mke3.is_some()
        && !matches!(&receipt, Ok(Some(receipt)) if receipt.applied.is_some());
    let deploy = if is_mke3 { Fix::Migrate } else { Fix::Deploy };
    let before = status.drift.len();
    match RunNote::read(output) {
        // While mkectl runs, every deploy is refused.
        Ok(Some(note)) if note.is_running() => {
            status.add(note.message(), Fix::Follow(note.log.clone()));
            return true;
        }
        Ok(Some(note)) => status.add(note.message(), deploy.clone()),
        Ok(None) => {}
        Err(error) => {
            status.add(chain(&error), deploy);
            return true;
        }
    }
    let Ok(receipt) = receipt else {
        return false;
    };
    if let Some(failed) = receipt.and_then(|receipt| receipt.failed.as_ref()) {
        // Commands for a deployed cluster, such as `cluster backup`, have this step.
        let what = match failed.step == Step::Cluster.name() {
            true => format!("the last command for the cluster failed: {}", failed.error),
            false => format!(
                "the last deploy, of {}, failed at {}",
                failed.release, failed.step
            ),
        };
        status.add(what, deploy.clone());
    }
    let Some(applied) = receipt.and_then(|receipt| receipt.applied.as_ref()) else {
        // A deploy is refused without a lock, and if a different environment deployed the cluster.
        let address = mke::external_address(environment);
        let other = existing::deployed_by_other(workspace, &environment.name, address.as_deref());
        if lock.is_some()
            && other.is_none()
            && receipt.is_none_or(|receipt| receipt.failed.is_none())
        {
            status.add("nothing was deployed yet", deploy);
        }
        return true;
    };
    let release = format!("v{}", environment.release);
    if applied.release != release {
        let what = format!(
            "it runs {}, but its files require {release}",
            applied.release
        );
        let to = workspace.release(&environment.release).ok();
        match to.and_then(|to| check::upgrade(&to, applied)) {
            Some(Err(refusal)) => status.add(
                format!("{what}, and deploy refuses that upgrade: {refusal}"),
                Fix::Releases(release),
            ),
            Some(Ok(way)) if way.certainty == mke::Certainty::Documented => {
                status.add(format!("{what}; the vendor supports that upgrade"), deploy);
            }
            Some(Ok(way)) => {
                let what = std::iter::once(what).chain(way.warnings);
                status.add(what.collect::<Vec<_>>().join("; "), deploy);
            }
            None => status.add(what, deploy),
        }
    } else if let Err(error) = check::write_once(environment, applied) {
        let what = error.problems().map_or_else(|| chain(&error), first);
        status.add(what, Fix::Check);
    } else if config.is_some_and(|config| config != applied.config) {
        let what = format!("the configuration changed since {}", applied.ended);
        status.add(what, deploy);
    } else if let Some(lock) = lock
        && (lock.digest != applied.lock || lock.sets != applied.sets)
    {
        let gone: Vec<&str> = (applied.sets.keys())
            .filter(|set| !lock.sets.contains_key(*set))
            .map(String::as_str)
            .collect();
        let what = match gone.as_slice() {
            [] => "it was deployed from a different lock".to_owned(),
            [set] => format!("it was deployed with the set {set}, which is no longer listed"),
            sets => format!(
                "it was deployed with the sets {}, which are no longer listed",
                sets.join(", ")
            ),
        };
        status.add(what, deploy);
    }
    status.drift.len() > before
}

/// Adds a difference if a deploy would be refused because of `requires`.
fn requirement(
    context: &Context<'_>,
    environment: &Environment,
    lock: &Locked,
    status: &mut Status,
) {
    let now = (context.tool.now)();
    match requires::unmet(context.workspace, environment, lock, now) {
        Ok(None) => {}
        Ok(Some(unmet)) => status.add(
            format!("a deploy is refused: {unmet}"),
            Fix::Required(unmet.environment),
        ),
        Err(error) => {
            let what = error.problems().map_or_else(|| chain(&error), first);
            status.add(what, Fix::Check);
        }
    }
}

/// Compares the clusters with the rendered configurations.
fn compare_clusters(context: &Context<'_>, all: &mut [Status]) {
    let all: Vec<Mutex<&mut Status>> = all.iter_mut().map(Mutex::new).collect();
    tokio::task::block_in_place(|| {
        parallel::map_in(CONCURRENT_CLUSTERS, &all, |status| {
            let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
            // Invalid files cannot be compared. Before a deploy, a cluster is missing.
            let deployed = status.deployed.as_ref();
            let is_deployed = deployed.is_some_and(|deployed| deployed.release.is_some());
            if status.release.is_some() && is_deployed {
                compare_cluster(context, &mut status);
            }
        });
    });
}

fn version_of(release: &str) -> Option<Version> {
    release.strip_prefix('v')?.parse().ok()
}

fn compare_cluster(context: &Context<'_>, status: &mut Status) {
    let name = status.environment.clone();
    match cluster::differences(context, &name) {
        Ok(pair) => {
            let changes = pair.changes.len();
            status.cluster_changes = Some(changes);
            let deployed = status.deployed.as_ref();
            let applied = deployed.and_then(|deployed| deployed.release.as_deref());
            let is_upgrade = applied != status.release.as_deref();
            let mut versions = pair.changes.iter();
            let version = versions.find(|change| change.path == "spec.version");
            let live = version.map_or(status.release.as_deref(), |change| change.old.as_deref());
            let output = Output::below(&context.workspace.environment(&name));
            // An interrupted or failed upgrade from this checkout is reported from its files.
            let ended = deployed.is_some_and(|deployed| deployed.failed_at.is_none())
                && matches!(RunNote::read(&output), Ok(None));
            if let (Some(live), Some(applied), true) = (live, applied, ended)
                && version_of(live) > version_of(applied)
            {
                let what = format!("its receipt records {applied}, but the cluster reports {live}");
                return status.add(what, Fix::Pull);
            }
            // Changes that an upgrade will make are not drift.
            if changes > 0 && !is_upgrade {
                let what = format!(
                    "the cluster differs from what is rendered in {}, which `diff --live` lists",
                    environment::count(changes, "value")
                );
                status.add(what, Fix::Apply);
            }
        }
        // Without a cluster, there is nothing to compare.
        Err(Error::Program(program::Error::NoCluster { .. })) => {}
        Err(error @ Error::Kubeconfig(_)) => {
            status.add(chain(&error), Fix::DiffLive);
        }
        Err(error) => status.add(
            format!("the cluster cannot be read: {}", chain(&error)),
            Fix::DiffLive,
        ),
    }
}
