//! What a lock must not contain: the mistakes of editing one by hand, or of merging two in a
//! version control system.

use std::collections::{HashMap, HashSet};

use oci_spec::image::Digest;

use super::{Artifact, Kind, Lock, SetBundle};
use crate::digest::{self, size_fault};
use crate::document::is_media_type;
use crate::name::{Name, NameError};
use crate::set::{Reference, ReferenceError, bundle_fault, is_name, url_fault};

/// Something that a lock says and that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum Contradiction {
    /// The release is not `v` and a semantic version.
    #[error("`{release}` is not a release: expected `v` and a version, such as `v4.1.5`")]
    Release {
        /// What it says.
        release: String,
    },
    /// The file is named after another release or architecture.
    #[error("it is the lock of {release} for {arch}, but its file name differs")]
    FileName {
        /// The release that it records.
        release: String,
        /// The architecture that it records.
        arch: String,
    },
    /// A word that becomes part of a file name has characters that do not belong there.
    #[error("`{text}` is not a valid {what}")]
    Word {
        /// Which word: `architecture`, `platform of mkectl`, `file name of the bundle`.
        what: &'static str,
        /// What it says.
        text: String,
    },
    /// A sha256 is not 64 lower-case hexadecimal digits.
    #[error("the sha256 of {what} is not 64 lower-case hexadecimal digits")]
    Sha256 {
        /// Of what.
        what: String,
    },
    /// A URL cannot be read as one.
    #[error("the URL of {what} is not valid")]
    Url {
        /// Of what.
        what: String,
        /// Why not.
        source: url::ParseError,
    },
    /// A URL carries a user or a password, and locks are committed.
    #[error("the URL of {what} contains credentials, which must not be committed")]
    UrlWithCredentials {
        /// Of what.
        what: String,
    },
    /// The file of a set's lock is named after a different set.
    #[error("it is the lock of the set {set}, but its file name differs")]
    SetFileName {
        /// The set that it records.
        set: String,
    },
    /// A set has a name that is not one.
    #[error("`{set}` is not a valid name of a set")]
    Set {
        /// What it says.
        set: String,
    },
    /// An artifact comes from both a bundle and a registry, or from neither.
    #[error("`{reference}` must come from either an archive or a registry")]
    Source {
        /// The artifact.
        reference: String,
    },
    /// The reference of an artifact's source cannot be read.
    #[error("the source of `{reference}` is not valid")]
    SourceReference {
        /// The artifact.
        reference: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A release comes from both a bundle and a registry, or the registry cannot be one.
    #[error("`from: {from}` must be a registry, and the only source")]
    From {
        /// What it says.
        from: String,
    },
    /// A bundle is listed twice.
    #[error("the bundle `{url}` is listed twice")]
    BundleTwice {
        /// Its URL.
        url: String,
    },
    /// A bundle cannot be carried from a URL.
    #[error("no bundle can be carried from `{url}`")]
    BundleUrl {
        /// The URL.
        url: String,
    },
    /// No bundle of the lock has an artifact that is said to be in it.
    #[error("`{reference}` is in no bundle of the lock")]
    NoBundle {
        /// The artifact.
        reference: String,
    },
    /// What is downloaded by URL is not one chart or file.
    #[error("the source of `{reference}` is not a chart or a file that can be downloaded")]
    Download {
        /// The artifact.
        reference: String,
    },
    /// There are two downloads of `mkectl` for one platform.
    #[error("mkectl for `{platform}` is listed twice")]
    MkectlTwice {
        /// The platform.
        platform: String,
    },
    /// There is not one artifact.
    #[error("it lists no artifact")]
    NoArtifacts,
    /// A repository or a tag is outside the grammar.
    #[error("the name of an artifact is not valid in a registry")]
    Name(#[source] NameError),
    /// The archive's file name says something else than the artifact.
    #[error("`{reference}` comes from `{archive}`, but that name gives a different reference")]
    Archive {
        /// The artifact.
        reference: String,
        /// The archive, escaped.
        archive: String,
    },
    /// One repository and tag is listed twice.
    #[error("`{reference}` is listed twice")]
    Twice {
        /// The artifact.
        reference: String,
    },
    /// An artifact has no manifest.
    #[error("`{reference}` has no manifest")]
    NoManifest {
        /// The artifact.
        reference: String,
    },
    /// An artifact lists a manifest twice.
    #[error("`{reference}` lists the manifest `{digest}` twice")]
    ManifestTwice {
        /// The artifact.
        reference: String,
        /// The manifest.
        digest: Digest,
    },
    /// The last manifest is not the root.
    #[error(
        "the last manifest of `{reference}` is not its root `{digest}` with the same size and media type"
    )]
    RootNotLast {
        /// The artifact.
        reference: String,
        /// The root.
        digest: Digest,
    },
    /// A media type cannot be one.
    #[error("`{media_type}` of `{reference}` is not a media type")]
    MediaType {
        /// The artifact.
        reference: String,
        /// The media type.
        media_type: String,
    },
    /// A blob has a size that cannot be.
    #[error("`{digest}` has {size} bytes: {rule}")]
    Size {
        /// The digest.
        digest: Digest,
        /// The size.
        size: u64,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// One digest has two sizes.
    #[error("`{digest}` has {first} bytes in one place and {second} in another")]
    TwoSizes {
        /// The digest.
        digest: Digest,
        /// Its size where it is named first.
        first: u64,
        /// Its size where it is named again.
        second: u64,
    },
    /// The total could not be computed.
    #[error("the sum of its sizes is too large")]
    TooLarge,
}

