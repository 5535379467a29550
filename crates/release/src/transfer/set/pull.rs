//! Downloads the blobs of sets from registries and web servers into the store, each once, by
//! digest.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bundle::set::{Origin, Reference};
use bundle::{Artifact, Lock, Store};
use camino::Utf8PathBuf;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::Digest;
use registry::BlobTarget;
use url::Url;

use super::keep::{Memory, Pieces, advanced, keep};
use super::need::{Need, needs};
use super::resolve::{Referrers, referrers};
use super::upstream::{Repository, Upstreams, WebFile};
use super::web;
use crate::event::{Event, Step};
use crate::observe::FetchObserver;
use crate::set::{self, Error, load};
use crate::transfer::fetch::{self, DownloadSource, Source};
use crate::transfer::local;
use crate::{Context, Workspace, locked};

/// Maximum number of blobs that are read concurrently.
const BLOBS_AT_ONCE: usize = 8;

/// Minimum size in bytes of blobs that are received in the store, where a later run resumes them.
/// Smaller ones are received in memory.
const IN_PIECES: u64 = 1 << 20;

/// Interval for checking whether a different process has finished reading the same blob.
const WAIT: Duration = Duration::from_millis(200);

/// Counts of a fetch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fetched {
    /// Number of blobs, including manifests.
    pub blobs: usize,
    /// Total size in bytes.
    pub bytes: u64,
}

/// Source of a blob.
enum Remote<'u> {
    Registry(Repository<'u>),
    Web(WebFile<'u>),
}

impl Remote<'_> {
    async fn pull(
        &self,
        blob: &registry::Blob,
        target: &mut dyn BlobTarget,
        observer: &FetchObserver<'_>,
    ) -> Result<(), registry::Error> {
        match self {
            Self::Registry(one) => {
                let pulled = one.registry.pull_blob(&one.path, blob, target, observer);
                pulled.await
            }
            Self::Web(file) => file.pull(blob, target, observer).await,
        }
    }

    fn failed(&self, digest: &Digest, source: registry::Error) -> crate::Error {
        match self {
            Self::Registry(repository) => repository.failed(Some(digest.as_ref()), source),
            Self::Web(file) => file.failed(source),
        }
    }
}

