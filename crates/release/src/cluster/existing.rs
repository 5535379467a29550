//! Compares the cluster with the receipt before mkectl runs.
//!
//! A deploy with nothing to do asks no cluster. Before an upgrade the cluster must answer.
//! Otherwise it is asked if a receipt records it, or if a kubeconfig exists by which mkectl would
//! find it. Then a cluster that does not answer within a short time stops nothing: before the first
//! installation it does not exist. An answer from a different cluster stops the deploy, because
//! mkectl might change that one.

use camino::Utf8Path;
use environment::yaml::{self, Node, Source};
use environment::{Environment, Problems};
use semver::Version;

use crate::cluster::in_progress::UnderWay;
use crate::kubeconfig::{self, Kubeconfig};
use crate::receipt::{Applied, Receipt};
use crate::transfer::program::Program;
use crate::warnings::Warnings;
use crate::workspace::Output;
use crate::{Context, Workspace, chain, workspace};

mod error;

pub use error::Error;

/// What a cluster answered.
#[derive(Debug, Default)]
pub(crate) enum Word {
    /// It was not asked, since mkectl would not find any.
    #[default]
    NotAsked,
    /// There was no answer.
    Silent(crate::Error),
    /// It returned its configuration.
    Told(mke::ClusterConfig),
}

/// What asking for a cluster came to.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) word: Word,
    /// What led to the cluster, or was to lead there.
    pub(crate) kubeconfig: Option<Kubeconfig>,
    /// The cluster's configuration, if it answered.
    pub(crate) text: Option<String>,
}

/// What the answer has to fit.
pub(crate) struct ExpectedCluster<'a> {
    pub(crate) environment: &'a Environment,
    /// The configuration as it is to be.
    pub(crate) rendered: &'a str,
    pub(crate) applied: Option<&'a Applied>,
    pub(crate) under_way: Option<&'a UnderWay>,
    /// Whether the last deploy failed at an upgrade.
    pub(crate) upgrade_failed: bool,
    /// What led to the cluster that answered.
    pub(crate) kubeconfig: Option<Kubeconfig>,
}

/// Asks the cluster by each kubeconfig by which mkectl may find one, until one answers.
///
/// If `is_new`, that is the environment's kubeconfig, and the one where mkectl looks when it makes
/// a cluster, of which only files that exist are tried.
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
    // A receipt is compared with the cluster in any case: without a kubeconfig, mkectl says that it
    // found no cluster.
    candidates.retain(|kubeconfig| !is_new || kubeconfig.exists());
    for kubeconfig in candidates {
        let mut program = program.clone();
        program.mkectl.kubeconfig = kubeconfig.flag();
        match tokio::task::block_in_place(|| live_config(&program)) {
            Ok((text, config)) => {
                let word = Word::Told(config);
                return Asked {
                    word,
                    kubeconfig: Some(kubeconfig),
                    text: Some(text),
                };
            }
            Err(error) => {
                asked.word = Word::Silent(error);
                asked.kubeconfig = Some(kubeconfig);
            }
        }
    }
    asked
}

