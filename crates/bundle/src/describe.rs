//! Says what a manifest from a registry names, by the rules by which archives are read.

use std::collections::{HashMap, HashSet};

use oci_spec::image::{Digest, MediaType};
use serde_json::Value;

use crate::digest::size_fault;
use crate::document::{
    DOCKER_LIST, DOCKER_MANIFEST, Document, IndexDocument, LARGEST, ManifestDocument, OCI_INDEX,
    OCI_MANIFEST,
};
use crate::lock::{Blob, Kind};

/// What a manifest or an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its media type, as it says itself, or else as the registry says.
    pub media_type: MediaType,
    /// What it names.
    pub content: Content,
}

/// What a document of a registry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An index names manifests.
    Index {
        /// They, in its order.
        children: Vec<Child>,
        /// Whether it says that it is neither an image nor a chart.
        is_artifact: bool,
    },
    /// A manifest names blobs.
    Manifest {
        /// What kind of thing it is.
        kind: Kind,
        /// The config first, then the layers, each once.
        blobs: Vec<Blob>,
        /// The layers that are elsewhere, by URL.
        external: Vec<Blob>,
    },
}

/// A manifest that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size: u64,
    /// Its platform, where it is known.
    pub platform: Option<String>,
    /// The manifest that it attests, if it is an attestation that a builder put beside an image.
    pub attests: Option<String>,
}