/// Sources of artifacts: for each, the lock of its set, and the registries that the set's file
/// describes.
struct Origins<'a> {
    sets: Vec<(Utf8PathBuf, Upstreams<'a>)>,
    /// Index in `sets`:
    ///
    /// - for an entry, by place and reference
    /// - for signatures, by the repositories of both registries
    /// - for a bundle, by an empty place and its URL
    entries: HashMap<(String, String), usize>,
    /// Lock and registry of the release, if it was not locked from a bundle.
    release: Option<(Utf8PathBuf, Upstreams<'a>)>,
}

impl<'a> Origins<'a> {
    /// Reads the files of the sets in a lock. Invalid files are skipped: the lock was compared with
    /// the files of its sets before, so they do not belong to it.
    fn of(context: &'a Context<'a>, lock: &Lock) -> Result<Self, crate::Error> {
        let names = match &lock.set {
            Some(set) => vec![set.clone()],
            None => set::names(context.workspace)?,
        };
        let (mut sets, mut entries) = (Vec::new(), HashMap::new());
        for name in names {
            let Ok(loaded) = load(context.workspace, &name) else {
                continue;
            };
            for item in &loaded.set.bundles {
                let key = (String::new(), item.url.to_string());
                entries.entry(key).or_insert(sets.len());
            }
            for entry in &loaded.entries {
                let key = (entry.place(), entry.origin.to_string());
                entries.entry(key).or_insert(sets.len());
                if let (true, Origin::Registry(reference)) = (entry.signatures, &entry.origin) {
                    let key = (entry.repository.clone(), repository_of(reference));
                    entries.entry(key).or_insert(sets.len());
                }
            }
            let lock = context.workspace.set_lock(&name);
            sets.push((lock, Upstreams::new(context, &loaded)));
        }
        let release = lock.from.as_ref().map(|_| {
            let path = context.workspace.lock(&lock.release, &lock.arch);
            (path, Upstreams::of_release(context))
        });
        Ok(Self {
            sets,
            entries,
            release,
        })
    }

    /// Returns the lock and the registries for an artifact.
    ///
    /// # Errors
    /// [`Error::Unlisted`] if the set's file changed since the lock was read.
    fn set(&self, artifact: &Artifact) -> Result<&(Utf8PathBuf, Upstreams<'a>), crate::Error> {
        let source = artifact.source.as_ref();
        let reference = source.map(|source| source.reference.clone());
        let reference = reference.unwrap_or_default();
        let signs = source.is_some_and(|source| source.subject.is_some());
        let key = match Reference::parse(&reference) {
            Ok(parsed) if signs => (artifact.repository.clone(), repository_of(&parsed)),
            _ if artifact.archive.is_empty() => (artifact.reference(), reference.clone()),
            _ => (String::new(), reference.clone()),
        };
        self.find(&key)
    }

    /// Returns the source of an artifact.
    ///
    /// # Errors
    /// [`Error::Unlisted`] if the set's file changed since the lock was read; also if the CA or
    /// credentials of the server cannot be used.
    fn remote(
        &self,
        artifact: &Artifact,
        source: &bundle::Source,
    ) -> Result<Remote<'_>, crate::Error> {
        let (_, upstreams) = self.set(artifact)?;
        Ok(match artifact.download() {
            Some((url, _)) => {
                let Ok(url) = Url::parse(url) else {
                    unreachable!("a lock was checked when it was read");
                };
                Remote::Web(upstreams.file(&url)?)
            }
            None => {
                let Ok(reference) = Reference::parse(&source.reference) else {
                    unreachable!("a lock was checked when it was read");
                };
                Remote::Registry(upstreams.repository(&reference)?)
            }
        })
    }

    /// Returns the lock and the registries for a key of `entries`.
    fn find(&self, key: &(String, String)) -> Result<&(Utf8PathBuf, Upstreams<'a>), crate::Error> {
        let set = self.entries.get(key);
        match (set, &self.release) {
            (Some(set), _) => Ok(&self.sets[*set]),
            (None, Some(release)) => Ok(release),
            (None, None) => {
                let reference = key.1.clone();
                Err(Error::Unlisted { reference }.into())
            }
        }
    }
}

/// Returns the repository of a reference, with its host.
fn repository_of(reference: &Reference) -> String {
    format!("{}/{}", reference.host, reference.repository)
}

/// Downloads everything that a lock has from registries and web servers into the store. Calls
/// `each` for every blob that was stored. This `store` remembers that it hashed them.
///
/// # Errors
/// A registry does not serve a digest, a manifest contradicts the lock ([`Error::Contradiction`]),
/// or the store cannot be written.
pub(crate) async fn pull(
    context: &Context<'_>,
    lock: &Lock,
    store: &Store,
    each: &(dyn Fn(&Digest) + Sync),
) -> Result<(), crate::Error> {
    let needs = needs(lock, store);
    if needs.is_empty() {
        return Ok(());
    }
    let total = environment::count(needs.len(), "blob");
    let origins = Origins::of(context, lock)?;
    context.reporter.report(Event::Started {
        step: Step::Fetch,
        what: format!("{total} from upstream"),
        bytes: Some(needs.iter().map(|need| need.size).sum()),
    });
    let origins = &origins;
    let (derived, downloaded): (Vec<_>, Vec<_>) = needs.into_iter().partition(Need::is_derived);
    for needs in [downloaded, derived] {
        let reading = needs.into_iter().map(|need| async move {
            read(context, origins, store, &need).await?;
            Ok::<_, crate::Error>(need)
        });
        let reading: Vec<_> = reading.collect();
        let mut reading = futures_util::stream::iter(reading).buffer_unordered(BLOBS_AT_ONCE);
        while let Some(need) = reading.try_next().await? {
            each(need.digest);
        }
    }
    // All manifests are in the store now, so the lock can be compared with them.
    if let Some((artifact, manifest)) = set::contradiction(lock, store) {
        let (path, _) = origins.set(artifact)?;
        return Err(locked::contradicts(
            context.workspace,
            path,
            artifact,
            manifest,
        ));
    }
    local::list(store, lock).map_err(|source| crate::Error::store(context.workspace, source))?;
    context.reporter.report(Event::Finished {
        step: Step::Fetch,
        what: format!("{total} fetched and verified"),
    });
    Ok(())
}

