//! Creates the text of a new environment for this workspace. Writes nothing.

use environment::Question;
use semver::Version;

use crate::workspace::DEFAULT_ARCH;
use crate::{Error, Workspace};

/// Returns the text of a new `environment.yaml`, which is valid and commented.
///
/// It inherits `environments/base.yaml` if that exists. Without `release` it names
/// [`default_release`]. Questions without an answer get an example value.
///
/// # Errors
/// The name is not valid for an environment, an answer is not valid, or the release cannot be
/// installed offline.
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

/// Returns the default release of a new environment: the newest locked one, or else the newest one
/// with published hashes of mkectl.
pub fn default_release(workspace: &Workspace) -> Version {
    locked(workspace).pop().unwrap_or_else(newest)
}

/// Returns the releases for a new environment, oldest first: the locked ones, and all others of the
/// table.
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

/// Returns the releases that have a lock file, without the demo's.
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

/// Returns the newest release of the table with published hashes of mkectl.
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
