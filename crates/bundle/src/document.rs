//! The JSON documents of an OCI image layout, reduced to the fields that this crate needs.
//!
//! While an archive is streamed, it is not known which blobs are manifests: their descriptors may
//! come later. So each blob that may be a manifest is parsed as it passes, and only these fields
//! stay in memory.

use std::fmt;

use oci_spec::image::{Digest, MediaType};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{digest, strict};

/// Maximum size of a manifest, an index or another document, in bytes: 4 MiB, the limit of
/// registries.
pub(crate) const LARGEST: u64 = 4 << 20;

/// Maximum length of a string that stays in memory, in bytes. Media types have at most 255 (RFC
/// 6838), and an archive may have thousands of documents.
const LONGEST: usize = 255;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const HELM_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
pub(crate) const HELM_CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// A blob that was parsed.
#[derive(Debug)]
pub(crate) enum Document {
    /// A manifest of an image, a chart or another artifact.
    Manifest(ManifestDocument),
    Index(IndexDocument),
    /// The config of an image, with its platform.
    Config(Option<String>),
    /// A document with a `schemaVersion` that is not a valid manifest or index. It is an error only
    /// if a descriptor names it as one.
    Broken(serde_json::Error),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestDocument {
    #[serde(default, deserialize_with = "optional_media_type")]
    pub(crate) media_type: Option<MediaType>,
    #[serde(default, deserialize_with = "optional_text")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Config,
    pub(crate) layers: Vec<Layer>,
    /// Present if the document could also be parsed as an index.
    manifests: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IndexDocument {
    #[serde(default, deserialize_with = "optional_media_type")]
    pub(crate) media_type: Option<MediaType>,
    #[serde(default, deserialize_with = "optional_text")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    /// Present if the document could also be parsed as a manifest.
    layers: Option<serde::de::IgnoredAny>,
}

/// The descriptor of a manifest or an index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(deserialize_with = "media_type")]
    pub(crate) media_type: MediaType,
    #[serde(deserialize_with = "digest::deserialize")]
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    pub(crate) annotations: Option<Annotations>,
}

/// Annotations that name a root, or say what a manifest attests.
#[derive(Debug, Deserialize)]
pub(crate) struct Annotations {
    /// A tag, or a full reference.
    #[serde(
        default,
        rename = "org.opencontainers.image.ref.name",
        deserialize_with = "optional_text"
    )]
    pub(crate) ref_name: Option<String>,
    /// A full reference, as containerd writes it.
    #[serde(
        default,
        rename = "io.containerd.image.name",
        deserialize_with = "optional_text"
    )]
    pub(crate) image_name: Option<String>,
    /// Digest of the manifest that an attestation is about, as BuildKit writes it.
    #[serde(
        default,
        rename = "vnd.docker.reference.digest",
        deserialize_with = "optional_text"
    )]
    pub(crate) attests: Option<String>,
}

/// A manifest's descriptor of its config.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    #[serde(deserialize_with = "text")]
    pub(crate) media_type: String,
    #[serde(deserialize_with = "digest::deserialize")]
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// A manifest's descriptor of a layer.
#[derive(Debug, Deserialize)]
pub(crate) struct Layer {
    #[serde(deserialize_with = "digest::deserialize")]
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    urls: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Platform {
    #[serde(default, deserialize_with = "optional_text")]
    os: Option<String>,
    #[serde(default, deserialize_with = "optional_text")]
    architecture: Option<String>,
    #[serde(default, deserialize_with = "optional_text")]
    variant: Option<String>,
}

impl Document {
    /// Parses a blob. Returns `None` if it is not a JSON document of an image layout.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            schema_version: Option<serde::de::IgnoredAny>,
            manifests: Option<serde::de::IgnoredAny>,
            architecture: Option<serde::de::IgnoredAny>,
        }
        let probe: Probe = serde_json::from_slice(bytes).ok()?;
        let document = if probe.schema_version.is_none() {
            probe.architecture?;
            Ok(Self::Config(
                serde_json::from_slice::<Platform>(bytes).ok()?.name(),
            ))
        } else if let Err(error) = strict::check(bytes).and_then(|()| Self::check_version(bytes)) {
            Err(error)
        } else if probe.manifests.is_some() {
            serde_json::from_slice(bytes).map(Self::Index)
        } else {
            serde_json::from_slice(bytes).map(Self::Manifest)
        };
        Some(document.unwrap_or_else(Self::broken))
    }

    /// Refuses a `schemaVersion` other than 2, which no registry accepts.
    fn check_version(bytes: &[u8]) -> Result<(), serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            schema_version: u64,
        }
        let unsupported = |found: &str| {
            serde_json::Error::custom(format!("its `schemaVersion` is {found}, not the number 2"))
        };
        match serde_json::from_slice::<Version>(bytes) {
            Ok(Version { schema_version: 2 }) => Ok(()),
            Ok(Version { schema_version }) => Err(unsupported(&schema_version.to_string())),
            Err(_) => Err(unsupported("of a different type")),
        }
    }

    /// Keeps the parser's error, cut to [`LONGEST`] because it may quote a long string.
    fn broken(error: serde_json::Error) -> Self {
        let message = error.to_string();
        match message.len() > LONGEST {
            false => Self::Broken(error),
            true => Self::Broken(serde_json::Error::custom(redaction::line(
                &message, LONGEST,
            ))),
        }
    }

    /// Returns the number of descriptors that this document keeps in memory.
    pub(crate) fn descriptors(&self) -> usize {
        match self {
            Self::Manifest(manifest) => 1 + manifest.layers.len(),
            Self::Index(index) => index.manifests.len(),
            Self::Config(_) | Self::Broken(_) => 1,
        }
    }
}

