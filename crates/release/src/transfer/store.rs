//! Reports the content of the store by release, and removes blobs that no lock in `bundles/` names.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use programs::Absent;
use serde::Serialize;

use crate::transfer::fetch::open_store;
use crate::{Context, Workspace};

mod error;

pub use error::Error;

/// Content of the store.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Path of the store, relative to the workspace.
    pub path: Utf8PathBuf,
    /// Number of blobs.
    pub blobs: usize,
    /// Bytes of all blobs.
    pub bytes: u64,
    /// Bytes of the blobs that several releases name.
    pub shared_bytes: u64,
    /// Locked releases and sets, sorted by the file names of their locks.
    pub releases: Vec<Row>,
    /// Blobs that no lock names.
    pub unnamed: Amount,
}

/// Content of the store for one release.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// Release, such as `v4.1.5`, or name of the set.
    pub release: String,
    /// Architecture of the bundle; empty for a set.
    pub arch: String,
    /// Blobs in the store.
    pub held: Amount,
    /// Blobs that the store lacks.
    pub missing: Amount,
    /// Blobs that other releases name, too.
    pub shared: Amount,
    /// Blobs that would become garbage without this lock.
    pub frees: Amount,
}

/// Number and size of blobs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Amount {
    /// Number of blobs.
    pub blobs: usize,
    /// Their total size in bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

/// Content that a garbage collection removes.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Garbage {
    /// Artifacts in the store's `index.json` that no lock names, as `repository:tag`.
    pub artifacts: Vec<String>,
    /// Blobs that no lock names, largest first.
    pub blobs: Vec<Blob>,
    /// Total size of the blobs in bytes.
    pub bytes: u64,
}

/// A blob in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Blob {
    /// Digest, `sha256:<hex>`.
    pub digest: String,
    /// Size in bytes.
    pub bytes: u64,
}

impl Garbage {
    /// Returns whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.artifacts.is_empty() && self.blobs.is_empty()
    }
}

/// Returns the content of the store, by release.
///
/// # Errors
/// The store or a lock cannot be read.
pub fn report(workspace: &Workspace) -> Result<Report, crate::Error> {
    let named = Named::read(workspace)?;
    let store = open_store(workspace)?;
    let held = store
        .blobs()
        .map_err(|source| crate::Error::store(workspace, source))?;
    let mut report = Report {
        path: workspace.shown(&workspace.store()).to_owned(),
        blobs: held.len(),
        bytes: held.values().sum(),
        shared_bytes: 0,
        releases: Vec::with_capacity(named.locks.len()),
        unnamed: Amount::default(),
    };
    for (digest, &bytes) in &held {
        match named.by.get(digest) {
            None => report.unnamed.add(bytes),
            Some(1) => {}
            Some(_) => report.shared_bytes += bytes,
        }
    }
    for lock in &named.locks {
        let mut row = Row {
            release: lock.name().to_owned(),
            arch: lock.arch.clone(),
            held: Amount::default(),
            missing: Amount::default(),
            shared: Amount::default(),
            frees: Amount::default(),
        };
        for (digest, size) in blobs(lock) {
            match held.get(&digest) {
                // A file of a different size is damaged. It takes room, and is read again.
                Some(&found) if found == size => row.held.add(size),
                _ => row.missing.add(size),
            }
            let Some(&found) = held.get(&digest) else {
                continue;
            };
            if named.by.get(&digest).is_some_and(|releases| *releases > 1) {
                row.shared.add(found);
            } else {
                row.frees.add(found);
            }
        }
        report.releases.push(row);
    }
    Ok(report)
}

/// Returns what [`collect`] would remove now.
///
/// # Errors
/// The store or a lock cannot be read.
pub fn garbage(workspace: &Workspace) -> Result<Garbage, crate::Error> {
    find_garbage(workspace, &open_store(workspace)?)
}

