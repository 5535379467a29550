//! The lock: the committed record of a bundle, or of a set of artifacts from registries.
//!
//! People review it, and every later step reads it instead of the bundle. Therefore it is sorted,
//! has the same bytes on every machine, and is refused if it contradicts itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::{Digest, MediaType};
use serde::{Deserialize, Serialize};

use crate::{digest, http};

mod contradiction;
mod set;

pub use contradiction::Contradiction;
pub use set::{SetBundle, Source};

/// The format version that this crate reads and writes.
pub(crate) const VERSION: u32 = 1;

/// Content of one bundle and the downloads of `mkectl` for its release, or content of one set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// Format version, always 1.
    pub version: u32,
    /// Name of the set; `None` for a release. The file of a set's lock has fewer keys, see `Form`.
    #[serde(skip)]
    pub set: Option<String>,
    /// Release with a leading `v`, such as `v4.1.5`; empty for a set.
    pub release: String,
    /// Architecture in the bundle's name, such as `amd64`.
    pub arch: String,
    /// Registry and path that the release was locked from, such as `registry.mirantis.com/mke`.
    /// Such a lock has no bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The bundle's file; empty if the release was locked from a registry.
    #[serde(default, skip_serializing_if = "LockedBundle::is_empty")]
    pub bundle: LockedBundle,
    /// Contradictions to release and architecture that `lock --force-release` accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced_release: Vec<String>,
    /// The vendor's release matrix, if the bundle holds one. `mkectl upgrade --release-matrix`
    /// requires it unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_matrix: Option<LockedFile>,
    /// The downloads of `mkectl`, by platform.
    #[serde(default)]
    pub mkectl: Vec<LockedMkectl>,
    /// SHA-256 of the output of the release's `mkectl init`, 64 hexadecimal digits. That output is
    /// a file beside the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Bundles that sets include. An artifact with both an archive and a source is in the bundle
    /// with that URL.
    #[serde(skip)]
    pub bundles: Vec<SetBundle>,
    /// Archives that are not mirrored, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedArchive>,
    /// Artifacts, sorted by repository and tag.
    pub artifacts: Vec<Artifact>,
}

/// An archive of the bundle that is not mirrored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SkippedArchive {
    /// Path in the bundle.
    pub archive: String,
    /// Reason for leaving it out.
    pub reason: String,
}

/// A bundle's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedBundle {
    /// File name, such as `mke_bundle_v4.1.5_amd64.tar.gz`.
    pub file: String,
    /// URL it was downloaded from, without query.
    pub url: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
}

/// One download of `mkectl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedMkectl {
    /// Platform in the download's name, such as `linux-x86_64`.
    pub platform: String,
    /// URL it is downloaded from.
    pub url: String,
    /// SHA-256 of the download, 64 hexadecimal digits.
    pub sha256: String,
    /// Whether the vendor publishes no SHA-256, so the first download was trusted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted_on_first_use: bool,
}

/// A file of the bundle that is not an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedFile {
    /// Path in the bundle.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
}

/// Content of one archive, or of one reference in a registry: a root manifest and all that it
/// names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Artifact {
    /// Repository, such as `calico/apiserver`.
    pub repository: String,
    /// Tag, such as `v3.30.2`.
    pub tag: String,
    /// Image, chart or other artifact.
    pub kind: Kind,
    /// Path of the archive in the bundle; empty if the artifact comes from a registry.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub archive: String,
    /// Origin of an artifact that is not in the release's bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Digest of the root manifest, which the tag points to.
    #[serde(deserialize_with = "digest::deserialize")]
    pub digest: Digest,
    /// Media type of the root manifest.
    pub media_type: MediaType,
    /// Size of the root manifest in bytes.
    pub size: u64,
    /// All manifests, each once: children before the index that names them, the root last.
    pub manifests: Vec<Manifest>,
}

/// Type of an artifact.
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
    /// Returns the kind of an artifact that contains an image or a chart. One with both is an
    /// image.
    pub fn of(has_image: bool, has_chart: bool) -> Self {
        match (has_image, has_chart) {
            (true, _) => Self::Image,
            (false, true) => Self::Chart,
            (false, false) => Self::Artifact,
        }
    }
}

/// One manifest or index, with the blobs that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// Digest of the manifest.
    #[serde(deserialize_with = "digest::deserialize")]
    pub digest: Digest,
    /// Media type, as given by the descriptor that names the manifest.
    pub media_type: MediaType,
    /// Size of the manifest in bytes.
    pub size: u64,
    /// Platform of an image, such as `linux/arm64/v8`; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Config first, then the layers; empty for an index.
    pub blobs: Vec<Blob>,
    /// Layers that have `urls` and are not in the bundle. They are not pushed: nodes download them
    /// from those URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<Blob>,
}

/// A config or a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Blob {
    /// Digest of the content.
    #[serde(deserialize_with = "digest::deserialize")]
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// Why a lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be read, or is not UTF-8.
    #[error("cannot read the lock `{path}`")]
    Read {
        /// Path of the lock.
        path: Utf8PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The text is not YAML, or not a lock: a key is missing, unknown or has the wrong type.
    #[error("{path}:{line}:{column}: the lock is damaged")]
    Syntax {
        /// Path of the lock.
        path: Utf8PathBuf,
        /// Line, from 1; 1 if the place is not known.
        line: usize,
        /// Column, from 1; 1 if the place is not known.
        column: usize,
        /// The parser's error.
        source: serde_yaml::Error,
    },
    /// The text has the markers of an unresolved merge conflict.
    #[error("{path}:{line}: a merge conflict is not resolved")]
    Conflict {
        /// Path of the lock.
        path: Utf8PathBuf,
        /// Line of the first marker, from 1.
        line: usize,
    },
    /// The lock was written by a different version of this tool.
    #[error(
        "{path}: the lock has format version {found}; this version of Airlock supports {VERSION}"
    )]
    Version {
        /// Path of the lock.
        path: Utf8PathBuf,
        /// Format version in the file.
        found: u64,
    },
    /// Two values of the lock exclude each other, or one value is impossible.
    #[error("{path}: the lock contradicts itself")]
    Contradiction {
        /// Path of the lock.
        path: Utf8PathBuf,
        /// The contradiction.
        source: Contradiction,
    },
}

