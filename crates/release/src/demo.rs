//! The demo's bundle. It is made in code, with the same bytes everywhere, because its lock is
//! committed.

use camino::Utf8Path;
use semver::Version;

mod error;

pub use error::Error;

/// The URL in the demo's lock, in place of one of the vendor.
pub const URL: &str = "airlock:demo";

/// Returns the release of the demo, 4.1.5-demo, whose lock is committed.
pub fn release() -> Version {
    Version {
        pre: semver::Prerelease::new("demo").unwrap_or_default(),
        ..Version::new(4, 1, 5)
    }
}

/// Returns whether a release is one of the demo: a pre-release `demo` of any version.
pub fn is_demo(release: &Version) -> bool {
    release.pre.as_str() == "demo"
}

/// Writes the demo's bundle to `path`.
///
/// # Errors
/// [`Error::Make`] if the bundle cannot be made, or the file cannot be written.
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