impl Lock {
    /// Returns what is wrong with the name of the lock's file: a lock under the name of a different
    /// release would install that one.
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

    /// Returns what is wrong with the lock, if something is.
    pub(super) fn check(&self) -> Result<(), Contradiction> {
        match &self.set {
            None => self.check_source()?,
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
            match artifact.source.is_some() && !artifact.archive.is_empty() {
                false => check_origin(artifact)?,
                true if self.bundles.iter().any(|bundle| bundle.has(artifact)) => {}
                true => {
                    return Err(Contradiction::NoBundle {
                        reference: artifact.reference(),
                    });
                }
            }
            if artifact.source.is_some() != (self.set.is_some() || self.from.is_some()) {
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
                    // Each time that it is named, since each repository has it.
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

    /// Checks everything that is not an artifact.
    fn check_source(&self) -> Result<(), Contradiction> {
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

/// Checks a bundle of a set.
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

/// Checks that an artifact comes from one place, and that a registry can be asked for it.
fn check_origin(artifact: &Artifact) -> Result<(), Contradiction> {
    let Some(source) = &artifact.source else {
        return match artifact.archive.is_empty() {
            true => Err(Contradiction::Source {
                reference: artifact.reference(),
            }),
            false => Ok(()),
        };
    };
    if !artifact.archive.is_empty() {
        return Err(Contradiction::Source {
            reference: artifact.reference(),
        });
    }
    if let Some(url) = &source.url {
        check_url(&artifact.reference(), url)?;
        let is_refused = url::Url::parse(url).is_ok_and(|url| url_fault(&url).is_some());
        let is_whole = source.platforms.is_empty() && source.whole.is_none();
        let is_one = artifact.manifests.len() == 1 && artifact.download().is_some();
        return match !is_refused && is_whole && is_one && artifact.kind != Kind::Image {
            true => Ok(()),
            false => Err(Contradiction::Download {
                reference: artifact.reference(),
            }),
        };
    }
    Reference::parse(&source.reference)
        .map(drop)
        .map_err(|wrong| Contradiction::SourceReference {
            reference: artifact.reference(),
            source: wrong,
        })
}

fn check_artifact(artifact: &Artifact) -> Result<(), Contradiction> {
    let reference = artifact.reference();
    let name = Name::new(&artifact.repository, &artifact.tag).map_err(Contradiction::Name)?;
    let is_printable = !artifact.archive.chars().any(char::is_control);
    // The name of an archive that says nothing was observed, and is what the lock says. In bundles
    // of sets, names are made otherwise.
    let says_otherwise = artifact.source.is_none()
        && Name::decode(&artifact.archive).is_ok_and(|decoded| decoded != name);
    if !is_printable || says_otherwise {
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

/// Words become parts of file names, so they have none of the characters that mean something in a
/// path.
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
