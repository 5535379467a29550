//! The cost of reading a bundle, beside that of inflating and hashing alone. The difference is the
//! cost of this crate.
//!
//! The bundle is in memory. Only the store uses a disk.

use std::io::Read;
use std::sync::LazyLock;

use bundle::make::{self, ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};
use bundle::{Inspection, Silent, Store};
use camino::Utf8Path;
use divan::Bencher;
use divan::counter::BytesCount;
use sha2::{Digest, Sha256};

/// Number of runs of each benchmark.
const SAMPLES: u32 = 20;

/// Eight images with four layers of 512 KiB of noise.
static BUNDLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let image = |number: usize| ArtifactRecipe {
        repository: format!("image-{number}"),
        tag: "v1".to_owned(),
        contents: ContentsRecipe::Image {
            platforms: vec!["linux/amd64".to_owned()],
            layers: (0..4)
                .map(|layer| LayerRecipe {
                    name: format!("{number}-{layer}"),
                    size: 512 << 10,
                    same_on_every_platform: true,
                })
                .collect(),
        },
    };
    let recipe = Recipe {
        directory: "bundles".to_owned(),
        level: 6,
        matrix: None,
        artifacts: (0..8).map(image).collect(),
    };
    let mut bundle = Vec::new();
    make::write(&recipe, &mut bundle).expect("memory takes what is written to it");
    bundle
});

fn main() {
    divan::main();
}

/// A lower bound: only hashes the compressed bytes.
#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn hash(bencher: Bencher<'_, '_>) {
    bencher
        .counter(BytesCount::new(BUNDLE.len()))
        .bench_local(|| Sha256::digest(BUNDLE.as_slice()));
}

/// A lower bound: only inflates the bundle.
#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn inflate(bencher: Bencher<'_, '_>) {
    let mut buffer = vec![0; 256 << 10];
    bencher
        .counter(BytesCount::new(BUNDLE.len()))
        .bench_local(|| {
            let mut inflated = flate2::bufread::GzDecoder::new(BUNDLE.as_slice());
            while inflated.read(&mut buffer).expect("the bundle is gzip") > 0 {}
        });
}

/// Reads the bundle and keeps nothing.
#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn look(bencher: Bencher<'_, '_>) {
    bencher
        .counter(BytesCount::new(BUNDLE.len()))
        .bench_local(|| {
            bundle::read(BUNDLE.as_slice(), &mut Inspection, None, &Silent)
                .expect("the bundle is whole")
        });
}

/// Reads the bundle into an empty store.
#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn keep(bencher: Bencher<'_, '_>) {
    bencher
        .counter(BytesCount::new(BUNDLE.len()))
        .with_inputs(|| tempfile::tempdir().expect("there is room for a store"))
        .bench_local_values(|folder| {
            let path = Utf8Path::from_path(folder.path()).expect("the path is UTF-8");
            let mut store = Store::open(path).expect("an empty folder is a store");
            bundle::read(BUNDLE.as_slice(), &mut store, None, &Silent)
                .expect("the bundle is whole");
            folder
        });
}
