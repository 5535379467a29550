//! Checks this machine: the configuration, the lock, the source of the bundle's bytes, mkectl,
//! tools and the disk.

use camino::Utf8Path;
use environment::{Environment, Problems};
use registry::probe::Verdict;

use super::report::{Check, WorkspaceFault};
use crate::cluster::ssh_keys;
use crate::config::{check, mke3, render, resolve};
use crate::event::Step;
use crate::locked;
use crate::observe::BundleObserver;
use crate::receipt::{Applied, Receipt};
use crate::set::Error as SetError;
use crate::transfer::fetch::{self, Source};
use crate::transfer::push::Delivery;
use crate::transfer::{before_push, look, present, program, set};
use crate::workspace::Output;
use crate::{Context, Error, chain, disk, requires, workspace};

/// Checks that the configuration can be rendered, has no committed secret, and that its
/// certificates are valid now.
pub(super) fn configuration(
    context: &Context<'_>,
    environment: &Environment,
    checks: &mut Vec<Check>,
) {
    let name = "configuration";
    let mut with_defaults = environment.clone();
    let rendered = (context.workspace)
        .release(&environment.release)
        .and_then(|release| {
            render::render(context.workspace, &mut with_defaults, &release).map(|_| release)
        });
    checks.push(match &rendered {
        Ok(_) => Check::fine(
            name,
            format!("can be rendered for v{}", environment.release),
        ),
        Err(Error::Workspace(workspace::Error::Configuration(problems))) => {
            Check::wrong(name, WorkspaceFault::Configuration, rules(problems))
        }
        Err(error) => Check::wrong(name, WorkspaceFault::Configuration, chain(error)),
    });
    if let Ok(release) = &rendered
        && let Err(error) = resolve::check(context, &with_defaults, release)
    {
        let text = error.problems().map_or_else(|| chain(&error), rules);
        checks.push(Check::wrong("secrets", WorkspaceFault::SecretMissing, text));
    }
    if let Err(error) = ssh_keys::check(context, environment) {
        let text = error.problems().map_or_else(|| chain(&error), rules);
        checks.push(Check::wrong("ssh-keys", WorkspaceFault::SshKey, text));
    }
    if let Ok(facts) = context.workspace.release(&environment.release)
        && applied(context, environment).is_none()
    {
        let text = match mke3::problem(environment, &facts, true) {
            Ok(problem) => problem.map(|problem| problem.rule),
            Err(error) => Some(chain(&error)),
        };
        checks.extend(text.map(|text| Check::wrong(name, WorkspaceFault::Configuration, text)));
    }
    let variables = &context.tool.variables;
    if let Err(problem) = check::committed_secret(context.workspace, environment, variables) {
        let fault = WorkspaceFault::Configuration;
        checks.push(Check::wrong(name, fault, problem.rule));
    }
    if let Err(problems) = environment.check_dates((context.tool.now)().as_second()) {
        let fault = WorkspaceFault::AuthorityOutOfDate;
        checks.push(Check::wrong("authority", fault, rules(&problems)));
    }
}

/// Returns the last successful deploy, if the receipt records one.
fn applied(context: &Context<'_>, environment: &Environment) -> Option<Applied> {
    let output = Output::below(&context.workspace.environment(&environment.name));
    let receipt = Receipt::read(&output.receipt).ok().flatten();
    receipt?.applied
}

/// Returns the broken rules, in one line.
fn rules(problems: &Problems) -> String {
    let rules: Vec<&str> = (problems.0.iter())
        .map(|problem| problem.rule.as_str())
        .collect();
    rules.join("; ")
}

pub(super) fn lock(
    context: &Context<'_>,
    environment: &Environment,
    checks: &mut Vec<Check>,
) -> Option<std::sync::Arc<bundle::Lock>> {
    let name = "lock";
    match locked::of(context.workspace, environment) {
        Ok(locked) => {
            let path = context.workspace.shown(&locked.path);
            let artifacts = environment::count(locked.lock.artifacts.len(), "artifact");
            checks.push(Check::fine(
                name,
                match locked.sets.is_empty() {
                    true => format!("{path} lists {artifacts}"),
                    false => format!("{path} and the locks of sets list {artifacts}"),
                },
            ));
            requirement(context, environment, &locked, checks);
            Some(locked.lock)
        }
        Err(error) => {
            let fault = match &error {
                Error::Workspace(workspace::Error::NotLocked { .. }) => WorkspaceFault::NotLocked,
                Error::Set(SetError::NotLocked { .. } | SetError::Outdated { .. }) => {
                    WorkspaceFault::SetNotLocked
                }
                Error::Set(SetError::Contradiction { .. }) => WorkspaceFault::LockBroken,
                Error::Set(_) => WorkspaceFault::Configuration,
                _ => WorkspaceFault::LockBroken,
            };
            checks.push(Check::wrong(name, fault, chain(&error)));
            None
        }
    }
}

