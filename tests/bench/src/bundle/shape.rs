//! The recipe of a measured bundle: sizes spread as in releases of Kubernetes distributions, drawn
//! from nothing but the numbers of a [`Shape`].
//!
//! A few images are large and most are small: the size falls with the 0.8th power of the rank.
//! Seven images of ten stand on a base of eight small layers, as distroless ones do, the others on
//! a base of a single layer. Bases are shared. A fifth of the archives are charts.

use clap::ValueEnum;

use ::bundle::make::{ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};

/// How the size of an image falls with its rank.
const FALL: f64 = -0.8;

/// The level of gzip compression that `tar -z` uses, inside and outside.
const LEVEL: u32 = 6;

/// The layers of each base, as parts of the mean size of an archive.
const BASES: [(&str, &[f64]); 3] = [
    (
        "distroless",
        &[0.04, 0.02, 0.008, 0.004, 0.002, 0.001, 0.0005, 0.0003],
    ),
    ("debian", &[1.1]),
    ("alpine", &[0.13]),
];

/// Which base each of ten images stands on.
const STANDS_ON: [usize; 10] = [0, 1, 0, 0, 2, 0, 0, 1, 0, 0];

/// How what is an image's own is cut into layers; the images take them in turn.
const CUTS: [&[f64]; 4] = [
    &[1.0],
    &[0.8, 0.2],
    &[0.7, 0.2, 0.08, 0.02],
    &[0.6, 0.25, 0.1, 0.04, 0.01],
];

/// What the repositories of charts begin with.
pub(crate) const CHARTS: &str = "charts/";

/// The size in bytes of the layer that holds an image's entry point or its configuration.
const SCRIPT: usize = 2_000;

/// No layer is smaller, in bytes.
const LEAST: f64 = 500.0;

/// How many images stand between two that are for several platforms.
const SEVERAL: usize = 3;

const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"];

/// The size and shape of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// What it is made of.
    pub(crate) kind: Kind,
    /// The size of the bundle's file in bytes, more or less.
    pub(crate) size: u64,
    /// How many archives there are in it.
    pub(crate) archives: usize,
    /// For how many platforms every third image is, 1 to [`Shape::MOST_PLATFORMS`]; the others are
    /// for one.
    pub(crate) platforms: usize,
    /// How many blobs [`Kind::ManySmall`] has.
    pub(crate) blobs: usize,
}

/// What a bundle is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Images and charts as in releases of Kubernetes distributions
    Mke,
    /// Images of one large layer
    FewLarge,
    /// Images of many small layers
    ManySmall,
}

impl Shape {
    /// For how many platforms an image can be.
    pub(crate) const MOST_PLATFORMS: usize = PLATFORMS.len();

    /// Returns the options that give this shape to `bench-part make`.
    pub(crate) fn options(&self) -> Vec<String> {
        let kind = self.kind.to_possible_value();
        let kind = kind.as_ref().map_or("", |kind| kind.get_name());
        vec![
            format!("--shape={kind}"),
            format!("--size={}", self.size),
            format!("--archives={}", self.archives),
            format!("--platforms={}", self.platforms),
            format!("--blobs={}", self.blobs),
        ]
    }

    /// Returns the recipe. The same shape gives the same recipe.
    pub(super) fn recipe(&self) -> Recipe {
        let artifacts = match self.kind {
            Kind::Mke => self.release(),
            Kind::FewLarge => self.images(1),
            // A configuration is a blob as well.
            Kind::ManySmall => self.images((self.blobs / self.archives).saturating_sub(1).max(1)),
        };
        Recipe {
            directory: "bundles".to_owned(),
            level: LEVEL,
            matrix: Some("[]\n".to_owned()),
            artifacts,
        }
    }

    /// Returns images with this many layers of their own, all of one size.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a bundle's size need not be met to the byte"
    )]
    fn images(&self, layers: usize) -> Vec<ArtifactRecipe> {
        let size = self.size as f64 / (self.archives * layers) as f64;
        let layers = |image| {
            let name = move |place| format!("image-{image}-{place}");
            (0..layers).map(|place| layer(&name(place), size)).collect()
        };
        (0..self.archives)
            .map(|number| artifact(number, PLATFORMS[..1].to_vec(), layers(number)))
            .collect()
    }

    /// Returns the images and charts of a release.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a bundle's size need not be met to the byte"
    )]
    fn release(&self) -> Vec<ArtifactRecipe> {
        let charts = self.archives / 5;
        let images = self.archives - charts;
        let mean = self.size as f64 / self.archives.max(1) as f64;
        let weights: Vec<f64> = ranks(images)
            .into_iter()
            .map(|rank| ((rank + 1) as f64).powf(FALL))
            .collect();
        let (mut bases, mut weight) = (0.0, 0.0);
        for (number, own) in weights.iter().enumerate() {
            let platforms = self.platforms_of(number).len() as f64;
            let (_, layers) = base_of(number);
            bases += layers.iter().sum::<f64>() * mean * platforms;
            weight += own * platforms;
        }
        // Where the bases alone are as large as the bundle shall be, it gets somewhat larger.
        let own = (self.size as f64 - bases).max(self.size as f64 / 10.0);
        let mut artifacts: Vec<ArtifactRecipe> = weights
            .iter()
            .enumerate()
            .map(|(number, part)| self.image(number, mean, own * part / weight))
            .collect();
        artifacts.extend((0..charts).map(chart));
        artifacts
    }

    fn image(&self, number: usize, mean: f64, own: f64) -> ArtifactRecipe {
        let (base, base_layers) = base_of(number);
        let mut layers: Vec<LayerRecipe> = base_layers
            .iter()
            .enumerate()
            .map(|(place, part)| layer(&format!("{base}-{place}"), part * mean))
            .collect();
        let cuts = CUTS[number % CUTS.len()];
        layers.extend(
            cuts.iter()
                .enumerate()
                .map(|(place, part)| layer(&format!("image-{number}-{place}"), part * own)),
        );
        layers.push(LayerRecipe {
            name: format!("image-{number}-script"),
            size: SCRIPT,
            same_on_every_platform: false,
        });
        artifact(number, self.platforms_of(number), layers)
    }

    fn platforms_of(&self, number: usize) -> Vec<&'static str> {
        let count = if number % SEVERAL == SEVERAL - 1 {
            self.platforms.clamp(1, PLATFORMS.len())
        } else {
            1
        };
        PLATFORMS[..count].to_vec()
    }
}

