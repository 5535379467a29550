//! Makes bundles in the vendor's format: for the demonstration release, tests and benchmarks.
//!
//! A recipe makes the same bytes on every machine. Times are zero, the order is that of the recipe,
//! and contents come from a generator in this module. At level 0 nothing is compressed, so not even
//! the compressor's version matters. The result is real: layers are gzip'd tars with correct
//! `diff_ids`, and Helm reads the charts.

use std::io::{self, Write};

use crate::digest;
use crate::name::{Name, NameError};

mod artifact;
mod demo;
mod gzip;

pub use demo::demo;

/// Content of a bundle to make.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Top folder: `bundle` in 4.1.0, `bundles` later.
    pub directory: String,
    /// Level of gzip compression of bundle, layers and charts, 0 to 9. At 0 the bytes depend only
    /// on the recipe.
    pub level: u32,
    /// Text of `release-matrix.json`; `None` for a bundle without it.
    pub matrix: Option<String>,
    /// Artifacts, in the order of their archives.
    pub artifacts: Vec<ArtifactRecipe>,
}

/// An artifact to make.
#[derive(Clone, Debug)]
pub struct ArtifactRecipe {
    /// Repository, such as `calico/apiserver`.
    pub repository: String,
    /// Tag, such as `v3.30.2`.
    pub tag: String,
    /// Image or chart.
    pub contents: ContentsRecipe,
}

/// Content of an artifact to make.
#[derive(Clone, Debug)]
pub enum ContentsRecipe {
    /// A container image.
    Image {
        /// Platforms such as `linux/amd64`. For one, the root is a manifest; for more, an index.
        platforms: Vec<String>,
        /// Layers, lowest first.
        layers: Vec<LayerRecipe>,
    },
    /// A Helm chart.
    Chart {
        /// Name of the chart.
        name: String,
        /// Version of the chart.
        version: String,
        /// Description in `Chart.yaml`.
        description: String,
    },
}

/// A layer of an image. Layers of equal name and size are the same blob in all images.
#[derive(Clone, Debug)]
pub struct LayerRecipe {
    /// Name, the seed of the content.
    pub name: String,
    /// Size of the only file in the layer, in bytes.
    pub size: usize,
    /// Whether all platforms share the layer.
    pub same_on_every_platform: bool,
}

/// Reason why a bundle cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A repository or tag is not valid.
    #[error("the name of an artifact is not valid in a registry")]
    Name(#[source] NameError),
    /// An image has no platform, or one that is not `os/architecture[/variant]`.
    #[error("`{reference}` has no usable platform")]
    Platform {
        /// Reference of the image.
        reference: String,
    },
    /// The bundle cannot be written.
    #[error("cannot write the bundle")]
    Write(#[source] io::Error),
}

/// Writes the bundle of `recipe`. Keeps one archive in memory at a time.
///
/// # Errors
/// [`MakeError`] if the recipe has an invalid name or platform, or `output` fails.
pub fn write(recipe: &Recipe, output: &mut impl Write) -> Result<(), MakeError> {
    let gzip = gzip::Encoder::new(output, recipe.level).map_err(MakeError::Write)?;
    let mut tar = tar::Builder::new(gzip);
    if let Some(matrix) = &recipe.matrix {
        let path = format!("{}/release-matrix.json", recipe.directory);
        append(&mut tar, &path, matrix.as_bytes()).map_err(MakeError::Write)?;
    }
    for artifact in &recipe.artifacts {
        let name = Name::new(&artifact.repository, &artifact.tag).map_err(MakeError::Name)?;
        let folder = match artifact.contents {
            ContentsRecipe::Image { .. } => "images",
            ContentsRecipe::Chart { .. } => "charts",
        };
        let path = format!("{}/{folder}/{}", recipe.directory, name.file_name());
        let archive = artifact::archive(artifact, recipe.level)?;
        append(&mut tar, &path, &archive).map_err(MakeError::Write)?;
    }
    tar.into_inner()
        .and_then(gzip::Encoder::finish)
        .map_err(MakeError::Write)
}

/// Appends a file whose header does not depend on time or machine.
fn append(tar: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, path, bytes)
}

/// Returns `size` incompressible bytes, with `name` as the seed.
fn noise(name: &str, size: usize) -> Vec<u8> {
    let mut state = u64::from_le_bytes(
        digest::hex_of(name.as_bytes()).as_bytes()[..8]
            .try_into()
            .expect("eight digits are eight bytes"),
    );
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests;
