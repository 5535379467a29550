//! Compares the cluster with the receipt before mkectl runs.
//!
//! - A deploy with nothing to do does not ask the cluster.
//! - An upgrade asks it, and fails without an answer.
//! - Another deploy asks it if a receipt records it, or if a kubeconfig exists that mkectl would
//!   use. A missing answer does not stop this deploy: before the first installation there is no
//!   cluster.
//! - An answer from a different cluster stops every deploy, because mkectl might change that
//!   cluster.

use camino::Utf8Path;
use environment::yaml::{self, Node, Source};
use environment::{Environment, Problems};
use semver::Version;

use crate::cluster::in_progress::RunNote;
use crate::kubeconfig::{self, Kubeconfig};
use crate::receipt::{Applied, Receipt};
use crate::transfer::program::Program;
use crate::warnings::Warnings;
use crate::workspace::Output;
use crate::{Context, Workspace, chain, workspace};

mod error;

pub use error::Error;

/// The response of a cluster to `mkectl config get`.
#[derive(Debug, Default)]
pub(crate) enum Response {
    /// It was not asked, because mkectl has no kubeconfig to find it.
    #[default]
    NotAsked,
    /// It did not answer.
    Silent(crate::Error),
    /// It returned its configuration.
    Config(mke::ClusterConfig),
}

/// The result of [`ask`].
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) response: Response,
    /// The kubeconfig that was tried last: the one of the cluster, if it answered.
    pub(crate) kubeconfig: Option<Kubeconfig>,
    /// The live configuration as YAML, if the cluster answered.
    pub(crate) text: Option<String>,
}

/// What is known of the environment's cluster, to be compared with the response.
pub(crate) struct ExpectedCluster<'a> {
    pub(crate) environment: &'a Environment,
    /// The rendered configuration as YAML.
    pub(crate) rendered: &'a str,
    pub(crate) applied: Option<&'a Applied>,
    pub(crate) under_way: Option<&'a RunNote>,
    /// Whether the receipt records that an upgrade failed.
    pub(crate) upgrade_failed: bool,
    /// The kubeconfig by which the cluster answered.
    pub(crate) kubeconfig: Option<Kubeconfig>,
}

/// Asks the cluster for its configuration by the environment's kubeconfig.
///
/// If `is_new`, also tries the kubeconfig that mkectl uses for a new cluster, until a cluster
/// answers. Then kubeconfigs without a file are skipped.
pub(crate) fn ask(
    context: &Context<'_>,
    environment: &Environment,
    program: &Program,
    is_new: bool,
) -> Asked {
    let mut asked = Asked::default();
    if environment.rehearsal {
        return asked;
    }
    let of_new = is_new.then(|| kubeconfig::default(context)).flatten();
    let mut candidates: Vec<Kubeconfig> =
        kubeconfig::of(context, environment).into_iter().collect();
    candidates.extend(of_new.filter(|default| candidates.first() != Some(default)));
    // If a receipt records the cluster, mkectl is asked even without the kubeconfig's file: its
    // error says that it found no cluster.
    candidates.retain(|kubeconfig| !is_new || kubeconfig.exists());
    for kubeconfig in candidates {
        let mut program = program.clone();
        program.mkectl.kubeconfig = kubeconfig.flag();
        match tokio::task::block_in_place(|| live_config(&program)) {
            Ok((text, config)) => {
                let response = Response::Config(config);
                return Asked {
                    response,
                    kubeconfig: Some(kubeconfig),
                    text: Some(text),
                };
            }
            Err(error) => {
                asked.response = Response::Silent(error);
                asked.kubeconfig = Some(kubeconfig);
            }
        }
    }
    asked
}