fn artifact(
    number: usize,
    platforms: Vec<&'static str>,
    layers: Vec<LayerRecipe>,
) -> ArtifactRecipe {
    ArtifactRecipe {
        repository: format!("component-{}/image-{number}", number % 7),
        tag: format!("v1.{number}.0"),
        contents: ContentsRecipe::Image {
            platforms: platforms.into_iter().map(str::to_owned).collect(),
            layers,
        },
    }
}

fn base_of(number: usize) -> (&'static str, &'static [f64]) {
    BASES[STANDS_ON[number % STANDS_ON.len()]]
}

/// Returns each image's rank by size, spread over the bundle: archives lie in the order of their
/// names there.
fn ranks(images: usize) -> Vec<usize> {
    let step = (images * 2 / 5..)
        .find(|step| common_divisor(*step, images) == 1)
        .unwrap_or(1);
    (0..images).map(|number| number * step % images).collect()
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a size is positive, and below that of memory"
)]
fn layer(name: &str, size: f64) -> LayerRecipe {
    LayerRecipe {
        name: name.to_owned(),
        size: size.max(LEAST) as usize,
        same_on_every_platform: false,
    }
}

fn chart(number: usize) -> ArtifactRecipe {
    ArtifactRecipe {
        repository: format!("{CHARTS}chart-{number}"),
        tag: format!("1.{number}.0"),
        contents: ContentsRecipe::Chart {
            name: format!("chart-{number}"),
            version: format!("1.{number}.0"),
            description: "A chart of a measured bundle".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the sum of all layers, and that of the different ones.
    fn bytes(recipe: &Recipe) -> (usize, usize) {
        let mut seen = BTreeSet::new();
        let (mut all, mut unique) = (0, 0);
        for artifact in &recipe.artifacts {
            let ContentsRecipe::Image { platforms, layers } = &artifact.contents else {
                continue;
            };
            for platform in platforms {
                for layer in layers {
                    all += layer.size;
                    if seen.insert((platform.clone(), layer.name.clone())) {
                        unique += layer.size;
                    }
                }
            }
        }
        (all, unique)
    }

    #[test]
    fn a_bundle_has_the_size_that_was_asked_for_and_shares_layers() {
        for (size, archives, platforms) in [
            (1_500_000_000, 60, 2),
            (1_500_000_000, 60, 1),
            (300_000_000, 100, 4),
            (5_000_000, 4, 2),
        ] {
            let shape = Shape {
                kind: Kind::Mke,
                size,
                archives,
                platforms,
                blobs: 0,
            };
            let recipe = shape.recipe();
            assert_eq!(recipe.artifacts.len(), archives);
            let (all, unique) = bytes(&recipe);
            let asked = usize::try_from(size).unwrap();
            assert!(all.abs_diff(asked) < asked / 20, "{shape:?}: {all}");
            assert!(unique <= all, "{shape:?}");
            if archives > 20 {
                assert!(unique < all * 19 / 20, "{shape:?}: {unique} of {all}");
            }
        }
    }

    #[test]
    fn many_small_has_the_number_of_blobs_and_few_large_one_for_each_image() {
        for (kind, archives, layers) in [(Kind::ManySmall, 100, 99), (Kind::FewLarge, 4, 1)] {
            let shape = Shape {
                kind,
                size: 40_000_000,
                archives,
                platforms: 2,
                blobs: 10_000,
            };
            let recipe = shape.recipe();
            assert_eq!(recipe.artifacts.len(), archives);
            for artifact in &recipe.artifacts {
                let ContentsRecipe::Image { layers: found, .. } = &artifact.contents else {
                    panic!("a chart");
                };
                assert_eq!(found.len(), layers);
            }
            let (all, unique) = bytes(&recipe);
            assert_eq!(all, unique);
            assert!(all.abs_diff(40_000_000) < 40_000, "{all}");
        }
    }

    #[test]
    fn every_rank_is_taken_once() {
        for images in [1, 2, 3, 4, 48, 80, 97] {
            let ranks: BTreeSet<usize> = ranks(images).into_iter().collect();
            assert_eq!(ranks.len(), images);
        }
    }
}
