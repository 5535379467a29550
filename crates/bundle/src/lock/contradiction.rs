//! Checks that a lock does not contradict itself. Contradictions come from editing one by hand, or
//! from merging two in version control.

use std::collections::{HashMap, HashSet};

use oci_spec::image::Digest;

use super::{Artifact, Kind, Lock, SetBundle, Source};
use crate::digest::{self, size_fault};
use crate::document::is_media_type;
use crate::name::{Name, NameError};
use crate::set::{Reference, ReferenceError, bundle_fault, is_name, url_fault};

/// A value of a lock that is impossible, or that excludes a different one.
#[derive(Debug, thiserror::Error)]
pub enum Contradiction {
    /// The release is not `v` and a semantic version.
    #[error("`{release}` is not a release: expected `v` and a version, such as `v4.1.5`")]
    Release {
        /// The release as recorded.
        release: String,
    },
    /// The file name belongs to a different release or architecture.
    #[error("it is the lock of {release} for {arch}, but its file name differs")]
    FileName {
        /// Release in the lock.
        release: String,
        /// Architecture in the lock.
        arch: String,
    },
    /// A value that becomes part of a file name has forbidden characters.
    #[error("`{text}` is not a valid {what}")]
    Word {
        /// The value: `architecture`, `platform of mkectl`, `file name of the bundle`.
        what: &'static str,
        /// The word as recorded.
        text: String,
    },
    /// A SHA-256 is not 64 lower-case hexadecimal digits.
    #[error("the sha256 of {what} is not 64 lower-case hexadecimal digits")]
    Sha256 {
        /// What the lock records it of, such as `the bundle`.
        what: String,
    },
    /// A URL cannot be parsed.
    #[error("the URL of {what} is not valid")]
    Url {
        /// What the lock records it of, such as `the bundle`.
        what: String,
        /// The cause.
        source: url::ParseError,
    },
    /// A URL contains a user or a password. Locks are committed.
    #[error("the URL of {what} contains credentials, which must not be committed")]
    UrlWithCredentials {
        /// What the lock records it of, such as `the bundle`.
        what: String,
    },
    /// The file name belongs to a different set.
    #[error("it is the lock of the set {set}, but its file name differs")]
    SetFileName {
        /// Set in the lock.
        set: String,
    },
    /// The name of the set is not valid.
    #[error("`{set}` is not a valid name of a set")]
    Set {
        /// The name as recorded.
        set: String,
    },
    /// An artifact comes from both a bundle and a registry, or from neither.
    #[error("`{reference}` must come from either an archive or a registry")]
    Source {
        /// The artifact, `repository:tag`.
        reference: String,
    },
    /// The reference of an artifact's source cannot be parsed.
    #[error("the source of `{reference}` is not valid")]
    SourceReference {
        /// The artifact, `repository:tag`.
        reference: String,
        /// The cause.
        source: ReferenceError,
    },
    /// A release has both a bundle and a registry, or `from` is not a registry.
    #[error("`from: {from}` must be a registry, and the only source")]
    From {
        /// The registry and path as recorded.
        from: String,
    },
    /// A bundle is listed twice.
    #[error("the bundle `{url}` is listed twice")]
    BundleTwice {
        /// URL of the bundle.
        url: String,
    },
    /// A bundle's URL cannot be downloaded, or its file name is not that of a bundle.
    #[error("no bundle can be carried from `{url}`")]
    BundleUrl {
        /// The URL.
        url: String,
    },
    /// No bundle of the lock contains an artifact whose source is a bundle.
    #[error("`{reference}` is in no bundle of the lock")]
    NoBundle {
        /// The artifact, `repository:tag`.
        reference: String,
    },
    /// A source with a URL is not a single chart or file.
    #[error("the source of `{reference}` is not a chart or a file that can be downloaded")]
    Download {
        /// The artifact, `repository:tag`.
        reference: String,
    },
    /// Two downloads of `mkectl` are for the same platform.
    #[error("mkectl for `{platform}` is listed twice")]
    MkectlTwice {
        /// The platform.
        platform: String,
    },
    /// The lock lists no artifact.
    #[error("it lists no artifact")]
    NoArtifacts,
    /// A repository or tag is not valid in a registry.
    #[error("the name of an artifact is not valid in a registry")]
    Name(#[source] NameError),
    /// The archive's file name gives a different reference than the lock.
    #[error("`{reference}` comes from `{archive}`, but that name gives a different reference")]
    Archive {
        /// The artifact, `repository:tag`.
        reference: String,
        /// Path of the archive, escaped.
        archive: String,
    },
    /// A reference is listed twice.
    #[error("`{reference}` is listed twice")]
    Twice {
        /// The artifact, `repository:tag`.
        reference: String,
    },
    /// An artifact has no manifest.
    #[error("`{reference}` has no manifest")]
    NoManifest {
        /// The artifact, `repository:tag`.
        reference: String,
    },
    /// An artifact lists a manifest twice.
    #[error("`{reference}` lists the manifest `{digest}` twice")]
    ManifestTwice {
        /// The artifact, `repository:tag`.
        reference: String,
        /// The manifest.
        digest: Digest,
    },
    /// The last manifest of an artifact is not its root.
    #[error(
        "the last manifest of `{reference}` is not its root `{digest}` with the same size and media type"
    )]
    RootNotLast {
        /// The artifact, `repository:tag`.
        reference: String,
        /// The root.
        digest: Digest,
    },
    /// A media type is malformed.
    #[error("`{media_type}` of `{reference}` is not a media type")]
    MediaType {
        /// The artifact, `repository:tag`.
        reference: String,
        /// The media type.
        media_type: String,
    },
    /// A size is impossible.
    #[error("`{digest}` has {size} bytes: {rule}")]
    Size {
        /// Digest of the blob.
        digest: Digest,
        /// Size in the lock, in bytes.
        size: u64,
        /// The rule that the size breaks.
        rule: &'static str,
    },
    /// A digest has two sizes.
    #[error("`{digest}` has {first} bytes in one place and {second} in another")]
    TwoSizes {
        /// The digest.
        digest: Digest,
        /// First recorded size, in bytes.
        first: u64,
        /// The different size, in bytes.
        second: u64,
    },
    /// The sum of all sizes exceeds 64 bits.
    #[error("the sum of its sizes is too large")]
    TooLarge,
}

