//! The lock of a set: the same artifacts as in the lock of a release, from upstream instead of a bundle.

use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use super::{Artifact, Blob, Kind, Lock, LockedBundle};
use crate::digest;
use crate::set::{Entry, Origin};

/// Where in which registry an artifact comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// What was resolved, with its host, such as `docker.io/library/nginx:1.29` or `https://charts.example.com/dex:1.0.0`.
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
    artifacts: Vec<Artifact>,
}

/// The same, to be written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Written<'a> {
    version: u32,
    set: &'a str,
    artifacts: Vec<Artifact>,
}

impl From<Form> for Lock {
    fn from(form: Form) -> Self {
        let mut lock = Self::of_set(&form.set, form.artifacts);
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

    /// Returns the URL and the blob of the layer that is downloaded. Everything else of such an artifact is made of it.
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

    /// Returns whether it was locked for an entry of a set. Unless the lock was edited, it is what the entry names then.
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
            ..Self::of_set("", artifacts)
        };
        lock.set = None;
        lock
    }

    /// Returns the lock of a set.
    pub fn of_set(set: &str, artifacts: Vec<Artifact>) -> Self {
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
            skipped: Vec::new(),
            artifacts,
        };
        lock.sort();
        lock
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
        artifacts: lock.artifacts,
    };
    let body = serde_yaml::to_string(&written).expect("a lock holds nothing YAML cannot say");
    format!(
        "# What the set {set} carries. Written by `cargo xtask lock {set}`; not to be edited.\n{body}"
    )
}
