//! What goes to a registry to try it: an image for two platforms and a Helm chart of a few kilobytes, made as bundles are made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bundle::make::{ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};
use bytes::Bytes;
use camino::Utf8Path;
use oci_spec::image::Digest;

use crate::{Error, push};

/// Manifests, and the bytes of everything.
#[derive(Debug)]
pub(super) struct Sample {
    /// An index, its images before it.
    pub(super) index: Vec<registry::Manifest>,
    /// A chart.
    pub(super) chart: Vec<registry::Manifest>,
    /// Manifests and blobs by digest.
    pub(super) bytes: HashMap<String, Bytes>,
}

type Kept = Arc<Mutex<HashMap<String, Bytes>>>;

/// Keeps a bundle in memory.
struct Memory(Kept);

/// Takes one blob.
struct Blob {
    digest: String,
    bytes: Vec<u8>,
    kept: Kept,
}

impl Sample {
    /// Makes a sample whose contents no other one has, so that no registry holds any of it already.
    pub(super) fn make(tag: &str) -> Result<Self, Error> {
        let path = Utf8Path::new("the probe");
        let mut tar = Vec::new();
        bundle::make::write(&recipe(tag), &mut tar)
            .map_err(|source| Error::io("make", path, std::io::Error::other(source)))?;
        let kept = Kept::default();
        let mut memory = Memory(Arc::clone(&kept));
        let contents = bundle::read(tar.as_slice(), &mut memory, None, &bundle::Silent)
            .map_err(|source| Error::bundle(path, source))?;
        let manifests = |kind: bundle::Kind| {
            let mut artifacts = contents.artifacts.iter();
            let found = artifacts.find(|artifact| artifact.kind == kind);
            found.map_or_else(Vec::new, push::manifests)
        };
        let bytes = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self {
            index: manifests(bundle::Kind::Image),
            chart: manifests(bundle::Kind::Chart),
            bytes,
        })
    }
}

fn recipe(tag: &str) -> Recipe {
    let layer = LayerRecipe {
        name: format!("airlock-preflight-{tag}"),
        size: 1024,
        same_on_every_platform: false,
    };
    Recipe {
        directory: "probe".to_owned(),
        level: 0,
        matrix: None,
        artifacts: vec![
            ArtifactRecipe {
                repository: "image".to_owned(),
                tag: "probe".to_owned(),
                contents: ContentsRecipe::Image {
                    platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
                    layers: vec![layer],
                },
            },
            ArtifactRecipe {
                repository: "charts/chart".to_owned(),
                tag: "0.0.1".to_owned(),
                contents: ContentsRecipe::Chart {
                    name: "chart".to_owned(),
                    version: "0.0.1".to_owned(),
                    description: format!("Airlock's preflight {tag}"),
                },
            },
        ],
    }
}

impl bundle::Sink for Memory {
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn bundle::BlobSink>>, bundle::StoreError> {
        Ok(Some(Box::new(Blob {
            digest: digest.to_string(),
            bytes: Vec::with_capacity(usize::try_from(size).unwrap_or_default()),
            kept: Arc::clone(&self.0),
        })))
    }

    fn artifact(&mut self, _: &bundle::Artifact) -> Result<(), bundle::StoreError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), bundle::StoreError> {
        Ok(())
    }
}

impl bundle::BlobSink for Blob {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bundle::StoreError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), bundle::StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(self.digest, self.bytes.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_whole_and_no_other_one_has_anything_of_it() {
        let one = Sample::make("1a").unwrap();
        let other = Sample::make("2b").unwrap();
        assert_eq!((one.index.len(), one.chart.len()), (3, 1));
        for manifest in one.index.iter().chain(&one.chart) {
            assert!(one.bytes.contains_key(manifest.digest.as_ref()));
            assert!(!other.bytes.contains_key(manifest.digest.as_ref()));
            for blob in &manifest.blobs {
                let bytes = &one.bytes[blob.digest.as_ref()];
                assert_eq!(bytes.len() as u64, blob.size);
                assert!(!other.bytes.contains_key(blob.digest.as_ref()));
            }
        }
    }
}