/// Why a document is not a manifest that can be carried.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// It is something else.
    #[error("it is neither a manifest nor an index")]
    NotAManifest,
    /// Its media type is not one of those that registries and nodes agree on.
    #[error("media type `{0}` is not supported")]
    MediaType(String),
    /// It could be read as a manifest and as an index, or says to be of a different type.
    #[error("it can be read both as a manifest and as an index")]
    Ambiguous,
    /// It names a blob of a size that cannot be.
    #[error("{digest} has {size} bytes in it: {rule}")]
    Size {
        /// The blob.
        digest: Digest,
        /// Its size, in bytes.
        size: u64,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// Its JSON breaks a rule.
    #[error("it cannot be parsed")]
    Document(#[source] serde_json::Error),
}

/// The limit for a manifest in bytes, which is that of registries.
pub const LARGEST_MANIFEST: u64 = LARGEST;

/// Returns what a document names. `media_type` is what the registry says of it.
///
/// # Errors
/// When it is not a manifest that can be carried.
pub fn describe(bytes: &[u8], media_type: Option<&str>) -> Result<Described, DescribeError> {
    match Document::parse(bytes) {
        Some(Document::Manifest(manifest)) => of_manifest(&manifest, media_type),
        Some(Document::Index(index)) => of_index(index, media_type),
        Some(Document::Broken(error)) => Err(DescribeError::Document(error)),
        Some(Document::Config(_)) | None => Err(DescribeError::NotAManifest),
    }
}

/// Returns the platform that the config of an image names.
pub fn platform_of_config(bytes: &[u8]) -> Option<String> {
    match Document::parse(bytes) {
        Some(Document::Config(platform)) => platform,
        _ => None,
    }
}

/// Returns an index that lists only some manifests of `index`. The same choice gives the same
/// bytes.
///
/// # Errors
/// When `index` is not JSON.
pub fn reduce(index: &[u8], keep: &dyn Fn(&str) -> bool) -> Result<Vec<u8>, DescribeError> {
    let mut value: Value = serde_json::from_slice(index).map_err(DescribeError::Document)?;
    let Some(manifests) = value.get_mut("manifests").and_then(Value::as_array_mut) else {
        return Err(DescribeError::NotAManifest);
    };
    manifests.retain(|child| child["digest"].as_str().is_some_and(keep));
    serde_json::to_vec(&sorted(value)).map_err(DescribeError::Document)
}

/// Returns an index of the manifests that the pages of a referrers API list, in the order of their
/// digests; nothing if they list none. The same manifests give the same bytes.
///
/// # Errors
/// When a page is not an index.
pub fn referrers_index(
    pages: &[impl AsRef<[u8]>],
    keep: &dyn Fn(&str) -> bool,
) -> Result<Option<Vec<u8>>, DescribeError> {
    let mut manifests = Vec::new();
    for page in pages {
        let reduced = reduce(page.as_ref(), keep)?;
        let value: Value = serde_json::from_slice(&reduced).map_err(DescribeError::Document)?;
        manifests.extend(value["manifests"].as_array().into_iter().flatten().cloned());
    }
    manifests.sort_by_key(|child| child["digest"].to_string());
    manifests.dedup_by_key(|child| child["digest"].to_string());
    if manifests.is_empty() {
        return Ok(None);
    }
    let index = serde_json::json!({
        "manifests": manifests,
        "mediaType": OCI_INDEX,
        "schemaVersion": 2,
    });
    let bytes = serde_json::to_vec(&sorted(index)).map_err(DescribeError::Document);
    bytes.map(Some)
}

/// Sorts the keys of all objects, whatever the order is that the parser keeps.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            let sorted_values = entries.into_iter();
            Value::Object(
                sorted_values
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn of_manifest(
    manifest: &ManifestDocument,
    media_type: Option<&str>,
) -> Result<Described, DescribeError> {
    if manifest.is_ambiguous() {
        return Err(DescribeError::Ambiguous);
    }
    let own = manifest.media_type.as_ref().map(ToString::to_string);
    let media_type = supported(
        own.as_deref().or(media_type),
        &[OCI_MANIFEST, DOCKER_MANIFEST],
    )?;
    let kind = Kind::of(manifest.is_image(), manifest.is_chart());
    let (mut blobs, mut external) = (Vec::new(), Vec::new());
    let (mut known, mut listed) = (HashMap::new(), HashSet::new());
    let config = (&manifest.config.digest, manifest.config.size, false);
    let layers =
        (manifest.layers.iter()).map(|layer| (&layer.digest, layer.size, layer.has_urls()));
    for (digest, size, is_elsewhere) in std::iter::once(config).chain(layers) {
        let other = *known.entry(digest.as_ref()).or_insert(size);
        let rule = match size_fault(digest, size) {
            None if other != size => Some("elsewhere in it the size is different"),
            rule => rule,
        };
        if let Some(rule) = rule {
            return Err(DescribeError::Size {
                digest: digest.clone(),
                size,
                rule,
            });
        }
        let list: &mut Vec<Blob> = match is_elsewhere {
            true => &mut external,
            false => &mut blobs,
        };
        if listed.insert((digest.as_ref(), is_elsewhere)) {
            list.push(Blob {
                digest: digest.clone(),
                size,
            });
        }
    }
    Ok(Described {
        media_type,
        content: Content::Manifest {
            kind,
            blobs,
            external,
        },
    })
}

fn of_index(index: IndexDocument, media_type: Option<&str>) -> Result<Described, DescribeError> {
    if index.is_ambiguous() {
        return Err(DescribeError::Ambiguous);
    }
    let own = index.media_type.as_ref().map(ToString::to_string);
    let media_type = supported(own.as_deref().or(media_type), &[OCI_INDEX, DOCKER_LIST])?;
    let is_artifact = index.artifact_type.is_some();
    let children = index.manifests.into_iter().map(|child| Child {
        digest: child.digest,
        media_type: child.media_type,
        size: child.size,
        platform: child.platform.and_then(|platform| platform.name()),
        attests: child.annotations.and_then(|one| one.attests),
    });
    Ok(Described {
        media_type,
        content: Content::Index {
            children: children.collect(),
            is_artifact,
        },
    })
}

fn supported(media_type: Option<&str>, known: &[&str]) -> Result<MediaType, DescribeError> {
    match media_type {
        Some(one) if known.contains(&one) => Ok(MediaType::from(one)),
        Some(other) => Err(DescribeError::MediaType(redaction::line(other, 100))),
        None => Err(DescribeError::NotAManifest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_index_lists_what_is_kept_and_has_the_same_bytes_each_time() {
        let digest = |fill: &str| format!("sha256:{}", fill.repeat(64));
        let child = |fill: &str| {
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","size":7,"digest":"{}","platform":{{"os":"linux","architecture":"{fill}"}}}}"#,
                digest(fill)
            )
        };
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{},{}]}}"#,
            child("a"),
            child("b")
        );
        let kept = digest("b");
        let reduced = reduce(index.as_bytes(), &|digest| digest == kept).unwrap();
        assert_eq!(
            reduced,
            reduce(index.as_bytes(), &|digest| digest == kept).unwrap()
        );
        let Content::Index { children, .. } = describe(&reduced, None).unwrap().content else {
            panic!("not an index");
        };
        assert_eq!(children.len(), 1);
        assert_eq!(children[0].platform.as_deref(), Some("linux/b"));
    }

    #[test]
    fn what_is_not_a_manifest_is_refused() {
        for (text, media_type, wrong) in [
            ("{}", None, "neither a manifest nor an index"),
            ("<html>", None, "neither a manifest nor an index"),
            (
                r#"{"schemaVersion":2,"manifests":[]}"#,
                Some("application/x"),
                "`application/x` is not supported",
            ),
            (
                r#"{"schemaVersion":1,"name":"a"}"#,
                None,
                "cannot be parsed",
            ),
        ] {
            let error = describe(text.as_bytes(), media_type).unwrap_err();
            assert!(error.to_string().contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn versions_that_registries_refuse_are_refused() {
        for (version, is) in [("1", "1"), ("\"2\"", "of a different type")] {
            let text = format!(r#"{{"schemaVersion":{version},"manifests":[]}}"#);
            let Err(DescribeError::Document(cause)) = describe(text.as_bytes(), None) else {
                panic!("{text}");
            };
            let said = format!("its `schemaVersion` is {is}, not the number 2");
            assert_eq!(cause.to_string(), said);
        }
    }
}
