//! Compares the file of a bundle, and the store, with the lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bundle::ImagePlace;
use bundle::set::Reference;
use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::Digest;

use crate::event::{Event, Step};
use crate::observe::BundleObserver;
use crate::transfer::fetch::{self, Found, open_store};
use crate::transfer::present::AllPresent;
use crate::transfer::{program, push};
use crate::{Context, Error, disk};

/// Locked content on this machine, compared byte by byte.
#[derive(Debug)]
pub struct Checked {
    /// What was compared.
    pub read: Read,
    /// State of each mkectl download of the lock, by platform.
    pub mkectl: Vec<(String, Found)>,
}

/// What a check compared.
#[derive(Debug)]
pub enum Read {
    /// The bundle in this file. It matches its lock.
    Bundle(Utf8PathBuf),
    /// The blobs in the store, because the bundle is missing. Each matches its digest.
    Store {
        /// Number of blobs in the store.
        blobs: usize,
        /// Number of blobs that the store lacks.
        missing: usize,
    },
}

/// Compares every byte of a bundle with its lock, and the downloads of mkectl with their hashes.
/// Writes nothing and needs no network.
///
/// `file` is the bundle if it is not in `bundles/`. Without a bundle, the store is compared.
///
/// # Errors
/// [`fetch::Error::NoBundle`] if there is neither a bundle nor a blob in the store, or the error of
/// the first difference.
pub async fn check(
    context: &Context<'_>,
    lock: &bundle::Lock,
    file: Option<&Utf8Path>,
) -> Result<Checked, Error> {
    let workspace = context.workspace;
    let path = file.map_or_else(|| workspace.bundle(&lock.bundle.file), Utf8Path::to_owned);
    let shown = workspace.shown(&path).to_owned();
    let opened = match (&lock.from, file) {
        (Some(_), None) => Err(std::io::ErrorKind::NotFound.into()),
        _ => files::open(&path),
    };
    let input = match opened {
        Ok(input) => input,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(named) = file {
                return Err(Error::read(named, error));
            }
            let none = fetch::Error::NoBundle { path: shown };
            return Ok(Checked {
                read: check_store(context, lock)?.ok_or(none)?,
                mkectl: program::check(context, lock)?,
            });
        }
        Err(source) => return Err(Error::io("open", &path, source)),
    };
    let found = input.metadata().map(|found| found.len());
    if let Ok(found) = found
        && found != lock.bundle.size
    {
        return Err(disk::Error::BundleSize {
            path: shown,
            found,
            expected: lock.bundle.size,
        }
        .into());
    }
    report_start(context, lock, &path);
    let observer = BundleObserver::new(context, Step::Verify);
    tokio::task::block_in_place(|| {
        bundle::read(
            input,
            &mut bundle::Inspection,
            Some(&lock.of_bundle()),
            &observer,
        )
    })
    .map_err(|source| Error::bundle(workspace, &path, source))?;
    context.reporter.report(Event::Finished {
        step: Step::Verify,
        what: format!("{shown} matches its lock"),
    });
    check_sets(context, lock)?;
    Ok(Checked {
        read: Read::Bundle(shown),
        mkectl: program::check(context, lock)?,
    })
}

