//! Finds the images that the charts of a set name and that no lock of the workspace has. A cluster
//! without internet cannot pull them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use bundle::set::{Origin, Reference};
use bundle::{Artifact, Kind, Lock, Store};

use super::pull::pull;
use crate::event::Event;
use crate::transfer::fetch::open_store;
use crate::transfer::local;
use crate::{Context, Error, Workspace, chain, locked, set};

/// Maximum size in bytes of a chart that is fetched when its set is locked. Most charts have less
/// than 1 MiB.
const LARGEST_READ: u64 = 16 << 20;

/// An image that charts name and no lock has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocked {
    /// Upstream reference, with its host.
    pub image: String,
    /// Charts that name it, as `repository:tag`.
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

/// Warns of images that the charts of sets name and no lock has. Charts that the store lacks are
/// skipped.
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

/// Returns the images that the charts of a new lock name and no lock has. With `asks`, charts that
/// the store lacks are fetched first. The lock is complete without them, so a failure is only a
/// warning.
pub(super) async fn fetch_and_search(
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
            pull(context, &small, store, &|_| {}).await?;
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

/// Returns the images that the charts of a lock name, and that neither a lock nor the file of a set
/// has. Charts that the store lacks are skipped.
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
        for image in local::unlocked_images(&store, chart, &|image| known.has(image)) {
            named.entry(image).or_default().insert(chart.reference());
        }
    }
    let unlocked = named.into_iter().map(|(image, charts)| Unlocked {
        image,
        charts: charts.into_iter().collect(),
    });
    Ok(unlocked.collect())
}

/// Images in the locks and sets of a workspace, each with and without its tag.
#[derive(Default)]
struct Known {
    /// Upstream references.
    names: HashSet<String>,
    /// Images of releases, below the vendor's registry.
    of_releases: HashSet<String>,
    /// Images of bundles, with the folder of the mirror that they were put in.
    of_bundles: Vec<(Option<String>, String)>,
}

impl Known {
    fn of(workspace: &Workspace) -> Result<Self, Error> {
        let mut known = Self::default();
        for name in set::names(workspace)? {
            // An invalid set is reported when it is locked itself.
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
                    // Bundles do not record upstream references.
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

    /// Returns whether a lock or a set has an image, whose reference has no digest. Without a tag,
    /// any tag of it is enough.
    fn has(&self, image: &Reference) -> bool {
        let name = image.to_string();
        let mut of_bundles = self.of_bundles.iter();
        self.names.contains(&name)
            || mke::vendor_name(&name).is_some_and(|name| self.of_releases.contains(name))
            || of_bundles.any(|(place, one)| is_in(place.as_deref(), one, &name))
    }
}

/// Returns whether an image may be `reference` of a bundle that was put below `place`: its path
/// ends like the reference.
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