impl Lock {
    /// Checks the file name. A lock under the name of a different release would be installed as
    /// that release.
    pub(super) fn check_name(&self, path: &camino::Utf8Path) -> Result<(), Contradiction> {
        if let Some(set) = &self.set {
            let name = path.file_name().unwrap_or_default();
            let is_lock = name.ends_with(Self::SUFFIX);
            return match is_lock && name != format!("{set}{}", Self::SUFFIX) {
                true => Err(Contradiction::SetFileName { set: set.clone() }),
                false => Ok(()),
            };
        }
        let named = path.file_name().and_then(Self::named);
        match named {
            Some((release, arch)) if (release, arch) != (&*self.release, &*self.arch) => {
                Err(Contradiction::FileName {
                    release: self.release.clone(),
                    arch: self.arch.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks everything but the file name.
    pub(super) fn check(&self) -> Result<(), Contradiction> {
        match &self.set {
            None => self.check_release()?,
            Some(set) if is_name(set) => {}
            Some(set) => return Err(Contradiction::Set { set: set.clone() }),
        }
        let mut urls = HashSet::new();
        for bundle in &self.bundles {
            check_set_bundle(bundle)?;
            if !urls.insert(&bundle.url) {
                return Err(Contradiction::BundleTwice {
                    url: bundle.url.clone(),
                });
            }
        }
        if self.artifacts.is_empty() {
            return Err(Contradiction::NoArtifacts);
        }
        let mut references = HashSet::new();
        let mut sizes = HashMap::new();
        let mut total = self.release_matrix.as_ref().map_or(0, |matrix| matrix.size);
        for artifact in &self.artifacts {
            check_artifact(artifact)?;
            match (&artifact.source, artifact.archive.is_empty()) {
                (None, _) => {}
                (Some(source), true) => check_upstream(artifact, source)?,
                (Some(_), false) if self.bundles.iter().any(|bundle| bundle.has(artifact)) => {}
                (Some(_), false) => {
                    return Err(Contradiction::NoBundle {
                        reference: artifact.reference(),
                    });
                }
            }
            let needs_source = self.set.is_some() || self.from.is_some();
            let has_origin = artifact.source.is_some() || !artifact.archive.is_empty();
            if artifact.source.is_some() != needs_source || !has_origin {
                return Err(Contradiction::Source {
                    reference: artifact.reference(),
                });
            }
            if !references.insert(artifact.reference()) {
                return Err(Contradiction::Twice {
                    reference: artifact.reference(),
                });
            }
            for manifest in &artifact.manifests {
                let named = manifest.blobs.iter().map(|blob| (&blob.digest, blob.size));
                for (digest, size) in named.chain([(&manifest.digest, manifest.size)]) {
                    if let Some(rule) = size_fault(digest, size) {
                        return Err(Contradiction::Size {
                            digest: digest.clone(),
                            size,
                            rule,
                        });
                    }
                    // Counted once for each manifest that names it, since each repository stores
                    // it.
                    total = total.checked_add(size).ok_or(Contradiction::TooLarge)?;
                    let first = *sizes.entry(digest.as_ref()).or_insert(size);
                    if first != size {
                        return Err(Contradiction::TwoSizes {
                            digest: digest.clone(),
                            first,
                            second: size,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks the fields of a release other than its artifacts.
    fn check_release(&self) -> Result<(), Contradiction> {
        let version = self.release.strip_prefix('v').unwrap_or_default();
        if semver::Version::parse(version).is_err() {
            return Err(Contradiction::Release {
                release: self.release.clone(),
            });
        }
        check_word("architecture", &self.arch)?;
        match &self.from {
            Some(from) if !Reference::is_place(from) || !self.bundle.is_empty() => {
                return Err(Contradiction::From { from: from.clone() });
            }
            Some(_) => {}
            None => {
                check_word("file name of the bundle", &self.bundle.file)?;
                check_sha256("the bundle", &self.bundle.sha256)?;
                check_url("the bundle", &self.bundle.url)?;
            }
        }
        if let Some(matrix) = &self.release_matrix {
            check_sha256("the release matrix", &matrix.sha256)?;
        }
        if let Some(init) = &self.init {
            check_sha256("what mkectl init prints", init)?;
        }
        let mut platforms = HashSet::new();
        for mkectl in &self.mkectl {
            check_word("platform of mkectl", &mkectl.platform)?;
            let what = format!("mkectl for `{}`", mkectl.platform);
            check_sha256(&what, &mkectl.sha256)?;
            check_url(&what, &mkectl.url)?;
            if !platforms.insert(&mkectl.platform) {
                return Err(Contradiction::MkectlTwice {
                    platform: mkectl.platform.clone(),
                });
            }
        }
        Ok(())
    }
}

fn check_set_bundle(bundle: &SetBundle) -> Result<(), Contradiction> {
    let url = &bundle.url;
    let is_usable = url::Url::parse(url).is_ok_and(|url| bundle_fault(&url).is_none());
    if !is_usable {
        return Err(Contradiction::BundleUrl { url: url.clone() });
    }
    check_sha256(&format!("`{url}`"), &bundle.sha256)?;
    match &bundle.key {
        Some(key) => check_sha256(&format!("the key of `{url}`"), key),
        None => Ok(()),
    }
}

/// Checks the source of an artifact that is in no bundle: a URL, or a reference of a registry.
fn check_upstream(artifact: &Artifact, source: &Source) -> Result<(), Contradiction> {
    if let Some(url) = &source.url {
        check_url(&artifact.reference(), url)?;
        let is_refused = url::Url::parse(url).is_ok_and(|url| url_fault(&url).is_some());
        let has_all_platforms = source.platforms.is_empty() && source.full_index.is_none();
        let is_single = artifact.manifests.len() == 1 && artifact.download().is_some();
        return match !is_refused && has_all_platforms && is_single && artifact.kind != Kind::Image {
            true => Ok(()),
            false => Err(Contradiction::Download {
                reference: artifact.reference(),
            }),
        };
    }
    Reference::parse(&source.reference)
        .map(drop)
        .map_err(|source| Contradiction::SourceReference {
            reference: artifact.reference(),
            source,
        })
}

fn check_artifact(artifact: &Artifact) -> Result<(), Contradiction> {
    let reference = artifact.reference();
    let name = Name::new(&artifact.repository, &artifact.tag).map_err(Contradiction::Name)?;
    let is_printable = !artifact.archive.chars().any(char::is_control);
    // A file name that gives no reference proves nothing: the reference came from the archive's
    // content. In bundles of sets, `SetNames` derives references.
    let differs = artifact.source.is_none()
        && Name::decode(&artifact.archive).is_ok_and(|decoded| decoded != name);
    if !is_printable || differs {
        return Err(Contradiction::Archive {
            reference,
            archive: artifact.archive.escape_debug().to_string(),
        });
    }
    let Some(root) = artifact.manifests.last() else {
        return Err(Contradiction::NoManifest { reference });
    };
    if (&root.digest, root.size, &root.media_type)
        != (&artifact.digest, artifact.size, &artifact.media_type)
    {
        return Err(Contradiction::RootNotLast {
            reference,
            digest: artifact.digest.clone(),
        });
    }
    let mut digests = HashSet::new();
    for manifest in &artifact.manifests {
        if !is_media_type(manifest.media_type.as_ref()) {
            return Err(Contradiction::MediaType {
                reference,
                media_type: manifest.media_type.to_string(),
            });
        }
        if !digests.insert(&manifest.digest) {
            return Err(Contradiction::ManifestTwice {
                reference,
                digest: manifest.digest.clone(),
            });
        }
    }
    Ok(())
}

/// Checks a value that becomes part of a file name: no character that has a meaning in a path.
fn check_word(what: &'static str, text: &str) -> Result<(), Contradiction> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    if text.is_empty() || text.starts_with('.') || !text.bytes().all(allowed) {
        return Err(Contradiction::Word {
            what,
            text: text.to_owned(),
        });
    }
    Ok(())
}

fn check_sha256(what: &str, hex: &str) -> Result<(), Contradiction> {
    match digest::from_hex(hex) {
        Some(_) => Ok(()),
        None => Err(Contradiction::Sha256 {
            what: what.to_owned(),
        }),
    }
}

fn check_url(what: &str, text: &str) -> Result<(), Contradiction> {
    url::Url::parse(text).map_err(|source| Contradiction::Url {
        what: what.to_owned(),
        source,
    })?;
    if crate::http::has_credentials(text) {
        return Err(Contradiction::UrlWithCredentials {
            what: what.to_owned(),
        });
    }
    Ok(())
}
