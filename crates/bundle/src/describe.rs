//! Parses manifests from a registry by the same rules as manifests in archives.

use std::collections::{HashMap, HashSet};

use oci_spec::image::{Digest, MediaType};
use serde_json::Value;

use crate::digest::size_fault;
use crate::document::{
    DOCKER_LIST, DOCKER_MANIFEST, Document, IndexDocument, LARGEST, ManifestDocument, OCI_INDEX,
    OCI_MANIFEST,
};
use crate::lock::{Blob, Kind};

/// A parsed manifest or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Media type in the document or, if it has none, from the registry.
    pub media_type: MediaType,
    /// The digests that it names.
    pub content: Content,
}

/// The digests that a manifest or an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Manifests of an index.
    Index {
        /// Manifests, in the order of the index.
        children: Vec<Child>,
        /// Whether the index has an `artifactType`, so it is neither an image nor a chart.
        is_artifact: bool,
    },
    /// Blobs of a manifest.
    Manifest {
        /// Image, chart or other artifact.
        kind: Kind,
        /// Config first, then the layers, without duplicates.
        blobs: Vec<Blob>,
        /// Layers with `urls`, which the registry need not have.
        external: Vec<Blob>,
    },
}

/// A manifest that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Media type.
    pub media_type: MediaType,
    /// Size in bytes.
    pub size: u64,
    /// Platform, such as `linux/amd64`; `None` if it is not known.
    pub platform: Option<String>,
    /// Digest of the manifest that this one attests. Builders put attestations beside images.
    pub attests: Option<String>,
}

/// Reason why a document is not a supported manifest.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// The document is neither a manifest nor an index.
    #[error("it is neither a manifest nor an index")]
    NotAManifest,
    /// The media type is not one of the four of manifests and indexes.
    #[error("media type `{0}` is not supported")]
    MediaType(String),
    /// The document could be parsed as both manifest and index.
    #[error("it can be read both as a manifest and as an index")]
    Ambiguous,
    /// A size is impossible.
    #[error("{digest} has {size} bytes in it: {rule}")]
    Size {
        /// Digest of the blob.
        digest: Digest,
        /// Size in bytes.
        size: u64,
        /// The rule that the size breaks.
        rule: &'static str,
    },
    /// The JSON is not valid.
    #[error("it cannot be parsed")]
    Document(#[source] serde_json::Error),
}

/// Maximum size of a manifest in bytes, the limit of registries.
pub const LARGEST_MANIFEST: u64 = LARGEST;

/// Parses a manifest or an index. `media_type` is that of the registry's response.
///
/// # Errors
/// [`DescribeError`] if the document is not a supported manifest.
pub fn describe(bytes: &[u8], media_type: Option<&str>) -> Result<Described, DescribeError> {
    match Document::parse(bytes) {
        Some(Document::Manifest(manifest)) => of_manifest(&manifest, media_type),
        Some(Document::Index(index)) => of_index(index, media_type),
        Some(Document::Broken(error)) => Err(DescribeError::Document(error)),
        Some(Document::Config(_)) | None => Err(DescribeError::NotAManifest),
    }
}

/// Returns the platform in the config of an image.
pub fn platform_of_config(bytes: &[u8]) -> Option<String> {
    match Document::parse(bytes) {
        Some(Document::Config(platform)) => platform,
        _ => None,
    }
}

/// Returns an index with those manifests of `index` whose digest `keep` accepts. Equal input gives
/// equal bytes.
///
/// # Errors
/// [`DescribeError`] if `index` is not an index.
pub fn reduce(index: &[u8], keep: &dyn Fn(&str) -> bool) -> Result<Vec<u8>, DescribeError> {
    let mut value: Value = serde_json::from_slice(index).map_err(DescribeError::Document)?;
    let Some(manifests) = value.get_mut("manifests").and_then(Value::as_array_mut) else {
        return Err(DescribeError::NotAManifest);
    };
    manifests.retain(|child| child["digest"].as_str().is_some_and(keep));
    serde_json::to_vec(&sorted(value)).map_err(DescribeError::Document)
}

/// Returns an index of the manifests in the pages of a referrers API, sorted by digest; `None` if
/// `keep` accepts none. Equal manifests give equal bytes.
///
/// # Errors
/// [`DescribeError`] if a page is not an index.
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

/// Sorts the keys of all objects, because the order in `serde_json` depends on its features.
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
    for (digest, size, has_urls) in manifest.blobs() {
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
        let list: &mut Vec<Blob> = match has_urls {
            true => &mut external,
            false => &mut blobs,
        };
        if listed.insert((digest.as_ref(), has_urls)) {
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
    fn a_reduced_index_has_the_kept_manifests_and_always_the_same_bytes() {
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
    fn other_documents_are_refused() {
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