/// Returns the release that the cluster runs; `None` before the installation. Adds to `warnings`
/// if the cluster does not answer, or runs something that the receipt does not record.
///
/// # Errors
/// - [`Error::Contradiction`] if the receipt and the cluster contradict each other.
/// - [`kubeconfig::Error::OtherCluster`] if a different cluster answered.
/// - [`workspace::Error::WriteOnce`] if the environment changes values that a cluster keeps for
///   life.
pub(crate) fn release(
    expected: &ExpectedCluster<'_>,
    response: &Response,
    warnings: &mut Warnings,
) -> Result<Option<Version>, crate::Error> {
    let environment = expected.environment;
    let name = &environment.name;
    let applied = expected.applied.and_then(|applied| {
        let version = applied.release.strip_prefix('v')?.parse().ok()?;
        Some((applied, version))
    });
    let live = match response {
        Response::NotAsked => return Ok(applied.map(|(_, version)| version)),
        Response::Silent(error) => {
            warnings.of_run.push(match &applied {
                Some(_) => format!(
                    "the cluster of {name} does not respond, so only the receipt is used: {}",
                    chain(error)
                ),
                None => format!(
                    "no cluster responds to the kubeconfig, so this counts as a first installation: {}",
                    chain(error)
                ),
            });
            return Ok(applied.map(|(_, version)| version));
        }
        Response::Config(live) => live,
    };
    let wanted = cluster_config(expected.rendered)?;
    let is_meant = live.may_be_same_cluster(&wanted);
    let Some((applied, version)) = applied else {
        let other = || {
            let kubeconfig = expected.kubeconfig.clone()?;
            Some(other_cluster(environment, live, &wanted, kubeconfig))
        };
        // Without a receipt, machines that differ entirely mean a different cluster and not one
        // whose machines were replaced.
        let is_meant = is_meant
            && may_be_at(live, wanted.external_address.as_deref())
            && !live.has_disjoint_hosts(&wanted);
        if let Some(error) = (!is_meant).then(other).flatten() {
            return Err(error);
        }
        let problems = mke::refuse_changes(
            environment,
            mke::Installed {
                registry: (live.registry.as_deref()).unwrap_or(&environment.registry.image_url()),
                external_address: live.external_address.as_deref(),
                write_once: None,
            },
        );
        if !problems.is_empty() {
            return Err(
                other().unwrap_or(crate::Error::Workspace(workspace::Error::WriteOnce(
                    Problems(problems),
                ))),
            );
        }
        warnings.of_plan.push(format!(
            "no receipt records the cluster of {name}, but it responds: it {}",
            live.summary()
        ));
        return Ok(live.version.clone());
    };
    let contradiction = || {
        crate::Error::Existing(Error::Contradiction {
            environment: name.clone(),
            receipt: match &applied.external_address {
                Some(address) if !may_be_at(live, Some(address)) => {
                    format!("{} at {address} from {}", applied.release, applied.registry)
                }
                _ => format!("{} from {}", applied.release, applied.registry),
            },
            cluster: live.summary(),
            is_meant,
        })
    };
    let other_registry = live
        .registry
        .as_ref()
        .is_some_and(|one| *one != applied.registry);
    let other_address = !may_be_at(live, applied.external_address.as_deref());
    if !is_meant || other_registry || other_address {
        return Err(contradiction());
    }
    match &live.version {
        None => Ok(Some(version)),
        Some(live) if *live == version => Ok(Some(version)),
        // mkectl reported that the upgrade failed. It may have rolled back a part, so it runs
        // again.
        Some(live) if *live == environment.release && expected.upgrade_failed => Ok(Some(version)),
        Some(live) if *live == environment.release && was_killed_upgrading(expected) => {
            warnings.of_plan.push(format!(
                "the upgrade to v{live} was interrupted, but the cluster of {name} runs it: applying the rendered configuration"
            ));
            Ok(Some(live.clone()))
        }
        Some(_) => Err(contradiction()),
    }
}

fn was_killed_upgrading(expected: &ExpectedCluster<'_>) -> bool {
    expected
        .under_way
        .is_some_and(|under_way| under_way.command == "upgrade")
}

/// Returns the name of a different environment of this workspace whose receipt records a cluster at
/// this address. Environments and receipts that cannot be read are skipped.
pub(crate) fn deployed_by_other(
    workspace: &Workspace,
    name: &str,
    address: Option<&str>,
) -> Option<String> {
    let address = address?;
    let names = environment::names(workspace.root()).unwrap_or_default();
    let mut others = names.into_iter().filter(|other| other != name);
    others.find(|other| {
        let output = Output::below(&workspace.environment(other));
        let receipt = Receipt::read(&output.receipt).ok().flatten();
        let applied = receipt.and_then(|receipt| receipt.applied);
        applied.is_some_and(|applied| applied.external_address.as_deref() == Some(address))
            && mke::load(workspace.root(), other).is_ok_and(|other| !other.rehearsal)
    })
}

