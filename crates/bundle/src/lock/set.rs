//! The lock of a set: the same artifacts as in the lock of a release, from upstream instead of a
//! bundle.

use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use super::{Artifact, Blob, Kind, Lock, LockedBundle, SkippedArchive};
use crate::digest;
use crate::name::SetNames;
use crate::set::{BundleItem, Entry, Origin};

/// Where in which registry an artifact comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// What was resolved, with its host, such as `docker.io/library/nginx:1.29` or
    /// `https://charts.example.com/dex:1.0.0`. The URL of a bundle, if the artifact has an archive.
    pub reference: String,
    /// Where its one layer is downloaded from, if it is in no registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The platforms that are carried, sorted; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Whether signatures and attestations of it are carried, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signatures: bool,
    /// The manifest of another artifact that this one signs or attests.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_digest"
    )]
    pub subject: Option<Digest>,
    /// What the reference pointed to, if only some platforms of it are carried.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_digest"
    )]
    pub whole: Option<Digest>,
    /// Whether this is one more place of an artifact that the lock has under the same reference.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alias: bool,
}

impl Source {
    /// Returns the source of what is in the bundle at `url`.
    pub fn of_bundle(url: &str) -> Self {
        Self {
            reference: url.to_owned(),
            url: None,
            platforms: Vec::new(),
            signatures: false,
            subject: None,
            whole: None,
            alias: false,
        }
    }
}

/// A bundle of the vendor that a set carries as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetBundle {
    /// Where it was downloaded from.
    pub url: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256, 64 hexadecimal digits.
    pub sha256: String,
    /// The SHA-256 of the public key that its signature was verified with, if the set names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The folder that its artifacts are put below.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// How many leading folders of their names are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strip: u8,
    /// What is in it and is not carried, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedArchive>,
}

impl SetBundle {
    /// Returns the name of its file in `bundles/`.
    pub fn file(&self) -> &str {
        crate::name::base_name(&self.url)
    }

    /// Returns how the names of its archives are made.
    pub fn names(&self) -> SetNames {
        SetNames {
            strip: self.strip,
            place: self.place.clone(),
        }
    }

    /// Returns whether it is what a set lists, whatever the set requires of its content.
    pub fn is_of(&self, item: &BundleItem) -> bool {
        self.url == item.url.as_str() && self.names() == item.names()
    }

    /// Returns whether an artifact is in it.
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

/// The keys of a set's lock.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Form {
    version: u32,
    set: String,
    #[serde(default)]
    bundles: Vec<SetBundle>,
    artifacts: Vec<Artifact>,
}

/// The same, to be written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Written<'a> {
    version: u32,
    set: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
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
    /// Returns whether it signs or attests a manifest of `other`.
    pub fn is_about(&self, other: &Artifact) -> bool {
        let subject = self.source.as_ref().and_then(|one| one.subject.as_ref());
        subject.is_some_and(|subject| {
            let mut manifests = other.manifests.iter();
            self.repository == other.repository && manifests.any(|one| one.digest == *subject)
        })
    }

    /// Returns the URL and the blob of the layer that is downloaded. Everything else of such an
    /// artifact is made of it.
    pub fn download(&self) -> Option<(&str, &Blob)> {
        let url = self.source.as_ref()?.url.as_deref()?;
        Some((url, self.manifests.last()?.blobs.last()?))
    }

    /// Returns whether it is what an entry of a set names, whatever that was when it was locked.
    pub fn is_of(&self, entry: &Entry) -> bool {
        let Some(source) = self.source.as_ref().filter(|_| self.is_for(entry)) else {
            return false;
        };
        let (url, whole) = (source.url.as_deref(), source.whole.as_ref());
        let is_from = match &entry.origin {
            Origin::Registry(reference) => {
                let pinned = reference.digest.as_ref();
                url.is_none()
                    && pinned.is_none_or(|pinned| pinned == whole.unwrap_or(&self.digest).as_ref())
            }
            // The URL is what the repository's index lists, which is compared online.
            Origin::HelmRepository { .. } => url.is_some(),
            Origin::File { url: own, digest } => {
                let layer = self.download().map(|(_, layer)| &layer.digest);
                url == Some(own.as_str()) && layer == Some(digest)
            }
        };
        is_from && (whole.is_none() || !source.platforms.is_empty())
    }

    /// Returns whether it was locked for an entry of a set. Unless the lock was edited, it is what
    /// the entry names then.
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
            ..Self::of_set("", Vec::new(), artifacts)
        };
        lock.set = None;
        lock
    }

    /// Returns the lock of a set.
    pub fn of_set(set: &str, bundles: Vec<SetBundle>, artifacts: Vec<Artifact>) -> Self {
        let mut lock = Self {
            version: super::VERSION,
            set: Some(set.to_owned()),
            release: String::new(),
            arch: String::new(),
            from: None,
            bundle: LockedBundle::default(),
            forced_release: Vec::new(),
            release_matrix: None,
            mkectl: Vec::new(),
            init: None,
            bundles,
            skipped: Vec::new(),
            artifacts,
        };
        lock.sort();
        lock
    }

    /// Returns each bundle that sets carry with its artifacts, as a lock of its own: it is fetched
    /// and read like that of a release.
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

    /// Returns the name of the file of a set's lock, such as `platform.lock.yaml`.
    pub fn set_file_name(set: &str) -> String {
        format!("{set}{}", Self::SUFFIX)
    }
}

/// Returns whether a text is meant as the lock of a set.
pub(super) fn is_of_set(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("set:"))
}

pub(super) fn to_yaml(set: &str, lock: Lock) -> String {
    let written = Written {
        version: lock.version,
        set,
        bundles: lock.bundles,
        artifacts: lock.artifacts,
    };
    let body = serde_yaml::to_string(&written).expect("a lock holds nothing YAML cannot say");
    format!("# What the set {set} carries. Written by `lock {set}`; not to be edited.\n{body}")
}