/// Returns each blob once, by its digest.
fn unique<'a>(
    blobs: impl Iterator<Item = (&'a Digest, u64)>,
) -> BTreeMap<&'a str, (&'a Digest, u64)> {
    let by_digest = |(digest, size): (&'a Digest, u64)| (digest.as_ref(), (digest, size));
    blobs.map(by_digest).collect()
}

/// Compares the content of sets with its digests. It is in no bundle, so it must be in the store.
fn check_sets(context: &Context<'_>, lock: &bundle::Lock) -> Result<(), Error> {
    let of_sets = lock.artifacts.iter().filter(|one| one.source.is_some());
    let all = unique(of_sets.flat_map(bundle::Artifact::blobs));
    let store = open_store(context.workspace)?;
    let (here, missing): (Vec<_>, Vec<_>) = all
        .into_values()
        .partition(|(digest, _)| store.path(digest).exists());
    for (digest, size) in here {
        tokio::task::block_in_place(|| store.verify_blob(digest, size))
            .map_err(|source| Error::store(context.workspace, source))?;
    }
    match missing.len() {
        0 => Ok(()),
        blobs => Err(crate::set::Error::Unfetched { blobs }.into()),
    }
}

/// Compares the blobs in the store with their digests. Returns `None` if it has none of the lock.
fn check_store(context: &Context<'_>, lock: &bundle::Lock) -> Result<Option<Read>, Error> {
    let store = open_store(context.workspace)?;
    let all = unique(lock.artifacts.iter().flat_map(bundle::Artifact::blobs));
    let total = all.len();
    let here: Vec<_> = (all.into_values())
        .filter(|(digest, _)| store.path(digest).exists())
        .collect();
    if here.is_empty() {
        return Ok(None);
    }
    context.reporter.report(Event::Started {
        step: Step::Verify,
        what: (context.workspace).shown(store.directory()).to_string(),
        bytes: Some(here.iter().map(|(_, size)| size).sum()),
    });
    for (digest, size) in &here {
        tokio::task::block_in_place(|| store.verify_blob(digest, *size))
            .map_err(|source| Error::store(context.workspace, source))?;
        context.reporter.report(Event::Advanced {
            step: Step::Verify,
            bytes: *size,
        });
    }
    context.reporter.report(Event::Finished {
        step: Step::Verify,
        what: format!("{} of the store match their digests", here.len()),
    });
    Ok(Some(Read::Store {
        blobs: here.len(),
        missing: total - here.len(),
    }))
}

/// Reports the start of reading a bundle.
pub(crate) fn report_start(context: &Context<'_>, lock: &bundle::Lock, path: &Utf8Path) {
    context.reporter.report(Event::Started {
        step: Step::Verify,
        what: context.workspace.shown(path).to_string(),
        bytes: Some(lock.bundle.size),
    });
}

/// Reads a bundle into the store and compares it with its lock.
///
/// # Errors
/// The bundle differs from its lock, or cannot be read.
pub(crate) fn read(
    context: &Context<'_>,
    lock: &bundle::Lock,
    path: &Utf8Path,
    input: impl std::io::Read + Send,
    mut sink: impl bundle::Sink,
    observer: &BundleObserver<'_>,
) -> Result<(), Error> {
    match bundle::read(input, &mut sink, Some(&lock.of_bundle()), observer) {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::bundle(context.workspace, path, source)),
    }
}

/// Reports that a bundle was read and matches the lock.
pub(crate) fn report_end(context: &Context<'_>, lock: &bundle::Lock) {
    context.reporter.report(Event::Finished {
        step: Step::Verify,
        what: match lock.of_bundle().artifacts.len() {
            1 => "1 artifact matches the lock".to_owned(),
            count => format!("{count} artifacts match the lock"),
        },
    });
}

/// Proves that the store has everything that the lock names. Blobs were hashed when they were
/// written.
///
/// # Errors
/// A blob is missing, or the store's index cannot be written.
pub(crate) fn stored(
    context: &Context<'_>,
    lock: &bundle::Lock,
    store: &bundle::Store,
) -> Result<AllPresent, Error> {
    let proof = AllPresent::prove(context, lock, store, None)?;
    list(store, lock).map_err(|source| Error::store(context.workspace, source))?;
    Ok(proof)
}

/// Adds the lock's artifacts to the store's index, so other tools find them by name. Writes nothing
/// if the index already has them.
pub(crate) fn list(store: &bundle::Store, lock: &bundle::Lock) -> Result<(), bundle::StoreError> {
    match unlisted(store, lock)? {
        none if none.is_empty() => Ok(()),
        unlisted => store.list(unlisted),
    }
}

/// Syncs the store to disk, and adds to its index those artifacts of the lock that are complete.
/// `unpack` ends with this, since it may have written only some blobs.
///
/// # Errors
/// The store cannot be written.
pub fn sync_and_list(store: &bundle::Store, lock: &bundle::Lock) -> Result<(), bundle::StoreError> {
    store.list(unlisted(store, lock)?)
}

