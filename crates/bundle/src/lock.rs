//! The lock: the committed record of a bundle, or of a set of artifacts from registries. It is read
//! by people in reviews and by every later step in place of the bundle, so it is sorted, the same
//! to the byte on every machine, and refused when it contradicts itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::{Digest, MediaType};
use serde::{Deserialize, Serialize};

use crate::{digest, http};

mod check;
mod set;

pub use check::Contradiction;
pub use set::{SetBundle, Source};

/// The version of the lock's own form that this crate reads and writes.
pub(crate) const VERSION: u32 = 1;

/// Everything that is in one bundle, and the `mkectl` that belongs to it; or everything that a set
/// carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// The version of this form: 1.
    pub version: u32,
    /// The set that it is of; none for a release. The lock of a set has a form of its own, without
    /// what only a bundle has.
    #[serde(skip)]
    pub set: Option<String>,
    /// The release with a leading `v`, such as `v4.1.5`; empty for a set.
    pub release: String,
    /// The architecture in the bundle's name, such as `amd64`.
    pub arch: String,
    /// The registry and path that the release was locked from, `registry.mirantis.com/mke`. Such a
    /// lock has no bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The bundle itself; empty if the release was locked from a registry.
    #[serde(default, skip_serializing_if = "LockedBundle::is_empty")]
    pub bundle: LockedBundle,
    /// What contradicts release and architecture, although `lock --force-release` locked the bundle
    /// as that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced_release: Vec<String>,
    /// The vendor's release matrix, if the bundle holds one. `mkectl upgrade --release-matrix`
    /// requires it unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_matrix: Option<LockedFile>,
    /// The downloads of `mkectl`, by platform.
    #[serde(default)]
    pub mkectl: Vec<LockedMkectl>,
    /// SHA-256 of what the release's `mkectl init` prints, which is kept beside the lock; 64
    /// hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// The bundles that sets carry. An artifact with an archive and a source is in the one with
    /// that URL.
    #[serde(skip)]
    pub bundles: Vec<SetBundle>,
    /// The archives that are not mirrored, each with the reason, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedArchive>,
    /// The artifacts, by repository and tag.
    pub artifacts: Vec<Artifact>,
}

/// An archive of the bundle that is not mirrored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SkippedArchive {
    /// Its path in the bundle.
    pub archive: String,
    /// Why it is not mirrored.
    pub reason: String,
}

/// The bundle as a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedBundle {
    /// Its file name, such as `mke_bundle_v4.1.5_amd64.tar.gz`.
    pub file: String,
    /// Where it was downloaded from.
    pub url: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256, 64 hexadecimal digits.
    pub sha256: String,
}

/// A download of `mkectl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedMkectl {
    /// The platform in the download's name, such as `linux-x86_64`.
    pub platform: String,
    /// Where it is downloaded from.
    pub url: String,
    /// The sha256 of the download, 64 hexadecimal digits.
    pub sha256: String,
    /// Whether that hash is not published, so the download was trusted when it was locked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted_on_first_use: bool,
}

/// A file of the bundle that is not an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedFile {
    /// Its path in the bundle.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256, 64 hexadecimal digits.
    pub sha256: String,
}

/// What one archive holds, or one reference in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Artifact {
    /// The repository, such as `calico/apiserver`.
    pub repository: String,
    /// The tag, such as `v3.30.2`.
    pub tag: String,
    /// What kind of thing it is.
    pub kind: Kind,
    /// The path of its archive in the bundle, or in that of a set; empty if it comes from a
    /// registry.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub archive: String,
    /// Where it comes from, if it is not in the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The digest of its root manifest: what the tag is to point at.
    #[serde(deserialize_with = "digest::deserialize")]
    pub digest: Digest,
    /// The media type of its root manifest.
    pub media_type: MediaType,
    /// The size of its root manifest in bytes.
    pub size: u64,
    /// Every manifest of it, each once: children before the index that names them, the root last.
    pub manifests: Vec<Manifest>,
}

/// What kind of thing an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A container image, for one platform or several.
    Image,
    /// A Helm chart.
    Chart,
    /// Any other OCI artifact.
    Artifact,
}

