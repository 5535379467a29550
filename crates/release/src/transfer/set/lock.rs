//! Locks a set, and compares its lock with registries.
//!
//! Locked entries stay locked: a tag that moved upstream is reported, and moves in the lock only on
//! request. Entries that the set's file adds or drops are added to or dropped from the lock.

use std::collections::{BTreeMap, BTreeSet};

use bundle::set::{BundleItem, Entry, Origin, file_name};
use bundle::{Artifact, Kind, Lock, Source, Store};
use camino::Utf8PathBuf;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::Digest;

use super::bundles;
use super::charts::{Unlocked, fetch_and_search};
use super::resolve::{ENTRIES_AT_ONCE, one_size, resolve, resolve_signatures};
use super::upstream::Upstreams;
use super::web;
use crate::Context;
use crate::event::{Event, Step};
use crate::set::{self, Error, Loaded, Moved, changed_origin, is_signature, load};
use crate::transfer::fetch::open_store;
use crate::workspace::{read_if_exists, write_atomically};

/// Set to lock, and the entries that may move.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Name of the set.
    pub set: String,
    /// Entries that may move, by reference, place or name.
    pub update: Vec<String>,
    /// Whether all entries may move. Also replaces an invalid lock.
    pub replace: bool,
}

/// Result of locking a set.
#[derive(Debug)]
pub struct Outcome {
    /// Path of the lock, relative to the workspace.
    pub path: Utf8PathBuf,
    /// Content of the lock.
    pub lock: Lock,
    /// Whether the file was written. It is not if it already had this content.
    pub written: bool,
    /// References that moved upstream and were not updated.
    pub moved: Vec<Moved>,
    /// References that were updated in the lock.
    pub updated: Vec<Moved>,
    /// Images that its charts name and no lock has.
    pub unlocked: Vec<Unlocked>,
}

/// Result of comparing a lock with its set and with registries.
#[derive(Debug)]
pub struct Comparison {
    /// Path of the lock, relative to the workspace.
    pub path: Utf8PathBuf,
    /// Number of locked artifacts.
    pub artifacts: usize,
    /// References that moved upstream.
    pub moved: Vec<Moved>,
    /// Differences between the lock and the set's file.
    pub differences: Vec<String>,
    /// URLs of the bundles whose size alone was compared: the set has neither a checksum nor a key
    /// for them.
    pub by_size: Vec<String>,
    /// References that were not compared, because their registries were not reached.
    pub unreached: Vec<String>,
}