/// Returns the artifacts that are complete in the store and missing from its index.
fn unlisted<'a>(
    store: &bundle::Store,
    lock: &'a bundle::Lock,
) -> Result<Vec<&'a bundle::Artifact>, bundle::StoreError> {
    let listed: HashMap<String, Digest> = store
        .listed()?
        .into_iter()
        .map(|listed| (listed.reference, listed.digest))
        .collect();
    let artifacts = lock.artifacts.iter();
    Ok(artifacts
        .filter(|artifact| listed.get(&artifact.reference()) != Some(&artifact.digest))
        .filter(|artifact| {
            artifact
                .blobs()
                .all(|(digest, size)| store.has(digest, size))
        })
        .collect())
}

/// Discards the damaged blobs by which a push failed, and the other damaged ones of the same
/// artifacts. They are then read again from the bundle. Returns their digests; none if the push
/// failed for a different reason.
///
/// Blobs are hashed when they are written and when they are sent, so a damaged one is never sent
/// completely. In between, only sizes are compared.
///
/// # Errors
/// The store cannot be read, or a blob cannot be removed.
pub(crate) fn discard_damaged(
    context: &Context<'_>,
    lock: &bundle::Lock,
    error: &Error,
) -> Result<BTreeSet<String>, Error> {
    let damaged = damaged(error);
    if damaged.is_empty() {
        return Ok(BTreeSet::new());
    }
    let store = open_store(context.workspace)?;
    let artifacts = lock
        .artifacts
        .iter()
        .filter(|artifact| damaged.contains(artifact.reference().as_str()));
    let blobs = artifacts.flat_map(bundle::Artifact::blobs);
    tokio::task::block_in_place(|| discard_damaged_of(blobs, &store))
        .map_err(|source| Error::store(context.workspace, source))
}