/// Checks whether the environment's `requires` is met.
fn requirement(
    context: &Context<'_>,
    environment: &Environment,
    locked: &locked::Locked,
    checks: &mut Vec<Check>,
) {
    let name = "requirement";
    let Some(required) = &environment.requires else {
        return;
    };
    let now = (context.tool.now)();
    checks.push(
        match requires::unmet(context.workspace, environment, locked, now) {
            Ok(None) => Check::fine(
                name,
                format!("{} was deployed from the same lock", required.environment),
            ),
            Ok(Some(unmet)) => {
                Check::wrong(name, WorkspaceFault::RequirementUnmet, unmet.to_string())
            }
            Err(error) => {
                let text = error.problems().map_or_else(|| chain(&error), rules);
                Check::wrong(name, WorkspaceFault::Configuration, text)
            }
        },
    );
}

/// Checks where the bundle's bytes would come from, and whether the disk has room for them.
pub(super) async fn bundle_and_disk(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    checks: &mut Vec<Check>,
) {
    let workspace = context.workspace;
    let name = "bundle";
    let file = &lock.bundle.file;
    checks.push(match fetch::source(workspace, lock) {
        Ok(Source::Store) => Check::fine(
            name,
            match &lock.from {
                Some(from) => format!("the release is locked from {from}"),
                None => "everything is in the store".to_owned(),
            },
        ),
        Ok(Source::File(path)) => {
            let shown = workspace.shown(&path);
            let observer = BundleObserver::new(context, Step::Verify);
            let hashed = tokio::task::block_in_place(|| bundle::hash_file(&path, &observer));
            match hashed {
                Ok((_, found)) if found == lock.bundle.sha256 => {
                    Check::fine(name, format!("{shown} has the SHA-256 in the lock"))
                }
                Ok((_, found)) => {
                    let text = format!(
                        "{shown} has SHA-256 {found}, but the lock has {}",
                        lock.bundle.sha256
                    );
                    Check::wrong(name, WorkspaceFault::BundleDiffers, text)
                }
                Err(error) => {
                    let text = chain(&Error::read(&path, error));
                    Check::wrong(name, WorkspaceFault::BundleMissing, text)
                }
            }
        }
        Ok(Source::Made(_)) => Check::fine(name, "the demo bundle is generated".to_owned()),
        Ok(Source::Download(path)) => match store_and_registry(context, environment, lock).await {
            Some(check) => {
                checks.extend([check, disk(&workspace.bundles(), 0)]);
                return;
            }
            None => {
                let text = format!("{} is missing", workspace.shown(&path));
                Check::wrong(name, WorkspaceFault::BundleMissing, text)
            }
        },
        Err(error) => {
            let fault = match &error {
                Error::Disk(disk::Error::BundleSize { .. }) => WorkspaceFault::BundleDiffers,
                _ => WorkspaceFault::BundleMissing,
            };
            Check::wrong(name, fault, format!("{file}: {}", chain(&error)))
        }
    });
    checks.extend(upstream(context, environment, lock).await);
    let to_write = before_push::to_write(workspace, lock);
    checks.push(disk(&workspace.bundles(), to_write));
}

/// Checks where artifacts from upstream registries would come from: those of sets, and of a release
/// without a bundle. Returns `None` if there are none.
async fn upstream(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
) -> Option<Check> {
    let name = match &lock.from {
        Some(_) => "registries",
        None if environment.sets.is_empty() => return None,
        None => "sets",
    };
    let artifacts = lock.artifacts.iter().filter(|one| one.source.is_some());
    let artifacts = environment::count(artifacts.count(), "artifact");
    let store = fetch::open_store(context.workspace).ok()?;
    let missing = set::pull::amount(context.workspace, lock, &store);
    if missing.blobs == 0 {
        return Some(Check::fine(
            name,
            format!("{artifacts}, nothing to fetch from upstream"),
        ));
    }
    if let Some(check) = store_and_registry(context, environment, lock).await {
        return Some(Check { name, ..check });
    }
    let blobs = environment::count(missing.blobs, "blob");
    Some(match context.offline {
        false => Check::fine(
            name,
            format!("{artifacts}, {blobs} to be fetched from upstream"),
        ),
        true => Check::wrong(
            name,
            WorkspaceFault::BlobsMissing,
            format!("{artifacts}, {blobs} are neither in the store nor in the registry"),
        ),
    })
}

/// Checks whether store and registry together have the blobs of the lock. Returns `None` if that is
/// unknown, or if neither has any.
async fn store_and_registry(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
) -> Option<Check> {
    let name = "bundle";
    let store = fetch::open_store(context.workspace).ok()?;
    if !context.offline && store.missing(lock).len() >= lock.blobs().len() {
        return None;
    }
    // Other checks report an error of the registry.
    let tags = look::tags_of(lock);
    let seen = look::look(context, environment, &tags).await.ok()?.seen;
    let artifacts = lock.artifacts.iter().zip(seen);
    let delivery = Delivery {
        environment,
        artifacts: artifacts
            .filter(|(artifact, seen)| seen.planned(&artifact.digest).is_to_be_pushed())
            .map(|(artifact, _)| artifact)
            .collect(),
        present: Vec::new(),
        pull_refusal: None,
    };
    if delivery.artifacts.is_empty() {
        return Some(Check::fine(name, "the registry has everything".to_owned()));
    }
    match present::survey(context, lock, &delivery).await {
        Ok(Some(_)) => Some(Check::fine(
            name,
            "not needed: the registry has what the store lacks".to_owned(),
        )),
        Err(error @ Error::Fetch(fetch::Error::Nowhere { .. })) => {
            let fault = WorkspaceFault::BlobsMissing;
            Some(Check::wrong(name, fault, chain(&error)))
        }
        Ok(None) | Err(_) => None,
    }
}