/// Locks a set: resolves its new and changed entries, and keeps the others.
///
/// # Errors
/// The set or its lock is not valid, a registry does not serve an entry, or the lock cannot be
/// written.
pub async fn lock(context: &Context<'_>, request: &Request) -> Result<Outcome, crate::Error> {
    let loaded = load(context.workspace, &request.set)?;
    let update = named(&loaded, &request.update)?;
    let file = context.workspace.set_lock(&request.set);
    let path = context.workspace.shown(&file).to_owned();
    let before = read_if_exists(&file)?;
    let parsed = before.as_deref().map(|text| Lock::parse(text, &path));
    let earlier = match parsed {
        // An invalid lock is replaced only on request.
        Some(Err(error)) if !request.replace => return Err(error.into()),
        Some(Ok(lock)) => {
            crate::locked::agrees(context.workspace, &file, &lock)?;
            lock
        }
        _ => Lock::of_set(&request.set, Vec::new(), Vec::new()),
    };
    let locked = set::by_place(&earlier);
    let store = open_store(context.workspace)?;
    let upstreams = Upstreams::new(context, &loaded);
    let own = || loaded.entries.iter().filter(|one| one.alias_of.is_none());
    let listed = own().count() + loaded.set.bundles.len();
    context.reporter.report(Event::Started {
        step: Step::Fetch,
        what: format!(
            "{} of the set {}",
            match listed {
                1 => "1 entry".to_owned(),
                listed => format!("{listed} entries"),
            },
            request.set
        ),
        bytes: None,
    });
    let (locked, update, upstreams, store) = (&locked, &update, &upstreams, &store);
    let all = locked.values().copied();
    let signatures_of = |artifact: &Artifact| -> Vec<Artifact> {
        let all = all.clone();
        all.filter(|one| one.is_about(artifact)).cloned().collect()
    };
    let is_edited = |artifact: &Artifact, entry: &Entry| {
        let signatures = signatures_of(artifact);
        let mut signatures = signatures.iter().filter(|_| entry.signatures);
        let is_wrong = signatures.any(|one| !is_signature(one, &loaded, locked));
        artifact.is_for(entry) && (is_wrong || !artifact.is_of(entry))
    };
    let (signatures_of, is_edited, path) = (&signatures_of, &is_edited, &path);
    let earlier = &earlier;
    let resolved: Vec<(Vec<Artifact>, Option<Moved>, bool)> = futures_util::stream::iter(own())
        .map(|entry| async move {
            let known = locked.get(&entry.place()).copied();
            let edited = known.filter(|one| is_edited(one, entry));
            if edited.is_some() {
                let wrong = format!(
                    "{path} was edited: {}; locking it again",
                    changed_origin(entry)
                );
                context.reporter.report(Event::Warning(wrong));
            }
            let known = locked_as(entry, earlier).filter(|_| edited.is_none());
            let may_move = request.replace || update.contains(&Item::Entry(entry));
            let moved = match known {
                Some(known) if may_move => moved(upstreams, entry, known).await?,
                Some(known) if request.update.is_empty() => {
                    let moved = moved(upstreams, entry, known).await;
                    upstreams.if_reached(entry.origin.to_string(), moved)?
                }
                // With `--update`, other entries are not compared with upstream.
                _ => None,
            };
            // An image may get new signatures without moving.
            let is_kept = !may_move || moved.is_none() && !entry.signatures;
            if let Some(known) = known.filter(|_| is_kept)
                && let Some(kept) = unchanged(entry, known, &signatures_of(known))
            {
                return Ok((kept, moved, false));
            }
            let pinned = known.filter(|_| !may_move);
            let all = resolved(context, upstreams, entry, pinned, store).await?;
            Ok::<_, crate::Error>((all, moved, may_move))
        })
        .buffered(ENTRIES_AT_ONCE)
        .try_collect()
        .await?;
    let (mut kept, mut updated, mut artifacts) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (all, moved, may_move) in resolved {
        if let (Some(moved), Some(artifact)) = (moved, all.first()) {
            match may_move && locked.get(&artifact.reference()) != Some(&artifact) {
                true => updated.push(moved),
                false => kept.push(moved),
            }
        }
        // Two tags of one image share signatures.
        artifacts.extend(all.into_iter().map(|one| (one.reference(), one)));
    }
    let mut artifacts: Vec<Artifact> = artifacts.into_values().collect();
    artifacts.extend(aliases(&loaded, &artifacts));
    let mut bundles = Vec::new();
    for item in &loaded.set.bundles {
        let may_move = request.replace || update.contains(&Item::Bundle(item));
        let (of, asks) = ((&loaded, item), may_move || request.update.is_empty());
        let found = bundles::lock(context, of, upstreams, earlier, (may_move, asks), store).await?;
        match found.updated {
            true => updated.extend(found.moved),
            false => kept.extend(found.moved),
        }
        add(&mut artifacts, found.artifacts)?;
        bundles.push(found.bundle);
    }
    let uncompared = upstreams.uncompared(usize::MAX)?;
    one_size(&artifacts)?;
    let lock = Lock::of_set(&request.set, bundles, artifacts);
    if let Some(warning) = crate::warnings::external_layers(&lock) {
        context.reporter.report(Event::Warning(warning));
    }
    let text = lock.to_yaml();
    // Later steps must be able to read this lock.
    Lock::parse(&text, path)?;
    let written = !(before.as_deref()).is_some_and(|one| Lock::is_same(one, &text));
    if written {
        write_atomically(&file, &text)?;
    }
    context.reporter.report(Event::Finished {
        step: Step::Fetch,
        what: format!(
            "{} locked",
            environment::count(lock.artifacts.len(), "artifact")
        ),
    });
    // Charts are not fetched if a registry was not reached, to avoid another wait.
    let unlocked = fetch_and_search(context, &lock, store, uncompared.is_empty()).await;
    Ok(Outcome {
        path: path.clone(),
        lock,
        unlocked,
        written,
        moved: kept,
        updated,
    })
}