/// Returns the source of a set's bundle. If the set names a mirror, that is the source.
///
/// # Errors
/// [`Error::Unlisted`] if the set's file changed since the lock was read; also if the CA or
/// credentials of the server cannot be used.
pub(crate) fn place(
    context: &Context<'_>,
    lock: &Lock,
    url: &str,
) -> Result<DownloadSource, crate::Error> {
    let origins = Origins::of(context, lock)?;
    let (_, upstreams) = origins.find(&(String::new(), url.to_owned()))?;
    let Ok(url) = Url::parse(url) else {
        unreachable!("a lock was checked when it was read");
    };
    upstreams.file(&url)?.place()
}

/// Checks that CA and credentials are available for all content of sets that the store lacks. Makes
/// no request.
///
/// # Errors
/// As for [`place`].
pub(crate) fn require_access(
    context: &Context<'_>,
    lock: &Lock,
    store: &Store,
) -> Result<(), crate::Error> {
    let origins = Origins::of(context, lock)?;
    let needs = needs(lock, store);
    let sources = needs.iter().filter_map(|need| {
        let source = need.artifact.source.as_ref()?;
        Some((&source.reference, (need.artifact, source)))
    });
    for (artifact, source) in sources.collect::<BTreeMap<_, _>>().into_values() {
        origins.remote(artifact, source)?;
    }
    for part in lock.set_bundles() {
        if let Source::Download(_) = fetch::source(context.workspace, &part)? {
            place(context, lock, &part.bundle.url)?;
        }
    }
    Ok(())
}

/// Returns the amount to download for sets. A bundle that is not local is downloaded completely.
pub(crate) fn amount(workspace: &Workspace, lock: &Lock, store: &Store) -> Fetched {
    let needs = needs(lock, store);
    let mut amount = Fetched {
        blobs: needs.len(),
        bytes: needs.iter().map(|need| need.size).sum(),
    };
    for part in lock.set_bundles() {
        if let Ok(Source::Download(_)) = fetch::source(workspace, &part) {
            amount.blobs += store.missing(&part).len();
            amount.bytes += part.bundle.size;
        }
    }
    amount
}

async fn read(
    context: &Context<'_>,
    origins: &Origins<'_>,
    store: &Store,
    need: &Need<'_>,
) -> Result<(), crate::Error> {
    let Some(source) = &need.artifact.source else {
        unreachable!("only artifacts of registries are needed here");
    };
    let bytes = if need.is_derived() {
        web::derived(context, need.artifact, need.digest, store)?
    } else {
        match origins.remote(need.artifact, source)? {
            Remote::Registry(repository) if need.is_manifest => {
                read_manifest(&repository, need).await?
            }
            from if need.size < IN_PIECES => {
                let mut target = Memory::default();
                read_blob(context, &from, need, &mut target).await?;
                target.0
            }
            from => return read_in_pieces(context, &from, store, need).await,
        }
    };
    keep(context, store, need.digest, &bytes)?;
    advanced(context.reporter, need.size);
    Ok(())
}