/// Returns the release that the cluster runs; none if there is none yet. `warnings` gets what
/// people should know.
///
/// # Errors
/// The receipt and the cluster contradict each other, or the cluster keeps what the environment
/// would change.
pub(crate) fn release(
    expected: &ExpectedCluster<'_>,
    word: &Word,
    warnings: &mut Warnings,
) -> Result<Option<Version>, crate::Error> {
    let environment = expected.environment;
    let name = &environment.name;
    let applied = expected.applied.and_then(|applied| {
        let version = applied.release.strip_prefix('v')?.parse().ok()?;
        Some((applied, version))
    });
    let seen = match word {
        Word::NotAsked => return Ok(applied.map(|(_, version)| version)),
        Word::Silent(error) => {
            warnings.of_here.push(match &applied {
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
        Word::Told(seen) => seen,
    };
    let wanted = cluster_config(expected.rendered)?;
    let is_meant = seen.may_be_of_one_cluster(&wanted);
    let Some((applied, version)) = applied else {
        let other = || {
            let kubeconfig = expected.kubeconfig.clone()?;
            Some(other_cluster(environment, seen, &wanted, kubeconfig))
        };
        // Without a receipt, nothing says that a cluster is to leave all of its machines.
        let is_meant = is_meant
            && may_be_at(seen, wanted.external_address.as_deref())
            && !seen.is_on_other_machines(&wanted);
        if let Some(error) = (!is_meant).then(other).flatten() {
            return Err(error);
        }
        let problems = mke::refuse_changes(
            environment,
            mke::Installed {
                registry: (seen.registry.as_deref()).unwrap_or(&environment.registry.image_url()),
                external_address: seen.external_address.as_deref(),
                kept: None,
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
            seen.summary()
        ));
        return Ok(seen.version.clone());
    };
    let contradiction = || {
        crate::Error::Existing(Error::Contradiction {
            environment: name.clone(),
            receipt: match &applied.external_address {
                Some(address) if !may_be_at(seen, Some(address)) => {
                    format!("{} at {address} from {}", applied.release, applied.registry)
                }
                _ => format!("{} from {}", applied.release, applied.registry),
            },
            cluster: seen.summary(),
            is_meant,
        })
    };
    let other_registry = seen
        .registry
        .as_ref()
        .is_some_and(|one| *one != applied.registry);
    let other_address = !may_be_at(seen, applied.external_address.as_deref());
    if !is_meant || other_registry || other_address {
        return Err(contradiction());
    }
    match &seen.version {
        None => Ok(Some(version)),
        Some(seen) if *seen == version => Ok(Some(version)),
        // mkectl said that it failed, and what it took back is its affair: it is run once more.
        Some(seen) if *seen == environment.release && expected.upgrade_failed => Ok(Some(version)),
        Some(seen) if *seen == environment.release && was_killed_upgrading(expected) => {
            warnings.of_plan.push(format!(
                "the upgrade to v{seen} was interrupted, but the cluster of {name} runs it: applying the rendered configuration"
            ));
            Ok(Some(seen.clone()))
        }
        Some(_) => Err(contradiction()),
    }
}

fn was_killed_upgrading(expected: &ExpectedCluster<'_>) -> bool {
    expected
        .under_way
        .is_some_and(|under_way| under_way.command == "upgrade")
}

/// Returns the environment that deployed the cluster at this address, if it is a different one of
/// this workspace.
///
/// An environment that cannot be read says nothing, and is not what this run is about.
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

/// Checks that the cluster which answers, if one does, may be the environment's: by its machines or
/// its address in `rendered`.
///
/// # Errors
/// It is a different one.
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
    match asked.word {
        Word::Told(seen) => refuse_foreign(context, environment, &seen, rendered),
        Word::NotAsked | Word::Silent(_) => Ok(()),
    }
}

/// Checks that a cluster that answered may be the environment's: by its machines or its address in
/// `rendered`.
///
/// # Errors
/// It is a different one.
pub(crate) fn refuse_foreign(
    context: &Context<'_>,
    environment: &Environment,
    seen: &mke::ClusterConfig,
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
    match seen.may_be_of_one_cluster(&wanted) && may_be_at(seen, address) {
        true => Ok(()),
        false => Err(other_cluster(environment, seen, &wanted, kubeconfig)),
    }
}

/// Checks that the registry and the address of a live configuration are those that are rendered,
/// and those that a receipt records.
///
/// # Errors
/// The cluster is a different one.
pub(crate) fn refuse_different(
    context: &Context<'_>,
    environment: &Environment,
    seen: &mke::ClusterConfig,
    wanted: &mke::ClusterConfig,
    recorded: Option<&Applied>,
) -> Result<(), crate::Error> {
    let differs = |seen: &Option<String>, other: Option<&str>| {
        seen.as_deref().is_some_and(|seen| Some(seen) != other)
    };
    let is_rendered = seen.may_be_of_one_cluster(wanted)
        && !differs(&seen.registry, wanted.registry.as_deref())
        && !differs(&seen.external_address, wanted.external_address.as_deref());
    // A receipt from before the address was set says nothing against the cluster. A cluster cannot
    // clear its address.
    let recorded = recorded.filter(|applied| {
        differs(&seen.registry, Some(&applied.registry))
            || applied.external_address.is_some()
                && applied.external_address != seen.external_address
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
        Some(kubeconfig) => other_cluster(environment, seen, &wanted, kubeconfig),
        None => crate::Error::Existing(Error::Contradiction {
            environment: environment.name.clone(),
            receipt: wanted.summary(),
            cluster: seen.summary(),
            is_meant: false,
        }),
    })
}

/// Returns whether a cluster may be the one whose clients use this address: nothing speaks against
/// it if one of the two is unknown.
fn may_be_at(seen: &mke::ClusterConfig, address: Option<&str>) -> bool {
    match (seen.external_address.as_deref(), address) {
        (Some(seen), Some(address)) => seen == address,
        _ => true,
    }
}

/// Returns the error for a cluster that is not the environment's.
fn other_cluster(
    environment: &Environment,
    seen: &mke::ClusterConfig,
    wanted: &mke::ClusterConfig,
    kubeconfig: Kubeconfig,
) -> crate::Error {
    let mut seen = seen.clone();
    // An address that both have does not tell them apart.
    let by_address =
        !seen.is_on_other_machines(wanted) || seen.external_address != wanted.external_address;
    seen.external_address.take_if(|_| !by_address);
    let place = |one: &mke::ClusterConfig| {
        let address = one.external_address.as_ref().filter(|_| by_address);
        let place = address.or(one.hosts.first());
        place
            .map_or("an unknown address", String::as_str)
            .to_owned()
    };
    crate::Error::Kubeconfig(Box::new(kubeconfig::Error::OtherCluster {
        environment: environment.name.clone(),
        address: place(&seen),
        kubeconfig,
        cluster: seen.summary(),
        expected: format!(
            "at {} and pulls from {}",
            place(wanted),
            (wanted.registry.clone()).unwrap_or_else(|| environment.registry.image_url())
        ),
    }))
}

/// Returns a warning of what was changed on the cluster, by `live`, since `last` was applied; none
/// if it has the same values. It may have more values, such as defaults.
///
/// # Errors
/// One of the two is not YAML.
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

/// Returns what to do after a change of kubelet settings, which k0s reads when it starts; none if
/// `rendered` changes none of those that the cluster has now, by `live`.
///
/// # Errors
/// One of the two is not YAML.
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

/// Asks the cluster for its configuration, and returns what it says of the cluster.
///
/// # Errors
/// It does not answer, or with no configuration.
pub(crate) fn live_config(program: &Program) -> Result<(String, mke::ClusterConfig), crate::Error> {
    let text = program.config_get()?;
    let config = cluster_config(&text)?;
    Ok((text, config))
}

/// Does the same for a cluster that has to answer.
///
/// # Errors
/// It does not.
pub(crate) fn answer(
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

/// Returns what a configuration says of its cluster.
///
/// # Errors
/// It is no YAML.
pub(crate) fn cluster_config(text: &str) -> Result<mke::ClusterConfig, crate::Error> {
    let node = parse(Utf8Path::new("mkectl config get"), text)?;
    Ok(mke::ClusterConfig::of(&node))
}

/// Reads a configuration; `path` is what errors call it.
pub(crate) fn parse(path: &Utf8Path, text: &str) -> Result<Node, crate::Error> {
    let source = std::sync::Arc::new(Source {
        path: path.to_owned(),
        text: text.to_owned(),
    });
    yaml::parse(source).map_err(crate::Error::from)
}
