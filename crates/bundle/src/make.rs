//! Makes bundles in the vendor's format, in code: for the demonstration release, for tests and for
//! benchmarks.
//!
//! A recipe makes the same bytes on every machine. Times are zero, the order is the recipe's,
//! contents are drawn from a generator that is written down here, and at level 0 not even a
//! compressor's version matters, since nothing is compressed. The result is real anyway: layers are
//! gzip'd tars with their `diff_ids` right, and charts are charts that Helm reads.

use std::io::{self, Write};

use crate::digest;
use crate::name::{Name, NameError};

mod artifact;
mod demo;
mod gzip;

pub use demo::demo;

/// What to put into a bundle.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The top folder: `bundle` in 4.1.0, `bundles` later.
    pub directory: String,
    /// The level of gzip compression of bundle, layers and charts, 0 to 9. At 0 the bytes depend on
    /// nothing but the recipe.
    pub level: u32,
    /// The text of `release-matrix.json`, if there is to be one.
    pub matrix: Option<String>,
    /// The artifacts, in the order of their archives.
    pub artifacts: Vec<ArtifactRecipe>,
}

/// An artifact to make.
#[derive(Clone, Debug)]
pub struct ArtifactRecipe {
    /// The repository, such as `calico/apiserver`.
    pub repository: String,
    /// The tag, such as `v3.30.2`.
    pub tag: String,
    /// What it is.
    pub contents: ContentsRecipe,
}

/// What an artifact is.
#[derive(Clone, Debug)]
pub enum ContentsRecipe {
    /// A container image.
    Image {
        /// Platforms such as `linux/amd64`. With one, the root is a manifest, with more, an index.
        platforms: Vec<String>,
        /// The layers, lowest first.
        layers: Vec<LayerRecipe>,
    },
    /// A Helm chart.
    Chart {
        /// The chart's name.
        name: String,
        /// The chart's version.
        version: String,
        /// What it says of itself.
        description: String,
    },
}

/// A layer of an image. Layers of the same name and size are the same blob, in whichever image they
/// are.
#[derive(Clone, Debug)]
pub struct LayerRecipe {
    /// The name, from which the contents are drawn.
    pub name: String,
    /// The size of the one file in the layer, in bytes.
    pub size: usize,
    /// Whether every platform has the same layer.
    pub same_on_every_platform: bool,
}

/// Why a bundle cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// An artifact's name is outside the grammar.
    #[error("the name of an artifact is not valid in a registry")]
    Name(#[source] NameError),
    /// An image has no platform, or one that is not `os/architecture[/variant]`.
    #[error("`{reference}` has no usable platform")]
    Platform {
        /// The artifact.
        reference: String,
    },
    /// The bundle cannot be written.
    #[error("cannot write the bundle")]
    Write(#[source] io::Error),
}

/// Writes the bundle of `recipe`. Holds one archive in memory at a time.
///
/// # Errors
/// When the recipe has a name or a platform that cannot be, or `output` fails.
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

/// Appends a file with nothing in its header that depends on time or place.
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

/// Returns `size` bytes that no compressor makes smaller, drawn from `name`.
fn noise(name: &str, size: usize) -> Vec<u8> {
    let mut state = u64::from_le_bytes(
        digest::hex_of(name.as_bytes()).as_bytes()[..8]
            .try_into()
            .expect("eight digits are eight bytes"),
    );
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        // SplitMix64 (Steele, Lea and Flood 2014): one addition, and a mixing of its result.
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