async fn read_blob(
    context: &Context<'_>,
    from: &Remote<'_>,
    need: &Need<'_>,
    target: &mut dyn BlobTarget,
) -> Result<(), crate::Error> {
    let blob = registry::Blob {
        digest: need.digest.clone(),
        size: need.size,
    };
    let observer = FetchObserver(context.reporter);
    let pulled = from.pull(&blob, target, &observer).await;
    pulled.map_err(|source| match source {
        registry::Error::Target { source, .. }
            if source
                .get_ref()
                .is_some_and(|one| one.is::<bundle::StoreError>()) =>
        {
            match source.downcast::<bundle::StoreError>() {
                Ok(source) => crate::Error::store(context.workspace, source),
                Err(source) => crate::Error::io("write", &context.workspace.store(), source),
            }
        }
        source => from.failed(need.digest, source),
    })
}

/// Reads a blob into the store, and resumes what an earlier run has of it.
async fn read_in_pieces(
    context: &Context<'_>,
    from: &Remote<'_>,
    store: &Store,
    need: &Need<'_>,
) -> Result<(), crate::Error> {
    let stored = |source| crate::Error::store(context.workspace, source);
    loop {
        if store.has(need.digest, need.size) {
            advanced(context.reporter, need.size);
            return Ok(());
        }
        let (kept, digest, size) = (store.clone(), need.digest.clone(), need.size);
        let partial = run_blocking(move || kept.partial(&digest, size)).await;
        let Some(partial) = partial.map_err(stored)? else {
            tokio::time::sleep(WAIT).await;
            continue;
        };
        let mut target = Pieces::new(partial, context.reporter);
        read_blob(context, from, need, &mut target).await?;
        let partial = target.partial;
        return run_blocking(move || partial.commit()).await.map_err(stored);
    }
}

/// Runs blocking work on a thread, so other blobs are read meanwhile.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Reads a manifest, or creates the locked index again from what the registry has.
async fn read_manifest(
    repository: &Repository<'_>,
    need: &Need<'_>,
) -> Result<Vec<u8>, crate::Error> {
    let artifact = need.artifact;
    let whole = artifact
        .source
        .as_ref()
        .and_then(|source| source.full_index.as_ref());
    let is_derived = artifact.manifests.len() > 1 && *need.digest == artifact.digest;
    let asked = whole.filter(|_| is_derived).unwrap_or(need.digest);
    let fetched = (repository.registry).get_manifest(&repository.path, asked.as_ref());
    let fetched = repository.awaited(fetched).await;
    let subject = (artifact.source.as_ref()).and_then(|source| source.subject.as_ref());
    let locked: Vec<&str> = (artifact.manifests.iter())
        .map(|one| one.digest.as_ref())
        .collect();
    let is_locked = |digest: &str| locked.contains(&digest);
    let fetched = match (fetched, subject) {
        // The locked index was made from the response of the referrers API.
        (Err(registry::Error::NotFound { .. }), Some(subject)) if is_derived => {
            return match referrers(repository, subject, &is_locked).await? {
                Some(Referrers::Listed(bytes)) => require_locked(artifact, need, bytes),
                _ => Err(Error::Shape {
                    reference: artifact.reference(),
                    rule: "its registry does not list it any more",
                }
                .into()),
            };
        }
        (fetched, _) => fetched,
    };
    let fetched = fetched.map_err(|source| repository.failed(Some(asked.as_ref()), source))?;
    if asked == need.digest {
        return Ok(fetched.bytes.to_vec());
    }
    let reduced = bundle::reduce(&fetched.bytes, &is_locked);
    let reduced = reduced.map_err(|source| Error::Content {
        reference: need.digest.to_string(),
        source,
    })?;
    require_locked(artifact, need, reduced)
}

/// Checks that an index that was created again has the locked digest.
fn require_locked(
    artifact: &Artifact,
    need: &Need<'_>,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, crate::Error> {
    match format!("sha256:{}", crate::sha256(&bytes)) == need.digest.as_ref() {
        true => Ok(bytes),
        false => Err(Error::Shape {
            reference: artifact.reference(),
            rule: "its parts do not give the index that was locked",
        }
        .into()),
    }
}