/// Asks the cluster that the environment's kubeconfig leads to, and refuses it as
/// [`refuse_foreign`] does. Without an answer, nothing is refused.
///
/// # Errors
/// [`kubeconfig::Error::OtherCluster`] if it is a different cluster.
pub(crate) fn refuse_other(
    context: &Context<'_>,
    environment: &Environment,
    program: &Program,
    rendered: &str,
) -> Result<(), crate::Error> {
    if !kubeconfig::of(context, environment).is_some_and(|kubeconfig| kubeconfig.exists()) {
        return Ok(());
    }
    let asked = ask(context, environment, program, false);
    match asked.response {
        Response::Config(live) => refuse_foreign(context, environment, &live, rendered),
        Response::NotAsked | Response::Silent(_) => Ok(()),
    }
}

/// Refuses a live configuration that cannot be of the environment's cluster. The machines and the
/// address are compared with `rendered`; an address in the receipt takes precedence.
///
/// # Errors
/// [`kubeconfig::Error::OtherCluster`] if it is a different cluster.
pub(crate) fn refuse_foreign(
    context: &Context<'_>,
    environment: &Environment,
    live: &mke::ClusterConfig,
    rendered: &str,
) -> Result<(), crate::Error> {
    let Some(kubeconfig) = kubeconfig::of(context, environment) else {
        return Ok(());
    };
    let wanted = cluster_config(rendered)?;
    let output = Output::below(&context.workspace.environment(&environment.name));
    let applied = Receipt::read(&output.receipt)?.and_then(|receipt| receipt.applied);
    let address = match &applied {
        Some(applied) => applied.external_address.as_deref(),
        None => wanted.external_address.as_deref(),
    };
    match live.may_be_same_cluster(&wanted) && may_be_at(live, address) {
        true => Ok(()),
        false => Err(other_cluster(environment, live, &wanted, kubeconfig)),
    }
}

/// Checks that the registry and the address of a live configuration are the rendered ones, and
/// those in the receipt.
///
/// # Errors
/// [`kubeconfig::Error::OtherCluster`] if they differ, or [`Error::Contradiction`] without a
/// kubeconfig.
pub(crate) fn refuse_different(
    context: &Context<'_>,
    environment: &Environment,
    live: &mke::ClusterConfig,
    wanted: &mke::ClusterConfig,
    recorded: Option<&Applied>,
) -> Result<(), crate::Error> {
    let differs = |live: &Option<String>, other: Option<&str>| {
        live.as_deref().is_some_and(|live| Some(live) != other)
    };
    let is_rendered = live.may_be_same_cluster(wanted)
        && !differs(&live.registry, wanted.registry.as_deref())
        && !differs(&live.external_address, wanted.external_address.as_deref());
    // A receipt without an address was written before the address was set, so it does not
    // contradict a cluster with one. A cluster cannot lose its address.
    let recorded = recorded.filter(|applied| {
        differs(&live.registry, Some(&applied.registry))
            || applied.external_address.is_some()
                && applied.external_address != live.external_address
    });
    let wanted = match recorded {
        None if is_rendered => return Ok(()),
        Some(applied) if is_rendered => mke::ClusterConfig {
            registry: Some(applied.registry.clone()),
            external_address: (applied.external_address.clone())
                .or_else(|| wanted.external_address.clone()),
            ..wanted.clone()
        },
        _ => wanted.clone(),
    };
    Err(match kubeconfig::of(context, environment) {
        Some(kubeconfig) => other_cluster(environment, live, &wanted, kubeconfig),
        None => crate::Error::Existing(Error::Contradiction {
            environment: environment.name.clone(),
            receipt: wanted.summary(),
            cluster: live.summary(),
            is_meant: false,
        }),
    })
}

/// Returns whether a cluster may be the one at this address: also true if either address is
/// unknown.
fn may_be_at(live: &mke::ClusterConfig, address: Option<&str>) -> bool {
    match (live.external_address.as_deref(), address) {
        (Some(live), Some(address)) => live == address,
        _ => true,
    }
}

