//! Lists the images that the charts of a set name in plain text and that no lock of the workspace has. A cluster without internet lacks them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bundle::set::{Origin, Reference};
use bundle::{Artifact, Kind, Lock, Store};

use super::pull::bring;
use crate::event::Event;
use crate::transfer::fetch::open_store;
use crate::transfer::local::chart_images;
use crate::{Context, Error, Workspace, chain, locked, set};

/// The largest chart that is read when its set is locked, in bytes. Most have less than one MiB.
const LARGEST_READ: u64 = 16 << 20;

/// An image that charts name and no lock has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocked {
    /// The reference, with its host.
    pub image: String,
    /// The charts that name it, `repository:tag`.
    pub charts: Vec<String>,
}

impl fmt::Display for Unlocked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let charts = self.charts.join(" and ");
        let image = &self.image;
        match self.charts.len() {
            1 => write!(
                formatter,
                "the chart {charts} names {image}, which is in no lock"
            ),
            _ => write!(
                formatter,
                "the charts {charts} name {image}, which is in no lock"
            ),
        }
    }
}

/// Warns of what the charts of sets name and no lock has, as far as the charts are in the store.
///
/// # Errors
/// A set is not locked, or a lock or the store cannot be read.
pub fn warn_of_unlocked<'s>(
    context: &Context<'_>,
    sets: impl IntoIterator<Item = &'s str>,
) -> Result<(), Error> {
    for set in sets {
        let (_, locked) = locked::of_set(context.workspace, set)?;
        for one in unlocked(context.workspace, &locked.lock)? {
            (context.reporter).report(Event::Warning(one.to_string()));
        }
    }
    Ok(())
}

/// Returns what the charts of a lock that was just written name and no lock has. Charts that the store lacks are read into it if `asks`. The
/// lock is complete without them, so a failure is a warning.
pub(super) async fn search(
    context: &Context<'_>,
    lock: &Lock,
    store: &Store,
    asks: bool,
) -> Vec<Unlocked> {
    let size = |chart: &Artifact| chart.blobs().map(|(_, size)| size).sum::<u64>();
    let charts = lock.artifacts.iter().filter(|one| one.kind == Kind::Chart);
    let small = (charts.clone()).filter(|one| one.archive.is_empty() && size(one) <= LARGEST_READ);
    let read = async {
        if asks && !context.offline {
            let small = Lock::of_set(lock.name(), Vec::new(), small.cloned().collect());
            bring(context, &small, store, &|_| {}).await?;
        }
        Ok(())
    };
    let warn = |text: String| context.reporter.report(Event::Warning(text));
    let failed: Result<(), Error> = read.await;
    let is_here = |chart: &&Artifact| chart.blobs().all(|(digest, size)| store.has(digest, size));
    let unread = charts.filter(|one| !is_here(one)).map(Artifact::reference);
    let unread: Vec<String> = unread.collect();
    if !unread.is_empty() {
        let reason = failed.err().map(|error| format!(": {}", chain(&error)));
        warn(format!(
            "not searched for images that no lock has: {}{}",
            unread.join(", "),
            reason.unwrap_or_default()
        ));
    }
    unlocked(context.workspace, lock).unwrap_or_else(|error| {
        warn(format!(
            "the charts are not searched for images: {}",
            chain(&error)
        ));
        Vec::new()
    })
}

/// Returns what the charts of a lock name and neither a lock nor the file of a set has, as far as the charts are in the store.
///
/// # Errors
/// A lock or the store cannot be read.
pub(super) fn unlocked(workspace: &Workspace, lock: &Lock) -> Result<Vec<Unlocked>, Error> {
    let charts = lock.artifacts.iter().filter(|one| one.kind == Kind::Chart);
    let store = open_store(workspace)?;
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for chart in charts {
        for image in chart_images(&store, chart) {
            // What is put together when the chart is used is not a reference.
            if let Ok(reference) = Reference::parse(&image) {
                let charts = named.entry(reference.to_string()).or_default();
                charts.insert(chart.reference());
            }
        }
    }
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let bare = |reference: Reference| Reference {
        digest: None,
        ..reference
    };
    for name in set::names(workspace)? {
        // A set that is not valid is named when it is locked itself.
        let entries = set::load(workspace, &name).map_or_else(|_| Vec::new(), |one| one.entries);
        for entry in entries {
            if let Origin::Registry(reference) = entry.origin {
                named.remove(&bare(reference).to_string());
            }
        }
    }
    for path in workspace.locks()? {
        let lock = Lock::read(&path)?;
        for artifact in &lock.artifacts {
            match artifact.source.as_ref().filter(|_| lock.from.is_none()) {
                // Its bundle does not record where it was.
                Some(_) if !artifact.archive.is_empty() => {
                    let bundle = lock.bundles.iter().find(|one| one.has(artifact));
                    let place = bundle.and_then(|bundle| bundle.place.as_deref());
                    let reference = artifact.reference();
                    named.retain(|image, _| !is_in(place, &reference, image));
                }
                Some(source) => {
                    if let Ok(reference) = Reference::parse(&source.reference) {
                        named.remove(&bare(reference).to_string());
                    }
                }
                None => named.retain(|image, _| {
                    mke::vendor_name(image).is_none_or(|name| name != artifact.reference())
                }),
            }
        }
    }
    let unlocked = named.into_iter().map(|(image, charts)| Unlocked {
        image,
        charts: charts.into_iter().collect(),
    });
    Ok(unlocked.collect())
}

/// Returns whether an image may be what a bundle has under `reference`, which was put below `place`: its path ends as the reference does.
fn is_in(place: Option<&str>, reference: &str, image: &str) -> bool {
    let own = place.and_then(|place| reference.strip_prefix(place)?.strip_prefix('/'));
    let before = image.strip_suffix(own.unwrap_or(reference));
    before.is_some_and(|before| before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_in_a_bundle_if_its_path_ends_as_the_reference_does() {
        let is_in = |image: &str| is_in(Some("below"), "below/capi/controller:v1", image);
        assert!(is_in("registry.example.com/vendor/capi/controller:v1"));
        assert!(is_in("registry.example.com/capi/controller:v1"));
        assert!(!is_in("registry.example.com/vendor/capi/controller:v2"));
        assert!(!is_in("registry.example.com/other-capi/controller:v1"));
    }
}
