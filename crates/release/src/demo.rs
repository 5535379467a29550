//! The demo's bundle: made in code, the same bytes everywhere, because its lock is committed.

use camino::Utf8Path;
use semver::Version;

mod error;

pub use error::Error;

/// What the demo's lock has instead of the vendor's URL.
pub const URL: &str = "airlock:demo";

/// Returns the release whose committed lock is the demo's.
pub fn release() -> Version {
    Version {
        pre: semver::Prerelease::new("demo").unwrap_or_default(),
        ..Version::new(4, 1, 5)
    }
}

/// Returns whether a release is the demo's: a pre-release named `demo` of a real one.
pub fn is_demo(release: &Version) -> bool {
    release.pre.as_str() == "demo"
}

/// Writes the demo's bundle to `path`.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn make(path: &Utf8Path, release: &Version) -> Result<(), crate::Error> {
    let failed = |source| crate::Error::io("write", path, source);
    std::fs::create_dir_all(files::folder_of(path)).map_err(failed)?;
    files::remove_abandoned(files::folder_of(path));
    let mut file = files::temporary_beside(path).map_err(failed)?;
    bundle::make::write(&bundle::make::demo(release), &mut file).map_err(|source| Error::Make {
        path: path.to_owned(),
        source,
    })?;
    files::persist(file, path, files::Access::All).map_err(failed)
}