/// Discards the damaged manifests of deliveries, so they are read again. Returns their digests.
///
/// # Errors
/// As for [`discard_damaged`].
pub(crate) fn discard_damaged_manifests(
    context: &Context<'_>,
    deliveries: &[push::Delivery<'_>],
    store: &bundle::Store,
) -> Result<BTreeSet<String>, Error> {
    let artifacts = deliveries.iter().flat_map(|one| &one.artifacts);
    let manifests = artifacts.flat_map(|artifact| &artifact.manifests);
    let here = manifests
        .map(|one| (&one.digest, one.size))
        .filter(|(digest, size)| store.has(digest, *size));
    tokio::task::block_in_place(|| discard_damaged_of(here, store))
        .map_err(|source| Error::store(context.workspace, source))
}

/// Returns whether a push failed because of a damaged blob in the store.
pub(crate) fn is_by_damage(error: &Error) -> bool {
    !damaged(error).is_empty()
}

/// Returns whether a push failed because a registry did not mount, or removed, a blob that the
/// store lacks.
pub(crate) fn is_by_lack(error: &Error) -> bool {
    let Error::Push(push::Error::Failed { failed, .. }) = error else {
        return false;
    };
    failed.iter().any(|(_, error)| match &**error {
        registry::Error::Source { source, .. } => source.get_ref().is_some_and(|source| {
            let lost = source.downcast_ref();
            matches!(lost, Some(bundle::StoreError::Missing { .. }))
        }),
        _ => false,
    })
}

/// Returns the artifacts whose push failed because of a damaged blob.
fn damaged(error: &Error) -> BTreeSet<&str> {
    let Error::Push(push::Error::Failed { failed, .. }) = error else {
        return BTreeSet::new();
    };
    failed
        .iter()
        .filter(|(_, error)| matches!(**error, registry::Error::SourceContent { .. }))
        .map(|(reference, _)| reference.as_str())
        .collect()
}

fn discard_damaged_of<'a>(
    blobs: impl Iterator<Item = (&'a Digest, u64)>,
    store: &bundle::Store,
) -> Result<BTreeSet<String>, bundle::StoreError> {
    let mut discarded = BTreeSet::new();
    for (name, (digest, size)) in unique(blobs) {
        match store.verify_blob(digest, size) {
            Ok(()) => continue,
            Err(
                bundle::StoreError::Corrupt { .. }
                | bundle::StoreError::Size { .. }
                | bundle::StoreError::Missing { .. },
            ) => {}
            // A disk that cannot be read is not repaired by reading the bundle again.
            Err(error) => return Err(error),
        }
        store.discard(digest)?;
        discarded.insert(name.to_owned());
    }
    Ok(discarded)
}

/// Returns the images that a chart names and that `is_locked` does not accept; none if the store
/// lacks the chart.
///
/// `is_locked` gets references without digest. A reference has no tag if the chart sets none. Its
/// tag is the chart's `appVersion` then, at least by habit, so it is returned with that.
pub(crate) fn unlocked_images(
    store: &bundle::Store,
    chart: &bundle::Artifact,
    is_locked: &dyn Fn(&Reference) -> bool,
) -> BTreeSet<String> {
    let has = |image: &Reference| {
        is_locked(&Reference {
            digest: None,
            ..image.clone()
        })
    };
    let place = |image: &Reference, _: &str| has(image).then(ImagePlace::default);
    // The config comes first; the chart is a layer.
    let layers = (chart.manifests.iter()).flat_map(|one| one.blobs.iter().skip(1));
    let mut unlocked = BTreeSet::new();
    for layer in layers.filter(|layer| store.has(&layer.digest, layer.size)) {
        let file = store.open_blob(&layer.digest).ok();
        let Some(found) = file.and_then(|file| bundle::chart_values(file, &place)) else {
            continue;
        };
        // An image that a template puts together is not a reference.
        let fixed = found
            .fixed
            .iter()
            .filter_map(|one| Reference::parse(one).ok());
        unlocked.extend(fixed.filter(|one| !has(one)).map(|one| one.to_string()));
        unlocked.extend(found.missing.into_iter().map(|(_, image)| image));
    }
    unlocked
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bundle::make::{self, Recipe};
    use bundle::{Lock, Silent, Store};
    use camino::Utf8Path;

    use super::*;
    use crate::testing::image;

    /// Reads a release into a store below `folder`: one image of two layers, and another that
    /// shares one of them.
    fn release(folder: &Utf8Path) -> (Store, Lock) {
        let recipe = Recipe {
            directory: "bundles".to_owned(),
            level: 0,
            matrix: None,
            artifacts: vec![
                image("one", &["base", "own"], 5_000),
                image("two", &["base"], 5_000),
            ],
        };
        let mut bytes = Vec::new();
        make::write(&recipe, &mut bytes).unwrap();
        let mut store = Store::open(&folder.join("store")).unwrap();
        let contents = bundle::read(bytes.as_slice(), &mut store, None, &Silent).unwrap();
        let version = semver::Version::new(4, 1, 5);
        let lock = Lock::from_contents(&version, "amd64", "b.tar.gz", "", Vec::new(), contents);
        (store, lock)
    }

    #[test]
    fn discards_only_the_damaged_blobs_of_an_artifact() {
        let folder = tempfile::tempdir().unwrap();
        let (store, lock) = release(Utf8Path::from_path(folder.path()).unwrap());
        let one = lock.artifacts.iter().find(|one| one.repository == "one");
        let one = one.unwrap();
        let discard = || discard_damaged_of(one.blobs(), &store).unwrap();
        assert_eq!(discard(), BTreeSet::new());
        let layers = &one.manifests[0].blobs[1..];
        let [flipped, cut] = layers else {
            panic!("{layers:?}");
        };
        let mut bytes = fs::read(store.path(&flipped.digest)).unwrap();
        bytes[7] ^= 1;
        fs::write(store.path(&flipped.digest), &bytes).unwrap();
        fs::write(store.path(&cut.digest), "short").unwrap();
        let expected: BTreeSet<String> = layers.iter().map(|one| one.digest.to_string()).collect();
        assert_eq!(discard(), expected);
        let missing: BTreeSet<String> = (store.missing(&lock).into_iter())
            .map(|missing| missing.digest.to_string())
            .collect();
        assert_eq!(missing, expected, "they are to be read again");
    }

    #[test]
    fn the_index_is_written_only_if_a_complete_artifact_is_missing_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, lock) = release(Utf8Path::from_path(folder.path()).unwrap());
        let index = store.directory().join("index.json");
        let complete = fs::read(&index).unwrap();
        fs::remove_file(&index).unwrap();
        list(&store, &lock).unwrap();
        assert_eq!(fs::read(&index).unwrap(), complete);
        let written = fs::metadata(&index).unwrap().modified().unwrap();
        list(&store, &lock).unwrap();
        assert_eq!(fs::metadata(&index).unwrap().modified().unwrap(), written);
    }
}
