//! Bundles for this crate's own tests.

use bundle::make::{self, ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};

/// Returns the recipe of an image of one platform with these layers, of `size` bytes each.
pub(crate) fn image(name: &str, layers: &[&str], size: usize) -> ArtifactRecipe {
    let layer = |&name: &&str| LayerRecipe {
        name: name.to_owned(),
        size,
        same_on_every_platform: true,
    };
    ArtifactRecipe {
        repository: name.to_owned(),
        tag: "v1".to_owned(),
        contents: ContentsRecipe::Image {
            platforms: vec!["linux/amd64".to_owned()],
            layers: layers.iter().map(layer).collect(),
        },
    }
}

/// Returns the lock of a bundle with one image of this name.
pub(crate) fn lock(name: &str) -> bundle::Lock {
    let recipe = Recipe {
        directory: "bundles".to_owned(),
        level: 0,
        matrix: None,
        artifacts: vec![image(name, &["base"], 100)],
    };
    let mut bytes = Vec::new();
    make::write(&recipe, &mut bytes).unwrap();
    let mut inspection = bundle::Inspection;
    let contents = bundle::read(bytes.as_slice(), &mut inspection, None, &bundle::Silent).unwrap();
    let version = semver::Version::new(4, 1, 5);
    bundle::Lock::from_contents(&version, "amd64", "b.tar.gz", "", Vec::new(), contents)
}
