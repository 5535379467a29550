//! Writes nothing itself: returns the first text of a new environment, so that it suits this workspace.

use semver::Version;

use crate::{Error, Workspace};

/// Returns the text of a new `environment.yaml`, commented and valid as it is.
///
/// It inherits `environments/base.yaml` where there is one, and takes the newest release that is known unless told.
///
/// # Errors
/// The name cannot be an environment's, or the release has no offline procedure.
pub fn scaffold(
    workspace: &Workspace,
    name: &str,
    release: Option<&Version>,
) -> Result<String, Error> {
    let release = match release {
        Some(release) => mke::Release::of(release)
            .map_err(Error::Release)?
            .version()
            .clone(),
        None => newest(),
    };
    let inherits = workspace.root().join("environments/base.yaml").exists();
    environment::scaffold(name, &release, inherits).map_err(Error::Environment)
}

/// Returns the newest release of the table.
fn newest() -> Version {
    mke::releases()
        .iter()
        .map(|release| release.version().clone())
        .max()
        .unwrap_or(Version::new(4, 1, 5))
}
