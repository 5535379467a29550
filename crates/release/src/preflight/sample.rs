//! Makes the probe that is pushed to a registry: an image for two platforms, a Helm chart and an
//! artifact of a different kind, of a few kilobytes each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bundle::make::{ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};
use bytes::Bytes;
use camino::Utf8Path;
use oci_spec::image::{Digest, MediaType};

use crate::{Error, disk};

/// The manifests of the probe, and the bytes of its manifests and blobs.
#[derive(Debug)]
pub(super) struct Sample {
    /// The images of an index, then the index.
    pub(super) index: Vec<registry::Manifest>,
    /// The chart.
    pub(super) chart: Vec<registry::Manifest>,
    /// An artifact that is neither image nor chart, like that of k0s.
    pub(super) artifact: Vec<registry::Manifest>,
    /// Manifests and blobs by digest.
    pub(super) bytes: HashMap<String, Bytes>,
}

type Kept = Arc<Mutex<HashMap<String, Bytes>>>;

/// A sink that stores a bundle in memory.
struct Memory(Kept);

/// A sink for one blob.
struct Blob {
    digest: String,
    bytes: Vec<u8>,
    kept: Kept,
}

impl Sample {
    /// Makes a sample whose content depends on `tag`, so no registry has any of its blobs before.
    pub(super) fn make(tag: &str) -> Result<Self, Error> {
        let path = Utf8Path::new("the probe");
        let mut tar = Vec::new();
        bundle::make::write(&recipe(tag), &mut tar)
            .map_err(|source| Error::io("make", path, std::io::Error::other(source)))?;
        let kept = Kept::default();
        let mut memory = Memory(Arc::clone(&kept));
        let contents =
            bundle::read(tar.as_slice(), &mut memory, None, &bundle::Silent).map_err(|source| {
                disk::Error::Bundle {
                    path: path.to_owned(),
                    source,
                    release: None,
                }
            })?;
        let manifests = |kind: bundle::Kind| {
            let mut artifacts = contents.artifacts.iter();
            let found = artifacts.find(|artifact| artifact.kind == kind);
            found.map_or_else(Vec::new, crate::transfer::connect::manifests)
        };
        let mut bytes = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self {
            index: manifests(bundle::Kind::Image),
            chart: manifests(bundle::Kind::Chart),
            artifact: vec![artifact(tag, &mut bytes)],
            bytes,
        })
    }
}

/// Makes an artifact of one file and adds its bytes to `bytes`. It does not use the empty config,
/// because the removal of the probe would remove that from other artifacts.
fn artifact(tag: &str, bytes: &mut HashMap<String, Bytes>) -> registry::Manifest {
    let mut keep = |content: String| {
        let digest = format!("sha256:{}", crate::sha256(content.as_bytes()));
        let size = content.len() as u64;
        bytes.insert(digest.clone(), content.into());
        (digest, size)
    };
    let (config, config_size) = keep(format!("{{\"probe\":\"{tag}\"}}"));
    let (file, file_size) = keep(format!("Airlock's preflight {tag}\n"));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"application/vnd.airlock.probe.v1","config":{{"mediaType":"application/vnd.airlock.probe.config.v1+json","digest":"{config}","size":{config_size}}},"layers":[{{"mediaType":"application/octet-stream","digest":"{file}","size":{file_size}}}]}}"#,
        MediaType::ImageManifest
    );
    let (digest, size) = keep(manifest);
    let blob = |digest: &str, size| registry::Blob {
        digest: parsed(digest),
        size,
    };
    registry::Manifest {
        digest: parsed(&digest),
        media_type: MediaType::ImageManifest,
        size,
        blobs: vec![blob(&config, config_size), blob(&file, file_size)],
    }
}

fn parsed(digest: &str) -> Digest {
    (digest.parse()).unwrap_or_else(|_| unreachable!("a digest that was just made"))
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
    fn a_sample_is_complete_and_shares_no_bytes_with_others() {
        let one = Sample::make("1a").unwrap();
        let other = Sample::make("2b").unwrap();
        assert_eq!(
            (one.index.len(), one.chart.len(), one.artifact.len()),
            (3, 1, 1)
        );
        for manifest in one.index.iter().chain(&one.chart).chain(&one.artifact) {
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
