//! Lists the images that the charts of a set name and that no lock of the workspace has. A cluster
//! without internet lacks them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use bundle::set::{Origin, Reference};
use bundle::{Artifact, ImagePlace, Kind, Lock, Store, chart_values};

use super::pull::bring;
use crate::event::Event;
use crate::transfer::fetch::open_store;
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

/// Returns what the charts of a lock that was just written name and no lock has. Charts that the
/// store lacks are read into it if `asks`. The lock is complete without them, so a failure is a
/// warning.
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

/// Returns what the charts of a lock name and neither a lock nor the file of a set has, as far as
/// the charts are in the store.
///
/// # Errors
/// A lock or the store cannot be read.
pub(super) fn unlocked(workspace: &Workspace, lock: &Lock) -> Result<Vec<Unlocked>, Error> {
    let charts = lock.artifacts.iter().filter(|one| one.kind == Kind::Chart);
    let charts: Vec<&Artifact> = charts.collect();
    if charts.is_empty() {
        return Ok(Vec::new());
    }
    let (store, known) = (open_store(workspace)?, Known::of(workspace)?);
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for chart in charts {
        for image in known.lacks(chart, &store) {
            named.entry(image).or_default().insert(chart.reference());
        }
    }
    let unlocked = named.into_iter().map(|(image, charts)| Unlocked {
        image,
        charts: charts.into_iter().collect(),
    });
    Ok(unlocked.collect())
}

/// The images that the locks and the sets of a workspace have, each with and without its tag.
#[derive(Default)]
struct Known {
    /// Those that are known by their upstream names.
    names: HashSet<String>,
    /// Those of releases, as the vendor names them.
    of_releases: HashSet<String>,
    /// Those of bundles, with the folders that they were put below.
    of_bundles: Vec<(Option<String>, String)>,
}

impl Known {
    fn of(workspace: &Workspace) -> Result<Self, Error> {
        let mut known = Self::default();
        for name in set::names(workspace)? {
            // A set that is not valid is named when it is locked itself.
            let loaded = set::load(workspace, &name);
            for entry in loaded.map_or_else(|_| Vec::new(), |one| one.entries) {
                if let Origin::Registry(reference) = entry.origin {
                    known.add(reference);
                }
            }
        }
        for path in workspace.locks()? {
            let lock = Lock::read(&path)?;
            for artifact in &lock.artifacts {
                let own = [artifact.repository.clone(), artifact.reference()];
                match artifact.source.as_ref().filter(|_| lock.from.is_none()) {
                    // Its bundle does not record where it was.
                    Some(_) if !artifact.archive.is_empty() => {
                        let bundle = lock.bundles.iter().find(|one| one.has(artifact));
                        let place = bundle.and_then(|bundle| bundle.place.clone());
                        let both = own.map(|name| (place.clone(), name));
                        known.of_bundles.extend(both);
                    }
                    Some(source) => {
                        if let Ok(reference) = Reference::parse(&source.reference) {
                            known.add(reference);
                        }
                    }
                    None => known.of_releases.extend(own),
                }
            }
        }
        Ok(known)
    }

    fn add(&mut self, reference: Reference) {
        let digest = None;
        let whole = Reference {
            digest,
            ..reference
        };
        self.names.insert(whole.to_string());
        self.names
            .insert(Reference { tag: None, ..whole }.to_string());
    }

    /// Returns whether this image is among them. If a chart sets no tag, any tag of it is enough.
    fn has(&self, asked: &Reference) -> bool {
        let digest = None;
        let asked = Reference {
            digest,
            ..asked.clone()
        };
        let name = asked.to_string();
        let mut of_bundles = self.of_bundles.iter();
        self.names.contains(&name)
            || mke::vendor_name(&name).is_some_and(|name| self.of_releases.contains(name))
            || of_bundles.any(|(place, one)| is_in(place.as_deref(), one, &name))
    }

    /// Returns the images that a chart names and that are not among them, if the store has the
    /// chart.
    fn lacks(&self, chart: &Artifact, store: &Store) -> BTreeSet<String> {
        let place = |asked: &Reference, _: &str| self.has(asked).then(ImagePlace::default);
        let manifests = chart.manifests.iter();
        // The config comes first; the chart is a layer.
        let layers = manifests.flat_map(|one| one.blobs.iter().skip(1));
        let mut lacking = BTreeSet::new();
        for layer in layers.filter(|layer| store.has(&layer.digest, layer.size)) {
            let file = store.open_blob(&layer.digest).ok();
            let Some(found) = file.and_then(|file| chart_values(file, &place)) else {
                continue;
            };
            // What is put together when the chart is used is not a reference.
            let fixed = found
                .fixed
                .iter()
                .filter_map(|image| Reference::parse(image).ok());
            let fixed = fixed.filter(|image| !self.has(image));
            lacking.extend(fixed.map(|image| image.to_string()));
            lacking.extend(found.missing.into_iter().map(|(_, image)| image));
        }
        lacking
    }
}

/// Returns whether an image may be what a bundle has under `reference`, which was put below
/// `place`: its path ends as the reference does.
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
