//! Lists environments, locked releases and sets of the workspace, with their states.

use camino::Utf8Path;
use serde::Serialize;

use crate::receipt::Receipt;
use crate::transfer::fetch;
use crate::workspace::Output;
use crate::{Error, Workspace, chain, locked, parallel, set, workspace};

/// The environments, locked releases and sets of a workspace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listing {
    /// The environments, sorted by name.
    pub environments: Vec<EnvironmentRow>,
    /// The locked releases, sorted by the file names of their locks.
    pub releases: Vec<ReleaseRow>,
    /// The sets, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<SetRow>,
}

/// One environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EnvironmentRow {
    /// The name.
    pub name: String,
    /// The release, `v4.1.5`; empty if the files are invalid.
    pub release: String,
    /// Registry and project; empty if the files are invalid.
    pub registry: String,
    /// Whether changes must be confirmed by the environment's name.
    pub protected: bool,
    /// The last deploy, or the reason why there is none, in a few words.
    pub state: String,
}

/// One locked release.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReleaseRow {
    /// The release, `v4.1.5`.
    pub release: String,
    /// The bundle's architecture.
    pub arch: String,
    /// Number of artifacts.
    pub artifacts: usize,
    /// Size of the bundle in bytes; without a bundle, of all blobs.
    pub size: u64,
    /// Where the bytes are, in a few words: `in the store`, `not fetched`.
    pub state: String,
}

/// A set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SetRow {
    /// The name.
    pub set: String,
    /// Number of artifacts in the lock.
    pub artifacts: usize,
    /// Bytes of the artifacts, each blob counted once.
    pub size: u64,
    /// Where the bytes are, in a few words: `in the store`, `not fetched`.
    pub state: String,
}

/// Lists environments, locked releases and sets, also invalid ones.
///
/// # Errors
/// A folder cannot be listed.
pub fn list(workspace: &Workspace) -> Result<Listing, Error> {
    let names = environment::names(workspace.root())?;
    let environments = parallel::map(&names, |name| environment_row(workspace, name.clone()));
    let store = fetch::open_store(workspace)?;
    let mut releases = Vec::new();
    for path in workspace.locks()? {
        let lock = match bundle::Lock::read(&path) {
            Ok(lock) if lock.set.is_some() => continue,
            Ok(lock) => lock,
            Err(_) if is_of_set(&path) => continue,
            Err(_) => {
                releases.push(unreadable(&path));
                continue;
            }
        };
        let lacks = crate::transfer::set::need::is_needed(&lock, &store);
        let state = match fetch::source(workspace, &lock) {
            Ok(fetch::Source::Store) if lacks => "not fetched",
            Ok(fetch::Source::Store) => "in the store",
            Ok(fetch::Source::File(_)) => "bundle is in bundles/",
            Ok(fetch::Source::Made(_)) => "made when needed",
            Ok(fetch::Source::Download(_)) if is_partial(&store, &lock) => "partly in the store",
            Ok(fetch::Source::Download(_)) => "not fetched",
            Err(_) => "bundle has a different size",
        };
        releases.push(ReleaseRow {
            release: lock.release.clone(),
            arch: lock.arch.clone(),
            artifacts: lock.artifacts.len(),
            size: match lock.from {
                Some(_) => lock.unique_bytes(),
                None => lock.bundle.size,
            },
            state: state.to_owned(),
        });
    }
    Ok(Listing {
        environments,
        releases,
        sets: (set::names(workspace)?.iter())
            .map(|name| set_row(workspace, &store, name))
            .collect(),
    })
}

/// Returns whether the file name of a lock is that of a set's lock.
fn is_of_set(path: &Utf8Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let bare = name.strip_suffix(bundle::Lock::SUFFIX).unwrap_or(name);
    bundle::set::is_name(bare)
}

/// Returns the row of a set.
pub(super) fn set_row(workspace: &Workspace, store: &bundle::Store, name: &str) -> SetRow {
    let row = |artifacts, size, state: &str| SetRow {
        set: name.to_owned(),
        artifacts,
        size,
        state: state.to_owned(),
    };
    match locked::of_set(workspace, name) {
        Ok((_, locked)) => {
            let lock = locked.lock;
            let state = match store.missing(&lock).is_empty() {
                true => "in the store",
                false if is_partial(store, &lock) => "partly in the store",
                false => "not fetched",
            };
            row(lock.artifacts.len(), lock.unique_bytes(), state)
        }
        Err(Error::Set(set::Error::NotLocked { .. })) => row(0, 0, "not locked"),
        Err(Error::Set(set::Error::Outdated { .. })) => row(0, 0, "its lock does not fit"),
        Err(_) => row(0, 0, "invalid; `lock` shows why"),
    }
}

/// Returns whether the store has some of a lock's blobs.
fn is_partial(store: &bundle::Store, lock: &bundle::Lock) -> bool {
    store.missing(lock).len() < lock.blobs().len()
}

/// Returns the row of a lock that cannot be read. Release and architecture are from its file name.
fn unreadable(path: &Utf8Path) -> ReleaseRow {
    let name = path.file_name().unwrap_or_default();
    let bare = name.strip_suffix(bundle::Lock::SUFFIX).unwrap_or(name);
    let (release, arch) = bundle::Lock::named(name).unwrap_or((bare, ""));
    ReleaseRow {
        release: release.to_owned(),
        arch: arch.to_owned(),
        artifacts: 0,
        size: 0,
        state: "its lock cannot be read".to_owned(),
    }
}

fn environment_row(workspace: &Workspace, name: String) -> EnvironmentRow {
    let environment = match mke::load(workspace.root(), &name) {
        Ok(environment) => environment,
        Err(error) => {
            return EnvironmentRow {
                release: String::new(),
                registry: String::new(),
                protected: false,
                state: match &error {
                    environment::Error::Wrong(problems) => {
                        format!("wrong: {}", environment::count_problems(&problems.0))
                    }
                    environment::Error::Name { .. } => "invalid name".to_owned(),
                    error => format!("wrong: {}", chain(error)),
                },
                name,
            };
        }
    };
    EnvironmentRow {
        release: format!("v{}", environment.release),
        registry: environment.registry.image_url(),
        protected: environment.protected,
        state: state(workspace, &environment),
        name,
    }
}

/// Returns the state of an environment, in a few words. A receipt or lock that cannot be read is a
/// state, too.
fn state(workspace: &Workspace, environment: &environment::Environment) -> String {
    let output = Output::below(&workspace.environment(&environment.name));
    let Ok(receipt) = Receipt::read(&output.receipt) else {
        return "its receipt cannot be read".to_owned();
    };
    match &receipt {
        Some(Receipt {
            failed: Some(failed),
            ..
        }) => format!(
            "{} failed at {} {}",
            failed.release, failed.step, failed.ended
        ),
        Some(Receipt {
            applied: Some(applied),
            ..
        }) => format!("{} deployed {}", applied.release, applied.ended),
        _ => match locked::read(workspace, &environment.release) {
            Ok(_) => "never deployed".to_owned(),
            Err(Error::Workspace(workspace::Error::NotLocked { .. })) => {
                "never deployed, release not locked".to_owned()
            }
            Err(_) => "never deployed, its lock cannot be read".to_owned(),
        },
    }
}