impl Kind {
    /// Returns the kind of what has an image or a chart in it.
    pub fn of(has_image: bool, has_chart: bool) -> Self {
        match (has_image, has_chart) {
            (true, _) => Self::Image,
            (false, true) => Self::Chart,
            (false, false) => Self::Artifact,
        }
    }
}

/// One manifest or index, and the blobs that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// Its digest.
    #[serde(deserialize_with = "digest::deserialize")]
    pub digest: Digest,
    /// Its media type, as the descriptor that leads to it says.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size: u64,
    /// The platform of an image, such as `linux/arm64/v8`, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The blobs that it names: the config first, then the layers. An index names none.
    pub blobs: Vec<Blob>,
    /// The layers that it names with `urls` and that the bundle does not contain. They are not
    /// pushed: nodes download them from there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<Blob>,
}

/// A config or a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Blob {
    /// Its digest.
    #[serde(deserialize_with = "digest::deserialize")]
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be read, or is not UTF-8.
    #[error("cannot read the lock `{path}`")]
    Read {
        /// The lock.
        path: Utf8PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The text is not YAML, or not a lock: a key is missing, unknown or of another type.
    #[error("{path}:{line}:{column}: the lock is damaged")]
    Syntax {
        /// The lock.
        path: Utf8PathBuf,
        /// The line, from 1; 1 if the place is not known.
        line: usize,
        /// The column, from 1; 1 if the place is not known.
        column: usize,
        /// What is wrong there.
        source: serde_yaml::Error,
    },
    /// The lock was written by a different version of this tool.
    #[error(
        "{path}: the lock has format version {found}; this version of Airlock supports {VERSION}"
    )]
    Version {
        /// The lock.
        path: Utf8PathBuf,
        /// The version that it claims.
        found: u64,
    },
    /// The lock says two things that cannot both be true, or something that cannot be true at all.
    #[error("{path}: the lock contradicts itself")]
    Contradiction {
        /// The lock.
        path: Utf8PathBuf,
        /// What it says.
        source: Contradiction,
    },
}

impl Lock {
    /// What the names of locks' files end with.
    pub const SUFFIX: &str = ".lock.yaml";

    /// Returns the name of the lock's file, such as `v4.1.5-amd64.lock.yaml`. `release` has its
    /// leading `v`.
    pub fn file_name(release: &str, arch: &str) -> String {
        format!("{release}-{arch}{}", Self::SUFFIX)
    }

    /// Returns release and architecture by the name of a lock's file, as [`Lock::file_name`] makes
    /// it; `None` for another file.
    pub fn named(file_name: &str) -> Option<(&str, &str)> {
        file_name.strip_suffix(Self::SUFFIX)?.rsplit_once('-')
    }

    /// Returns the sha256 of a lock's text, 64 hexadecimal digits: what a receipt names it by.
    pub fn digest(text: &str) -> String {
        digest::hex_of(text.as_bytes())
    }

    /// Reads the lock at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is not a lock, is of a different version, or contradicts itself.
    pub fn read(path: &Utf8Path) -> Result<Self, LockError> {
        let text = files::read_text(path).map_err(|source| LockError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads the lock in `text`. `path` is named in errors.
    ///
    /// # Errors
    /// When it is not a lock, is of a different version, or contradicts itself.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, LockError> {
        /// The one key that every version of the form has. The others are not looked at yet: a lock
        /// of a later version is to be called that, and not to be accused of an unknown key.
        #[derive(Deserialize)]
        #[serde(expecting = "keys and values, `version` among them")]
        struct Versioned {
            version: u64,
        }

        // A byte order mark, which some editors write, is a second document to the YAML reader.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let syntax = |source: serde_yaml::Error| {
            let place = source.location();
            LockError::Syntax {
                path: path.to_owned(),
                line: place.as_ref().map_or(1, serde_yaml::Location::line),
                column: place.as_ref().map_or(1, serde_yaml::Location::column),
                source,
            }
        };
        let lock = match set::is_of_set(text) {
            true => redaction::yaml::read_lines::<set::Form>(text).map(Self::from),
            false => redaction::yaml::read_lines::<Self>(text),
        };
        let version = match &lock {
            Ok(lock) => u64::from(lock.version),
            Err(_) => redaction::yaml::read_lines(text)
                .map(|Versioned { version }| version)
                .map_err(syntax)?,
        };
        if version != u64::from(VERSION) {
            return Err(LockError::Version {
                path: path.to_owned(),
                found: version,
            });
        }
        let mut lock = lock.map_err(syntax)?;
        // Earlier versions kept queries, which may contain a secret, and what is parsed is shown.
        lock.bundle.url = http::stored_url(&lock.bundle.url);
        for mkectl in &mut lock.mkectl {
            mkectl.url = http::stored_url(&mkectl.url);
        }
        lock.check_name(path)
            .and_then(|()| lock.check())
            .map_err(|source| LockError::Contradiction {
                path: path.to_owned(),
                source,
            })?;
        Ok(lock)
    }