/// Removes everything that no lock in `bundles/` names, after passing it to `show`.
///
/// An exclusive lock keeps other processes from writing to the store meanwhile. A process that
/// reads a bundle holds a shared lock from its first blob until its lock file is written. So no
/// blob is removed that a lock is about to name.
///
/// # Errors
/// [`Error::LocksMissing`] if a committed lock is missing from the working tree; also if the store
/// or a lock cannot be read, another process is writing to the store, or a file cannot be removed.
pub fn collect(context: &Context<'_>, show: &dyn Fn(&Garbage)) -> Result<Garbage, crate::Error> {
    let root = context.workspace.root();
    let has_repository = || (root.ancestors()).any(|folder| folder.join(".git").exists());
    let locks = match ask_git(context) {
        Err(Absent::NotInstalled) if !has_repository() => Vec::new(),
        Err(Absent::NoRepository { .. }) => Vec::new(),
        asked => asked.map_err(|source| Error::GitRefused { source })?,
    };
    match locks.is_empty() {
        true => collect_in(context.workspace, show),
        false => Err(Error::LocksMissing { locks }.into()),
    }
}

fn collect_in(workspace: &Workspace, show: &dyn Fn(&Garbage)) -> Result<Garbage, crate::Error> {
    let fail = |source| crate::Error::store(workspace, source);
    let store = open_store(workspace)?;
    let exclusive = store.exclusive().map_err(fail)?;
    // Locks are read only now, when no other process can add one.
    let garbage = find_garbage(workspace, &store)?;
    show(&garbage);
    let Some(exclusive) = exclusive else {
        return Ok(garbage);
    };
    exclusive.sweep().map_err(fail)?;
    // Names are removed before blobs, so the index never names a missing blob, even after an
    // interruption.
    if !garbage.artifacts.is_empty() {
        let unnamed: BTreeSet<&str> = garbage.artifacts.iter().map(String::as_str).collect();
        exclusive
            .unlist(&|listed| !unnamed.contains(listed.reference.as_str()))
            .map_err(fail)?;
    }
    for blob in &garbage.blobs {
        // All names from the store are digests.
        if let Ok(digest) = bundle::sha256_digest(&blob.digest) {
            exclusive.remove(&digest).map_err(fail)?;
        }
    }
    Ok(garbage)
}

/// Returns the committed locks that are missing from the working tree, relative to the workspace.
/// Without git there are none.
pub fn missing_locks(context: &Context<'_>) -> Vec<String> {
    ask_git(context).unwrap_or_default()
}

fn ask_git(context: &Context<'_>) -> Result<Vec<String>, Absent> {
    let pattern = format!("bundles/*{}", bundle::Lock::SUFFIX);
    programs::Git::of(context.workspace.root(), &context.tool.variables)?.missing(&pattern)
}

fn find_garbage(workspace: &Workspace, store: &bundle::Store) -> Result<Garbage, crate::Error> {
    let named = Named::read(workspace)?;
    let fail = |source| crate::Error::store(workspace, source);
    let mut blobs: Vec<Blob> = store
        .blobs()
        .map_err(fail)?
        .into_iter()
        .filter(|(digest, _)| !named.by.contains_key(digest))
        .map(|(digest, bytes)| Blob { digest, bytes })
        .collect();
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.bytes));
    let artifacts = store
        .listed()
        .map_err(fail)?
        .into_iter()
        .filter(|listed| !named.artifact(listed))
        .map(|listed| listed.reference)
        .collect();
    Ok(Garbage {
        artifacts,
        bytes: blobs.iter().map(|blob| blob.bytes).sum(),
        blobs,
    })
}

/// Blobs and artifacts that the locks in `bundles/` name.
struct Named {
    locks: Vec<bundle::Lock>,
    /// Number of locks that name each digest.
    by: BTreeMap<String, usize>,
}

impl Named {
    /// Reads all locks. An unreadable one is an error, because it might name any blob.
    fn read(workspace: &Workspace) -> Result<Self, crate::Error> {
        let mut locks = Vec::new();
        let mut by = BTreeMap::new();
        for path in workspace.locks()? {
            let lock = bundle::Lock::read(&path)?;
            for digest in blobs(&lock).into_keys() {
                *by.entry(digest).or_insert(0) += 1;
            }
            locks.push(lock);
        }
        Ok(Self { locks, by })
    }

