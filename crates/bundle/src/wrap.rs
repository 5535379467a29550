//! Makes OCI artifacts of what is in no registry. The same content gives the same bytes, so a lock can name them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest;

/// The documents of an artifact with one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The config.
    pub config: Vec<u8>,
    /// The manifest, which names config and layer.
    pub manifest: Vec<u8>,
}

/// What a manifest says of a blob.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDocument {
    schema_version: u32,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn of(media_type: &'static str, bytes: &[u8]) -> Self {
        Self {
            media_type,
            digest: digest::digest_of(bytes).to_string(),
            size: bytes.len() as u64,
        }
    }
}

/// Returns config and manifest of an artifact with one layer.
pub(crate) fn wrap(
    config_type: &'static str,
    config: Vec<u8>,
    layer: Descriptor,
    annotations: BTreeMap<String, String>,
) -> Wrapped {
    let manifest = json(&ManifestDocument {
        schema_version: 2,
        config: Descriptor::of(config_type, &config),
        layers: [layer],
        annotations,
    });
    Wrapped { config, manifest }
}

/// Returns JSON as Go's encoder writes it, by which Helm and oras make the same bytes of the same content.
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