    /// Returns the lock's text. The same lock has the same text everywhere, whatever the order of
    /// its artifacts was.
    pub fn to_yaml(&self) -> String {
        let mut sorted = self.clone();
        sorted.sort();
        if let Some(set) = &self.set {
            return set::to_yaml(set, sorted);
        }
        let body = serde_yaml::to_string(&sorted).expect("a lock holds nothing YAML cannot say");
        let what = match &self.from {
            Some(from) => format!("What {from} has, and not the vendor's bundle"),
            None => format!("What is in {}", self.bundle.file),
        };
        format!(
            "# {what}. Written by `lock {}`; not to be edited.\n{body}",
            self.release
        )
    }

    /// Returns whether two texts are the same lock. The comment in the first line differs between
    /// versions of this tool.
    pub fn is_same(one: &str, other: &str) -> bool {
        let body = |text| match str::split_once(text, '\n') {
            Some((first, rest)) if first.starts_with('#') => rest,
            _ => text,
        };
        body(one) == body(other)
    }

    /// Returns what it is of: the release, or the set.
    pub fn name(&self) -> &str {
        self.set.as_deref().unwrap_or(&self.release)
    }

    /// Returns the part of it that is in its bundle.
    pub fn of_bundle(&self) -> Cow<'_, Self> {
        match self.artifacts.iter().any(|one| one.source.is_some()) {
            false => Cow::Borrowed(self),
            true => {
                let mut part = self.clone();
                part.artifacts.retain(|one| one.source.is_none());
                part.bundles.clear();
                Cow::Owned(part)
            }
        }
    }

    /// Returns the unique blobs that a registry must hold, manifests included, with their sizes in
    /// bytes. The release matrix is none of them.
    pub fn blobs(&self) -> BTreeMap<String, u64> {
        self.artifacts
            .iter()
            .flat_map(Artifact::blobs)
            .map(|(digest, size)| (digest.to_string(), size))
            .collect()
    }

    /// Returns the bytes of [`Lock::blobs`] in all.
    pub fn unique_bytes(&self) -> u64 {
        self.blobs().values().sum()
    }

    pub(crate) fn sort(&mut self) {
        self.artifacts
            .sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
        self.skipped
            .sort_by(|one, other| one.archive.cmp(&other.archive));
        for bundle in &mut self.bundles {
            let by_path = |one: &SkippedArchive| one.archive.clone();
            bundle.skipped.sort_by_key(by_path);
        }
        self.bundles.sort_by(|one, other| one.url.cmp(&other.url));
        self.mkectl
            .sort_by(|one, other| one.platform.cmp(&other.platform));
    }
}

impl LockedBundle {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Artifact {
    /// Returns `repository:tag`.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// Returns what it consists of, its manifests and their blobs, with sizes in bytes. What
    /// several manifests name comes as often as they name it.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.manifests.iter().flat_map(|manifest| {
            let blobs = manifest.blobs.iter().map(|blob| (&blob.digest, blob.size));
            std::iter::once((&manifest.digest, manifest.size)).chain(blobs)
        })
    }

    /// Returns the layers that are in neither the bundle nor the registry, each once.
    pub fn external(&self) -> BTreeMap<&str, u64> {
        let layers = self
            .manifests
            .iter()
            .flat_map(|manifest| &manifest.external);
        layers
            .map(|layer| (layer.digest.as_ref(), layer.size))
            .collect()
    }

    pub(crate) fn sort_key(&self) -> (&str, &str) {
        (&self.repository, &self.tag)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Image => "image",
            Self::Chart => "chart",
            Self::Artifact => "artifact",
        })
    }
}

#[cfg(test)]
mod tests;