    fn artifact(&self, listed: &bundle::Listed) -> bool {
        let mut artifacts = self.locks.iter().flat_map(|lock| &lock.artifacts);
        artifacts.any(|artifact| {
            artifact.digest == listed.digest && artifact.reference() == listed.reference
        })
    }
}

/// Returns the size of each blob that a lock names, including the release matrix.
fn blobs(lock: &bundle::Lock) -> BTreeMap<String, u64> {
    let mut blobs = lock.blobs();
    if let Some(matrix) = &lock.release_matrix {
        blobs.insert(format!("sha256:{}", matrix.sha256), matrix.size);
    }
    blobs
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bundle::make::{self, Recipe};
    use bundle::{Lock, Silent, Store};
    use camino::Utf8Path;

    use super::*;
    use crate::Error;
    use crate::disk;
    use crate::testing;

    /// A workspace in a folder that is gone when the test is over.
    struct Place {
        workspace: Workspace,
        _folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = Utf8Path::from_path(folder.path()).unwrap();
            fs::create_dir(path.join("bundles")).unwrap();
            Self {
                workspace: Workspace::new(path),
                _folder: folder,
            }
        }

        /// Reads a release of one image into the store and commits its lock. Its layers are 10,000
        /// bytes each.
        fn lock(&self, release: &str, image: &str, layers: &[&str]) -> Lock {
            let recipe = Recipe {
                directory: "bundles".to_owned(),
                level: 0,
                matrix: Some(format!("[\"{release}\"]\n")),
                artifacts: vec![testing::image(image, layers, 10_000)],
            };
            let mut bytes = Vec::new();
            make::write(&recipe, &mut bytes).unwrap();
            let mut store = self.store();
            let contents = bundle::read(bytes.as_slice(), &mut store, None, &Silent).unwrap();
            let version = semver::Version::parse(release).unwrap();
            let lock = Lock::from_contents(
                &version,
                "amd64",
                "bundle.tar.gz",
                "https://example.com/bundle.tar.gz",
                Vec::new(),
                contents,
            );
            fs::write(self.path(release), lock.to_yaml()).unwrap();
            lock
        }

        fn path(&self, release: &str) -> Utf8PathBuf {
            self.workspace.lock(&format!("v{release}"), "amd64")
        }

        fn store(&self) -> Store {
            Store::open(&self.workspace.store()).unwrap()
        }

        /// Collects, and checks that nothing was removed when it was shown.
        fn collect(&self) -> Result<Garbage, Error> {
            let before = self.store().blobs().unwrap();
            collect_in(&self.workspace, &|_| {
                assert_eq!(self.store().blobs().unwrap(), before);
            })
        }
    }

    #[test]
    fn reports_what_each_release_would_free() {
        let place = Place::new();
        let old = place.lock("4.1.4", "pause", &["base", "old"]);
        let new = place.lock("4.1.5", "pause", &["base", "new"]);
        let report = report(&place.workspace).unwrap();
        // Layer, config, manifest and matrix are its own; the layer `base` is shared.
        let [old_row, new_row] = report.releases.as_slice() else {
            panic!("{report:?}");
        };
        for (row, lock) in [(old_row, &old), (new_row, &new)] {
            assert_eq!((row.held.blobs, row.missing.blobs), (5, 0));
            assert_eq!(row.held.bytes, blobs(lock).values().sum::<u64>());
            assert_eq!((row.shared.blobs, row.frees.blobs), (1, 4));
            assert_eq!(row.shared.bytes + row.frees.bytes, row.held.bytes);
        }
        assert_eq!(report.shared_bytes, old_row.shared.bytes);
        assert_eq!(report.blobs, 9);
        assert_eq!(
            report.bytes,
            old_row.frees.bytes + new_row.frees.bytes + report.shared_bytes
        );
        assert_eq!(report.unnamed, Amount::default());
    }

    #[test]
    fn reports_missing_and_unnamed_blobs() {
        let place = Place::new();
        let lock = place.lock("4.1.4", "pause", &["layer"]);
        place.lock("4.1.5", "dex", &["other"]);
        fs::remove_file(place.path("4.1.5")).unwrap();
        place.store().discard(&lock.artifacts[0].digest).unwrap();
        let report = report(&place.workspace).unwrap();
        assert_eq!(report.releases[0].missing.blobs, 1);
        assert_eq!(report.releases[0].missing.bytes, lock.artifacts[0].size);
        assert_eq!(report.unnamed.blobs, 4);
    }

    #[test]
    fn removes_only_blobs_that_no_lock_names() {
        let place = Place::new();
        place.lock("4.1.4", "pause", &["base", "old"]);
        let new = place.lock("4.1.5", "dex", &["base", "new"]);
        assert!(place.collect().unwrap().is_empty());
        fs::remove_file(place.path("4.1.4")).unwrap();
        let frees = garbage(&place.workspace).unwrap();
        assert_eq!(frees.artifacts, ["pause:v1"]);
        assert_eq!(frees.blobs.len(), 4);
        assert!(
            frees
                .blobs
                .is_sorted_by_key(|blob| std::cmp::Reverse(blob.bytes))
        );
        let before = place.store().blobs().unwrap();
        assert_eq!(before.len(), 9, "a report removes nothing");
        assert_eq!(place.collect().unwrap(), frees);
        let store = place.store();
        let after = store.blobs().unwrap();
        assert_eq!(store.missing(&new), []);
        let sum = |blobs: &BTreeMap<String, u64>| blobs.values().sum::<u64>();
        assert_eq!(sum(&before) - sum(&after), frees.bytes);
        let listed = store.listed().unwrap();
        let names: Vec<&str> = listed.iter().map(|one| one.reference.as_str()).collect();
        assert_eq!(names, ["dex:v1"]);
        assert!(place.collect().unwrap().is_empty());
    }

    #[test]
    fn a_name_that_another_release_took_over_stays() {
        let place = Place::new();
        place.lock("4.1.4", "pause", &["old"]);
        place.lock("4.1.5", "pause", &["new"]);
        fs::remove_file(place.path("4.1.4")).unwrap();
        assert_eq!(place.collect().unwrap().artifacts, Vec::<String>::new());
        assert_eq!(place.store().listed().unwrap().len(), 1);
    }

    #[test]
    fn removes_nothing_where_a_lock_cannot_be_read() {
        let place = Place::new();
        place.lock("4.1.4", "pause", &["layer"]);
        let path = place.path("4.1.4");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("version: 1", "version: 2")).unwrap();
        let before = place.store().blobs().unwrap();
        assert!(matches!(place.collect(), Err(Error::InvalidLock(_))));
        assert_eq!(place.store().blobs().unwrap(), before);
    }

    #[test]
    fn removes_nothing_while_a_bundle_is_read() {
        let place = Place::new();
        place.lock("4.1.4", "pause", &["layer"]);
        fs::remove_file(place.path("4.1.4")).unwrap();
        let mut reading = place.store();
        let blob = place.store().blobs().unwrap().into_iter().next().unwrap();
        let digest = bundle::sha256_digest(&blob.0).unwrap();
        assert!(
            bundle::Sink::blob(&mut reading, &digest, blob.1)
                .unwrap()
                .is_none()
        );
        assert!(matches!(
            place.collect(),
            Err(Error::Disk(disk::Error::Store {
                source: bundle::StoreError::InUse { .. },
                ..
            }))
        ));
        assert!(reading.has(&digest, blob.1));
        drop(reading);
        assert_eq!(place.collect().unwrap().blobs.len(), 4);
    }

    #[test]
    fn a_workspace_without_store_has_nothing_and_gets_none() {
        let place = Place::new();
        assert_eq!(report(&place.workspace).unwrap().blobs, 0);
        assert!(place.collect().unwrap().is_empty());
        assert!(!place.workspace.store().exists());
    }
}
