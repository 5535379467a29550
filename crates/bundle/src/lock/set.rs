//! The lock of a set. Its artifacts come from upstream registries, charts, files and other bundles.

use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use super::{Artifact, Blob, Kind, Lock, LockedBundle, SkippedArchive, VERSION};
use crate::digest;
use crate::name::SetNames;
use crate::set::{BundleItem, Entry, Origin};

/// Origin of an artifact that is not in the release's bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// Reference that was resolved, with its host, such as `docker.io/library/nginx:1.29` or
    /// `https://charts.example.com/dex:1.0.0`. If the artifact has an archive, the URL of the
    /// bundle.
    pub reference: String,
    /// URL of its single layer, if the artifact is a chart or file outside of registries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Selected platforms, sorted; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Whether its signatures and attestations are mirrored, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signatures: bool,
    /// Manifest of a different artifact that this one signs or attests.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_digest"
    )]
    pub subject: Option<Digest>,
    /// Upstream digest of the index, if only some platforms of it are mirrored.
    #[serde(
        rename = "whole",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_digest"
    )]
    pub full_index: Option<Digest>,
    /// Whether this is an additional place of an artifact that the lock lists with the same
    /// reference.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alias: bool,
}

impl Source {
    /// Returns the source of an artifact in the bundle at `url`.
    pub fn of_bundle(url: &str) -> Self {
        Self {
            reference: url.to_owned(),
            url: None,
            platforms: Vec::new(),
            signatures: false,
            subject: None,
            full_index: None,
            alias: false,
        }
    }
}

/// A bundle that a set includes with all its artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetBundle {
    /// URL it was downloaded from.
    pub url: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// SHA-256 of the public key that verified its signature; `None` if the set names no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Folder in the registry that its repositories are put below; the key `as`.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Number of leading folders removed from the names of its archives.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strip: u8,
    /// Archives that are not mirrored, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedArchive>,
}

impl SetBundle {
    /// Returns its file name in `bundles/`.
    pub fn file(&self) -> &str {
        crate::name::base_name(&self.url)
    }

    /// Returns the rule that derives repositories and tags from its archives.
    pub fn names(&self) -> SetNames {
        SetNames {
            strip: self.strip,
            place: self.place.clone(),
        }
    }

    /// Returns whether this is the bundle of `item`, whatever signature or content the set
    /// requires.
    pub fn is_of(&self, item: &BundleItem) -> bool {
        self.url == item.url.as_str() && self.names() == item.names()
    }

    /// Returns whether `artifact` is in this bundle.
    pub fn has(&self, artifact: &Artifact) -> bool {
        let is_source = artifact.source.as_ref() == Some(&Source::of_bundle(&self.url));
        let name = self.names().decode(&artifact.archive);
        is_source && name.is_ok_and(|name| name.to_string() == artifact.reference())
    }
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

fn some_digest<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Digest>, D::Error> {
    digest::deserialize(deserializer).map(Some)
}

/// The keys in the file of a set's lock.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Form {
    version: u32,
    set: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bundles: Vec<SetBundle>,
    artifacts: Vec<Artifact>,
}

impl From<Form> for Lock {
    fn from(form: Form) -> Self {
        let mut lock = Self::of_set(&form.set, form.bundles, form.artifacts);
        lock.version = form.version;
        lock
    }
}

impl Artifact {
    /// Returns whether this artifact signs or attests a manifest of `other`.
    pub fn is_about(&self, other: &Artifact) -> bool {
        let subject = self.source.as_ref().and_then(|one| one.subject.as_ref());
        subject.is_some_and(|subject| {
            let mut manifests = other.manifests.iter();
            self.repository == other.repository && manifests.any(|one| one.digest == *subject)
        })
    }

    /// Returns URL and blob of the layer that is downloaded by URL; `None` if the artifact comes
    /// from a registry or bundle. Manifest and config of such an artifact are made from that layer.
    pub fn download(&self) -> Option<(&str, &Blob)> {
        let url = self.source.as_ref()?.url.as_deref()?;
        Some((url, self.manifests.last()?.blobs.last()?))
    }

