//! What the cluster is before mkectl is run: by the receipt, and by its own word where it can be asked.
//!
//! It is asked only when mkectl is to be run anyway, so that a deploy with nothing to do asks nobody. For an upgrade it has to answer.
//! Otherwise it is asked if there is a kubeconfig by which mkectl would find it, and a cluster that does not answer within the time
//! of a short question holds up nothing: before the first installation there is none.

use camino::Utf8PathBuf;
use environment::{Environment, Problems};
use semver::Version;

use crate::apply::Program;
use crate::plan::Warnings;
use crate::receipt::Applied;
use crate::under_way::UnderWay;
use crate::{Context, Error, chain, upgrade};

/// What a cluster answered.
#[derive(Debug)]
pub(crate) enum Word {
    /// It was not asked, since mkectl would not find any.
    NotAsked,
    /// There was no answer.
    Silent(Error),
    /// It told its configuration.
    Told(mke::Observed),
}

/// What the answer has to fit.
pub(crate) struct Known<'a> {
    pub(crate) environment: &'a Environment,
    /// The configuration as it is to be.
    pub(crate) rendered: &'a str,
    pub(crate) applied: Option<&'a Applied>,
    pub(crate) under_way: Option<&'a UnderWay>,
    /// Whether the last deploy failed at an upgrade.
    pub(crate) upgrade_failed: bool,
}

/// Asks the cluster, if there is a kubeconfig by which mkectl finds one.
pub(crate) fn ask(context: &Context<'_>, environment: &Environment, program: &Program) -> Word {
    if environment.rehearsal || kubeconfig(context).is_none() {
        return Word::NotAsked;
    }
    match tokio::task::block_in_place(|| upgrade::observe(program)) {
        Ok((_, observed)) => Word::Told(observed),
        Err(error) => Word::Silent(error),
    }
}

/// Returns the release that the cluster runs; nothing where there is none yet. `warnings` gets what people should know.
///
/// # Errors
/// The receipt and the cluster contradict each other, or the cluster keeps what the environment would change.
pub(crate) fn release(
    known: &Known<'_>,
    word: &Word,
    warnings: &mut Warnings,
) -> Result<Option<Version>, Error> {
    let environment = known.environment;
    let name = &environment.name;
    let applied = known.applied.and_then(|applied| {
        let version = applied.release.strip_prefix('v')?.parse().ok()?;
        Some((applied, version))
    });
    let seen = match word {
        Word::NotAsked => return Ok(applied.map(|(_, version)| version)),
        Word::Silent(error) => {
            warnings.of_here.push(match &applied {
                Some(_) => format!(
                    "the cluster of {name} does not answer, so that the receipt alone tells what it is: {}",
                    chain(error)
                ),
                None => format!(
                    "there is a kubeconfig, and no cluster answers by it, so that this is taken for a first installation: {}",
                    chain(error)
                ),
            });
            return Ok(applied.map(|(_, version)| version));
        }
        Word::Told(seen) => seen,
    };
    let wanted = upgrade::observed(known.rendered)?;
    let is_meant = seen.may_be_of_one_cluster(&wanted);
    let Some((applied, version)) = applied else {
        if !is_meant {
            warnings.of_plan.push(format!(
                "mkectl's kubeconfig leads to another cluster, which {}: mkectl will lose its access to that one",
                seen.told()
            ));
            return Ok(None);
        }
        let problems = mke::refuse_changes(
            environment,
            mke::Installed {
                registry: (seen.registry.as_deref()).unwrap_or(&environment.registry.image_url()),
                external_address: seen.external_address.as_deref(),
            },
        );
        if !problems.is_empty() {
            return Err(Error::WriteOnce(Problems(problems)));
        }
        warnings.of_plan.push(format!(
            "no receipt tells of the cluster of {name}, and it answers: it {}",
            seen.told()
        ));
        return Ok(seen.version.clone());
    };
    let contradiction = || Error::Contradiction {
        environment: name.clone(),
        receipt: format!("{} from {}", applied.release, applied.registry),
        cluster: seen.told(),
        is_meant,
    };
    let other_registry = seen
        .registry
        .as_ref()
        .is_some_and(|one| *one != applied.registry);
    if !is_meant || other_registry {
        return Err(contradiction());
    }
    match &seen.version {
        None => Ok(Some(version)),
        Some(seen) if *seen == version => Ok(Some(version)),
        // mkectl said that it failed, and what it took back is its affair: it is run once more.
        Some(seen) if *seen == environment.release && known.upgrade_failed => Ok(Some(version)),
        Some(seen) if *seen == environment.release && was_killed_upgrading(known) => {
            warnings.of_plan.push(format!(
                "nobody heard how the upgrade to v{seen} ended, and the cluster of {name} runs it: what is rendered is applied"
            ));
            Ok(Some(seen.clone()))
        }
        Some(_) => Err(contradiction()),
    }
}

fn was_killed_upgrading(known: &Known<'_>) -> bool {
    known
        .under_way
        .is_some_and(|under_way| under_way.command == "upgrade")
}

/// Returns the file by which mkectl finds a cluster, if it is there: what `KUBECONFIG` names, or mkectl's own (KUBECTL).
fn kubeconfig(context: &Context<'_>) -> Option<Utf8PathBuf> {
    let variable = |name: &str| {
        let value = context.tool.variables.get(name)?.to_str()?;
        (!value.is_empty()).then_some(value)
    };
    match variable("KUBECONFIG") {
        Some(paths) => paths
            .split(':')
            .map(Utf8PathBuf::from)
            .find(|path| path.is_file()),
        None => {
            let path = Utf8PathBuf::from(variable("HOME")?).join(".mke/mke.kubeconf");
            path.is_file().then_some(path)
        }
    }
}
