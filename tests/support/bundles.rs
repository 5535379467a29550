//! Bundles for tests, in the vendor's format.

use bundle::make::{Recipe, demo, write};
use camino::Utf8Path;
use semver::Version;

/// Returns the recipe of a small bundle with everything in it: images of one and of several platforms that share
/// layers, nested names, charts, a release matrix.
pub fn small() -> Recipe {
    demo(&Version::new(4, 1, 5))
}

/// Writes a bundle to `path`.
pub fn make(recipe: &Recipe, path: &Utf8Path) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = std::fs::File::create(path).expect("a file");
    write(recipe, &mut file).expect("a bundle");
}