/// Checks whether the release's mkectl is on this machine. Inside the air gap, a deploy cannot
/// download it.
pub(super) fn mkectl(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
) -> Check {
    let name = "mkectl";
    let path = context.workspace.lock(&lock.release, &lock.arch);
    match program::for_command(context, environment, lock, &path, &[]) {
        Ok(_) => Check::fine(name, format!("mkectl {} is available", lock.release)),
        Err(error) => Check::wrong(name, WorkspaceFault::MkectlMissing, chain(&error)),
    }
}

/// Checks for what the configuration needs besides the bundle, such as drivers and tools.
pub(super) fn not_in_bundle(
    context: &Context<'_>,
    environment: &Environment,
    asks_nodes: bool,
    checks: &mut Vec<Check>,
) {
    let installed = applied(context, environment)
        .and_then(|applied| applied.release.strip_prefix('v')?.parse().ok());
    for needed in mke::not_in_bundle(environment, installed.as_ref()) {
        let text = needed.text().to_owned();
        checks.push(match needed {
            mke::NotInBundle::MonitoringTools => match missing_tools(context) {
                missing if missing.is_empty() => {
                    Check::fine("tools", "kubectl and helm are installed".to_owned())
                }
                missing => {
                    let text = format!(
                        "{} is missing on this machine: {text}",
                        missing.join(" and ")
                    );
                    let fault = Some(WorkspaceFault::ToolMissing);
                    Check::new("tools", Verdict::Warning, fault, text)
                }
            },
            mke::NotInBundle::NvidiaDrivers | mke::NotInBundle::Fips => {
                let fault = Some(WorkspaceFault::NotInBundle);
                Check::new("not-in-bundle", Verdict::Warning, fault, text)
            }
        });
    }
    if !asks_nodes && !environment.rehearsal {
        let text = "not checked without --nodes: with SELinux, MKE installs container-selinux from a repository, and no \
                    bundle has it";
        let text = text.to_owned();
        checks.push(Check::new("packages", Verdict::Skipped, None, text));
    }
}

/// Returns the programs for the monitoring CRDs that are missing from PATH.
fn missing_tools(context: &Context<'_>) -> Vec<&'static str> {
    let path = context.tool.variables.get("PATH");
    let path = path.and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    let is_installed = |program: &&str| {
        let mut folders = path.split(':');
        folders.any(|folder| Utf8Path::new(folder).join(program).is_file())
    };
    let tools = ["kubectl", "helm"].into_iter();
    tools.filter(|program| !is_installed(program)).collect()
}

/// Compares the free space with the size of a release that is not locked yet.
pub(super) fn disk_before_lock(context: &Context<'_>, environment: &Environment) -> Check {
    let name = "disk";
    let Ok(release) = mke::Release::of(&environment.release) else {
        let text = "not checked: the lock cannot be used".to_owned();
        return Check::new(name, Verdict::Skipped, None, text);
    };
    let bundle = release.bundle_size();
    let text = format!(
        "the lock cannot be used; plan for about {} GB three times: the bundle, bundles/store and the registry",
        bundle / 1_000_000_000
    );
    match before_push::free(&context.workspace.bundles()) {
        Ok(free) if free < bundle * 2 => {
            let text = format!(
                "{text}; {} are free here",
                bytesize::ByteSize(free).display().si()
            );
            Check::new(name, Verdict::Warning, Some(WorkspaceFault::DiskFull), text)
        }
        _ => Check::new(name, Verdict::Skipped, None, text),
    }
}

fn disk(directory: &Utf8Path, to_write: u64) -> Check {
    match before_push::free(directory) {
        Ok(free) => judge_room(to_write, free),
        Err(error) => {
            let text = format!("cannot read the free space: {error}");
            Check::new("disk", Verdict::Skipped, None, text)
        }
    }
}

fn judge_room(to_write: u64, free: u64) -> Check {
    let name = "disk";
    let shown = |bytes| bytesize::ByteSize(bytes).display().si();
    let text = format!(
        "{} must still be written to bundles/; {} are free",
        shown(to_write),
        shown(free)
    );
    match free < to_write {
        true => Check::wrong(name, WorkspaceFault::DiskFull, text),
        false => Check::fine(name, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_if_less_is_free_than_is_written() {
        for (to_write, free, verdict) in [
            (0, 0, Verdict::Ok),
            (10, 10, Verdict::Ok),
            (11, 10, Verdict::Problem),
        ] {
            assert_eq!(judge_room(to_write, free).verdict, verdict);
        }
    }
}