/// Returns the error for a cluster that is not the environment's.
fn other_cluster(
    environment: &Environment,
    live: &mke::ClusterConfig,
    wanted: &mke::ClusterConfig,
    kubeconfig: Kubeconfig,
) -> crate::Error {
    let mut live = live.clone();
    // Do not describe the clusters by an address that both have.
    let by_address =
        !live.has_disjoint_hosts(wanted) || live.external_address != wanted.external_address;
    live.external_address.take_if(|_| !by_address);
    let place = |one: &mke::ClusterConfig| {
        let address = one.external_address.as_ref().filter(|_| by_address);
        let place = address.or(one.hosts.first());
        place
            .map_or("an unknown address", String::as_str)
            .to_owned()
    };
    crate::Error::Kubeconfig(Box::new(kubeconfig::Error::OtherCluster {
        environment: environment.name.clone(),
        address: place(&live),
        kubeconfig,
        cluster: live.summary(),
        expected: format!(
            "at {} and pulls from {}",
            place(wanted),
            (wanted.registry.clone()).unwrap_or_else(|| environment.registry.image_url())
        ),
    }))
}

/// Returns a warning if values of `last`, the configuration that was applied last, have changed on
/// the cluster. Additional values, such as defaults, are ignored.
///
/// # Errors
/// One of the two is not valid YAML.
pub(crate) fn overwrite_notice(
    environment: &str,
    live: &str,
    last: &str,
) -> Result<Option<String>, crate::Error> {
    let live = parse("the live configuration".into(), live)?;
    let last = parse("the configuration that was applied last".into(), last)?;
    let changes = mke::compare(&last, &live);
    let changes = (changes.iter())
        .filter(|change| change.old.is_some())
        .count();
    Ok((changes > 0).then(|| {
        format!(
            "the cluster differs from the configuration that was applied last in {}, which mkectl overwrites: \
             `diff {environment} --live` shows the live values",
            environment::count(changes, "value")
        )
    }))
}

/// Returns a warning if `rendered` changes kubelet settings of `live`: k0s reads them only when it
/// starts, so the operator has to restart it.
///
/// # Errors
/// One of the two is not valid YAML.
pub(crate) fn kubelet_notice(live: &str, rendered: &str) -> Result<Option<String>, crate::Error> {
    let live = parse("the configuration before".into(), live)?;
    let rendered = parse("the rendered configuration".into(), rendered)?;
    let changes = mke::compare(&live, &rendered);
    let is_kubelet = |path: &str| path == "spec.kubelet" || path.starts_with("spec.kubelet.");
    let is_changed =
        (changes.iter()).any(|change| change.new.is_some() && is_kubelet(&change.path));
    Ok(is_changed.then(|| {
        "the kubelet settings change: after the deploy, restart k0s on every node: `systemctl restart k0scontroller` on controllers and \
         `systemctl restart k0sworker` on workers"
            .to_owned()
    }))
}

/// Asks the cluster for its configuration, and returns it as text and parsed.
///
/// # Errors
/// mkectl fails, or its output is not valid YAML.
pub(crate) fn live_config(program: &Program) -> Result<(String, mke::ClusterConfig), crate::Error> {
    let text = program.config_get()?;
    let config = cluster_config(&text)?;
    Ok((text, config))
}

/// Returns the live configuration of a cluster that an upgrade must save, as [`live_config`] does.
///
/// # Errors
/// [`Error::Silent`] if the cluster does not answer.
pub(crate) fn require_live_config(
    environment: &Environment,
    program: &Program,
) -> Result<(String, mke::ClusterConfig), crate::Error> {
    tokio::task::block_in_place(|| live_config(program)).map_err(|source| match source {
        crate::Error::Mkectl(source) => crate::Error::Existing(Error::Silent {
            environment: environment.name.clone(),
            source,
        }),
        other => other,
    })
}

/// Parses the facts of a cluster from its configuration.
///
/// # Errors
/// The text is not valid YAML.
pub(crate) fn cluster_config(text: &str) -> Result<mke::ClusterConfig, crate::Error> {
    let node = parse(Utf8Path::new("mkectl config get"), text)?;
    Ok(mke::ClusterConfig::of(&node))
}

/// Parses a configuration. Errors name it by `path`, which need not be a file.
pub(crate) fn parse(path: &Utf8Path, text: &str) -> Result<Node, crate::Error> {
    let source = std::sync::Arc::new(Source {
        path: path.to_owned(),
        text: text.to_owned(),
    });
    yaml::parse(source).map_err(crate::Error::from)
}
