//! The OCI image layout of an archive, and the walk from its root: each blob that a descriptor
//! names must have been in the archive.

use std::collections::{HashMap, HashSet};

use oci_spec::image::{Digest, MediaType};
use serde::Deserialize;

use super::ArchiveError;
use super::error::{DEEPEST, MOST};
use crate::document::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Document, IndexDocument, LARGEST, ManifestDocument,
    OCI_INDEX, OCI_MANIFEST,
};
use crate::lock::{Artifact, Blob, Kind, Manifest};
use crate::name::Name;
use crate::strict;

pub(super) const LAYOUT_FILE: &str = "oci-layout";
pub(super) const INDEX_FILE: &str = "index.json";

/// The members of an archive that were read so far.
#[derive(Default)]
pub(crate) struct Layout {
    version: Option<String>,
    roots: Option<Vec<Descriptor>>,
    sizes: HashMap<Digest, u64>,
    documents: HashMap<Digest, Document>,
    /// Number of descriptors in `documents`.
    descriptors: usize,
}

impl Layout {
    pub(super) fn file(&mut self, path: &str, text: &[u8]) -> Result<(), ArchiveError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct LayoutFile {
            image_layout_version: String,
        }
        #[derive(Deserialize)]
        struct IndexFile {
            manifests: Vec<Descriptor>,
        }
        let invalid = |source| ArchiveError::Document {
            document: path.to_owned(),
            source,
        };
        strict::check(text).map_err(invalid)?;
        let (file, is_duplicate) = if path == LAYOUT_FILE {
            let file: LayoutFile = serde_json::from_slice(text).map_err(invalid)?;
            let previous = self.version.replace(file.image_layout_version);
            (LAYOUT_FILE, previous.is_some())
        } else {
            let file: IndexFile = serde_json::from_slice(text).map_err(invalid)?;
            (INDEX_FILE, self.roots.replace(file.manifests).is_some())
        };
        if is_duplicate {
            return Err(ArchiveError::Twice { file });
        }
        Ok(())
    }

    pub(super) fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        document: Option<Document>,
    ) -> Result<(), ArchiveError> {
        self.sizes.insert(digest.clone(), size);
        if let Some(document) = document {
            self.descriptors += document.descriptors();
            self.documents.insert(digest.clone(), document);
        }
        if self.sizes.len() > MOST || self.descriptors > MOST {
            return Err(ArchiveError::TooMany);
        }
        Ok(())
    }

    /// Returns the descriptors of `index.json`, in its order; none before that file was read.
    pub(crate) fn roots(&self) -> &[Descriptor] {
        self.roots.as_deref().unwrap_or_default()
    }

    /// Follows the descriptors from the root of a complete archive. Returns its artifact and the
    /// number of blobs that no manifest names.
    ///
    /// `chosen` selects the root of an archive that has several.
    pub(crate) fn artifact(
        &self,
        path: &str,
        name: &Name,
        chosen: Option<&Digest>,
    ) -> Result<(Artifact, u64), ArchiveError> {
        match &self.version {
            None => {
                return Err(ArchiveError::NoLayout {
                    blobs: self.sizes.len(),
                });
            }
            Some(version) if version == "1" || version.starts_with("1.") => {}
            Some(version) => {
                return Err(ArchiveError::LayoutVersion {
                    version: version.escape_debug().to_string(),
                });
            }
        }
        let roots = self.roots.as_ref().ok_or(ArchiveError::NoIndex)?;
        let root = match roots.as_slice() {
            [root] => Some(root),
            roots => roots.iter().find(|root| Some(&root.digest) == chosen),
        };
        let root = root.ok_or(ArchiveError::Roots { count: roots.len() })?;
        let mut tree = Tree::new(self);
        tree.descend(root, INDEX_FILE, 0)?;
        let artifact = Artifact {
            repository: name.repository().to_owned(),
            tag: name.tag().to_owned(),
            kind: tree.kind(root),
            archive: path.to_owned(),
            source: None,
            digest: root.digest.clone(),
            media_type: root.media_type.clone(),
            size: root.size,
            manifests: tree.manifests,
        };
        let unnamed = self.sizes.len().saturating_sub(tree.named.len());
        Ok((artifact, unnamed as u64))
    }
}

/// The walk from the root of an artifact over all its manifests, children first.
struct Tree<'a> {
    layout: &'a Layout,
    manifests: Vec<Manifest>,
    /// Digests that a descriptor names.
    named: HashSet<&'a Digest>,
    done: HashSet<&'a Digest>,
    has_image: bool,
    has_chart: bool,
}