impl ManifestDocument {
    /// Returns whether the document could also be parsed as an index.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.manifests.is_some()
    }

    /// Returns digest and size of the config and then of each layer, and whether it has `urls`.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (&Digest, u64, bool)> {
        let config = (&self.config.digest, self.config.size, false);
        let layers = self.layers.iter();
        let layers = layers.map(|layer| (&layer.digest, layer.size, layer.has_urls()));
        std::iter::once(config).chain(layers)
    }

    pub(crate) fn is_chart(&self) -> bool {
        self.config.media_type == HELM_CONFIG
    }

    /// Returns whether this is an image that can run, and not another artifact with the manifest of
    /// an image.
    pub(crate) fn is_image(&self) -> bool {
        self.artifact_type.is_none()
            && [OCI_CONFIG, DOCKER_CONFIG].contains(&self.config.media_type.as_str())
    }
}

impl Layer {
    /// Returns whether clients may download the layer from elsewhere. Then archives and registries
    /// may lack it.
    pub(crate) fn has_urls(&self) -> bool {
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

impl IndexDocument {
    /// Returns whether the document could also be parsed as a manifest.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.layers.is_some()
    }
}

impl Platform {
    /// Returns `os/architecture[/variant]`; `None` if one of the first two is absent or `unknown`.
    /// Builders mark attestations of an image by `unknown`.
    pub(crate) fn name(&self) -> Option<String> {
        let known = |part: &Option<String>| part.clone().filter(|text| is_platform_word(text));
        let (os, architecture) = (known(&self.os)?, known(&self.architecture)?);
        Some(match known(&self.variant) {
            Some(variant) => format!("{os}/{architecture}/{variant}"),
            None => format!("{os}/{architecture}"),
        })
    }
}

/// A string of at most [`LONGEST`] bytes.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                if text.len() > LONGEST {
                    let length = text.len();
                    return Err(E::custom(format_args!(
                        "a string of {length} bytes, more than the limit of {LONGEST}"
                    )));
                }
                Ok(Text(text.to_owned()))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Text::deserialize(deserializer)?.0)
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
}

fn media_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MediaType, D::Error> {
    text(deserializer).map(|text| MediaType::from(text.as_str()))
}

fn optional_media_type<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<MediaType>, D::Error> {
    let text = optional_text(deserializer)?;
    Ok(text.map(|text| MediaType::from(text.as_str())))
}

/// Returns whether `text` can be a media type (RFC 6838, section 4.2). It goes into an HTTP header
/// as it is.
pub(crate) fn is_media_type(text: &str) -> bool {
    let is_name = |part: &str| {
        part.len() <= 127
            && part.starts_with(|character: char| character.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/')
        .is_some_and(|(kind, name)| is_name(kind) && is_name(name))
}

fn is_platform_word(text: &str) -> bool {
    !text.is_empty()
        && text != "unknown"
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_documents_apart() {
        let layer = format!(
            r#"{{"mediaType":"application/x","digest":"sha256:{}","size":3}}"#,
            "0".repeat(64)
        );
        let manifest =
            format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[{layer},{layer}]}}"#);
        let Some(Document::Manifest(document)) = Document::parse(manifest.as_bytes()) else {
            panic!("not taken for a manifest");
        };
        assert_eq!((document.layers.len(), document.config.size), (2, 3));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{layer}]}}"#);
        assert!(matches!(
            Document::parse(index.as_bytes()),
            Some(Document::Index(_))
        ));
        let both = format!(r#"{{"schemaVersion":2,"manifests":[{layer}],"layers":[]}}"#);
        let Some(Document::Index(document)) = Document::parse(both.as_bytes()) else {
            panic!("not taken for an index");
        };
        assert!(document.is_ambiguous());
        let config = br#"{"architecture":"arm64","os":"linux","variant":"v8","config":{"Env":[]}}"#;
        let Some(Document::Config(platform)) = Document::parse(config) else {
            panic!("not taken for a config");
        };
        assert_eq!(platform.as_deref(), Some("linux/arm64/v8"));
        assert!(Document::parse(br#"{"name":"dex","version":"0.23.0"}"#).is_none());
        assert!(Document::parse(b"{ not json").is_none());
    }

    #[test]
    fn keeps_the_error_of_a_broken_manifest() {
        let sha512 = format!("sha512:{}", "0".repeat(128));
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{sha512}","size":1}},"layers":[]}}"#
        );
        let Some(Document::Broken(error)) = Document::parse(text.as_bytes()) else {
            panic!("not broken");
        };
        assert!(
            error.to_string().contains("only `sha256` is supported"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_platform_is_none() {
        let platform = |os: &str, architecture: &str| {
            Platform {
                os: Some(os.to_owned()),
                architecture: Some(architecture.to_owned()),
                variant: None,
            }
            .name()
        };
        assert_eq!(platform("linux", "amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(platform("unknown", "unknown"), None);
        assert_eq!(platform("", "amd64"), None);
        assert_eq!(platform("linux\u{1b}[2J", "amd64"), None);
    }

    #[test]
    fn knows_media_types() {
        for good in [OCI_MANIFEST, DOCKER_LIST, HELM_CONFIG, "a/b"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a/b c",
            "a/b\r\nHost: x",
            "ä/b",
        ] {
            assert!(!is_media_type(bad), "{bad:?}");
        }
    }
}