    /// Returns whether this artifact is what `entry` names, pinned digests included.
    pub fn is_of(&self, entry: &Entry) -> bool {
        let Some(source) = self.source.as_ref().filter(|_| self.is_for(entry)) else {
            return false;
        };
        let (url, whole) = (source.url.as_deref(), source.full_index.as_ref());
        let is_from = match &entry.origin {
            Origin::Registry(reference) => {
                let pinned = reference.digest.as_ref();
                url.is_none()
                    && pinned.is_none_or(|pinned| pinned == whole.unwrap_or(&self.digest).as_ref())
            }
            // The URL comes from the repository's index, which is compared online.
            Origin::HelmRepository { .. } => url.is_some(),
            Origin::File { url: own, digest } => {
                let layer = self.download().map(|(_, layer)| &layer.digest);
                url == Some(own.as_str()) && layer == Some(digest)
            }
        };
        is_from && (whole.is_none() || !source.platforms.is_empty())
    }

    /// Returns whether this artifact was locked for `entry`. Pinned digests are not compared.
    pub fn is_for(&self, entry: &Entry) -> bool {
        let is_source = self.source.as_ref().is_some_and(|source| {
            source.reference == entry.origin.to_string()
                && source.platforms == entry.platforms
                && source.signatures == entry.signatures
                && source.subject.is_none()
                && source.alias == entry.alias_of.is_some()
        });
        is_source
            && self.reference() == entry.place()
            && (self.kind == Kind::Chart) == entry.is_chart
    }
}

impl Lock {
    /// Returns the lock of a release whose artifacts come from a registry.
    pub fn of_registry(release: &str, arch: &str, from: &str, artifacts: Vec<Artifact>) -> Self {
        let mut lock = Self {
            release: release.to_owned(),
            arch: arch.to_owned(),
            from: Some(from.to_owned()),
            ..Self::of_artifacts(artifacts)
        };
        lock.sort();
        lock
    }

    /// Returns the lock of a set.
    pub fn of_set(set: &str, bundles: Vec<SetBundle>, artifacts: Vec<Artifact>) -> Self {
        let mut lock = Self {
            set: Some(set.to_owned()),
            bundles,
            ..Self::of_artifacts(artifacts)
        };
        lock.sort();
        lock
    }

    /// Returns an unsorted lock that has `artifacts` and nothing else.
    pub(crate) fn of_artifacts(artifacts: Vec<Artifact>) -> Self {
        Self {
            version: VERSION,
            set: None,
            release: String::new(),
            arch: String::new(),
            from: None,
            bundle: LockedBundle::default(),
            forced_release: Vec::new(),
            release_matrix: None,
            mkectl: Vec::new(),
            init: None,
            bundles: Vec::new(),
            skipped: Vec::new(),
            artifacts,
        }
    }

    /// Returns one lock for each bundle of the sets, with the artifacts in it. Such a bundle is
    /// fetched and read like that of a release.
    pub fn set_bundles(&self) -> impl Iterator<Item = Self> {
        self.bundles.iter().map(|one| {
            let artifacts = self.artifacts.iter().filter(|artifact| one.has(artifact));
            let artifacts = artifacts.map(|artifact| Artifact {
                source: None,
                ..artifact.clone()
            });
            let bundle = LockedBundle {
                file: one.file().to_owned(),
                url: one.url.clone(),
                size: one.size,
                sha256: one.sha256.clone(),
            };
            Self {
                bundle,
                ..Self::of_set("", vec![one.clone()], artifacts.collect())
            }
        })
    }

    /// Returns the file name of a set's lock, such as `platform.lock.yaml`.
    pub fn set_file_name(set: &str) -> String {
        format!("{set}{}", Self::SUFFIX)
    }
}

/// Returns whether a text is meant as the lock of a set.
pub(super) fn is_of_set(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("set:"))
}

pub(super) fn to_yaml(set: &str, lock: Lock) -> String {
    let form = Form {
        version: lock.version,
        set: set.to_owned(),
        bundles: lock.bundles,
        artifacts: lock.artifacts,
    };
    let body = serde_yaml::to_string(&form).expect("a lock holds nothing YAML cannot say");
    format!("# What the set {set} carries. Written by `lock {set}`; not to be edited.\n{body}")
}