/// Adds the artifacts of a bundle.
///
/// # Errors
/// [`Error::Overlap`] if a different entry has an artifact with the same `repository:tag`.
fn add(artifacts: &mut Vec<Artifact>, of_bundle: Vec<Artifact>) -> Result<(), crate::Error> {
    let places = artifacts.iter().map(|one| (one.reference(), one));
    let places: BTreeMap<String, &Artifact> = places.collect();
    for artifact in &of_bundle {
        let reference = artifact.reference();
        if let Some(first) = places.get(&reference) {
            let origin = |artifact: &Artifact| {
                let source = artifact.source.as_ref();
                source.map_or_else(String::new, |source| source.reference.clone())
            };
            return Err(Error::Overlap {
                one: origin(first),
                other: origin(artifact),
                reference,
            }
            .into());
        }
    }
    artifacts.extend(of_bundle);
    Ok(())
}

/// Returns the locked artifact of an entry, in its present place or, if its place changed, in the
/// earlier one.
fn locked_as<'a>(entry: &Entry, lock: &'a Lock) -> Option<&'a Artifact> {
    let origin = entry.origin.to_string();
    let is_own = |one: &&Artifact| {
        let source = one.source.as_ref().filter(|_| one.archive.is_empty());
        source.is_some_and(|source| source.reference == origin && source.subject.is_none())
    };
    let known = lock.artifacts.iter().filter(is_own);
    known.min_by_key(|one| one.reference() != entry.place())
}

/// Returns the locked artifact of an entry and its signatures, if they still match the entry.
fn unchanged(entry: &Entry, known: &Artifact, signatures: &[Artifact]) -> Option<Vec<Artifact>> {
    let has_signatures = known.source.as_ref().is_some_and(|one| one.signatures);
    let artifact = placed(known, entry);
    if !artifact.is_of(entry) || entry.signatures && !has_signatures {
        return None;
    }
    let signatures = signatures.iter().filter(|_| entry.signatures);
    let signatures = signatures.map(|one| Artifact {
        repository: entry.repository.clone(),
        ..one.clone()
    });
    Some(std::iter::once(artifact).chain(signatures).collect())
}

/// Resolves an entry, and its signatures if the entry has `signatures: true`. `pinned` is the
/// locked artifact of an entry that may not move.
async fn resolved(
    context: &Context<'_>,
    upstreams: &Upstreams<'_>,
    entry: &Entry,
    pinned: Option<&Artifact>,
    store: &Store,
) -> Result<Vec<Artifact>, crate::Error> {
    Ok(match &entry.origin {
        Origin::Registry(reference) => {
            let repository = upstreams.repository(reference)?;
            let pinned = pinned
                .filter(|_| reference.digest.is_none())
                .map(upstream_digest);
            let asked = pinned.map_or_else(|| reference.asked(), AsRef::as_ref);
            let artifact = resolve(context, &repository, reference, asked, entry, store).await?;
            if (artifact.kind == Kind::Chart) != entry.is_chart {
                return Err(Error::ListedAs {
                    reference: entry.origin.to_string(),
                    listed: if entry.is_chart { "charts" } else { "images" },
                    kind: artifact.kind,
                }
                .into());
            }
            let mut all = match entry.signatures {
                true => {
                    resolve_signatures(context, &repository, reference, &artifact, store).await?
                }
                false => Vec::new(),
            };
            all.insert(0, artifact);
            all
        }
        Origin::HelmRepository { .. } => {
            vec![web::resolve_chart(context, upstreams, entry, store).await?]
        }
        Origin::File { url, digest } => {
            let file = (url, digest);
            vec![web::resolve_file(context, upstreams, file, entry, store).await?]
        }
    })
}

