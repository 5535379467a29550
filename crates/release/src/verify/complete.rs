//! Compares the lock with the needs of a cluster: the lists of the release's mkectl, and the images
//! that charts name.
//!
//! mkectl knows what it installs. An artifact that it lists and the lock lacks stops a deploy
//! before anything is sent. Values of charts may be overridden, so an image that only charts name
//! causes a warning.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bundle::set::{DOCKER_HUB, Reference};
use bundle::{Artifact, Kind, Lock};
use environment::Environment;

use crate::event::Event;
use crate::transfer::look::{Tag, TagContent, look};
use crate::transfer::{fetch, local, program};
use crate::warnings::Warnings;
use crate::{Context, Error, chain, locked};

/// Compares the lock with the lists of mkectl and with the images that charts name. Does nothing if
/// the deploy does not run mkectl.
///
/// Returns the references that mkectl lists, the lock lacks, and the environment does not accept.
/// Other differences become warnings.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn unlocked(
    context: &Context<'_>,
    environment: &Environment,
    lock: &Lock,
    program: Option<&program::Program>,
    warnings: &mut Warnings,
) -> Result<Vec<String>, Error> {
    let Some(program) = program.filter(|_| !environment.rehearsal) else {
        return Ok(Vec::new());
    };
    // Charts that are not fetched yet are read by the deploy, after the fetch.
    if fetch::source(context.workspace, lock)? == fetch::Source::Store {
        let store = fetch::open_store(context.workspace)?;
        warnings.of_run.extend(unlocked_by_charts(&store, lock));
    }
    let found = compare_with_mkectl(program.mkectl(), lock);
    warnings.of_plan.extend(found.warnings);
    warnings.of_run.extend(found.unread);
    if !mke::accepts_incomplete_lock(environment) {
        return Ok(found.lacking);
    }
    if !found.lacking.is_empty() {
        warnings.of_plan.push(format!(
            "the lock lacks what mkectl lists, which the environment accepts: {}",
            found.lacking.join(", ")
        ));
    }
    Ok(Vec::new())
}

/// Returns those of the `lacking` references that the registry lacks, too. The others become
/// warnings: mkectl may list images that the vendor's bundle does not contain (LAB), and the
/// operator may have pushed them by other means.
///
/// # Errors
/// The registry cannot be used.
pub(crate) async fn unserved(
    context: &Context<'_>,
    environment: &Environment,
    lacking: Vec<String>,
    warnings: &mut Warnings,
) -> Result<Vec<String>, Error> {
    let named = lacking.iter().map(|reference| {
        let name = mke::vendor_name(reference).unwrap_or(reference);
        name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
    });
    let named: Vec<(String, String)> = named
        .map(|name| name.unwrap_or_default())
        .map(|(repository, tag)| (repository.to_owned(), tag.replace('+', "_")))
        .collect();
    let tags: Vec<Tag<'_>> = (named.iter())
        .map(|(repository, tag)| Tag {
            repository,
            name: tag,
            kind: match repository.starts_with("charts/") {
                true => Kind::Chart,
                false => Kind::Image,
            },
        })
        .collect();
    // A reference by digest has no tag to look up.
    if tags
        .iter()
        .any(|tag| tag.repository.is_empty() || tag.repository.contains('@'))
    {
        return Ok(lacking);
    }
    let seen = look(context, environment, &tags).await?.seen;
    let (served, unserved): (Vec<_>, Vec<_>) =
        (lacking.into_iter().zip(seen)).partition(|(_, seen)| seen.held != TagContent::Nothing);
    for (reference, _) in served {
        warnings.of_plan.push(format!(
            "mkectl lists {reference}: the lock does not have it, so Airlock does not verify it, but the registry has it"
        ));
    }
    Ok(unserved
        .into_iter()
        .map(|(reference, _)| reference)
        .collect())
}

/// Differences between the lists of mkectl and a lock.
#[derive(Debug, Default)]
struct MkectlComparison {
    /// References below the vendor's registry that the lock lacks, as mkectl lists them.
    lacking: Vec<String>,
    /// Other references that the lock lacks.
    warnings: Vec<String>,
    /// Why the lists could not be read, if they could not.
    unread: Option<String>,
}