impl<'a> Tree<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            manifests: Vec::new(),
            named: HashSet::new(),
            done: HashSet::new(),
            has_image: false,
            has_chart: false,
        }
    }

    fn descend(
        &mut self,
        descriptor: &'a Descriptor,
        named_by: &str,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        let digest = &descriptor.digest;
        self.require(digest, descriptor.size, named_by)?;
        if !self.done.insert(digest) {
            return Ok(());
        }
        if descriptor.size > LARGEST {
            return Err(ArchiveError::TooLarge {
                document: digest.to_string(),
                size: descriptor.size,
            });
        }
        let is_index = match descriptor.media_type.as_ref() {
            OCI_MANIFEST | DOCKER_MANIFEST => false,
            OCI_INDEX | DOCKER_LIST => true,
            other => {
                return Err(ArchiveError::MediaType {
                    digest: digest.clone(),
                    media_type: other.escape_debug().to_string(),
                });
            }
        };
        let ambiguous = || ArchiveError::Ambiguous {
            digest: digest.clone(),
            media_type: descriptor.media_type.to_string(),
        };
        let differs = |own: &Option<MediaType>| {
            own.as_ref()
                .is_some_and(|own| *own != descriptor.media_type)
        };
        let (blobs, external, platform) = match self.layout.documents.get(digest) {
            Some(Document::Manifest(manifest)) => {
                if is_index || manifest.is_ambiguous() || differs(&manifest.media_type) {
                    return Err(ambiguous());
                }
                let (blobs, external) = self.blobs_of(manifest, digest)?;
                (blobs, external, self.platform(descriptor, manifest))
            }
            Some(Document::Index(index)) => {
                if !is_index || index.is_ambiguous() || differs(&index.media_type) {
                    return Err(ambiguous());
                }
                if depth >= DEEPEST {
                    return Err(ArchiveError::TooDeep);
                }
                for child in &index.manifests {
                    self.descend(child, digest.as_ref(), depth + 1)?;
                }
                (Vec::new(), Vec::new(), None)
            }
            Some(Document::Broken(source)) => return Err(broken(digest, source)),
            Some(Document::Config(_)) | None => {
                return Err(ArchiveError::NoManifest {
                    digest: digest.clone(),
                });
            }
        };
        self.manifests.push(Manifest {
            digest: digest.clone(),
            media_type: descriptor.media_type.clone(),
            size: descriptor.size,
            platform,
            blobs,
            external,
        });
        Ok(())
    }

    /// Returns config and layers of a manifest, and separately its layers with `urls` that are not
    /// in the archive.
    fn blobs_of(
        &mut self,
        manifest: &'a ManifestDocument,
        named_by: &Digest,
    ) -> Result<(Vec<Blob>, Vec<Blob>), ArchiveError> {
        self.has_image |= manifest.is_image();
        self.has_chart |= manifest.is_chart();
        let mut blobs: Vec<Blob> = Vec::new();
        let mut external: Vec<Blob> = Vec::new();
        for (digest, size, has_urls) in manifest.blobs() {
            let list = if has_urls && !self.layout.sizes.contains_key(digest) {
                &mut external
            } else {
                self.require(digest, size, named_by.as_ref())?;
                &mut blobs
            };
            // An image may list a layer twice. It is returned, and pushed, once.
            if list.iter().all(|blob| blob.digest != *digest) {
                list.push(Blob {
                    digest: digest.clone(),
                    size,
                });
            }
        }
        Ok((blobs, external))
    }

    /// Checks that a blob is in the archive with this size.
    fn require(
        &mut self,
        digest: &'a Digest,
        size: u64,
        named_by: &str,
    ) -> Result<(), ArchiveError> {
        match self.layout.sizes.get(digest) {
            Some(&found) if found == size => {
                self.named.insert(digest);
                Ok(())
            }
            Some(&found) => Err(ArchiveError::BlobSize {
                digest: digest.clone(),
                size,
                found,
                named_by: named_by.to_owned(),
            }),
            None => Err(ArchiveError::MissingBlob {
                digest: digest.clone(),
                named_by: named_by.to_owned(),
            }),
        }
    }

    /// Returns the platform in the descriptor or, if that has none, in the image's config.
    fn platform(&self, descriptor: &Descriptor, manifest: &ManifestDocument) -> Option<String> {
        match &descriptor.platform {
            Some(platform) => platform.name(),
            None => match self.layout.documents.get(&manifest.config.digest) {
                Some(Document::Config(platform)) if manifest.is_image() => platform.clone(),
                _ => None,
            },
        }
    }

    /// Returns the kind of the artifact. An index has the kind of its children, unless it has an
    /// `artifactType`.
    fn kind(&self, root: &Descriptor) -> Kind {
        let declared = match self.layout.documents.get(&root.digest) {
            Some(Document::Index(IndexDocument { artifact_type, .. })) => artifact_type.is_some(),
            _ => false,
        };
        Kind::of(self.has_image && !declared, self.has_chart)
    }
}

/// Copies the parser's error, because the original stays with the archive's documents.
fn broken(digest: &Digest, error: &serde_json::Error) -> ArchiveError {
    ArchiveError::Document {
        document: digest.to_string(),
        source: serde::de::Error::custom(error),
    }
}
