//! Makes one archive: the tar of an OCI image layout with one image or chart.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ArtifactRecipe, ContentsRecipe, LayerRecipe, MakeError, append, gzip, noise};
use crate::digest::digest_of;
use crate::document::{HELM_CHART, HELM_CONFIG, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::wrap::{Descriptor, ManifestDocument, Platform, json};

const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Returns the archive of `recipe`.
pub(super) fn archive(recipe: &ArtifactRecipe, level: u32) -> Result<Vec<u8>, MakeError> {
    let mut layout = Layout {
        blobs: BTreeMap::new(),
        level,
    };
    let root = match &recipe.contents {
        ContentsRecipe::Image { platforms, layers } => {
            let reference = || format!("{}:{}", recipe.repository, recipe.tag);
            let platforms: Option<Vec<Platform>> =
                platforms.iter().map(|name| parse_platform(name)).collect();
            match platforms.as_deref() {
                None | Some([]) => {
                    return Err(MakeError::Platform {
                        reference: reference(),
                    });
                }
                Some([platform]) => layout.image(platform, layers)?,
                Some(platforms) => layout.index(platforms, layers)?,
            }
        }
        ContentsRecipe::Chart {
            name,
            version,
            description,
        } => layout.chart(name, version, description)?,
    };
    layout.tar(root)
}

/// The blobs of a layout, by hexadecimal digest. `skopeo` writes them in the same order.
struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    level: u32,
}

impl Layout {
    fn index(
        &mut self,
        platforms: &[Platform],
        layers: &[LayerRecipe],
    ) -> Result<Descriptor, MakeError> {
        let mut manifests = Vec::new();
        for platform in platforms {
            let mut image = self.image(platform, layers)?;
            image.platform = Some(platform.clone());
            manifests.push(image);
        }
        let index = Index {
            schema_version: 2,
            media_type: OCI_INDEX,
            manifests,
        };
        Ok(self.document(OCI_INDEX, &index))
    }

    fn image(
        &mut self,
        platform: &Platform,
        layers: &[LayerRecipe],
    ) -> Result<Descriptor, MakeError> {
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for layer in layers {
            let seed = if layer.same_on_every_platform {
                layer.name.clone()
            } else {
                format!("{}@{}", layer.name, platform.name)
            };
            let file = format!("opt/{}", layer.name);
            let tar = pack(&[(&file, &noise(&seed, layer.size))])?;
            diff_ids.push(digest_of(&tar).to_string());
            let layer = gzip::gzip(&tar, self.level).map_err(MakeError::Write)?;
            descriptors.push(self.blob(OCI_LAYER, layer));
        }
        let config = ImageConfig {
            platform,
            rootfs: RootFilesystem {
                kind: "layers",
                diff_ids,
            },
        };
        let config = self.document(OCI_CONFIG, &config);
        Ok(self.manifest(config, descriptors))
    }

    fn chart(
        &mut self,
        name: &str,
        version: &str,
        description: &str,
    ) -> Result<Descriptor, MakeError> {
        let metadata = ChartMetadata {
            api_version: "v2",
            name,
            version,
            description,
            kind: "application",
        };
        // JSON is YAML, so the same text is the chart's metadata and the config of the artifact.
        let chart = json(&metadata);
        let values = "greeting: hello\n";
        let template = concat!(
            "apiVersion: v1\n",
            "kind: ConfigMap\n",
            "metadata:\n",
            "  name: {{ .Release.Name }}\n",
            "data:\n",
            "  greeting: {{ .Values.greeting | quote }}\n",
        );
        let tar = pack(&[
            (&format!("{name}/Chart.yaml"), chart.as_slice()),
            (&format!("{name}/values.yaml"), values.as_bytes()),
            (
                &format!("{name}/templates/configmap.yaml"),
                template.as_bytes(),
            ),
        ])?;
        let content = gzip::gzip(&tar, self.level).map_err(MakeError::Write)?;
        let layer = self.blob(HELM_CHART, content);
        let config = self.document(HELM_CONFIG, &metadata);
        Ok(self.manifest(config, vec![layer]))
    }

    fn manifest(&mut self, config: Descriptor, layers: Vec<Descriptor>) -> Descriptor {
        let manifest = ManifestDocument {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST),
            artifact_type: None,
            config,
            layers,
            annotations: BTreeMap::new(),
        };
        self.document(OCI_MANIFEST, &manifest)
    }

    fn document(&mut self, media_type: &'static str, document: &impl Serialize) -> Descriptor {
        self.blob(media_type, json(document))
    }

    /// Adds a blob and returns its descriptor.
    fn blob(&mut self, media_type: &'static str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.blobs
            .insert(digest_of(&bytes).digest().to_owned(), bytes);
        descriptor
    }

    /// Returns the layout as a tar, with its members in the order of `skopeo`.
    fn tar(&self, root: Descriptor) -> Result<Vec<u8>, MakeError> {
        let index = json(&Index {
            schema_version: 2,
            media_type: OCI_INDEX,
            manifests: vec![root],
        });
        let mut files: Vec<(String, &[u8])> = self
            .blobs
            .iter()
            .map(|(hex, bytes)| (format!("blobs/sha256/{hex}"), bytes.as_slice()))
            .collect();
        files.push(("index.json".to_owned(), &index));
        files.push((
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        ));
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), *bytes))
            .collect();
        pack(&files)
    }
}

/// Returns a tar of `files`.
fn pack(files: &[(&str, &[u8])]) -> Result<Vec<u8>, MakeError> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        append(&mut tar, path, bytes).map_err(MakeError::Write)?;
    }
    tar.into_inner().map_err(MakeError::Write)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize)]
struct ImageConfig<'a> {
    #[serde(flatten)]
    platform: &'a Platform,
    rootfs: RootFilesystem,
}

#[derive(Serialize)]
struct RootFilesystem {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChartMetadata<'a> {
    api_version: &'static str,
    name: &'a str,
    version: &'a str,
    description: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Parses `os/architecture[/variant]`.
fn parse_platform(name: &str) -> Option<Platform> {
    let parts: Vec<&str> = name.split('/').collect();
    let (os, architecture, variant) = match parts.as_slice() {
        [os, architecture] => (os, architecture, None),
        [os, architecture, variant] => (os, architecture, Some((*variant).to_owned())),
        _ => return None,
    };
    (parts.iter().all(|part| !part.is_empty())).then(|| Platform {
        name: name.to_owned(),
        os: (*os).to_owned(),
        architecture: (*architecture).to_owned(),
        variant,
    })
}
