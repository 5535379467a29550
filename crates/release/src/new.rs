//! Returns the first text of a new environment, adapted to this workspace. Writes nothing.

use environment::Question;
use semver::Version;

use crate::workspace::DEFAULT_ARCH;
use crate::{Error, Workspace};

/// Returns the text of a new `environment.yaml`, commented and valid as it is.
///
/// It inherits `environments/base.yaml` if that exists. By default it takes the newest locked
/// release, which can be deployed immediately, or else the newest release whose mkectl has
/// published hashes. What `answer` does not know is an example.
///
/// # Errors
/// The name cannot be an environment's, an answer is wrong, or the release has no offline
/// procedure.
pub fn scaffold(
    workspace: &Workspace,
    name: &str,
    release: Option<&Version>,
    answer: impl Fn(Question) -> Option<String>,
) -> Result<String, Error> {
    let release = match release {
        Some(release) => mke::Release::of(release)?.version().clone(),
        None => default_release(workspace),
    };
    let inherits = workspace.root().join("environments/base.yaml").exists();
    environment::scaffold(name, &release, inherits, answer).map_err(Error::Environment)
}

/// Returns the release that a new environment has by default: the newest that is locked, or else
/// the newest with published hashes.
pub fn default_release(workspace: &Workspace) -> Version {
    locked(workspace).pop().unwrap_or_else(newest)
}

/// Returns the releases that a new environment can have: those that are locked, and all others of
/// the table, each oldest first.
pub fn releases(workspace: &Workspace) -> (Vec<Version>, Vec<Version>) {
    let locked = locked(workspace);
    let known = mke::releases().into_iter();
    let known = known.map(|release| release.version().clone());
    let known = known.filter(|release| !locked.contains(release)).collect();
    (locked, known)
}

/// Returns whether a release is in the table of releases or locked.
pub fn is_known(workspace: &Workspace, release: &Version) -> bool {
    let core = |version: &Version| (version.major, version.minor, version.patch);
    mke::releases()
        .iter()
        .any(|known| core(known.version()) == core(release))
        || workspace
            .lock(&format!("v{release}"), DEFAULT_ARCH)
            .exists()
}

/// Returns the releases that have a lock, judged by the locks' names. The demo's is none to
/// install.
fn locked(workspace: &Workspace) -> Vec<Version> {
    let locks = workspace.locks().unwrap_or_default();
    let mut locked: Vec<Version> = (locks.iter())
        .filter_map(|path| {
            let (release, _) = bundle::Lock::named(path.file_name()?)?;
            Version::parse(release.strip_prefix('v')?).ok()
        })
        .filter(|release| release.pre.is_empty() && mke::Release::of(release).is_ok())
        .collect();
    locked.sort();
    locked.dedup();
    locked
}

/// Returns the newest release of the table whose mkectl can be compared with published hashes.
fn newest() -> Version {
    let has_hashes =
        |release: &&mke::Release| release.mkectl().iter().any(|one| one.sha256.is_some());
    mke::releases()
        .iter()
        .filter(has_hashes)
        .map(|release| release.version().clone())
        .max()
        .unwrap_or(Version::new(4, 1, 5))
}