/// Compares the lock of a set with its file and with registries, with one request for each
/// reference. Writes nothing.
///
/// # Errors
/// The set or its lock is missing or not valid, or a registry cannot be used.
pub async fn compare(context: &Context<'_>, set: &str) -> Result<Comparison, crate::Error> {
    let loaded = load(context.workspace, set)?;
    let locked = crate::locked::read_set(context.workspace, set)?;
    let mut differences = set::differences(&loaded, &locked.lock);
    for item in &loaded.set.bundles {
        differences.extend(bundles::difference(context.workspace, item, &locked.lock)?);
    }
    let (moved, unreached) = all_moved(context, &loaded, &locked.lock, false).await?;
    Ok(Comparison {
        path: context.workspace.shown(&locked.path).to_owned(),
        artifacts: locked.lock.artifacts.len(),
        moved,
        differences,
        by_size: (loaded.set.bundles.iter())
            .filter(|item| item.sha256.is_none() && item.key.is_none())
            .map(|item| item.url.to_string())
            .collect(),
        unreached,
    })
}

/// Returns the references of a lock that moved upstream, in the order of the set's file, and those
/// that were not compared because their registries were not reached.
///
/// # Errors
/// A registry refuses a request, or none was reached. With `is_optional`, both are warnings.
pub(super) async fn all_moved(
    context: &Context<'_>,
    loaded: &Loaded,
    lock: &Lock,
    is_optional: bool,
) -> Result<(Vec<Moved>, Vec<String>), crate::Error> {
    let mut upstreams = Upstreams::new(context, loaded);
    upstreams.is_optional = is_optional;
    let upstreams = &upstreams;
    let locked = set::by_place(lock);
    let own = loaded.entries.iter().filter(|one| one.alias_of.is_none());
    let both = own.filter_map(|entry| {
        let known = locked.get(&entry.place()).copied();
        Some((entry, known.filter(|one| one.is_of(entry))?))
    });
    let both: Vec<_> = both.collect();
    let asked = both.len() + loaded.set.bundles.len();
    let mut all: Vec<Moved> = futures_util::stream::iter(both)
        .map(|(entry, known)| async move {
            let moved = moved(upstreams, entry, known).await;
            upstreams.if_reached(entry.origin.to_string(), moved)
        })
        .buffered(ENTRIES_AT_ONCE * 2)
        .try_filter_map(|moved| async move { Ok(moved) })
        .try_collect()
        .await?;
    for item in &loaded.set.bundles {
        if let Some(known) = lock.bundles.iter().find(|one| one.is_of(item)) {
            let key = bundles::key(context.workspace, item)?;
            let moved = bundles::moved(upstreams, item, key.as_ref(), known).await;
            all.extend(upstreams.if_reached(item.url.to_string(), moved)?);
        }
    }
    let uncompared = upstreams.uncompared(if is_optional { usize::MAX } else { asked })?;
    Ok((all, uncompared))
}

/// Returns how a locked reference moved, if it did. A digest does not move.
async fn moved(
    upstreams: &Upstreams<'_>,
    entry: &Entry,
    known: &Artifact,
) -> Result<Option<Moved>, crate::Error> {
    let moved = |locked: String, now: Option<String>| {
        (now.as_ref() != Some(&locked)).then(|| Moved {
            reference: entry.origin.to_string(),
            locked,
            now,
        })
    };
    let (now, locked) = match (&entry.origin, known.download()) {
        (Origin::Registry(reference), _) => {
            if reference.digest.is_some() {
                return Ok(None);
            }
            let repository = upstreams.repository(reference)?;
            let now = repository.digest(reference.asked()).await?;
            (now, upstream_digest(known))
        }
        (Origin::File { .. }, _) => return Ok(None),
        (Origin::HelmRepository { .. }, None) => return Ok(None),
        (origin @ Origin::HelmRepository { .. }, Some((url, layer))) => {
            let Some((now, at)) = web::current(upstreams, origin).await? else {
                return Ok(moved(layer.digest.to_string(), None));
            };
            // The same bytes may have a new URL, or the lock was edited.
            let digest = moved(layer.digest.to_string(), Some(now));
            return Ok(digest.or_else(|| moved(url.to_owned(), Some(at.into()))));
        }
    };
    Ok(moved(locked.to_string(), now))
}

