//! Bundles for this crate's own tests.

use bundle::make::{ArtifactRecipe, ContentsRecipe, LayerRecipe};

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