impl LockError {
    /// Returns the path of the lock.
    pub fn path(&self) -> &Utf8Path {
        match self {
            Self::Read { path, .. }
            | Self::Syntax { path, .. }
            | Self::Conflict { path, .. }
            | Self::Version { path, .. }
            | Self::Contradiction { path, .. } => path,
        }
    }
}

impl Lock {
    /// Suffix of the file names of locks.
    pub const SUFFIX: &str = ".lock.yaml";

    /// Returns the file name of a release's lock, such as `v4.1.5-amd64.lock.yaml`. `release` has
    /// its leading `v`.
    pub fn file_name(release: &str, arch: &str) -> String {
        format!("{release}-{arch}{}", Self::SUFFIX)
    }

    /// Returns release and architecture of a file name that [`Lock::file_name`] made; `None` for
    /// other file names.
    pub fn named(file_name: &str) -> Option<(&str, &str)> {
        file_name.strip_suffix(Self::SUFFIX)?.rsplit_once('-')
    }

    /// Returns the SHA-256 of a lock's text, 64 hexadecimal digits. Receipts identify a lock by it.
    pub fn digest(text: &str) -> String {
        digest::hex_of(text.as_bytes())
    }

    /// Reads the lock at `path`.
    ///
    /// # Errors
    /// [`LockError`] if the file cannot be read, is not a lock, has a different format version, or
    /// contradicts itself.
    pub fn read(path: &Utf8Path) -> Result<Self, LockError> {
        let text = files::read_text(path).map_err(|source| LockError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Parses the text of a lock. Errors name `path`. Its file name must match release and
    /// architecture, or the set.
    ///
    /// # Errors
    /// [`LockError`] if the text is not a lock, has a different format version, or contradicts
    /// itself.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, LockError> {
        /// The one key that every format version has. It is checked before unknown keys, so a newer
        /// lock is reported as such.
        #[derive(Deserialize)]
        #[serde(expecting = "keys and values, `version` among them")]
        struct Versioned {
            version: u64,
        }

        // Some editors write a byte order mark. The YAML parser would take it for a document of its
        // own.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some((at, _)) = redaction::yaml::conflict(text) {
            return Err(LockError::Conflict {
                path: path.to_owned(),
                line: text[..at].lines().count() + 1,
            });
        }
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
        // Earlier versions kept the query, which may contain a secret. Parsed URLs are printed.
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

    /// Returns the text of the lock's file. The order of `artifacts` does not change it.
    pub fn to_yaml(&self) -> String {
        let mut sorted = self.clone();
        sorted.sort();
        if let Some(set) = &self.set {
            return set::to_yaml(set, sorted);
        }
        let body = serde_yaml::to_string(&sorted).expect("a lock holds nothing YAML cannot say");
        let origin = match &self.from {
            Some(from) => format!("What {from} has, and not the vendor's bundle"),
            None => format!("What is in {}", self.bundle.file),
        };
        format!(
            "# {origin}. Written by `lock {}`; not to be edited.\n{body}",
            self.release
        )
    }

    /// Returns whether two texts are the same lock. The comment in the first line is ignored,
    /// because versions of Airlock word it differently.
    pub fn is_same(one: &str, other: &str) -> bool {
        let body = |text| match str::split_once(text, '\n') {
            Some((first, rest)) if first.starts_with('#') => rest,
            _ => text,
        };
        body(one) == body(other)
    }

    /// Returns the release, or the name of the set.
    pub fn name(&self) -> &str {
        self.set.as_deref().unwrap_or(&self.release)
    }

    /// Returns the lock without the artifacts of sets: what the release's own bundle contains.
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
    /// bytes. The release matrix is not one of them.
    pub fn blobs(&self) -> BTreeMap<String, u64> {
        self.artifacts
            .iter()
            .flat_map(Artifact::blobs)
            .map(|(digest, size)| (digest.to_string(), size))
            .collect()
    }

    /// Returns the total size of [`Lock::blobs`] in bytes.
    pub fn unique_bytes(&self) -> u64 {
        self.blobs().values().sum()
    }

    pub(crate) fn sort(&mut self) {
        self.artifacts
            .sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
        self.skipped
            .sort_by(|one, other| one.archive.cmp(&other.archive));
        for bundle in &mut self.bundles {
            bundle
                .skipped
                .sort_by(|one, other| one.archive.cmp(&other.archive));
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

    /// Returns the manifests and their blobs, with sizes in bytes. A blob that several manifests
    /// name is returned several times.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.manifests.iter().flat_map(|manifest| {
            let blobs = manifest.blobs.iter().map(|blob| (&blob.digest, blob.size));
            std::iter::once((&manifest.digest, manifest.size)).chain(blobs)
        })
    }

    /// Returns the layers that are in neither the bundle nor the registry, without duplicates, with
    /// sizes in bytes.
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