/// Returns the digest that the upstream reference had when it was locked.
fn upstream_digest(artifact: &Artifact) -> &Digest {
    let whole = artifact
        .source
        .as_ref()
        .and_then(|one| one.full_index.as_ref());
    whole.unwrap_or(&artifact.digest)
}

/// Returns an artifact with the repository, tag and flags of an entry.
fn placed(artifact: &Artifact, entry: &Entry) -> Artifact {
    let source = artifact.source.clone();
    Artifact {
        repository: entry.repository.clone(),
        tag: entry.tag.clone(),
        source: source.map(|source| Source {
            alias: entry.alias_of.is_some(),
            signatures: entry.signatures,
            ..source
        }),
        ..artifact.clone()
    }
}

/// Returns the artifacts for aliases: copies of the artifact at the entry's own place, and of its
/// signatures if the alias is in a different repository.
fn aliases(loaded: &Loaded, artifacts: &[Artifact]) -> Vec<Artifact> {
    let known: BTreeSet<String> = artifacts.iter().map(Artifact::reference).collect();
    let mut aliases = BTreeMap::new();
    for entry in &loaded.entries {
        let own = entry.alias_of.as_ref();
        let Some(own) = own.and_then(|own| artifacts.iter().find(|one| one.reference() == *own))
        else {
            continue;
        };
        let signatures = artifacts.iter().filter(|one| one.is_about(own));
        let signatures = signatures.map(|signature| Artifact {
            repository: entry.repository.clone(),
            ..signature.clone()
        });
        let all = signatures.chain([placed(own, entry)]);
        aliases.extend(all.map(|one| (one.reference(), one)));
    }
    aliases.retain(|reference, _| !known.contains(reference));
    aliases.into_values().collect()
}

/// An entry or bundle of a set.
#[derive(Clone, Copy, PartialEq)]
enum Item<'a> {
    Entry(&'a Entry),
    Bundle(&'a BundleItem),
}

impl Item<'_> {
    fn origin(&self) -> String {
        match self {
            Self::Entry(entry) => entry.origin.to_string(),
            Self::Bundle(item) => item.url.to_string(),
        }
    }

    /// Returns whether a name is its full origin or its full place in the mirror.
    fn is(&self, name: &str) -> bool {
        let place = match self {
            Self::Entry(entry) => Some(entry.place()),
            Self::Bundle(item) => item.place.clone(),
        };
        self.origin() == name || place.as_deref() == Some(name)
    }

    /// Returns whether a name is the last part of its origin, with or without tag.
    fn ends_with(&self, name: &str) -> bool {
        let known = match self {
            Self::Entry(entry) => entry.origin.name(),
            Self::Bundle(item) => file_name(&item.url),
        };
        let is_end_of = |whole: &str| {
            let before = whole.strip_suffix(name);
            before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        is_end_of(known) || is_end_of(&self.origin())
    }
}

/// Returns the entry or bundle for each name of `--update`.
fn named<'a>(loaded: &'a Loaded, names: &[String]) -> Result<Vec<Item<'a>>, crate::Error> {
    let own = loaded.entries.iter().filter(|one| one.alias_of.is_none());
    let bundles = loaded.set.bundles.iter().map(Item::Bundle);
    let all: Vec<Item<'_>> = own.map(Item::Entry).chain(bundles).collect();
    let matching = |is: &dyn Fn(&Item<'_>) -> bool| -> Vec<Item<'a>> {
        all.iter().copied().filter(|one| is(one)).collect()
    };
    let mut found = Vec::new();
    for name in names {
        let mut fits = matching(&|one| one.is(name));
        if fits.is_empty() {
            fits = matching(&|one| one.ends_with(name));
        }
        match fits.as_slice() {
            [one] => found.push(*one),
            fits => {
                return Err(Error::Entry {
                    set: loaded.name.clone(),
                    name: name.clone(),
                    matching: fits.iter().map(Item::origin).collect(),
                    known: all.iter().map(Item::origin).collect(),
                }
                .into());
            }
        }
    }
    Ok(found)
}