/// Compares a lock with the lists of `mkectl airgap`. Returns no differences if that mkectl lacks
/// the command.
///
/// No page of the vendor documents the command; it is known only from a lab (LAB). So references to
/// other registries only cause warnings.
fn compare_with_mkectl(mkectl: &programs::Mkectl, lock: &Lock) -> MkectlComparison {
    let mut found = MkectlComparison::default();
    let listed = match listed(mkectl) {
        Ok(listed) => listed,
        Err(error) => {
            found.unread = Some(format!(
                "the lock is not compared with what mkectl lists: {}",
                chain(&error)
            ));
            return found;
        }
    };
    let held: BTreeSet<String> = lock.artifacts.iter().map(Artifact::reference).collect();
    for reference in listed {
        // A chart's version may contain `+`, which a tag cannot. Helm writes `_`.
        let tag = |name: &str| name.replace('+', "_");
        match mke::vendor_name(&reference) {
            Some(name) if held.contains(&tag(name)) => {}
            Some(_) => found.lacking.push(reference),
            None => {
                let path = reference.split_once('/').map_or("", |(_, path)| path);
                if !held.contains(&tag(path)) && !held.contains(&tag(&reference)) {
                    found.warnings.push(format!(
                        "mkectl lists {reference}, which is of another registry and not in the lock"
                    ));
                }
            }
        }
    }
    found
}

/// Returns the references that mkectl lists; none if it has no such command.
pub(crate) fn listed(mkectl: &programs::Mkectl) -> Result<Vec<String>, programs::Error> {
    let mut listed = Vec::new();
    if !mkectl.help(&[])?.has_command("airgap") {
        return Ok(listed);
    }
    let help = mkectl.help(&["airgap"])?;
    for (command, needed) in [
        ("list-images", programs::Needed::Images),
        ("list-charts", programs::Needed::Charts),
    ] {
        if help.has_command(command) {
            listed.extend(mkectl.airgap(needed)?);
        }
    }
    Ok(listed)
}

/// Returns a warning for each image that the charts of a lock name and the lock lacks. Charts that
/// the store lacks are skipped.
///
/// Only two kinds of images should be in the lock: those in the vendor's registry, and other tags
/// of names that the lock has. A chart's other images come from elsewhere. For a cluster without
/// internet, its values set where.
pub(crate) fn unlocked_by_charts(store: &bundle::Store, lock: &Lock) -> Vec<String> {
    let names: HashSet<String> = (lock.artifacts.iter())
        .flat_map(|artifact| [artifact.repository.clone(), artifact.reference()])
        .collect();
    let is_locked = |image: &Reference| {
        let reference = image.to_string();
        if let Some(name) = mke::vendor_name(&reference) {
            return names.contains(name);
        }
        let repository = Reference {
            tag: None,
            ..image.clone()
        };
        !names.contains(without_default_host(&repository.to_string()))
            || names.contains(without_default_host(&reference))
    };
    let charts = (lock.artifacts.iter()).filter(|artifact| artifact.kind == Kind::Chart);
    let mut unlocked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for chart in charts {
        for image in local::unlocked_images(store, chart, &is_locked) {
            let image = without_default_host(&image).to_owned();
            unlocked.entry(image).or_default().insert(chart.reference());
        }
    }
    let warning = |(image, charts): (String, BTreeSet<String>)| {
        let charts: Vec<String> = charts.into_iter().collect();
        let charts = charts.join(" and ");
        format!("the lock does not have {image}, which {charts} names")
    };
    unlocked.into_iter().map(warning).collect()
}

/// Returns a reference as charts write it: without the host that is assumed if they name none.
/// Charts of a release write its images so, and get the registry from a value.
fn without_default_host(reference: &str) -> &str {
    let name = reference
        .strip_prefix(DOCKER_HUB)
        .and_then(|rest| rest.strip_prefix('/'));
    name.map_or(reference, |name| {
        name.strip_prefix("library/").unwrap_or(name)
    })
}

/// Warns of everything that a lock may lack, according to its charts and to mkectl. Nothing of it
/// is an error here.
///
/// Returns the references that mkectl lists and the lock lacks.
pub fn warn_of_incomplete_lock(
    context: &Context<'_>,
    environment: &Environment,
    locked: &locked::Locked,
) -> Vec<String> {
    let warn = |text: String| context.reporter.report(Event::Warning(text));
    if let Ok(store) = fetch::open_store(context.workspace) {
        unlocked_by_charts(&store, &locked.lock)
            .into_iter()
            .for_each(warn);
    }
    if environment.rehearsal {
        return Vec::new();
    }
    // Without a suitable mkectl, nothing can be compared. `deploy` reports that.
    let Ok(program) = program::for_apply(context, environment, &locked.lock, &locked.path) else {
        return Vec::new();
    };
    let found = compare_with_mkectl(program.mkectl(), &locked.lock);
    found
        .warnings
        .into_iter()
        .chain(found.unread)
        .for_each(warn);
    for reference in &found.lacking {
        context.reporter.report(Event::Warning(format!(
            "mkectl lists {reference}, which is not in the lock"
        )));
    }
    found.lacking
}
