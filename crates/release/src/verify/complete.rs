//! Compares the lock with what a cluster needs: the lists of the release's mkectl, and the images
//! that the charts name.
//!
//! mkectl knows what it installs: an artifact that it lists and the lock lacks stops a deploy
//! before anything is sent. Values of charts may be overridden: an image that only they name causes
//! a warning.

use std::collections::{BTreeMap, BTreeSet};

use bundle::{Artifact, Kind, Lock};
use environment::Environment;

use crate::event::Event;
use crate::transfer::look::{Tag, TagContent, look};
use crate::transfer::{fetch, local, program};
use crate::warnings::Warnings;
use crate::{Context, Error, chain, locked};

/// Compares the lock with what the mkectl that is to be run lists, and with what the bundle's
/// charts name. A deploy that does not run mkectl compares nothing.
///
/// Returns what mkectl lists, the lock lacks and the environment does not accept; everything else
/// becomes a warning.
///
/// # Errors
/// The store cannot be looked at.
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
    // What is not here yet is looked at when it is.
    if fetch::source(context.workspace, lock)? == fetch::Source::Store {
        let store = fetch::open_store(context.workspace)?;
        warnings.of_here.extend(by_charts(&store, lock));
    }
    let found = by_mkectl(program.mkectl(), lock);
    warnings.of_plan.extend(found.warnings);
    warnings.of_here.extend(found.silence);
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

/// Returns what the registry lacks too of what mkectl lists and the lock lacks. `warnings` gets
/// what it has: mkectl may list images for which the vendor's bundle has no archive (LAB), and the
/// operator may have pushed those by other means.
///
/// # Errors
/// The registry cannot be asked.
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
    // A digest in a tag's place names no tag that could be asked for.
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

/// What a mkectl lists and a lock lacks.
#[derive(Debug, Default)]
struct ByMkectl {
    /// References below the vendor's registry, as they are listed.
    lacking: Vec<String>,
    /// What people should know besides.
    warnings: Vec<String>,
    /// Why there is no answer, if there is none.
    silence: Option<String>,
}

/// Compares a lock with what `mkectl airgap` lists; none if that mkectl has no such command.
///
/// The command is in no page of the vendor's, and known from a lab alone (LAB): what it lists of
/// other registries is reported and stops nothing.
fn by_mkectl(mkectl: &programs::Mkectl, lock: &Lock) -> ByMkectl {
    let mut found = ByMkectl::default();
    let listed = match listed(mkectl) {
        Ok(listed) => listed,
        Err(error) => {
            found.silence = Some(format!(
                "the lock is not compared with what mkectl lists: {}",
                chain(&error)
            ));
            return found;
        }
    };
    let held: BTreeSet<String> = lock.artifacts.iter().map(Artifact::reference).collect();
    for reference in listed {
        // A chart's version may hold what a tag cannot (Helm's rule).
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

/// Returns what a mkectl lists; nothing if it has no such command.
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

/// Compares a lock with the images that its charts name, as far as their content is in the store,
/// and says what it lacks.
///
/// Only what the lock should have is reported: what is in the vendor's registry, and other tags of
/// names that the lock has. Whatever else a chart names comes from elsewhere, and its values say so
/// for a cluster without internet.
pub(crate) fn by_charts(store: &bundle::Store, lock: &Lock) -> Vec<String> {
    let held: BTreeSet<String> = lock.artifacts.iter().map(Artifact::reference).collect();
    let names: BTreeSet<&str> = (lock.artifacts.iter())
        .map(|artifact| artifact.repository.as_str())
        .collect();
    let mut lacking: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let charts = (lock.artifacts.iter()).filter(|artifact| artifact.kind == Kind::Chart);
    for chart in charts {
        for reference in local::chart_images(store, chart) {
            let wanted = match mke::vendor_name(&reference) {
                Some(name) => name.to_owned(),
                None if is_of_this_lock(&reference, &names) => reference.clone(),
                None => continue,
            };
            if !held.contains(&wanted) {
                lacking
                    .entry(reference)
                    .or_default()
                    .insert(chart.reference());
            }
        }
    }
    lacking
        .into_iter()
        .map(|(image, charts)| {
            let charts: Vec<String> = charts.into_iter().collect();
            format!(
                "the lock does not have {image}, which {} names",
                charts.join(" and ")
            )
        })
        .collect()
}

/// Returns whether a reference without registry is a different tag of something that the lock has.
fn is_of_this_lock(reference: &str, names: &BTreeSet<&str>) -> bool {
    let repository = reference
        .rsplit_once(':')
        .map_or(reference, |(name, _)| name);
    names.contains(repository)
}

/// Reports what a lock may lack, according to its charts and an installed mkectl. Nothing of it is
/// an error: what is locked is served.
///
/// Returns what mkectl lists and the lock lacks.
pub fn warn_of_incomplete_lock(
    context: &Context<'_>,
    environment: &Environment,
    locked: &locked::Locked,
) -> Vec<String> {
    let warn = |text: String| context.reporter.report(Event::Warning(text));
    if let Ok(store) = fetch::open_store(context.workspace) {
        by_charts(&store, &locked.lock).into_iter().for_each(warn);
    }
    if environment.rehearsal {
        return Vec::new();
    }
    // Without a suitable mkectl nothing can be compared; `deploy` reports that.
    let Ok(program) = program::for_apply(context, environment, &locked.lock, &locked.path) else {
        return Vec::new();
    };
    let found = by_mkectl(program.mkectl(), &locked.lock);
    found
        .warnings
        .into_iter()
        .chain(found.silence)
        .for_each(warn);
    for reference in &found.lacking {
        context.reporter.report(Event::Warning(format!(
            "mkectl lists {reference}, which is not in the lock"
        )));
    }
    found.lacking
}
