//! Finds everything that would stop an installation, in one run.
//!
//! - `here` checks files, disk and programs of this machine.
//! - [`registry::probe`] tests the registry from this machine, and removes what it pushes.
//! - [`nodes`] checks the nodes, which may reach the registry in a different way.

mod here;
mod sample;
pub mod nodes;
mod report;

use environment::Environment;

pub use registry::probe::{Fault as RegistryFault, Verdict};
pub use report::{Check, Fault, Group, Report, WorkspaceFault};

use nodes::Shared;

use crate::transfer::connect;
use crate::{Context, Credentials, Error, chain};

/// Maximum size of a request body that the probe sends to find the registry's limit, in bytes. The
/// usual limits of proxies are lower.
const LARGEST_REQUEST: usize = 64 << 20;

/// Runs all checks; those of nodes only if `asks_nodes`. `tag` is the tag of the probe that is
/// pushed to the registry, and must be different in each run.
///
/// Problems are in the report.
///
/// # Errors
/// No client can be made for the registry, or a signal ended the run.
pub async fn preflight(
    context: &Context<'_>,
    environment: &Environment,
    tag: &str,
    asks_nodes: bool,
) -> Result<Report, Error> {
    let mut checks = Vec::new();
    here::configuration(context, environment, &mut checks);
    let lock = here::lock(context, environment, &mut checks);
    match &lock {
        Some(lock) => {
            here::bundle_and_disk(context, environment, lock, &mut checks).await;
            checks.push(here::mkectl(context, environment, lock));
        }
        None => {
            checks.push(here::disk_before_lock(context, environment));
            for name in ["bundle", "mkectl"] {
                let text = "not checked: the lock cannot be used".to_owned();
                checks.push(Check::new(name, Verdict::Skipped, None, text));
            }
        }
    }
    here::not_in_bundle(context, environment, asks_nodes, &mut checks);
    let credentials = context.credentials(environment).unwrap_or_else(|error| {
        let fault = WorkspaceFault::CredentialsMissing;
        checks.push(Check::wrong("credentials", fault, chain(&error)));
        Credentials::Anonymous
    });
    let secrets = mke::PullSecrets::of(environment);
    let pull_credentials = match secrets.any() {
        false => None,
        true => context
            .known_pull_credentials(environment)
            .unwrap_or_else(|error| {
                let fault = WorkspaceFault::CredentialsMissing;
                checks.push(Check::wrong("credentials", fault, chain(&error)));
                None
            }),
    };
    let pull = match secrets.all() {
        // Images or charts that are pulled without a secret must be served without credentials.
        false => registry::probe::Pull::Anonymously,
        true => registry::probe::Pull::WithSecret(pull_credentials),
    };
    let _push = context.tool.signals.push_begins();
    let lock = lock.as_deref();
    let asking = async {
        match asks_nodes {
            true => Some(nodes::ask(context, environment, lock).await),
            false => None,
        }
    };
    let with = (credentials, pull);
    let probing = probe_registry(context, environment, lock, with, tag, &mut checks);
    let (probed, nodes) = futures_util::future::join(probing, asking).await;
    probed?;
    // The checks of the registry may have ended before the signal.
    if context.tool.signals.stop().is_requested() {
        return Err(connect::Error::Registry {
            address: environment.registry.address.clone(),
            source: registry::Error::Stopped,
        }
        .into());
    }
    if let Some(nodes) = &nodes {
        checks.extend(nodes::checks(nodes));
    }
    Ok(Report {
        environment: environment.name.clone(),
        release: format!("v{}", environment.release),
        registry: environment.registry.image_url(),
        checks,
        nodes,
    })
}

/// Returns a check with the size of a release in the registry. It is always skipped, because
/// registries do not report their free space.
fn registry_room(lock: &bundle::Lock) -> Check {
    let size = bytesize::ByteSize(lock.unique_bytes()).display().si();
    let text = format!(
        "{} needs {size} in the registry; registries do not report their free space",
        lock.release
    );
    Check {
        group: Group::Registry,
        ..Check::new("room", Verdict::Skipped, None, text)
    }
}

/// Probes the registry.
async fn probe_registry(
    context: &Context<'_>,
    environment: &Environment,
    lock: Option<&bundle::Lock>,
    (credentials, pull): (Credentials, registry::probe::Pull),
    tag: &str,
    checks: &mut Vec<Check>,
) -> Result<(), Error> {
    let target = &environment.registry;
    let endpoint = connect::endpoint(context, environment)?;
    let sample = sample::Sample::make(tag)?;
    let largest_blob = lock.and_then(|lock| lock.blobs().into_values().max());
    let now = context.tool.now;
    let probe = registry::probe::Probe {
        accounts: context.accounts.clone(),
        endpoint: &endpoint,
        credentials,
        project: &target.project,
        tag,
        index: &sample.index,
        chart: &sample.chart,
        artifact: &sample.artifact,
        bytes: &sample.bytes,
        largest_blob,
        most_in_a_request: LARGEST_REQUEST,
        pull,
        has_ca_data: target.ca.is_some(),
        stop: context.tool.signals.stop(),
        now: &|| now().as_second(),
    };
    let probed =
        registry::probe::probe(&probe)
            .await
            .map_err(|source| connect::Error::Registry {
                address: target.address.clone(),
                source,
            })?;
    store_profile(context, &target.address, &probed.profile);
    checks.extend(lock.map(registry_room));
    checks.extend(probed.findings.into_iter().map(|finding| {
        // In the embedded registry, every repository has all blobs.
        let nothing_to_mount =
            environment.rehearsal && finding.fault == Some(RegistryFault::NoMount);
        let (verdict, fault) = match nothing_to_mount {
            true => (Verdict::Ok, None),
            false => (finding.verdict, finding.fault),
        };
        Check {
            group: Group::Registry,
            name: finding.aspect.name(),
            verdict,
            fault: fault.map(Fault::Registry),
            text: match nothing_to_mount {
                true => "a rehearsal's registry has each blob in every repository".to_owned(),
                false => finding.text,
            },
            shared: Shared::default(),
        }
    }));
    Ok(())
}

/// Stores the measured profile of the registry for the next push, unless nothing was uploaded.
fn store_profile(context: &Context<'_>, address: &str, profile: &registry::Profile) {
    if profile.chunks.is_none() {
        return;
    }
    let profiles = context.workspace.profiles(address);
    if let Err(error) = profiles.store(profile, (context.tool.now)().as_second()) {
        context
            .reporter
            .report(crate::event::Event::Warning(format!(
                "cannot store what was measured of {address} for the next push: {error}"
            )));
    }
}
