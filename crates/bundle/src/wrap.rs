//! Makes OCI artifacts of files and charts that are not in a registry. The same content gives the
//! same bytes, so a lock can record their digests.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest;
use crate::document::{HELM_CHART, HELM_CONFIG, OCI_MANIFEST};
use crate::lock::Blob;

/// Config and manifest of an artifact with one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// Bytes of the config.
    pub config: Vec<u8>,
    /// Bytes of the manifest, which names config and layer.
    pub manifest: Vec<u8>,
}

/// A descriptor in a manifest or an index.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
}

/// A platform, as indexes and the configs of images name it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Platform {
    /// `os/architecture[/variant]`.
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestDocument {
    pub(crate) schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<&'static str>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn of(media_type: &'static str, bytes: &[u8]) -> Self {
        Self {
            media_type,
            digest: digest::digest_of(bytes).to_string(),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
        }
    }
}

/// Returns the documents that `oras push` makes of a file, but without the time of the push.
pub fn wrap_file(name: &str, content: &Blob) -> Wrapped {
    let config = b"{}".to_vec();
    let title = ("org.opencontainers.image.title".to_owned(), name.to_owned());
    let manifest = json(&ManifestDocument {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST),
        artifact_type: Some("application/vnd.unknown.artifact.v1"),
        config: Descriptor {
            data: Some("e30="),
            ..Descriptor::of("application/vnd.oci.empty.v1+json", &config)
        },
        layers: vec![Descriptor {
            media_type: "application/vnd.oci.image.layer.v1.tar",
            digest: content.digest.to_string(),
            size: content.size,
            annotations: BTreeMap::from([title]),
            data: None,
            platform: None,
        }],
        annotations: BTreeMap::new(),
    });
    Wrapped { config, manifest }
}

/// Returns the documents of a chart. `packed` is its `tar.gz`, the only layer.
pub(crate) fn wrap_as_helm(
    config: Vec<u8>,
    packed: &[u8],
    annotations: BTreeMap<String, String>,
) -> Wrapped {
    let manifest = json(&ManifestDocument {
        schema_version: 2,
        media_type: None,
        artifact_type: None,
        config: Descriptor::of(HELM_CONFIG, &config),
        layers: vec![Descriptor::of(HELM_CHART, packed)],
        annotations,
    });
    Wrapped { config, manifest }
}

/// Returns JSON with the escapes of Go's encoder, which Helm and oras use. So the same content has
/// the same bytes. Documents are structures, because the order of maps depends on features of
/// `serde_json`.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(value).expect("a document holds nothing JSON cannot say");
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            character => escaped.push(character),
        }
    }
    escaped.into_bytes()
}
